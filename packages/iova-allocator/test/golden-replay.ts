import { SimClock } from '@iommukit/platform';
import { IOVA_PROFILES, IovaDomain, type IovaRange } from '../src/index.ts';

type Hex = string;

interface Checkpoint {
  readonly op: 'checkpoint';
  readonly full?: boolean;
  readonly tree: readonly (readonly [Hex, Hex, number?])[];
  readonly cached_node: Hex;
  readonly cached32_node: Hex;
  readonly max32_alloc_size: Hex;
  readonly rcaches: readonly GoldenCache[];
}

type GoldenMagazine = null | number | readonly Hex[];

interface GoldenCache {
  readonly order: number;
  readonly depot: number | readonly (readonly Hex[])[];
  readonly work_pending: number | boolean;
  readonly cpus: readonly { readonly loaded: GoldenMagazine; readonly prev: GoldenMagazine }[];
}

interface DepotRun {
  readonly order: number;
  readonly depot_before: number;
  readonly depot_after: number;
  readonly pending: number;
}

type GoldenOp =
  | {
      op: 'alloc_fast';
      cpu: number;
      size: number;
      limit: Hex;
      flush: boolean;
      pfn: Hex;
    }
  | { op: 'free_fast'; cpu: number; pfn: Hex; size: number }
  | { op: 'alloc'; size: number; limit: Hex; aligned: boolean; ret: [Hex, Hex] | null }
  | { op: 'free'; pfn: Hex }
  | { op: 'find'; pfn: Hex; ret: [Hex, Hex] | null }
  | { op: 'reserve'; lo: Hex; hi: Hex; ret: [Hex, Hex] | null }
  | { op: 'cpu_dead' | 'cpu_online'; cpu: number; online: Hex }
  | { op: 'depot_work'; ran: DepotRun[] }
  | Checkpoint
  | { op: 'put' };

export interface GoldenFile {
  readonly kind: string;
  readonly name: string;
  readonly cfg: {
    readonly granule: Hex;
    readonly start_pfn: Hex;
    readonly possible_cpus: number;
    readonly online_mask: Hex;
    readonly rcaches: boolean;
  };
  readonly init: {
    readonly ret: { readonly errno: number };
    readonly dma_32bit_pfn: Hex;
    readonly max32_alloc_size: Hex;
  };
  readonly ops: readonly (GoldenOp & { readonly warns?: number; readonly fail_alloc?: number })[];
}

export interface GoldenResult {
  /** Operations run; every one has at least its warnings compared. */
  readonly ops: number;
  readonly values: number;
  readonly mismatches: readonly string[];
}

function rangeText(range: IovaRange | null): [Hex, Hex] | null {
  return range && [hex(range.pfnLo), hex(range.pfnHi)];
}

function hex(n: number): Hex {
  return `0x${n.toString(16)}`;
}

function expand(tree: Checkpoint['tree']): [number, number][] {
  const all: [number, number][] = [];
  for (const [lo, hi, n = 1] of tree) {
    const size = Number(hi) - Number(lo) + 1;
    for (let k = 0; k < n; k++) all.push([Number(lo) + k * size, Number(hi) + k * size]);
  }
  return all;
}

/** Replays one recorded sequence and compares every recorded value; an unknown operation counts as a mismatch. */
export function replayGolden(file: GoldenFile): GoldenResult {
  const mismatches: string[] = [];
  let values = 0;
  let where = 'init';
  const same = (what: string, got: unknown, expected: unknown): void => {
    values++;
    const [a, b] = [JSON.stringify(got), JSON.stringify(expected)];
    if (a !== b) mismatches.push(`${where} ${what}: got ${a}, expected ${b}`);
  };
  const { cfg } = file;
  let online = Number(cfg.online_mask);
  let failures = 0;
  const clock = new SimClock();
  const iovad = new IovaDomain({
    granule: Number(cfg.granule),
    startPfn: Number(cfg.start_pfn),
    clock,
    cpus: cfg.possible_cpus,
    profile: IOVA_PROFILES['7.3'],
    memoryFails: () => failures-- > 0,
  });
  same('kind', file.kind, 'iova');
  same('caches', true, cfg.rcaches);
  same('all online', online, 2 ** cfg.possible_cpus - 1);
  same('errno', 0, file.init.ret.errno);
  same('dma32Pfn', hex(iovad.dma32Pfn), file.init.dma_32bit_pfn);
  same('max32AllocSize', hex(iovad.max32AllocSize), file.init.max32_alloc_size);

  const checkpoint = (op: Checkpoint): void => {
    const state = iovad.state();
    same(
      'tree',
      state.ranges.map((r) => [r.pfnLo, r.pfnHi]),
      expand(op.tree),
    );
    const node = (pfn: number | null): Hex => (pfn === null ? '0xffffffffffffffff' : hex(pfn));
    same('cached', node(state.cachedPfn), op.cached_node);
    same('cached32', node(state.cached32Pfn), op.cached32_node);
    same('max32', hex(state.max32AllocSize), op.max32_alloc_size);
    const magazine = (entries: readonly number[] | null): GoldenMagazine =>
      entries && (op.full ? entries.map(hex) : entries.length);
    const inUse = state.caches.filter(
      (c) =>
        c.depot.length > 0 ||
        c.workPending ||
        c.cpus.some((m) => m.loaded !== null || m.prev !== null),
    );
    same(
      'orders',
      inUse.map((c) => c.order),
      op.rcaches.map((c) => c.order),
    );
    for (const expected of op.rcaches) {
      const cache = state.caches[expected.order];
      if (cache === undefined) continue;
      same(
        `depot ${expected.order}`,
        typeof expected.depot === 'number' ? cache.depot.length : cache.depot.map(magazine),
        expected.depot,
      );
      same(`work ${expected.order}`, cache.workPending, Boolean(expected.work_pending));
      same(
        `magazines ${expected.order}`,
        cache.cpus.map((m) => ({ loaded: magazine(m.loaded), prev: magazine(m.prev) })),
        expected.cpus.map((m) => ({ loaded: m.loaded, prev: m.prev })),
      );
    }
  };

  let ops = 0;
  for (const op of file.ops) {
    where = `op ${ops} ${op.op}`;
    ops++;
    failures = op.fail_alloc ?? 0;
    const warned = iovad.counters.warnings;
    switch (op.op) {
      case 'alloc_fast':
        same(
          'pfn',
          hex(
            iovad.allocIovaFast(op.cpu, op.size, Number(op.limit), op.flush ? 'flush' : 'no-flush'),
          ),
          op.pfn,
        );
        break;
      case 'free_fast':
        iovad.freeIovaFast(op.cpu, Number(op.pfn), op.size);
        break;
      case 'alloc':
        same(
          'ret',
          rangeText(
            iovad.allocIova(op.size, Number(op.limit), op.aligned ? 'aligned' : 'unaligned'),
          ),
          op.ret,
        );
        break;
      case 'free':
        iovad.freeIova(Number(op.pfn));
        break;
      case 'find':
        same('ret', rangeText(iovad.findIova(Number(op.pfn))), op.ret);
        break;
      case 'reserve':
        same('ret', rangeText(iovad.reserveIova(Number(op.lo), Number(op.hi))), op.ret);
        break;
      case 'cpu_dead':
        iovad.cpuDead(op.cpu);
        online -= 2 ** op.cpu;
        same('online', hex(online), op.online);
        break;
      case 'cpu_online':
        iovad.setCpuOnline(op.cpu);
        online += 2 ** op.cpu;
        same('online', hex(online), op.online);
        break;
      case 'depot_work': {
        const ran: DepotRun[] = [];
        for (let order = 0; order < 6; order++) {
          const run = iovad.flushDepotWork(order);
          if (run === undefined) continue;
          ran.push({
            order,
            depot_before: run.depotBefore,
            depot_after: run.depotAfter,
            pending: Number(run.pending),
          });
        }
        same('ran', ran, op.ran);
        break;
      }
      case 'checkpoint':
        checkpoint(op);
        break;
      case 'put':
        iovad.putIovaDomain();
        break;
      default:
        mismatches.push(`${where}: unknown operation`);
    }
    same('warns', iovad.counters.warnings - warned, op.warns ?? 0);
  }
  return { ops, values, mismatches };
}

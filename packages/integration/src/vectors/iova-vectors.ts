import {
  IOVA_PROFILES,
  IovaDomain,
  type IovaRange,
  type IovaSearch,
  type RangeCacheState,
} from '@iommukit/iova-allocator';
import { SimClock } from '@iommukit/platform';
import type { VectorTally } from './vector-tally.ts';
import { exactNumber, hex, type JsonRow } from './vector-values.lanes.ts';

// Runs recordings of kind `iova`. Every recorded field is compared; a field that this file does not know is a mismatch too.

const ORDERS = 6;
const NO_NODE = '0xffffffffffffffff';

/** Fields of an operation that are not results. */
const INPUTS = new Set([
  'op',
  'fail_alloc',
  'cpu',
  'size',
  'limit',
  'flush',
  'aligned',
  'lo',
  'hi',
]);

function rangeText(range: IovaRange | null): [string, string] | null {
  return range && [hex(range.pfnLo), hex(range.pfnHi)];
}

function expand(tree: readonly [string, string, number?][], where: string): [string, string][] {
  const all: [string, string][] = [];
  for (const [lo, hi, n = 1] of tree) {
    const [first, last] = [exactNumber(lo, where), exactNumber(hi, where)];
    const size = last - first + 1;
    for (let k = 0; k < n; k++) all.push([hex(first + k * size), hex(last + k * size)]);
  }
  return all;
}

function inUse(cache: RangeCacheState): boolean {
  return (
    cache.depot.length > 0 ||
    cache.workPending ||
    cache.cpus.some(({ loaded, prev }) => loaded !== null || prev !== null)
  );
}

/** An allocator that runs the operations of a recording and answers in its words. */
export class IovaRun {
  readonly #domain: IovaDomain;
  /** Memory allocations of the current operation that still have to fail. */
  #failures = 0;
  #online: bigint;

  constructor(cfg: JsonRow, search: IovaSearch = 'linear') {
    const cpus = cfg['possible_cpus'] as number;
    // A space without caches takes no fast call, and the others never look at caches: nothing differs.
    this.#domain = new IovaDomain({
      granule: exactNumber(cfg['granule'], 'cfg.granule'),
      startPfn: exactNumber(cfg['start_pfn'], 'cfg.start_pfn'),
      clock: new SimClock(),
      cpus,
      profile: IOVA_PROFILES['7.3'],
      search,
      memoryFails: () => this.#failures-- > 0,
    });
    this.#online = BigInt(cfg['online_mask'] as string);
    for (let cpu = 0; cpu < cpus; cpu++)
      if ((this.#online / 2n ** BigInt(cpu)) % 2n === 0n) this.#domain.cpuDead(cpu);
  }

  init(): JsonRow {
    return {
      ret: { errno: 0 },
      dma_32bit_pfn: hex(this.#domain.dma32Pfn),
      max32_alloc_size: hex(this.#domain.max32AllocSize),
    };
  }

  /** Runs one operation, none of them a checkpoint, and returns its results. */
  run(op: JsonRow, where: string): JsonRow {
    const domain = this.#domain;
    const { warnings } = domain.counters;
    this.#failures = op['fail_alloc'] ?? 0;
    const got = this.#results(op, (key) => exactNumber(op[key], `${where}.${key}`));
    this.#failures = 0;
    return { ...got, warns: domain.counters.warnings - warnings };
  }

  /** What a checkpoint holds, magazines entry by entry or by their lengths. */
  checkpoint(magazines: 'entries' | 'lengths'): JsonRow {
    const state = this.#domain.state();
    const node = (pfn: number | null): string => (pfn === null ? NO_NODE : hex(pfn));
    const magazine = (entries: readonly number[] | null): unknown =>
      entries && (magazines === 'entries' ? entries.map(hex) : entries.length);
    return {
      tree: state.ranges.map(rangeText),
      cached_node: node(state.cachedPfn),
      cached32_node: node(state.cached32Pfn),
      max32_alloc_size: hex(state.max32AllocSize),
      rcaches: state.caches.filter(inUse).map((cache) => ({
        order: cache.order,
        depot: cache.depot.length,
        work_pending: Number(cache.workPending),
        cpus: cache.cpus.map(({ loaded, prev }) => ({
          loaded: magazine(loaded),
          prev: magazine(prev),
        })),
      })),
    };
  }

  #results(op: JsonRow, number: (key: string) => number): JsonRow {
    const domain = this.#domain;
    const cpu = op['cpu'] as number;
    const size = op['size'] as number;
    switch (op['op']) {
      case 'alloc_fast': {
        const flush = op['flush'] === true ? 'flush' : 'no-flush';
        return { pfn: hex(domain.allocIovaFast(cpu, size, number('limit'), flush)) };
      }
      case 'free_fast':
        domain.freeIovaFast(cpu, number('pfn'), size);
        return {};
      case 'alloc': {
        const aligned = op['aligned'] === true ? 'aligned' : 'unaligned';
        return { ret: rangeText(domain.allocIova(size, number('limit'), aligned)) };
      }
      case 'free':
        domain.freeIova(number('pfn'));
        return {};
      case 'find':
        return { ret: rangeText(domain.findIova(number('pfn'))) };
      case 'reserve':
        return { ret: rangeText(domain.reserveIova(number('lo'), number('hi'))) };
      case 'cpu_dead':
        domain.cpuDead(cpu);
        return { online: hex(this.#setOnline(cpu, 0n)) };
      case 'cpu_online':
        domain.setCpuOnline(cpu);
        return { online: hex(this.#setOnline(cpu, 1n)) };
      case 'depot_work':
        return { ran: this.#depotWork() };
      default:
        domain.putIovaDomain();
        return {};
    }
  }

  #setOnline(cpu: number, online: bigint): bigint {
    const bit = 2n ** BigInt(cpu);
    const was = (this.#online / bit) % 2n;
    this.#online += (online - was) * bit;
    return this.#online;
  }

  #depotWork(): JsonRow[] {
    const ran: JsonRow[] = [];
    for (let order = 0; order < ORDERS; order++) {
      const run = this.#domain.flushDepotWork(order);
      if (run === undefined) continue;
      const { depotBefore, depotAfter, pending } = run;
      ran.push({
        order,
        depot_before: depotBefore,
        depot_after: depotAfter,
        pending: Number(pending),
      });
    }
    return ran;
  }
}

/** Runs one recording of kind `iova`, with both searches: they may differ in cost only. Operations count once, values each time. */
export function runIova(file: JsonRow, tally: VectorTally): void {
  runSearch(file, tally, 'linear');
  const { operations } = tally;
  runSearch(file, tally, 'augmented');
  tally.operations = operations;
}

function runSearch(file: JsonRow, tally: VectorTally, search: IovaSearch): void {
  const run = new IovaRun(file['cfg'], search);
  const by = search === 'linear' ? '' : ', augmented search';
  const compare = (index: number, prefix: string, got: JsonRow, want: JsonRow): void =>
    tally.checkMembers(index, got, want, (key) => `${prefix} ${key}${by}`);
  compare(-1, 'init', run.init(), file['init']);
  for (const [i, op] of (file['ops'] as JsonRow[]).entries()) {
    tally.operations++;
    const where = `operation ${String(i)}`;
    if (op['op'] === 'checkpoint') {
      const { op: _, full, tree, ...want } = op;
      const { tree: ranges, ...got } = run.checkpoint(full ? 'entries' : 'lengths');
      const wanted = expand(tree, `${where}.tree`);
      tally.check(i, `checkpoint ranges${by}`, ranges.length, wanted.length);
      for (const [k, range] of wanted.entries())
        tally.check(i, `checkpoint tree[${String(k)}]${by}`, ranges[k], range);
      compare(i, 'checkpoint', got, want);
      continue;
    }
    // An operation without a result still has one that can differ: its warnings.
    const want: JsonRow = { warns: 0 };
    for (const [key, value] of Object.entries(op))
      if (!INPUTS.has(key) && !(key === 'pfn' && op['op'] !== 'alloc_fast')) want[key] = value;
    compare(i, op['op'], run.run(op, where), want);
  }
}

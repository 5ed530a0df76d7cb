import { SZ_1G, SZ_2M, SZ_4K, SZ_16K, SZ_32M, SZ_64K, SZ_512M } from '@iommukit/bits';
import { type MemoryView, NonCoherentView } from '@iommukit/platform';
import type { PhysRun } from '../src/index.ts';
import {
  forEachEntry,
  forEachLeaf,
  IOMMU_CACHE,
  IOMMU_READ,
  IOMMU_WRITE,
  IotlbGather,
  PageRun,
  type PageTableConfig,
  RangeGather,
} from '../src/index.ts';
import { type Rig, rig } from './rig.lanes.ts';

export const X = 0x1_0000_0000;
export const PA = 0x8_8000_0000;
export const PROT = IOMMU_READ + IOMMU_WRITE + IOMMU_CACHE;
export const MIB = 0x10_0000;

export const SIZES = {
  '4K': { granule: SZ_4K, block: SZ_2M, pgsizeBitmap: SZ_4K + SZ_2M + SZ_1G },
  '16K': { granule: SZ_16K, block: SZ_32M, pgsizeBitmap: SZ_16K + SZ_32M },
  '64K': { granule: SZ_64K, block: SZ_512M, pgsizeBitmap: SZ_64K + SZ_512M },
} as const;
export type GranuleName = keyof typeof SIZES;

/** n granules at PA + i x 2 granules: nothing contiguous. */
export function scat(n: number, granule: number = SZ_4K): PhysRun[] {
  return Array.from({ length: n }, (_, i) => ({ paddr: PA + i * 2 * granule, length: granule }));
}

/** Contiguous, and not congruent to X above 4 KiB. */
export function cont(bytes: number): PhysRun[] {
  return [{ paddr: PA + SZ_4K, length: bytes }];
}

export type Mode = 'coh' | 'nc';

/** A rig for a granule and coherence; `wrap` puts something around the table's view of memory. */
export function rangeRig(
  mode: Mode = 'coh',
  granule: GranuleName = '4K',
  wrap: (view: MemoryView, memory: MemoryView) => MemoryView = (view) => view,
): Rig {
  return rig(({ memory }): Partial<PageTableConfig> => {
    const coherentWalk = mode === 'coh';
    const { pgsizeBitmap } = SIZES[granule];
    const view = coherentWalk ? memory : new NonCoherentView(memory);
    return {
      coherentWalk,
      pgsizeBitmap,
      cpuPageSize: SIZES[granule].granule,
      memory: wrap(view, memory),
    };
  });
}

/** What was counted since `begin`. */
export interface Tally {
  fmt: number;
  lvl: number;
  alloc: number;
  free: number;
  st: number;
  cmc: number;
  cml: number;
  warn: number;
  walkFlushes: number;
}

function raw({ table }: Rig): Tally {
  const c = table.counters;
  return {
    fmt: c.formatCalls,
    lvl: c.levels,
    alloc: c.tablesAllocated,
    free: c.tablesFreed,
    st: c.stores,
    cmc: c.cleanCalls,
    cml: c.cleanLines,
    warn: table.warnings,
    walkFlushes: c.tlbFlushWalks,
  };
}

/** Counts what `work` does. */
export function tally(rig: Rig, work: () => void): Tally {
  const before = raw(rig);
  work();
  const after = raw(rig);
  const names = Object.keys(after) as (keyof Tally)[];
  for (const name of names) after[name] -= before[name];
  return after;
}

/** One map through a core like Linux's (`__iommu_map`): rule 1 until done, undone on failure. */
export function coreMap(rig: Rig, iova: number, run: PhysRun, prot: number = PROT): number {
  const { table } = rig;
  const pages = new PageRun();
  for (let done = 0; done < run.length; ) {
    const [at, paddr] = [iova + done, run.paddr + done];
    pages.pick(table.pgsizeBitmap, at, paddr, run.length - done);
    const errno = table.mapPages(at, paddr, pages.pgsize, pages.count, prot);
    done += table.mapped;
    if (errno !== 0) {
      if (done > 0) coreUnmap(rig, iova, done);
      return errno;
    }
  }
  return 0;
}

/** Way P: a map for each granule; stops at the first failure. */
export function mapP(rig: Rig, iova: number, runs: readonly PhysRun[]): number {
  const granule = rig.table.granule;
  let at = iova;
  for (const { paddr, length } of runs)
    for (let done = 0; done < length; done += granule, at += granule) {
      const errno = coreMap(rig, at, { paddr: paddr + done, length: granule });
      if (errno !== 0) return errno;
    }
  return 0;
}

/** Way K (`iommu_map_sg`): neighbours joined, then mapped piece by piece; undone on failure. */
export function mapK(rig: Rig, iova: number, runs: readonly PhysRun[]): number {
  let mapped = 0;
  for (let i = 0; i < runs.length; ) {
    const first = runs[i++] as PhysRun;
    let length = first.length;
    while (i < runs.length && (runs[i] as PhysRun).paddr === first.paddr + length)
      length += (runs[i++] as PhysRun).length;
    const errno = coreMap(rig, iova + mapped, { paddr: first.paddr, length });
    if (errno !== 0) {
      if (mapped > 0) coreUnmap(rig, iova, mapped);
      return errno;
    }
    mapped += length;
  }
  return 0;
}

/** Way R. */
export function mapR(rig: Rig, iova: number, runs: readonly PhysRun[]): number {
  return rig.table.mapRange(iova, runs, PROT);
}

/** A map, by the name of its way. */
export const maps = { P: mapP, K: mapK, R: mapR };

/** One unmap through a core like Linux's (`__iommu_unmap`); `one` asks for a page a call, as the core did in 2020. */
export function coreUnmap(
  rig: Rig,
  iova: number,
  size: number,
  options: { one?: boolean; gather?: IotlbGather } = {},
): number {
  const { table } = rig;
  const pages = new PageRun();
  const gather = options.gather ?? new IotlbGather();
  let done = 0;
  while (done < size) {
    const at = iova + done;
    pages.pick(table.pgsizeBitmap, at, at, size - done);
    const n = table.unmapPages(at, pages.pgsize, options.one ? 1 : pages.count, gather);
    if (n === 0) break;
    done += n;
  }
  return done;
}

/** Unmaps as one range, and releases what that detached as if it were flushed. */
export function unmapR(
  rig: Rig,
  iova: number,
  size: number,
  options: { reuseTables?: boolean } = {},
): { bytes: number; pending: RangeGather } {
  const pending = new RangeGather();
  return { bytes: rig.table.unmapRange(iova, size, pending, options), pending };
}

/** The whole tree; table addresses are left out, since their place in the tree says which table is meant. */
export function treeOf({ table, config }: Rig): string[] {
  const lines: string[] = [];
  forEachEntry(config.memory, table.shape, ({ level, iova, kind, lo, hi }) => {
    // no wrap: masks of the low and the high lane.
    const [low, high] = kind === 'table' ? [lo & 0xfff, (hi & 0xffff_0000) >>> 0] : [lo, hi];
    lines.push(
      `${level} ${iova.toString(16)} ${kind} ${high.toString(16)}:${(low >>> 0).toString(16)}`,
    );
  });
  return lines;
}

/** Every word of the pool and which frames are taken: what "nothing changed" means. */
export function imageOf({ memory, frames }: Rig): string {
  const words: string[] = [`${frames.used}`];
  for (const pa of memory.touchedPages()) {
    const page = memory.lanes(pa) as Uint32Array;
    for (let i = 0; i < page.length; i++) if (page[i] !== 0) words.push(`${pa}+${i}=${page[i]}`);
  }
  return words.join();
}

/** Where each granule of a range translates to, by an independent walk. */
export function pagesOf({ table, config }: Rig): Map<number, number> {
  const pages = new Map<number, number>();
  forEachLeaf(config.memory, table.shape, ({ iova, paddr, size }) => {
    for (let at = 0; at < size; at += table.granule) pages.set(iova + at, paddr + at);
  });
  return pages;
}

/** The same, as a list of runs says it. */
export function pagesOfRuns(iova: number, runs: readonly PhysRun[], granule: number = SZ_4K) {
  const pages = new Map<number, number>();
  let at = iova;
  for (const { paddr, length } of runs)
    for (let done = 0; done < length; done += granule, at += granule) pages.set(at, paddr + done);
  return pages;
}

/** Frees the table and says how many frames are left. */
export function leak({ table, frames }: Rig): number {
  table.free();
  return frames.leakReport().frames;
}

/** Physical addresses of all tables that a walker reaches from the top. */
export function reachable({ table, config }: Rig): Set<number> {
  const { memory } = config;
  const { shape } = table;
  const tables = new Set<number>();
  const below = (address: number, level: number): void => {
    tables.add(address);
    if (level === shape.leafLevel) return;
    for (let i = 0; i < shape.entryCount(level); i++) {
      const lo = memory.load64(address + i * 8);
      const hi = memory.hi;
      if (shape.kind(level, lo, hi) === 'table')
        below(shape.tableAddress(level, lo, hi), level + 1);
    }
  };
  below(table.base, shape.topLevel);
  return tables;
}

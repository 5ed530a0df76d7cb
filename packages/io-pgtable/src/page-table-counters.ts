import type { Counters } from '@iommukit/platform';

/**
 * What a page table counts, always on. Every name counts one thing:
 *
 * - `formatCalls`: calls that map or unmap; `levels`: table levels that they visited, from the top to the leaf, both included
 * - `walks`: calls of `iovaToPhys`; `walkLevels`: table levels that they visited
 * - `tablesAllocated`, `tablesFreed`, `tablesPeak`: tables below the top (generic formats: with the top, which may change); the peak is of those
 *   that are linked or not yet freed
 * - `stores`: words stored to table memory: leaves, links, clears, software marks; zeroing a fresh table is not counted
 * - `cleanCalls`, `cleanLines`: cache maintenance, and the 64-byte lines that it covered
 * - `tlbAddPages` (pages), `tlbFlushWalks`, `tlbFlushAlls`: what was asked of the flush ops
 * @example const before = { ...table.counters }; work(); counted(before, table.counters).stores
 */
export type PageTableCounters = Counters<
  | 'formatCalls'
  | 'levels'
  | 'walks'
  | 'walkLevels'
  | 'tablesAllocated'
  | 'tablesFreed'
  | 'tablesPeak'
  | 'stores'
  | 'cleanCalls'
  | 'cleanLines'
  | 'tlbAddPages'
  | 'tlbFlushWalks'
  | 'tlbFlushAlls'
>;

/** Page-table counters that start at zero. */
export function pageTableCounters(): PageTableCounters {
  return {
    formatCalls: 0,
    levels: 0,
    walks: 0,
    walkLevels: 0,
    tablesAllocated: 0,
    tablesFreed: 0,
    tablesPeak: 0,
    stores: 0,
    cleanCalls: 0,
    cleanLines: 0,
    tlbAddPages: 0,
    tlbFlushWalks: 0,
    tlbFlushAlls: 0,
  };
}

/** Bytes of one cache line, as cleans are counted. */
const LINE = 64;

/** Counts one clean of [pa, pa + bytes). */
export function countClean(counters: PageTableCounters, pa: number, bytes: number): void {
  counters.cleanCalls++;
  if (bytes > 0) counters.cleanLines += Math.ceil((pa + bytes) / LINE) - Math.floor(pa / LINE);
}

/** Counts one more table below the top. */
export function countTable(counters: PageTableCounters): void {
  const live = ++counters.tablesAllocated - counters.tablesFreed;
  if (live > counters.tablesPeak) counters.tablesPeak = live;
}

import { PTE_TYPE_MASK, PTE_TYPE_TABLE } from '@iommukit/arm-arch';
import { PageRun } from '../page-run.ts';
import { HAD_TABLES, type RangeGather } from '../range-gather.ts';
import { clearEntries, firstOther, firstUsed } from '../table-words.lanes.ts';
import { WARN_HOLE, WARN_PARTIAL } from '../warning.ts';
import { LAST_LEVEL, type LpaeTables } from './lpae-tables.lanes.ts';

/**
 * What one `unmapRange` works with, reused by the next.
 * @internal
 */
export class LpaeUnmapPlan {
  /** Clear wholly covered tables of pages in place. */
  reuseTables = false;
  readonly pages: PageRun = new PageRun();
  /** Where the descent ended, and whether it found nothing to clear there. */
  table = 0;
  level = 0;
  stopped = false;
}

/**
 * Clears a range (`RangePageTable.unmapRange`), table by table, in the page sizes that core would choose: within each table one
 * clear, one clean. Invalidates nothing: that is what `pending` is told. A block of which a part is meant is refused in every
 * profile, as Linux does since 6.12.
 */
export function unmapRange(
  tables: LpaeTables<unknown>,
  plan: LpaeUnmapPlan,
  iova: number,
  size: number,
  pending: RangeGather,
): number {
  tables.counters.formatCalls++;
  const within = tables.granule - 1;
  const inside = iova >= tables.firstIova && iova + size <= tables.endIova;
  if (!(size > 0) || ((iova | size) & within) !== 0 || !inside) {
    tables.raise('unmap: range is empty, misaligned or out of bounds');
    return 0;
  }
  const pages = plan.pages;
  plan.stopped = false;
  let done = 0;
  while (done < size && !plan.stopped) {
    let count = pages.pick(tables.pgsizeBitmap, iova + done, iova + done, size - done);
    let level = LAST_LEVEL;
    while (tables.spans[level] !== pages.pgsize) level--;
    plan.level = level;
    while (count > 0 && descend(tables, plan, iova + done)) {
      const mask = level === tables.topLevel ? tables.topMask : tables.mask;
      const index = ((iova + done) / pages.pgsize) & mask;
      const n = Math.min(count, mask + 1 - index);
      const cleared = clear(tables, plan, iova + done, n, pending);
      done += cleared * pages.pgsize;
      count -= n;
      if (plan.stopped) break;
    }
  }
  return done;
}

/** Finds the table of `plan.level` that translates `iova`; stops, with a warning, at a hole or a larger leaf. */
function descend(tables: LpaeTables<unknown>, plan: LpaeUnmapPlan, iova: number): boolean {
  const memory = tables.memory;
  let table = tables.base;
  let mask = tables.topMask;
  for (let level = tables.topLevel; level < plan.level; level++) {
    const lo = memory.load64(table + ((iova / (tables.spans[level] as number)) & mask) * 8);
    const hi = memory.hi;
    if ((lo & PTE_TYPE_MASK) !== PTE_TYPE_TABLE) {
      if ((lo & PTE_TYPE_MASK) === tables.leafTypes[level]) tables.raise(WARN_PARTIAL);
      else tables.raiseConflict(WARN_HOLE);
      tables.counters.levels += level + 1 - tables.topLevel;
      plan.stopped = true;
      return false;
    }
    table = tables.address(lo, hi);
    mask = tables.mask;
  }
  plan.table = table;
  return true;
}

/** Clears up to `n` entries from that of `iova` on; returns how many. */
function clear(
  tables: LpaeTables<unknown>,
  plan: LpaeUnmapPlan,
  iova: number,
  n: number,
  pending: RangeGather,
): number {
  const { memory, counters } = tables;
  const level = plan.level;
  const size = tables.spans[level] as number;
  const leafType = tables.leafTypes[level] as number;
  const mask = level === tables.topLevel ? tables.topMask : tables.mask;
  const entry = plan.table + ((iova / size) & mask) * 8;
  const depth = level + 1 - tables.topLevel;
  let visited = false;
  // Entries from `start` on are read, but not cleared yet.
  let start = 0;
  let done = 0;
  while (done < n) {
    const leaves = firstOther(memory, entry + done * 8, n - done, leafType);
    if (leaves > 0) pending.add(iova + done * size, iova + (done + leaves) * size, size);
    done += leaves;
    if (done === n) break;
    const lo = memory.load64(entry + done * 8);
    const hi = memory.hi;
    if (level === LAST_LEVEL || (lo & PTE_TYPE_MASK) !== PTE_TYPE_TABLE) {
      tables.raiseConflict(WARN_HOLE);
      plan.stopped = true;
      break;
    }
    const table = tables.address(lo, hi);
    const at = iova + done * size;
    if (plan.reuseTables && level + 1 === LAST_LEVEL) {
      if (clearRun(tables, entry + start * 8, done - start) && !visited) {
        visited = true;
        counters.levels += depth;
      }
      start = done + 1;
      counters.levels += depth + 1;
      clearRun(tables, table, tables.mask + 1);
      pending.add(at, at + size, tables.granule);
    } else {
      pending.add(at, at + size, HAD_TABLES);
      detach(tables, level + 1, table, pending);
    }
    done++;
  }
  const cleared = clearRun(tables, entry + start * 8, done - start);
  if (!visited && (cleared || (plan.stopped && done === 0))) counters.levels += depth;
  return done;
}

function clearRun(tables: LpaeTables<unknown>, entry: number, n: number): boolean {
  if (n === 0) return false;
  clearEntries(tables.memory, entry, n);
  tables.counters.stores += n;
  if (!tables.coherent) tables.clean(entry, n * 8);
  return true;
}

/** Lists a table and all below it. */
function detach(
  tables: LpaeTables<unknown>,
  level: number,
  table: number,
  pending: RangeGather,
): void {
  pending.detach(table);
  if (level === LAST_LEVEL) return;
  const memory = tables.memory;
  const n = tables.mask + 1;
  for (let i = firstUsed(memory, table, n); i < n; ) {
    const lo = memory.load64(table + i * 8);
    const hi = memory.hi;
    if ((lo & PTE_TYPE_MASK) === PTE_TYPE_TABLE)
      detach(tables, level + 1, tables.address(lo, hi), pending);
    i++;
    i += firstUsed(memory, table + i * 8, n - i);
  }
}

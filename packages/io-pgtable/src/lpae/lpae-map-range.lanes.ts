import { PTE_HI_SW_SYNC, PTE_TYPE_MASK, PTE_TYPE_TABLE } from '@iommukit/arm-arch';
import { ERRNO } from '@iommukit/platform';
import { countTable } from '../page-table-counters.ts';
import { IOMMU_READ, IOMMU_WRITE } from '../prot.ts';
import type { PhysRun } from '../range-page-table.ts';
import { firstUsed, zeroWords } from '../table-words.lanes.ts';
import { WARN_CONFLICT, WARN_RANGE_MAP } from '../warning.ts';
import { type LpaeMapPlan, tableNumber } from './lpae-map-plan.lanes.ts';
import { LAST_LEVEL, type LpaeTables, PROTS } from './lpae-tables.lanes.ts';

const DIRECTIONS = IOMMU_READ + IOMMU_WRITE;

/**
 * Maps a list as one range, all or nothing (`RangePageTable.mapRange`). In this order, so that every failure comes before the first
 * store: look at every place where something will be stored; take all frames; fill the new tables; clean each of them once and
 * whole; store to tables that are linked already; link each topmost new table.
 */
export function mapRange(
  tables: LpaeTables<unknown>,
  plan: LpaeMapPlan,
  iova: number,
  runs: readonly PhysRun[],
  prot: number,
): number {
  tables.counters.formatCalls++;
  plan.begin();
  const bytes = sizeOf(tables, iova, runs);
  if (bytes < 0) return bytes;
  if ((prot & DIRECTIONS) === 0) return -ERRNO.EINVAL;
  plan.leaves.lo = tables.attrLo[prot & (PROTS - 1)] as number;
  plan.leaves.hi = tables.attrHi[prot & (PROTS - 1)] as number;
  let errno = survey(tables, plan, iova, runs);
  if (errno === 0) errno = takeFrames(tables, plan);
  if (errno === 0) {
    if (plan.needed > 0) fill(tables, plan, iova, runs);
    if (plan.live) storeLive(tables, plan, iova, runs);
    for (let i = 0; i < plan.links; i++) {
      const entry = plan.linkEntries[i] as number;
      publish(tables, plan.linkLevels[i] as number, entry, plan.linkTables[i] as number);
    }
    plan.mapped = bytes;
  }
  plan.end();
  return errno;
}

/** Bytes of the list, or why it cannot be mapped at `iova`. */
function sizeOf(tables: LpaeTables<unknown>, iova: number, runs: readonly PhysRun[]): number {
  const within = tables.granule - 1;
  let bytes = 0;
  let high = false;
  for (let i = 0; i < runs.length; i++) {
    const { paddr, length } = runs[i] as PhysRun;
    if (!(length > 0) || ((paddr | length) & within) !== 0) {
      bytes = 0;
      break;
    }
    if (!(paddr >= 0 && paddr + length <= tables.endPaddr)) high = true;
    bytes += length;
  }
  if (bytes === 0 || (iova & within) !== 0) {
    tables.raise('map: range is empty or not aligned to the granule');
    return -ERRNO.EINVAL;
  }
  if (high || !(iova >= tables.firstIova && iova + bytes <= tables.endIova)) {
    tables.raise(WARN_RANGE_MAP);
    return -ERRNO.ERANGE;
  }
  return bytes;
}

/** Finds the place of every span and counts the missing tables; refuses where something is mapped. */
function survey(
  tables: LpaeTables<unknown>,
  plan: LpaeMapPlan,
  iova: number,
  runs: readonly PhysRun[],
): number {
  plan.rewind(iova, runs);
  while (plan.more()) {
    const level = plan.level;
    const start = plan.iova;
    const number = tableNumber(tables, start, level);
    if (plan.knownNumber[level] !== number) {
      if (!locate(tables, plan, start, level)) return overlap(tables, plan, start);
      plan.knownNumber[level] = number;
    }
    const missing = plan.knownMissing[level] as number;
    const known = plan.knownEntry[level] as number;
    const entry = missing === 0 ? known + plan.index() * 8 : known;
    let n = plan.skipSpan();
    if (missing === 0) {
      plan.live = true;
      const size = tables.spans[level] as number;
      let used = firstUsed(tables.memory, entry, n);
      const vacate = used < n;
      while (used < n) {
        const taken = firstLeaf(tables, level, entry + used * 8, start + used * size);
        if (taken >= 0) return overlap(tables, plan, taken);
        used++;
        used += firstUsed(tables.memory, entry + used * 8, n - used);
      }
      if (vacate) n = -n;
    }
    const span = plan.spans++;
    plan.entries[span] = entry;
    plan.missing[span] = missing;
    plan.counts[span] = n;
  }
  return 0;
}

function overlap(tables: LpaeTables<unknown>, plan: LpaeMapPlan, iova: number): number {
  plan.failedAt = iova;
  tables.raiseConflict(WARN_CONFLICT);
  return -ERRNO.EEXIST;
}

/** Descends to the table of `level` that translates `iova`, or to the entry where one is missing; false when a leaf is on the way. */
function locate(
  tables: LpaeTables<unknown>,
  plan: LpaeMapPlan,
  iova: number,
  target: number,
): boolean {
  const { memory, counters } = tables;
  let table = tables.base;
  let mask = tables.topMask;
  for (let level = tables.topLevel; level < target; level++) {
    counters.levels++;
    const entry = table + ((iova / (tables.spans[level] as number)) & mask) * 8;
    const lo = memory.load64(entry);
    const hi = memory.hi;
    if ((lo | hi) === 0) {
      counters.levels += target - level;
      plan.knownEntry[target] = entry;
      plan.knownMissing[target] = level + 1;
      for (let below = level + 1; below <= target; below++) {
        const number = tableNumber(tables, iova, below);
        if (plan.newNumber[below] === number) continue;
        plan.newNumber[below] = number;
        plan.needed++;
      }
      return true;
    }
    // Whoever wrote it may not have cleaned it yet, and the device must see it before what hangs below.
    if (!tables.coherent && (hi & PTE_HI_SW_SYNC) === 0) tables.clean(entry, 8);
    if ((lo & PTE_TYPE_MASK) !== PTE_TYPE_TABLE) return false;
    table = tables.address(lo, hi);
    mask = tables.mask;
  }
  counters.levels++;
  plan.knownEntry[target] = table;
  plan.knownMissing[target] = 0;
  return true;
}

/** First IOVA that is mapped through `entry`; -1 when none is. */
function firstLeaf(
  tables: LpaeTables<unknown>,
  level: number,
  entry: number,
  iova: number,
): number {
  const memory = tables.memory;
  const lo = memory.load64(entry);
  const hi = memory.hi;
  if ((lo & PTE_TYPE_MASK) === tables.leafTypes[level]) return iova;
  if ((lo & PTE_TYPE_MASK) !== PTE_TYPE_TABLE || level === LAST_LEVEL) return -1;
  const table = tables.address(lo, hi);
  const n = tables.mask + 1;
  const size = tables.spans[level + 1] as number;
  for (let i = firstUsed(memory, table, n); i < n; ) {
    const taken = firstLeaf(tables, level + 1, table + i * 8, iova + i * size);
    if (taken >= 0) return taken;
    i++;
    i += firstUsed(memory, table + i * 8, n - i);
  }
  return -1;
}

/** Takes a frame for every missing table, or none. They are not touched yet, so that a failure leaves even free memory as it was. */
function takeFrames(tables: LpaeTables<unknown>, plan: LpaeMapPlan): number {
  const frames = plan.frames;
  for (let taken = 0; taken < plan.needed; taken++) {
    const frame = tables.frames.alloc(tables.granule);
    if (frame < 0) {
      for (let i = 0; i < taken; i++) tables.releaseTable(frames[i] as number);
      return -ERRNO.ENOMEM;
    }
    countTable(tables.counters);
    frames[taken] = frame;
  }
  return 0;
}

/** Builds the new tables, which no walk reaches yet. */
function fill(
  tables: LpaeTables<unknown>,
  plan: LpaeMapPlan,
  iova: number,
  runs: readonly PhysRun[],
): void {
  const { memory, granule } = tables;
  let made = 0;
  plan.rewind(iova, runs);
  for (let span = 0; plan.more(); span++) {
    const topmost = plan.missing[span] as number;
    if (topmost === 0) {
      plan.skipSpan();
      continue;
    }
    const target = plan.level;
    for (let level = topmost; level <= target; level++) {
      const number = tableNumber(tables, plan.iova, level);
      if (plan.newNumber[level] === number) continue;
      const table = plan.frames[made++] as number;
      plan.newNumber[level] = number;
      plan.newTable[level] = table;
      zeroWords(memory, table, granule);
      if (level === topmost) {
        const link = plan.links++;
        plan.linkEntries[link] = plan.entries[span] as number;
        plan.linkLevels[link] = level - 1;
        plan.linkTables[link] = table;
      } else {
        const index = (plan.iova / (tables.spans[level - 1] as number)) & tables.mask;
        tables.linkDetached((plan.newTable[level - 1] as number) + index * 8, table);
      }
    }
    store(tables, plan, (plan.newTable[target] as number) + plan.index() * 8);
  }
  if (!tables.coherent)
    for (let i = 0; i < made; i++) tables.clean(plan.frames[i] as number, granule);
}

/** Stores the leaves of the spans whose tables are linked. */
function storeLive(
  tables: LpaeTables<unknown>,
  plan: LpaeMapPlan,
  iova: number,
  runs: readonly PhysRun[],
): void {
  plan.rewind(iova, runs);
  for (let span = 0; plan.more(); span++) {
    if (plan.missing[span] !== 0) {
      plan.skipSpan();
      continue;
    }
    const entry = plan.entries[span] as number;
    const count = plan.counts[span] as number;
    if (count < 0) vacate(tables, plan.level, entry, plan.iova, -count);
    const n = store(tables, plan, entry);
    if (!tables.coherent) tables.clean(entry, n * 8);
  }
}

function store(tables: LpaeTables<unknown>, plan: LpaeMapPlan, entry: number): number {
  const leaves = plan.leaves;
  const attributes = leaves.lo;
  leaves.lo = attributes | (tables.leafTypes[plan.level] as number);
  const n = plan.storeSpan(tables.memory, entry);
  leaves.lo = attributes;
  tables.counters.stores += n;
  return n;
}

/** Drops the empty tables among `n` entries, walks through them invalidated, before blocks take their place. */
function vacate(
  tables: LpaeTables<unknown>,
  level: number,
  entry: number,
  iova: number,
  n: number,
): void {
  const memory = tables.memory;
  const size = tables.spans[level] as number;
  for (let i = firstUsed(memory, entry, n); i < n; ) {
    const lo = memory.load64(entry + i * 8);
    const hi = memory.hi;
    if ((lo & PTE_TYPE_MASK) === PTE_TYPE_TABLE)
      tables.dropTable(level, entry + i * 8, iova + i * size, tables.address(lo, hi));
    i++;
    i += firstUsed(memory, entry + i * 8, n - i);
  }
}

/** Links a finished table at `entry`; where another CPU linked one for other IOVAs meanwhile, moves the content there. */
function publish(tables: LpaeTables<unknown>, level: number, entry: number, table: number): void {
  if (tables.linkTable(entry, table, 0, 0)) return;
  const memory = tables.memory;
  const winnerLo = memory.load64(entry);
  const winner = tables.address(winnerLo, memory.hi);
  if ((winnerLo & PTE_TYPE_MASK) !== PTE_TYPE_TABLE) {
    // Two callers mapped the same IOVAs at once, which no caller may: the one that was first stays.
    tables.raiseConflict(WARN_CONFLICT);
    tables.freeTable(level + 1, table);
    return;
  }
  const n = tables.mask + 1;
  for (let i = firstUsed(memory, table, n); i < n; ) {
    const lo = memory.load64(table + i * 8);
    const hi = memory.hi;
    const at = winner + i * 8;
    if (level + 1 < LAST_LEVEL && (lo & PTE_TYPE_MASK) === PTE_TYPE_TABLE)
      publish(tables, level + 1, at, tables.address(lo, hi));
    else {
      memory.store64(at, lo, hi);
      tables.counters.stores++;
      if (!tables.coherent) tables.clean(at, 8);
    }
    i++;
    i += firstUsed(memory, table + i * 8, n - i);
  }
  tables.releaseTable(table);
}

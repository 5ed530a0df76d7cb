import type { MemoryView } from '@iommukit/platform';
import type { EntryKind, TableShape } from './table-shape.ts';

/**
 * One entry met on a walk. The object is reused: copy what is to be kept.
 * @example forEachEntry(memory, table.shape, (entry) => { if (entry.kind === 'leaf') leaves++; });
 */
export interface WalkEntry {
  level: number;
  kind: EntryKind;
  /** Physical address of the entry, of the table that holds it, and its index there. */
  at: number;
  table: number;
  index: number;
  /** First IOVA that the entry translates. */
  iova: number;
  /** The raw entry, unsigned. */
  lo: number;
  hi: number;
}

function blank(): WalkEntry {
  return { level: 0, kind: 'empty', at: 0, table: 0, index: 0, iova: 0, lo: 0, hi: 0 };
}

function load(memory: MemoryView, shape: TableShape, entry: WalkEntry): void {
  if (shape.entryBytes === 8) {
    entry.lo = memory.load64(entry.at);
    entry.hi = memory.hi;
  } else {
    entry.lo = memory.load32(entry.at);
    entry.hi = 0;
  }
  entry.kind = shape.kind(entry.level, entry.lo, entry.hi);
}

/**
 * Shows every entry from the top table down to the leaf of a page-aligned IOVA, the one that ends the walk included, and says of
 * which kind that was: `leaf` when the IOVA is mapped.
 * @example walkTable(memory, table.shape, 0x4000, (entry) => path.push(entry.level)) // 'leaf'
 */
export function walkTable(
  memory: MemoryView,
  shape: TableShape,
  iova: number,
  visit: (entry: WalkEntry) => void,
): EntryKind {
  const offset = shape.offsetOf(iova);
  const step = shape.leafLevel > shape.topLevel ? 1 : -1;
  const entry = blank();
  const topEntries = shape.entryCount(shape.topLevel);
  const inTop = Math.floor(offset / shape.entrySpan(shape.topLevel));
  let table = shape.roots[Math.floor(inTop / topEntries)];
  for (let level = shape.topLevel; table !== undefined; level += step) {
    const span = shape.entrySpan(level);
    entry.level = level;
    entry.table = table;
    entry.index = Math.floor(offset / span) % shape.entryCount(level);
    entry.at = table + entry.index * shape.entryBytes;
    entry.iova = shape.iovaAt(Math.floor(offset / span) * span);
    load(memory, shape, entry);
    visit(entry);
    if (entry.kind !== 'table' || level === shape.leafLevel) return entry.kind;
    table = shape.tableAddress(level, entry.lo, entry.hi);
  }
  return 'empty';
}

/**
 * Shows every entry that is not empty, ascending by IOVA, a table's entry before what is below it.
 * @example forEachEntry(memory, table.shape, ({ level, iova, lo, hi }) => dump(level, iova, lo, hi));
 */
export function forEachEntry(
  memory: MemoryView,
  shape: TableShape,
  visit: (entry: WalkEntry) => void,
): void {
  const rootSpan = shape.entryCount(shape.topLevel) * shape.entrySpan(shape.topLevel);
  const step = shape.leafLevel > shape.topLevel ? 1 : -1;
  const entry = blank();
  const below = (table: number, level: number, offset: number): void => {
    const count = shape.entryCount(level);
    const span = shape.entrySpan(level);
    for (let index = 0; index < count; index++) {
      entry.level = level;
      entry.table = table;
      entry.index = index;
      entry.at = table + index * shape.entryBytes;
      load(memory, shape, entry);
      if (entry.kind === 'empty') continue;
      entry.iova = shape.iovaAt(offset + index * span);
      const { kind, lo, hi } = entry;
      visit(entry);
      if (kind === 'table' && level !== shape.leafLevel)
        below(shape.tableAddress(level, lo, hi), level + step, offset + index * span);
    }
  };
  for (const [i, root] of shape.roots.entries()) below(root, shape.topLevel, i * rootSpan);
}

/**
 * One mapped page. The object is reused: copy what is to be kept.
 * @example forEachLeaf(memory, table.shape, (leaf) => pages.set(leaf.iova, leaf.paddr));
 */
export interface WalkLeaf {
  iova: number;
  paddr: number;
  /** Bytes of the page. */
  size: number;
  level: number;
  /** Its first raw entry. */
  lo: number;
  hi: number;
}

/**
 * Shows every mapped page once, ascending by IOVA; a page of several equal entries is one page.
 * @example forEachLeaf(memory, table.shape, ({ size }) => { mapped += size; });
 */
export function forEachLeaf(
  memory: MemoryView,
  shape: TableShape,
  visit: (leaf: WalkLeaf) => void,
): void {
  const leaf: WalkLeaf = { iova: 0, paddr: 0, size: 0, level: 0, lo: 0, hi: 0 };
  forEachEntry(memory, shape, (entry) => {
    if (entry.kind !== 'leaf') return;
    const { level, lo, hi } = entry;
    const copies = shape.leafSize(level, lo, hi) / shape.entrySpan(level);
    if (entry.index % copies !== 0) return;
    leaf.iova = entry.iova;
    leaf.paddr = shape.leafAddress(level, lo, hi);
    leaf.size = shape.leafSize(level, lo, hi);
    leaf.level = level;
    leaf.lo = lo;
    leaf.hi = hi;
    visit(leaf);
  });
}

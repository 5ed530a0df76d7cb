import { forEachEntry, forEachLeaf, type LpaePageTable, walkTable } from '@iommukit/io-pgtable';
import type { MemoryView } from '@iommukit/platform';

type Table = LpaePageTable<unknown>;

const FLAGS = 4096;
const HIGH_FLAGS = 65536;

/**
 * The whole tree as text, for comparison: every entry with its place and its bits; of a table descriptor all but the address, which the
 * place in the tree says.
 */
export function treeOf(memory: MemoryView, table: Table): string {
  const lines: string[] = [];
  forEachEntry(memory, table.shape, ({ level, iova, kind, lo, hi }) => {
    // A descriptor's address has bits 47:12.
    const [low, high] = kind === 'table' ? [lo % FLAGS, hi - (hi % HIGH_FLAGS)] : [lo, hi];
    lines.push(`${level}:${iova.toString(16)}=${high.toString(16)}:${low.toString(16)}`);
  });
  return lines.join('\n');
}

/** Where each granule translates to, as the tables in memory say. */
export function pagesOf(memory: MemoryView, table: Table): Map<number, number> {
  const pages = new Map<number, number>();
  forEachLeaf(memory, table.shape, ({ iova, paddr, size }) => {
    for (let at = 0; at < size; at += table.granule) pages.set(iova + at, paddr + at);
  });
  return pages;
}

/** How many pages of [iova, iova + bytes) the tables map. */
export function mappedPages(memory: MemoryView, table: Table, iova: number, bytes: number): number {
  let mapped = 0;
  for (let at = iova; at < iova + bytes; at += table.granule)
    if (walkTable(memory, table.shape, at, () => {}) === 'leaf') mapped++;
  return mapped;
}

/** Physical addresses of all tables that a walker can reach. */
export function reachableTables(memory: MemoryView, table: Table): Set<number> {
  const tables = new Set<number>([table.base]);
  forEachEntry(memory, table.shape, ({ level, kind, lo, hi }) => {
    if (kind === 'table') tables.add(table.shape.tableAddress(level, lo, hi));
  });
  return tables;
}

import { forEachEntry, type TableShape } from '@iommukit/io-pgtable';
import type { PhysicalMemory } from '@iommukit/platform';
import { hex, type JsonRow, wordOf } from './vector-values.lanes.ts';

/** Runs of leaves whose words grow evenly become one item. */
function runLengths(entries: readonly (readonly [number, bigint | JsonRow])[]): unknown[] {
  const rows: unknown[] = [];
  for (let i = 0; i < entries.length; ) {
    const [index, value] = entries[i] as (typeof entries)[number];
    let count = 1;
    let step = 0n;
    for (; typeof value === 'bigint' && i + count < entries.length; count++) {
      const [at, next] = entries[i + count] as (typeof entries)[number];
      if (at !== index + count || typeof next !== 'bigint') break;
      if (count === 1 && next > value) step = next - value;
      if (next !== value + step * BigInt(count)) break;
    }
    const first = typeof value === 'bigint' ? hex(value) : value;
    rows.push(count > 1 ? [index, first, count, hex(step)] : [index, first]);
    i += count;
  }
  return rows;
}

/**
 * All tables that can be reached, as a checkpoint lists them. `addressBits` are the bits of a table descriptor that carry its table's
 * address.
 */
export function writeCheckpoint(
  tables: { readonly memory: PhysicalMemory; tableOf(pa: number): number },
  shape: TableShape,
  addressBits: (pa: bigint) => bigint,
): JsonRow {
  const step = shape.leafLevel > shape.topLevel ? 1 : -1;
  const found = new Map<number, { level: number; entries: [number, bigint | JsonRow][] }>();
  const add = (pa: number, level: number): void => {
    found.set(tables.tableOf(pa), { level, entries: [] });
  };
  for (const root of shape.roots) add(root, shape.topLevel);
  forEachEntry(tables.memory, shape, ({ table: at, index, level, kind, lo, hi }) => {
    const word = wordOf(lo, hi);
    const entries = found.get(tables.tableOf(at))?.entries;
    if (kind !== 'table') {
      entries?.push([index, word]);
      return;
    }
    const pa = shape.tableAddress(level, lo, hi);
    const attrs = hex(word & ~addressBits(BigInt(pa)));
    entries?.push([index, { table: tables.tableOf(pa), attrs, raw: hex(word) }]);
    add(pa, level + step);
  });
  const rows = [...found].sort(([a], [b]) => a - b);
  return {
    op: 'checkpoint',
    tables: rows.map(([number, { level, entries }]) => [number, level, runLengths(entries)]),
  };
}

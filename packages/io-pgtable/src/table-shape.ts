/**
 * What one entry is: nothing, a pointer to a table, a leaf (a page or block, or one of the copies of a contiguous page), or a value
 * that the format does not have.
 * @example shape.kind(3, lo, hi) === 'leaf'
 */
export type EntryKind = 'empty' | 'table' | 'leaf' | 'invalid';

/**
 * How the tables of a format look to somebody who only reads them: dumps, iteration, checks. Everything is computed from the raw
 * words, so it serves tables that somebody else wrote too. Addresses, sizes in bytes; raw entries as unsigned lanes (`hi` is 0
 * where entries have 32 bits). Levels have the numbers of the format's own field.
 * @example forEachEntry(memory, table.shape, (entry) => print(entry.level, entry.iova, entry.lo, entry.hi));
 */
export interface TableShape {
  /** Bytes of an entry. */
  readonly entryBytes: 4 | 8;
  /** Level of the top tables. */
  readonly topLevel: number;
  /** Level of the tables whose entries are all leaves. */
  readonly leafLevel: number;
  /** Top tables, ascending by IOVA; more than one only where the device has several base registers for one table. */
  readonly roots: readonly number[];
  /** Entries of a table of a level (of each root, at the top level). */
  entryCount(level: number): number;
  /** Bytes of IOVA that one entry of a level spans. */
  entrySpan(level: number): number;
  /** What the entry is. */
  kind(level: number, lo: number, hi: number): EntryKind;
  /** Where the table is that a table entry points to. */
  tableAddress(level: number, lo: number, hi: number): number;
  /** First output address of the page that a leaf entry belongs to. */
  leafAddress(level: number, lo: number, hi: number): number;
  /** Size of the page that a leaf entry belongs to: a multiple of the entry's span where pages take several equal entries. */
  leafSize(level: number, lo: number, hi: number): number;
  /** The IOVA that the entries select at `offset` bytes from the start of the first root, as devices send it (upper half, sign). */
  iovaAt(offset: number): number;
  /** The offset that `iova` selects: what `iovaAt` came from, the bits that no level looks at removed. `iova` is page-aligned. */
  offsetOf(iova: number): number;
}

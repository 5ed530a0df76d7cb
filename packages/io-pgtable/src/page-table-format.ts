import type { PageTable } from './page-table.ts';

/**
 * A page-table format: an imported value that makes tables of its kind, so that a program which imports one format bundles no
 * other. `C` is what it is configured with, `T` the table that it makes.
 *
 * To write a further format, describe its entries to an algorithm that is here (`lpaeFormat`, `genericFormat`), or implement
 * `PageTable` and this interface; the contract suite (`@iommukit/io-pgtable/contract`) tests either.
 * @example createPageTable(arm64LpaeS1, config)
 */
export interface PageTableFormat<C, T extends PageTable> {
  /** The name that Linux's enumeration gives it, in lower case. */
  readonly name: string;
  /** A new empty table, or a negative errno; what was allocated on the way is freed again. */
  create(config: C): T | number;
}

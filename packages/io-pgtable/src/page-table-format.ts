import type { PageTable } from './page-table.ts';

/**
 * A page-table format: an imported value that makes tables of its kind, so that a program which imports one format bundles no
 * other. `C` is what it is configured with, `T` the table that it makes. A value has no state of its own: any number of tables may
 * be made with one.
 *
 * To write a further format, describe its entries to an algorithm that is here (`lpaeFormat`, `genericFormat`), or implement
 * `PageTable`, `TableShape` and this interface; the contract suite (`@iommukit/io-pgtable/contract`) tests either, and its
 * `ContractTraits` are the list of what a format may choose. `C` may be `PageTableConfig` or any other object; fields that have a
 * name of that are checked by `createPageTable` before `create` sees them, others are the format's to check.
 * @example createPageTable(arm64LpaeS1, config)
 */
export interface PageTableFormat<C, T extends PageTable> {
  /** The name that Linux's enumeration gives it, in lower case. */
  readonly name: string;
  /**
   * A new table that maps nothing, or a negative errno: -EINVAL for a configuration that no device of the format has, -ENOMEM without
   * a frame; what was allocated on the way is freed again. Frames come with undefined content from `frames.alloc(bytes)`, aligned to
   * `bytes`; the top table is zeroed here, and cleaned where walks are not coherent, since a device may be pointed to it next.
   */
  create(config: C): T | number;
}

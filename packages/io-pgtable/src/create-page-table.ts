import { checkConfig, PageTableConfigError } from './check-config.ts';
import type { PageTable } from './page-table.ts';
import type { PageTableFormat } from './page-table-format.ts';

/**
 * Makes an empty page table (`alloc_io_pgtable_ops`, `pt_iommu_*_init`). Where the kernel returns NULL, this returns why: -EINVAL,
 * the format has no such granule, size or quirk; -ENOMEM, no frame for the top table. Generic formats return their own errno.
 * What cannot be a configuration at all, or a format, throws {@link PageTableConfigError}.
 * @example
 * const table = createPageTable(arm64LpaeS1, config);
 * if (typeof table === 'number') return table;
 */
export function createPageTable<C, T extends PageTable>(
  format: PageTableFormat<C, T>,
  config: C,
): T | number {
  if (typeof format?.create !== 'function')
    throw new PageTableConfigError({ field: 'format', value: format });
  const errno = checkConfig(config);
  return errno === 0 ? format.create(config) : errno;
}

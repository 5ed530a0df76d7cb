import { ERRNO } from '@iommukit/platform';
import { LpaePageTable, topTableBytes } from './lpae-page-table.lanes.ts';
import type { PageTableConfig, QuirkName } from './page-table-config.ts';
import type { PageTableFormat } from './page-table-format.ts';

/**
 * Makes an empty page table (`alloc_io_pgtable_ops`; where the kernel returns NULL, this returns why). -EINVAL: the format has no
 * such granule, output size or quirk; -ENOMEM: no frame for the top table.
 * @example
 * const table = createPageTable(arm64LpaeS1, config);
 * if (typeof table === 'number') return table;
 */
export function createPageTable(
  format: PageTableFormat,
  config: PageTableConfig,
): LpaePageTable | number {
  const quirks = config.quirks ?? {};
  for (const name of Object.keys(quirks) as QuirkName[])
    if (quirks[name] && !format.quirks.includes(name)) return -ERRNO.EINVAL;
  const { pgsizeBitmap, ias, oas, cpuPageSize = 4096 } = config;
  const geometry = format.geometry({ pgsizeBitmap, ias, oas, cpuPageSize });
  if (geometry === undefined) return -ERRNO.EINVAL;
  const registers = format.registers(geometry, config);
  if (registers === undefined) return -ERRNO.EINVAL;
  const ttbr = config.frames.alloc(topTableBytes(geometry));
  if (ttbr < 0) return -ERRNO.ENOMEM;
  return new LpaePageTable(format, geometry, config, { registers, ttbr });
}

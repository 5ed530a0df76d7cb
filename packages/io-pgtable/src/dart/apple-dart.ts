import { ctz, SZ_4K, SZ_16K } from '@iommukit/bits';
import { ERRNO } from '@iommukit/platform';
import type { PageTableConfig } from '../page-table-config.ts';
import type { PageTableFormat } from '../page-table-format.ts';
import { DART1_ENTRIES, DART2_ENTRIES, type DartEntries } from './dart-entries.ts';
import { type DartGeometry, DartPageTable } from './dart-page-table.lanes.ts';

/** Most levels of tables below the base registers. */
const MAX_LEVELS = 3;
/** Index bits that base registers may stand for: four of them with 4 KiB pages, one with 16 KiB. */
const TTBR_BITS_4K = 2;
const TTBR_BITS_16K = 0;

/**
 * A DART format.
 * @example const format: DartFormat = appleDart;
 */
export interface DartFormat extends PageTableFormat<PageTableConfig, DartPageTable> {
  /**
   * A further handle on tables that exist, with the top tables at `roots`: for another worker that maps into the same table (give
   * it the same configuration, and its own flush ops), or for tables found in memory. Nothing is written. Only one handle may
   * `free`. -EINVAL also when there are not as many roots as the configuration has base registers.
   */
  attach(config: PageTableConfig, roots: readonly number[]): DartPageTable | number;
}

/** Levels and base registers (`apple_dart_alloc_pgtable`); `undefined` where Linux refuses. */
function geometry(config: PageTableConfig): DartGeometry | undefined {
  const { pgsizeBitmap: granule, ias, oas, coherentWalk, cpuPageSize = SZ_4K } = config;
  if (!coherentWalk || (oas !== 36 && oas !== 42) || ias > oas) return undefined;
  if (granule !== SZ_4K && granule !== SZ_16K) return undefined;
  const shift = ctz(granule);
  const bitsPerLevel = shift - 3;
  const maxTtbrBits = granule === SZ_4K ? TTBR_BITS_4K : TTBR_BITS_16K;
  const levels = Math.max(2, Math.ceil((ias - shift - maxTtbrBits) / bitsPerLevel));
  if (levels > MAX_LEVELS) return undefined;
  const ttbrBits = Math.max(0, ias - shift - bitsPerLevel * levels);
  if (ttbrBits > maxTtbrBits) return undefined;
  // Tables come from the page allocator, which rounds up.
  const tableBytes = Math.max(granule, cpuPageSize);
  return { granule, levels, bitsPerLevel, nTtbrs: 2 ** ttbrBits, tableBytes };
}

/** The top tables, or none when there are not enough frames. */
function allocRoots({ frames }: PageTableConfig, { nTtbrs, tableBytes }: DartGeometry): number[] {
  const roots: number[] = [];
  for (let i = 0; i < nTtbrs; i++) {
    const root = frames.alloc(tableBytes);
    if (root < 0) {
      for (const taken of roots) frames.free(taken, tableBytes);
      return [];
    }
    roots.push(root);
  }
  return roots;
}

function dartFormat(name: string, entries: DartEntries): DartFormat {
  return {
    name,
    create(config) {
      const shape = geometry(config);
      if (shape === undefined) return -ERRNO.EINVAL;
      const roots = allocRoots(config, shape);
      if (roots.length === 0) return -ERRNO.ENOMEM;
      const table = new DartPageTable(config, entries, shape, roots);
      table.zeroTop();
      return table;
    },
    attach(config, roots) {
      const shape = geometry(config);
      if (shape === undefined || roots.length !== shape.nTtbrs) return -ERRNO.EINVAL;
      return new DartPageTable(config, entries, shape, roots);
    },
  };
}

/**
 * Apple DART, first generation (`APPLE_DART`): 4 KiB or 16 KiB pages, output addresses of 36 bits. Quirks are not looked at, as in
 * the kernel; walks must be coherent.
 * @example const table = createPageTable(appleDart, { ...config, pgsizeBitmap: SZ_16K, ias: 32, oas: 36 });
 */
export const appleDart: DartFormat = dartFormat('apple-dart', DART1_ENTRIES);

/**
 * Apple DART, second generation (`APPLE_DART2`): output addresses of up to 42 bits. Entries have no room for address bits 13:12: made
 * for 16 KiB pages.
 * @example const table = createPageTable(appleDart2, { ...config, pgsizeBitmap: SZ_16K, ias: 42, oas: 42 });
 */
export const appleDart2: DartFormat = dartFormat('apple-dart2', DART2_ENTRIES);

import type { U64 } from '@iommukit/bits';
import { ERRNO } from '@iommukit/platform';
import type { PageTableConfig, PageTableQuirks, QuirkName } from '../page-table-config.ts';
import type { PageTableFormat } from '../page-table-format.ts';
import type { GeometryRequest, LpaeGeometry } from './lpae-geometry.ts';
import { LpaePageTable } from './lpae-page-table.lanes.ts';
import { topTableBytes } from './lpae-tables.lanes.ts';

/**
 * How the entries of one format of the long-descriptor family look. Walking, mapping, unmapping and freeing are written once
 * (`LpaePageTable`) and take everything that differs between the formats from here; none of it runs in a walk: the algorithm reads
 * it once, at creation. `R` holds the register values of a table.
 *
 * What the algorithm assumes of every format: entries are doublewords, zero is invalid, bits 1:0 tell a table (3, above level 3)
 * from a leaf (`leafTypes`), and the output address stands in bits 47:12, with bits 51:48 in 15:12 for the 64 KiB granule
 * (DDI 0487 D8.3).
 * @example const format = lpaeFormat(entries); const table = createPageTable(format, config);
 */
export interface LpaeEntries<R> {
  /** The name that Linux's enumeration gives the format, in lower case. */
  readonly name: string;
  /** Quirks it implements; a configuration with any other is refused. */
  readonly quirks: readonly QuirkName[];
  /** Value of bits 1:0 of a leaf, by level. */
  readonly leafTypes: readonly number[];
  /** `readAndClearDirty` reads the entries; absent: it refuses every range. */
  readonly dirtyTracking?: boolean;
  /** Granule and levels, or `undefined` to refuse; `warn` raises a warning. */
  geometry(request: GeometryRequest, warn: (text: string) => void): LpaeGeometry | undefined;
  /** What computes the register values from the top table's address, or `undefined` to refuse. */
  registers(geometry: LpaeGeometry, config: PageTableConfig): ((base: number) => R) | undefined;
  /** Everything of a leaf but its type and address, for one `prot`. */
  leafAttributes(prot: number, quirks: PageTableQuirks): U64;
  /** Everything of a table entry but its type and address. */
  tableAttributes(quirks: PageTableQuirks): U64;
}

/**
 * A format of the long-descriptor family.
 * @example const format: LpaeFormat<StageOneRegisters> = arm64LpaeS1;
 */
export interface LpaeFormat<R> extends PageTableFormat<PageTableConfig, LpaePageTable<R>> {
  /** Quirks it implements. */
  readonly quirks: readonly QuirkName[];
  /**
   * A further handle on tables that exist, with the top at `base`: for another worker that maps into the same table (give it the
   * same configuration, and its own flush ops), or for tables found in memory. Nothing is written. Only one handle may `free`.
   */
  attach(config: PageTableConfig, base: number): LpaePageTable<R> | number;
}

/**
 * Makes a format of the long-descriptor family from a description of its entries.
 * @example const arm64LpaeS1 = lpaeFormat({ name: 'arm-64-lpae-s1', ...entries });
 */
export function lpaeFormat<R>(entries: LpaeEntries<R>): LpaeFormat<R> {
  const make = (config: PageTableConfig, existing: number): LpaePageTable<R> | number => {
    const quirks = config.quirks ?? {};
    for (const name of Object.keys(quirks) as QuirkName[])
      if (quirks[name] && !entries.quirks.includes(name)) return -ERRNO.EINVAL;
    const { pgsizeBitmap, ias, oas, cpuPageSize = 4096 } = config;
    const request = { pgsizeBitmap, ias, oas, cpuPageSize };
    const geometry = entries.geometry(request, (text) => config.warn?.(text));
    if (geometry === undefined) return -ERRNO.EINVAL;
    const registers = entries.registers(geometry, config);
    if (registers === undefined) return -ERRNO.EINVAL;
    const fresh = existing < 0;
    const base = fresh ? config.frames.alloc(topTableBytes(geometry)) : existing;
    if (base < 0) return -ERRNO.ENOMEM;
    const table = new LpaePageTable(entries, geometry, config, {
      base,
      registers: registers(base),
    });
    if (fresh) table.zeroTop();
    return table;
  };
  return {
    name: entries.name,
    quirks: entries.quirks,
    create: (config) => make(config, -1),
    attach: (config, base) => make(config, base),
  };
}

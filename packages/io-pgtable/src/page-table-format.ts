import type { U64 } from '@iommukit/bits';
import type { GeometryRequest, LpaeGeometry } from './lpae-geometry.ts';
import type { PageTableConfig, PageTableQuirks, QuirkName } from './page-table-config.ts';

/**
 * Fields of TCR for one half of the space, as they stand in a context descriptor too.
 * @example table.tcr.tsz // 16 for 48 input address bits
 */
export interface TcrFields {
  /** Granule, in the encoding of TG0, or of TG1 with the `ttbr1` quirk. */
  readonly tg: number;
  /** 64 minus the input address bits. */
  readonly tsz: number;
  /** Inner cacheability of walks: 0 non-cacheable, 1 write-back write-allocate. */
  readonly irgn: number;
  /** Outer cacheability of walks. */
  readonly orgn: number;
  /** Shareability of walks: 2 outer, 3 inner. */
  readonly sh: number;
  /** Output address size, encoded. */
  readonly ips: number;
}

/** Register values that a format computes before the top table exists. @example const { tcr, mair }: TableRegisters = table; */
export interface TableRegisters {
  readonly tcr: TcrFields;
  /** Memory attributes, eight bytes by AttrIndx. */
  readonly mair: U64;
}

/**
 * How the entries of one page-table format look. Walking, mapping, unmapping and freeing are written once (`LpaePageTable`) and
 * take everything that differs between formats from here; none of it runs in a walk: the algorithm reads it once, at creation.
 *
 * What the algorithm assumes of every format: entries are doublewords, zero is invalid, bits 1:0 tell a table (3, above level 3)
 * from a leaf (`leafTypes`), and the output address stands in bits 47:12, with bits 51:48 in 15:12 for the 64 KiB granule
 * (DDI 0487 D8.3).
 * @example createPageTable(arm64LpaeS1, config)
 */
export interface PageTableFormat {
  /** The name that Linux's enumeration gives it, in lower case. */
  readonly name: string;
  /** Quirks it implements; a configuration with any other is refused. */
  readonly quirks: readonly QuirkName[];
  /** Value of bits 1:0 of a leaf, by level. */
  readonly leafTypes: readonly number[];
  /** Granule and levels, or `undefined` to refuse. */
  geometry(request: GeometryRequest): LpaeGeometry | undefined;
  /** Register values, or `undefined` to refuse. */
  registers(geometry: LpaeGeometry, config: PageTableConfig): TableRegisters | undefined;
  /** Everything of a leaf but its type and address, for one `prot`. */
  leafAttributes(prot: number, quirks: PageTableQuirks): U64;
  /** Everything of a table entry but its type and address. */
  tableAttributes(quirks: PageTableQuirks): U64;
}

import type { U64 } from '@iommukit/bits';
import type { GenericConfig, GenericFeature } from './generic-config.ts';

/** Asks whether a feature is in force. @example const bits = has('AMDV1_FORCE_COHERENCE') ? 1 : 0; */
export type HasFeature = (name: GenericFeature) => boolean;

/**
 * How the entries of one format of the generic family look. Walking, mapping, unmapping, dirty tracking, growing and freeing are
 * written once (`GenericPageTable`) and take everything that differs from here; all of it is read at creation, so that no call of the
 * format happens in a walk. `H` is what the driver tells the device (`hw_info`).
 *
 * What the algorithm assumes: entries are doublewords in tables of 4 KiB, bits 11:0 tell what an entry is, the output address is one
 * field of the word, and a page of several entries repeats one word.
 * @example const format = genericFormat(entries); const table = createPageTable(format, config);
 */
export interface GenericEntries<H> {
  /** The name of the format, as Linux's files have it. */
  readonly name: string;
  /** Smallest page, exponent. */
  readonly granuleLg2: number;
  /** Largest input and output address, bits. */
  readonly maxVaszLg2: number;
  readonly maxOaszLg2: number;
  /** Highest level of a table; the highest level with leaves. */
  readonly maxTopLevel: number;
  readonly maxLeafLevel: number;
  /** Features that may be asked for, and those that must be. */
  readonly supported: readonly GenericFeature[];
  readonly forced: readonly GenericFeature[];
  /** Where the output address stands: the word holds address * `scale`, in the bits of `lo` and `hi`. */
  readonly address: { readonly lo: number; readonly hi: number; readonly scale: number };
  /** An entry is present as soon as any bit is set, not only by bits 11:0. */
  readonly presentWhenNotZero: boolean;
  /**
   * Bits that are all set in a page of several entries, and how its address field codes the size: by the lowest zero bit (ones below
   * the bit of half the page), or by the lowest set bit. Absent: no such pages.
   */
  readonly contiguous?: {
    readonly lo: number;
    readonly hi: number;
    readonly lowest: 'zero' | 'one';
  };
  /** Bits of the low lane: the page was written; the cache maintenance of a table entry is done. 0: the format has none. */
  readonly dirty: number;
  readonly flushed: number;
  /** Entries of a table of a level, exponent. */
  itemsLg2(level: number): number;
  /** Top level and input size, or a negative errno. */
  geometry(config: GenericConfig, has: HasFeature): GenericGeometry | number;
  /** Page sizes of a level (with the sizes of several entries): the sum of powers of two, bytes. */
  pageSizes(level: number, has: HasFeature): number;
  /** What a present entry is, by its bits 11:0. */
  kind(level: number, low: number): 'empty' | 'table' | 'leaf';
  /** What a page of 2^sizeLg2 bytes at a level adds to the word, the code of its size in the address field included. */
  leafBits(level: number, sizeLg2: number): U64;
  /** Everything else of a leaf but the address, for one `prot`, or a negative errno. */
  leafAttributes(prot: number, has: HasFeature, sme: U64): U64 | number;
  /** Everything of a table entry but the address, for an entry in a table of `level`. */
  tableAttributes(level: number, has: HasFeature, sme: U64): U64;
  /** What the driver tells the device. */
  hwInfo(top: number, topLevel: number): H;
}

/**
 * Top level and input address size of a table.
 * @example const geometry: GenericGeometry = { topLevel: 3, maxVaszLg2: 48 };
 */
export interface GenericGeometry {
  readonly topLevel: number;
  readonly maxVaszLg2: number;
}

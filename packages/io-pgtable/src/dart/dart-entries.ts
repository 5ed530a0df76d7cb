import { IOMMU_CACHE, IOMMU_READ, IOMMU_WRITE } from '../prot.ts';

// Entries of Apple's DART, 64 bits wide, as Linux uses them (`io-pgtable-dart.c`); there is no public specification.

/** Bit 0, tables and leaves. */
export const DART_VALID = 1;
/** High lane of every leaf: the subpage range that may be accessed, start 0 in bits 63:52, end 0xfff in bits 51:40. */
export const DART_HI_WHOLE_PAGE = 0x000f_ff00;
/** First generation: no subpage protection, on every leaf. */
const DART1_SP_DISABLE = 0x2;
const DART1_NO_WRITE = 0x80;
const DART1_NO_READ = 0x100;
/** Second generation. */
const DART2_NO_CACHE = 0x2;
const DART2_NO_WRITE = 0x4;
const DART2_NO_READ = 0x8;

/**
 * How the entries of one generation look.
 * @internal
 */
export interface DartEntries {
  /** What an address is divided by before it is put into the entry. */
  readonly divisor: number;
  /** Which bits of the result the entry has, by lane. */
  readonly maskLo: number;
  readonly maskHi: number;
  /** Low bits of a leaf, for one `prot`. */
  leafAttributes(prot: number): number;
}

/** Tells whether `prot` lacks a flag, as the value 1 or 0. */
function lacks(prot: number, flag: number): number {
  return Math.floor(prot / flag) % 2 === 0 ? 1 : 0;
}

/** First generation (t8103): address bits 35:12 in place. */
export const DART1_ENTRIES: DartEntries = {
  divisor: 1,
  maskLo: 0xffff_f000,
  maskHi: 0xf,
  leafAttributes: (prot) =>
    DART_VALID +
    DART1_SP_DISABLE +
    DART1_NO_WRITE * lacks(prot, IOMMU_WRITE) +
    DART1_NO_READ * lacks(prot, IOMMU_READ),
};

/** Second generation (t6000): address bits 41:14 in bits 37:10. */
export const DART2_ENTRIES: DartEntries = {
  divisor: 16,
  maskLo: 0xffff_fc00,
  maskHi: 0x3f,
  leafAttributes: (prot) =>
    DART_VALID +
    DART2_NO_CACHE * lacks(prot, IOMMU_CACHE) +
    DART2_NO_WRITE * lacks(prot, IOMMU_WRITE) +
    DART2_NO_READ * lacks(prot, IOMMU_READ),
};

/**
 * Geometry of one granule. Arrays by level are indexed 0 to 3; the granule is the size of a page and of a table.
 * DDI 0487 D8.2, D8.7.1.
 * @example const g: GranuleGeometry = GRANULE_4K; g.entryBytes[2] // 2 MiB
 */
export interface GranuleGeometry {
  /** Bytes of a page and of a full table. */
  readonly bytes: number;
  /** log2 of `bytes`. */
  readonly shift: number;
  /** Index bits of a full table. */
  readonly stride: number;
  /** Bytes that one entry covers, by level. */
  readonly entryBytes: readonly [number, number, number, number];
  /** Lowest level number at which a leaf is allowed with addresses up to 48 bits. */
  readonly leafLevel: 1 | 2;
  /** The same with 52-bit addresses (64 KiB granule) or DS=1 (4 KiB, 16 KiB). */
  readonly leafLevel52: 0 | 1;
  /** Entries of a Contiguous run, by level; 0 where the bit has no meaning. */
  readonly contiguous: readonly [number, number, number, number];
  /** TG0 and S2TG. */
  readonly tg0: number;
  /** TG1. */
  readonly tg1: number;
  /** TG of a range TLB invalidation. */
  readonly tlbiTg: number;
}

/** 4 KiB granule: 9 bits a level. @example GRANULE_4K.entryBytes[1] // 2 ** 30 */
export const GRANULE_4K: GranuleGeometry = {
  bytes: 0x1000,
  shift: 12,
  stride: 9,
  entryBytes: [2 ** 39, 2 ** 30, 2 ** 21, 2 ** 12],
  leafLevel: 1,
  leafLevel52: 0,
  contiguous: [0, 16, 16, 16],
  tg0: 0,
  tg1: 2,
  tlbiTg: 1,
};

/** 16 KiB granule: 11 bits a level. @example GRANULE_16K.entryBytes[2] // 2 ** 25 */
export const GRANULE_16K: GranuleGeometry = {
  bytes: 0x4000,
  shift: 14,
  stride: 11,
  entryBytes: [2 ** 47, 2 ** 36, 2 ** 25, 2 ** 14],
  leafLevel: 2,
  leafLevel52: 1,
  contiguous: [0, 0, 32, 128],
  tg0: 2,
  tg1: 1,
  tlbiTg: 2,
};

/** 64 KiB granule: 13 bits a level, no level 0. @example GRANULE_64K.entryBytes[2] // 2 ** 29 */
export const GRANULE_64K: GranuleGeometry = {
  bytes: 0x10000,
  shift: 16,
  stride: 13,
  entryBytes: [2 ** 55, 2 ** 42, 2 ** 29, 2 ** 16],
  leafLevel: 2,
  leafLevel52: 1,
  contiguous: [0, 0, 32, 32],
  tg0: 1,
  tg1: 3,
  tlbiTg: 3,
};

/** The geometry of a granule in bytes, undefined for another size. @example granuleGeometry(0x4000) === GRANULE_16K */
export function granuleGeometry(bytes: number): GranuleGeometry | undefined {
  if (bytes === 0x1000) return GRANULE_4K;
  if (bytes === 0x4000) return GRANULE_16K;
  return bytes === 0x10000 ? GRANULE_64K : undefined;
}

/**
 * Level at which a stage 1 walk starts, -1 to 3, for TxSZ within the range of the granule. DDI 0487 D8.2.
 * @example startLevel(GRANULE_4K, 25) // 1
 */
export function startLevel(granule: GranuleGeometry, txsz: number): number {
  return 4 - Math.ceil((64 - txsz - granule.shift) / granule.stride);
}

/**
 * Level at which a stage 2 walk starts, by S2SL0 and S2SL0_2 (as bit 2 of `sl`); undefined when reserved. Whether the feature
 * that a code needs (STT, DS) is there is not checked. DDI 0487 D8.2.2.
 * @example s2StartLevel(GRANULE_4K, 2) // 0
 */
export function s2StartLevel(granule: GranuleGeometry, sl: number): number | undefined {
  if (granule.shift === 12) return [2, 1, 0, 3, -1][sl];
  if (sl === 3) return granule.shift === 14 ? 0 : undefined;
  return [3, 2, 1][sl];
}

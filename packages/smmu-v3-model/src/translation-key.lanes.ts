/*
 * Keys of cached translations: page-aligned addresses made dense, so that lookups cost no remainder of doubles
 * (IHI 0070 3.4.1: VA bit 55 selects the half).
 * Not modelled: addresses above 52 bits in either half.
 */

const TWO32 = 0x1_0000_0000;
const HALF = 2 ** 52;
const BIT55 = 2 ** 55;
const TAG = 2 ** 56;

/** The key of a page-aligned address: its low 52 bits, and which half it lies in by bit 55 (so that TBI tags do not matter). Valid for 0 <= page < 2^64. */
export function lookupKey(page: number): number {
  if (page < HALF) return page;
  return (page % HALF) + (page % TAG >= BIT55 ? HALF : 0);
}

/** The canonical page-aligned address of a key, 0 <= key < 2^53. */
export function keyToIova(key: number): number {
  return key < HALF ? key : key - HALF + (2 ** 64 - HALF);
}

/** True when bit 55 of a page-aligned address is set: the upper half. Valid for 0 <= page < 2^64. */
export function isUpper(page: number): boolean {
  return page >= HALF && page % TAG >= BIT55;
}

/** Rounds down to a multiple of a power of two; 0 <= value < 2^64, 4096 <= size <= 2^52. */
export function alignKey(value: number, size: number): number {
  const hi = (value / TWO32) >>> 0;
  // The operand of `-` is a power of two up to 2^31, or wraps to it: its complement masks the lane.
  if (size < TWO32) return hi * TWO32 + (((value >>> 0) & -size) >>> 0);
  return ((hi & -(size / TWO32)) >>> 0) * TWO32;
}

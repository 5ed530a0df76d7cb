/**
 * Rounds `value` down to a multiple of `size` (a power of two); units are the caller's.
 * Valid range: every exact integer 0 <= value < 2^64.
 * @example alignDown(0x1fff, 0x1000) // 0x1000
 */
export function alignDown(value: number, size: number): number {
  return value - (value % size);
}

/**
 * Rounds `value` up to a multiple of `size` (a power of two); the result may be 2^64, an exclusive end.
 * Valid range: every exact integer 0 <= value < 2^64 whose multiple is exact too.
 * @example alignUp(0x1001, 0x1000) // 0x2000
 */
export function alignUp(value: number, size: number): number {
  const rest = value % size;
  return rest === 0 ? value : value - rest + size;
}

/**
 * True when `value` is a multiple of `size`. Valid range: every exact integer 0 <= value < 2^64.
 * @example isAligned(0x3000, 0x1000) // true
 */
export function isAligned(value: number, size: number): boolean {
  return value % size === 0;
}

/**
 * True for 1, 2, 4 ... 2^63; false for zero, fractions and negative numbers. Valid range: every number.
 * @example isPowerOfTwo(4096) // true
 */
export function isPowerOfTwo(value: number): boolean {
  return value >= 1 && Number.isInteger(Math.log2(value)) && 2 ** Math.log2(value) === value;
}

/**
 * floor(log2 n) (the kernel's `__fls`). Valid range: every exact integer 1 <= n < 2^64.
 * @example log2Floor(4097) // 12
 */
export function log2Floor(n: number): number {
  const hi = (n / 0x1_0000_0000) >>> 0;
  return hi === 0 ? 31 - Math.clz32(n >>> 0) : 63 - Math.clz32(hi);
}

/**
 * ceil(log2 n) (the kernel's `order_base_2`). Valid range: every exact integer 1 <= n < 2^64.
 * @example log2Ceil(4097) // 13
 */
export function log2Ceil(n: number): number {
  const floor = log2Floor(n);
  return 2 ** floor === n ? floor : floor + 1;
}

/**
 * Number of trailing zero bits (the kernel's `__ffs`). Valid range: every exact integer 1 <= n < 2^64.
 * @example ctz(0x20_0000) // 21
 */
export function ctz(n: number): number {
  const lo = n >>> 0;
  if (lo !== 0) return 31 - Math.clz32(lo & -lo);
  const hi = (n / 0x1_0000_0000) >>> 0;
  return 63 - Math.clz32(hi & -hi);
}

/**
 * The smallest power of two that is at least n. Valid range: every exact integer 1 <= n <= 2^63.
 * @example roundUpPowerOfTwo(5) // 8
 */
export function roundUpPowerOfTwo(n: number): number {
  return 2 ** log2Ceil(n);
}

/**
 * Index of `value` in a table whose entries each span `entrySize` bytes and which has `mask + 1` entries.
 * Division, not `>>`: a shift drops the bits above 31. Valid range: every exact integer 0 <= value < 2^64, `entrySize` a power of two,
 * and `mask` one less than a power of two, below 2^31.
 * @example indexAt(0x40_1000, 4096, 511) // 1
 */
export function indexAt(value: number, entrySize: number, mask: number): number {
  const q = value / entrySize;
  // ToInt32 is exact modulo 2^32 and drops the fraction, so the mask sees the right low bits.
  return q & mask;
}

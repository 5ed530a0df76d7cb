/**
 * A 64-bit value as two unsigned 32-bit lanes.
 * @example const word: U64 = { lo: 0x479f300b, hi: 0 };
 */
export interface U64 {
  readonly lo: number;
  readonly hi: number;
}

const TWO32 = 0x1_0000_0000;

/**
 * Joins two lanes. Valid range: all integers, taken modulo 2^32.
 * @example u64(-1, 0) // { lo: 0xffffffff, hi: 0 }
 */
export function u64(lo: number, hi: number): U64 {
  return { lo: lo >>> 0, hi: hi >>> 0 };
}

/**
 * The low 32 bits of a non-negative integer below 2^64 that a double holds exactly.
 * Valid range: every integer 0 <= n < 2^53, and every multiple of 2^11 below 2^64.
 * @example loOf(0x1_0000_1000) // 0x1000
 */
export function loOf(n: number): number {
  return n >>> 0;
}

/**
 * The high 32 bits of a non-negative integer below 2^64. Valid range: that of {@link loOf}.
 * @example hiOf(0x1_0000_1000) // 1
 */
export function hiOf(n: number): number {
  return (n / TWO32) >>> 0;
}

/**
 * The number that two lanes make. Valid range: all lanes, taken modulo 2^32; exact below 2^53 and for every multiple of 2^11, rounded elsewhere.
 * @example fromLanes(0x1000, 1) // 0x1_0000_1000
 */
export function fromLanes(lo: number, hi: number): number {
  return (hi >>> 0) * TWO32 + (lo >>> 0);
}

/**
 * Splits a number into lanes. Valid range: that of {@link loOf}.
 * @example u64Of(0x1_0000_1000) // { lo: 0x1000, hi: 1 }
 */
export function u64Of(n: number): U64 {
  return { lo: loOf(n), hi: hiOf(n) };
}

/**
 * The slow form, for text, JSON and tests. Valid for any two lanes.
 * @example toBigInt(u64(0, 1)) // 0x1_0000_0000n
 */
export function toBigInt(v: U64): bigint {
  return (BigInt(v.hi >>> 0) << 32n) | BigInt(v.lo >>> 0);
}

/**
 * Lanes of a bigint, modulo 2^64.
 * @example fromBigInt(0xfc7n) // { lo: 0xfc7, hi: 0 }
 */
export function fromBigInt(v: bigint): U64 {
  const w = BigInt.asUintN(64, v);
  return { lo: Number(w & 0xffffffffn), hi: Number(w >> 32n) };
}

/**
 * `0x...` without leading zeros, the form of 64-bit values in JSON and messages. Valid for any two lanes.
 * @example hex64(u64(0x1000, 1)) // '0x100001000'
 */
export function hex64(v: U64): string {
  const hi = v.hi >>> 0;
  const lo = (v.lo >>> 0).toString(16);
  return hi === 0 ? `0x${lo}` : `0x${hi.toString(16)}${lo.padStart(8, '0')}`;
}

/**
 * `0x...` of a number, for messages. Valid for every integer that a double holds exactly, negative ones included.
 * @example hex(4096) // '0x1000'
 */
export function hex(n: number): string {
  return n < 0 ? `-0x${(-n).toString(16)}` : `0x${n.toString(16)}`;
}

/**
 * Parses hexadecimal digits (with or without `0x`), at most 16; `undefined` when the text is anything else.
 * @example parseHex64('0xffffffffffff0000') // { lo: 0xffff0000, hi: 0xffffffff }
 */
export function parseHex64(text: string): U64 | undefined {
  const digits = text.startsWith('0x') || text.startsWith('0X') ? text.slice(2) : text;
  if (!/^[0-9a-fA-F]{1,16}$/.test(digits)) return undefined;
  const cut = Math.max(0, digits.length - 8);
  return {
    lo: Number.parseInt(digits.slice(cut), 16),
    hi: cut === 0 ? 0 : Number.parseInt(digits.slice(0, cut), 16),
  };
}

/**
 * True when all 64 bits agree. Valid range: all lanes, taken modulo 2^32.
 * @example equal64(u64(1, 0), u64Of(1)) // true
 */
export function equal64(a: U64, b: U64): boolean {
  return a.lo >>> 0 === b.lo >>> 0 && a.hi >>> 0 === b.hi >>> 0;
}

/**
 * a - b modulo 2^32, as C's unsigned subtraction. Valid range: integers whose difference is below 2^53.
 * @example wrapSub32(0, 1) // 0xffffffff
 */
export function wrapSub32(a: number, b: number): number {
  return (a - b) >>> 0;
}

/**
 * a - b modulo 2^64, as C's unsigned subtraction. Valid range: multiples of 2^11 from 0 to below 2^64, page-aligned addresses among them.
 * @example wrapSub64(0, 0x1000) // 0xffff_ffff_ffff_f000 as a number
 */
export function wrapSub64(a: number, b: number): number {
  return a >= b ? a - b : a - b + 0x1_0000_0000_0000_0000;
}

/**
 * Bitwise and of all 64 bits. Valid range: all lanes, taken modulo 2^32.
 * @example and64(u64(0xf0f0, 1), u64(0xff, 0)) // { lo: 0xf0, hi: 0 }
 */
export function and64(a: U64, b: U64): U64 {
  return { lo: (a.lo & b.lo) >>> 0, hi: (a.hi & b.hi) >>> 0 };
}

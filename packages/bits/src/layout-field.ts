import type { U64 } from './u64.ts';

/**
 * What a field holds: `bool` 0 or 1; `uint` a number; `addr` an address whose low bits are implied zero and that stands in place;
 * `enum` a number with names; `u64` a whole doubleword; `res0` reserved, written as zero; `impdef` implementation defined.
 * @example const kind: FieldKind = 'addr';
 */
export type FieldKind = 'bool' | 'uint' | 'addr' | 'enum' | 'u64' | 'res0' | 'impdef';

/**
 * One row of a layout: a bit field inside one doubleword.
 * @example const V: FieldRow = { dw: 0, hi: 0, lo: 0, kind: 'bool', is: 'entry is valid', linux: 'STRTAB_STE_0_V' };
 */
export interface FieldRow {
  /** Doubleword that holds the field, counted from 0. */
  readonly dw: number;
  /** Highest bit, 0 to 63. */
  readonly hi: number;
  /** Lowest bit, 0 to 63. */
  readonly lo: number;
  readonly kind: FieldKind;
  /** Meaning, with unit. */
  readonly is: string;
  /** Enumerators, value to name; only for kind `enum`. */
  readonly of?: Readonly<Record<number, string>>;
  /** Section of the specification where it differs from the layout's. */
  readonly spec?: string;
  /** Linux's name of the mask or macro. */
  readonly linux?: string;
}

/**
 * The rows of a layout by field name.
 * @example const rows = { V: { dw: 0, hi: 0, lo: 0, kind: 'bool', is: 'valid' } } as const satisfies FieldRows;
 */
export type FieldRows = Readonly<Record<string, FieldRow>>;

/**
 * Names of the fields that software reads and writes (reserved rows are not among them).
 * @example type Names = FieldName<typeof rows>;
 */
export type FieldName<R extends FieldRows> = {
  [K in keyof R]: R[K]['kind'] extends 'res0' ? never : K;
}[keyof R] &
  string;

/**
 * The value type of a row: `U64` for kind `u64`, else `number`.
 * @example type T = FieldValue<{ kind: 'u64' } & FieldRow>; // U64
 */
export type FieldValue<R extends FieldRow> = R['kind'] extends 'u64' ? U64 : number;

/**
 * Reads one field of the entry that starts at `words[at]` (`at` counts lanes, 0 by default). An `addr` stands in place, every
 * other kind is shifted down. Exact for fields of up to 53 bits; wider ones (kind `u64`) round: `decode` gives their lanes.
 * @example const get: FieldGetter = STE.get.V; get(words) // 1
 */
export type FieldGetter = (words: ArrayLike<number>, at?: number) => number;
/**
 * Writes one field of the entry that starts at `words[at]` (`at` counts lanes, 0 by default) and keeps every other bit. Takes an
 * integer 0 <= value < 2^64; bits that do not fit are dropped, `encode` is the checked form.
 * @example const set: FieldSetter = STE.set.V; set(words, 1);
 */
export type FieldSetter = (words: WritableWords, value: number, at?: number) => void;

/**
 * Words of an entry that a setter may write: two u32 lanes a doubleword, low lane first.
 * @example const words: WritableWords = new Uint32Array(16);
 */
export type WritableWords = Uint32Array | Int32Array | number[];

const TWO32 = 0x1_0000_0000;

/** The mask of bits hi..lo of one 32-bit lane; 31 >= hi >= lo >= 0. */
export function laneMask(hi: number, lo: number): number {
  const width = hi - lo + 1;
  return width === 32 ? 0xffffffff : (((1 << width) - 1) << lo) >>> 0;
}

/** The getter of a row, specialised for the lane or lanes that it lies in. */
export function makeGetter(row: FieldRow): FieldGetter {
  const { hi, lo, kind } = row;
  const base = row.dw * 2;
  const inPlace = kind === 'addr';
  if (hi < 32) {
    const mask = laneMask(hi, lo);
    if (inPlace) return (words, at = 0) => ((words[at + base] as number) & mask) >>> 0;
    return (words, at = 0) => ((words[at + base] as number) & mask) >>> lo;
  }
  if (lo >= 32) {
    const i = base + 1;
    const shift = lo - 32;
    const mask = laneMask(hi - 32, shift);
    if (inPlace) return (words, at = 0) => (((words[at + i] as number) & mask) >>> 0) * TWO32;
    return (words, at = 0) => ((words[at + i] as number) & mask) >>> shift;
  }
  const lowMask = laneMask(31, lo);
  const highMask = laneMask(hi - 32, 0);
  const scale = inPlace ? 1 : 2 ** -lo;
  return (words, at = 0) =>
    ((((words[at + base + 1] as number) & highMask) >>> 0) * TWO32 +
      (((words[at + base] as number) & lowMask) >>> 0)) *
    scale;
}

/** The setter of a row: keeps every other bit, drops bits of the value that do not fit. */
export function makeSetter(row: FieldRow): FieldSetter {
  const { hi, lo, kind } = row;
  const base = row.dw * 2;
  if (hi < 32) {
    const mask = laneMask(hi, lo);
    const shift = kind === 'addr' ? 0 : lo;
    return (words, value, at = 0) => {
      const i = at + base;
      words[i] = (((words[i] as number) & ~mask) | ((value << shift) & mask)) >>> 0;
    };
  }
  const scale = kind === 'addr' ? 1 : 2 ** lo;
  if (lo >= 32) {
    const mask = laneMask(hi - 32, lo - 32);
    const toLane = scale / TWO32;
    return (words, value, at = 0) => {
      const i = at + base + 1;
      words[i] = (((words[i] as number) & ~mask) | (((value * toLane) >>> 0) & mask)) >>> 0;
    };
  }
  const lowMask = laneMask(31, lo);
  const highMask = laneMask(hi - 32, 0);
  return (words, value, at = 0) => {
    const i = at + base;
    const placed = value * scale;
    words[i] = (((words[i] as number) & ~lowMask) | ((placed >>> 0) & lowMask)) >>> 0;
    words[i + 1] =
      (((words[i + 1] as number) & ~highMask) | (((placed / TWO32) >>> 0) & highMask)) >>> 0;
  };
}

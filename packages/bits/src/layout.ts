import { IommuError } from './iommu-error.ts';
import {
  type FieldGetter,
  type FieldName,
  type FieldRow,
  type FieldRows,
  type FieldSetter,
  type FieldValue,
  laneMask,
  makeGetter,
  makeSetter,
  type WritableWords,
} from './layout-field.ts';
import { fromLanes, hex, hex64, type U64 } from './u64.ts';

/**
 * What is said once about a whole layout.
 * @example const info: LayoutInfo = { dwords: 8, spec: 'IHI 0070 5.2' };
 */
export interface LayoutInfo {
  /** Size in doublewords. */
  readonly dwords: number;
  /** Specification and section. */
  readonly spec: string;
  /** Linux's name of the structure or register. */
  readonly linux?: string;
  /** Registers: byte offset in the register frame. */
  readonly offset?: number;
  /** Registers: width in bits, 32 or 64 (a 32-bit register uses the low lane of its doubleword). */
  readonly width?: 32 | 64;
  /** Registers: value after reset as architected; absent when unknown or implementation defined. */
  readonly reset?: U64;
  /** Registers: access in words, e.g. `RW while SMMUEN=0`. */
  readonly access?: string;
}

/**
 * A non-zero reserved field that `decode` met; `value` is shifted down and rounds when the field is wider than 53 bits.
 * @example const stray: StrayBits = { field: 'RES0_7_6', value: 1 };
 */
export interface StrayBits {
  readonly field: string;
  readonly value: number;
}

/**
 * The values of a layout by field name.
 * @example const values: LayoutValues<typeof rows> = { V: 1 };
 */
export type LayoutValues<R extends FieldRows> = {
  readonly [K in FieldName<R>]: FieldValue<R[K]>;
};

/**
 * A bit-field table and all that derives from it. Getters and setters are specialised at definition: take them out at
 * module scope (`const { V } = STE.get`) on a hot path; `encode` and `decode` are for people and tests.
 * @example const { V } = STE.get; V(words) // 1
 */
export interface Layout<R extends FieldRows> {
  readonly name: string;
  readonly info: LayoutInfo;
  readonly rows: R;
  /** Size in 32-bit lanes. */
  readonly lanes: number;
  readonly get: { readonly [K in FieldName<R>]: FieldGetter };
  readonly set: { readonly [K in FieldName<R>]: FieldSetter };
  /** A new entry with the named fields set and every other bit zero; a value that does not fit throws `LAYOUT_VALUE`. */
  encode(values: Partial<LayoutValues<R>>): Uint32Array;
  /** Every field by name, and the reserved fields that are not zero. */
  decode(
    words: ArrayLike<number>,
    at?: number,
  ): { readonly values: LayoutValues<R>; readonly stray: readonly StrayBits[] };
  /** The bits of the named fields, as lanes: what an entry "uses". */
  mask(...fields: FieldName<R>[]): Uint32Array;
  /** One line a field: name, value, enumerator. */
  print(words: ArrayLike<number>, at?: number): string;
  /** The fields, reserved ones included, in which two entries differ. */
  diff(a: ArrayLike<number>, b: ArrayLike<number>): FieldName<R>[];
  /** ASCII diagram, one box line a doubleword, for documentation pages. */
  diagram(): string;
}

/**
 * Defines a layout. Throws `LAYOUT_BOUNDS`, `LAYOUT_OVERLAP` or `LAYOUT_GAP` when a row leaves its doubleword (or 32-bit register), two rows share a
 * bit, or a bit of the entry belongs to no row (reserved bits are rows too).
 * @example const FLAG = layout('FLAG', { dwords: 1, spec: 'none' }, { V: { dw: 0, hi: 0, lo: 0, kind: 'bool', is: 'valid' },
 *   RES0_63_1: { dw: 0, hi: 63, lo: 1, kind: 'res0', is: 'reserved' } } as const);
 */
export function layout<const R extends FieldRows>(
  name: string,
  info: LayoutInfo,
  rows: R,
): Layout<R> {
  checkRows(name, info, rows);
  const entries = Object.entries(rows) as [FieldName<R>, FieldRow][];
  const lanes = info.dwords * 2;
  const get = {} as Record<string, FieldGetter>;
  const set = {} as Record<string, FieldSetter>;
  for (const [field, row] of entries) {
    get[field] = makeGetter(row);
    set[field] = makeSetter(row);
  }
  const rowOf = (field: string): FieldRow => {
    const row = rows[field];
    if (row === undefined) throw new LayoutError('LAYOUT_FIELD', { layout: name, field });
    return row;
  };
  return {
    name,
    info,
    rows,
    lanes,
    get: get as Layout<R>['get'],
    set: set as Layout<R>['set'],
    encode(values) {
      const words = new Uint32Array(lanes);
      for (const [field, value] of Object.entries(values) as [string, number | U64][])
        writeChecked(name, field, rowOf(field), { words, value, set: set[field] as FieldSetter });
      return words;
    },
    decode(words, at = 0) {
      const values: Record<string, number | U64> = {};
      const stray: StrayBits[] = [];
      for (const [field, row] of entries) {
        const value = read(row, get[field] as FieldGetter, words, at);
        if (row.kind !== 'res0') values[field] = value;
        else if (value !== 0) stray.push({ field, value: value as number });
      }
      return { values: values as LayoutValues<R>, stray };
    },
    mask(...fields) {
      const words = new Uint32Array(lanes);
      for (const field of fields) fill(words, rowOf(field));
      return words;
    },
    print(words, at = 0) {
      const values = entries.map(([field, row]) => read(row, get[field] as FieldGetter, words, at));
      return lines(entries, values);
    },
    diff: (a, b) => entries.filter(([, row]) => differs(row, a, b)).map(([field]) => field),
    diagram: () => diagram(info.dwords, entries),
  };
}

function read(row: FieldRow, get: FieldGetter, words: ArrayLike<number>, at: number): number | U64 {
  if (row.kind !== 'u64') return get(words, at);
  const lo = words[at + row.dw * 2] as number;
  const hi = words[at + row.dw * 2 + 1] as number;
  return { lo: lo >>> 0, hi: hi >>> 0 };
}

/** One line a field; reserved fields only where they are not zero. */
function lines(
  entries: readonly (readonly [string, FieldRow])[],
  values: readonly (number | U64)[],
): string {
  const width = Math.max(...entries.map(([field]) => field.length));
  return entries
    .flatMap(([field, row], i) => {
      const value = values[i] as number | U64;
      const silent = row.kind === 'res0' && value === 0;
      return silent ? [] : [`${field.padEnd(width)} ${show(row, value)}`];
    })
    .join('\n');
}

/** By lanes, not values: a field wider than 53 bits has no exact number. */
function differs(row: FieldRow, a: ArrayLike<number>, b: ArrayLike<number>): boolean {
  const used = new Uint32Array(row.dw * 2 + 2);
  fill(used, row);
  return used.some((bits, i) => (((a[i] as number) ^ (b[i] as number)) & bits) !== 0);
}

function diagram(dwords: number, entries: readonly (readonly [string, FieldRow])[]): string {
  const rows: string[] = [];
  for (let dw = 0; dw < dwords; dw++) {
    const cells = entries
      .filter(([, row]) => row.dw === dw)
      .sort(([, a], [, b]) => b.hi - a.hi)
      .map(
        ([field, row]) =>
          `${row.hi === row.lo ? row.hi : `${row.hi}:${row.lo}`} ${row.kind === 'res0' ? '-' : field}`,
      );
    rows.push(`dw${dw} | ${cells.join(' | ')} |`);
  }
  return rows.join('\n');
}

function show(row: FieldRow, value: number | U64): string {
  if (typeof value !== 'number') return hex64(value);
  const label = row.of?.[value];
  if (row.kind === 'res0') return `${hex(value)} (reserved, should be 0)`;
  return label === undefined ? hex(value) : `${hex(value)} (${label})`;
}

function fill(words: Uint32Array, row: FieldRow): void {
  const i = row.dw * 2;
  if (row.lo < 32) words[i] = ((words[i] as number) | laneMask(Math.min(row.hi, 31), row.lo)) >>> 0;
  if (row.hi >= 32)
    words[i + 1] =
      ((words[i + 1] as number) | laneMask(row.hi - 32, Math.max(row.lo, 32) - 32)) >>> 0;
}

interface CheckedWrite {
  readonly words: WritableWords;
  readonly value: number | U64;
  readonly set: FieldSetter;
}

function writeChecked(layoutName: string, field: string, row: FieldRow, write: CheckedWrite): void {
  const { words, value, set } = write;
  if (typeof value !== 'number') {
    if (row.kind !== 'u64')
      throw new LayoutError('LAYOUT_VALUE', {
        layout: layoutName,
        field,
        value: fromLanes(value.lo, value.hi),
      });
    words[row.dw * 2] = value.lo >>> 0;
    words[row.dw * 2 + 1] = value.hi >>> 0;
    return;
  }
  const unit = row.kind === 'addr' ? 2 ** row.lo : 1;
  const limit = row.kind === 'addr' ? 2 ** (row.hi + 1) : 2 ** (row.hi - row.lo + 1);
  if (!(value >= 0 && value < limit && Number.isInteger(value / unit)))
    throw new LayoutError('LAYOUT_VALUE', { layout: layoutName, field, value });
  set(words, value);
}

function checkRows(name: string, info: LayoutInfo, rows: FieldRows): void {
  const owner: (string | undefined)[] = new Array(info.dwords * 64).fill(undefined);
  const last = info.width === 32 ? 31 : 63;
  for (const [field, row] of Object.entries(rows)) {
    const whole = row.kind === 'u64' && (row.hi !== 63 || row.lo !== 0);
    if (
      row.dw < 0 ||
      row.dw >= info.dwords ||
      row.lo < 0 ||
      row.hi > last ||
      row.lo > row.hi ||
      whole
    )
      throw new LayoutError('LAYOUT_BOUNDS', { layout: name, field });
    for (let bit = row.lo; bit <= row.hi; bit++) {
      const other = owner[row.dw * 64 + bit];
      if (other !== undefined)
        throw new LayoutError('LAYOUT_OVERLAP', { layout: name, field, other });
      owner[row.dw * 64 + bit] = field;
    }
  }
  const used = info.width === 32 ? 32 : info.dwords * 64;
  const gap = owner.slice(0, used).indexOf(undefined);
  if (gap >= 0)
    throw new LayoutError('LAYOUT_GAP', {
      layout: name,
      field: `dw${Math.floor(gap / 64)}[${gap % 64}]`,
    });
}

/**
 * A layout table or a value for it is wrong; codes `LAYOUT_BOUNDS`, `LAYOUT_OVERLAP`, `LAYOUT_GAP`, `LAYOUT_FIELD`, `LAYOUT_VALUE`.
 * @example try { STE.encode({ Config: 9 }); } catch (e) { (e as LayoutError).code; } // 'LAYOUT_VALUE'
 */
export class LayoutError extends IommuError<{
  layout: string;
  field: string;
  other?: string;
  value?: number;
}> {
  override readonly name = 'LayoutError';
  constructor(
    code: string,
    operands: { layout: string; field: string; other?: string; value?: number },
  ) {
    const { layout: where, field, other, value } = operands;
    const what =
      value !== undefined
        ? `${where}.${field} cannot hold ${hex(value)}`
        : other !== undefined
          ? `${where}.${field} overlaps ${other}`
          : `${where}.${field} is outside the table or missing`;
    super(code, operands, what, 'Check the row against the specification');
  }
}

import { type FieldRows, fromLanes, type Layout, type StrayBits, type U64 } from '@iommukit/bits';
import type { MemoryView } from '@iommukit/platform';

/**
 * One decoded field: its value shifted down (addresses stand in place), and the name of the value where the layout has one.
 * @example const config: FieldView = { name: 'Config', value: { lo: 5, hi: 0 }, meaning: 'stage 1' };
 */
export interface FieldView {
  readonly name: string;
  readonly value: U64;
  readonly meaning?: string;
}

/**
 * An entry in memory: raw doublewords, decoded fields, and the reserved fields that are not zero.
 * @example const raw = (entry: EntryView) => entry.words[0];
 */
export interface EntryView {
  readonly address: U64;
  readonly words: readonly U64[];
  /** Name of the layout: `STE`, `CD`, `S1_LEAF`, `CMD_SYNC`, ... */
  readonly layout: string;
  /** Specification and section of the layout. */
  readonly section: string;
  readonly fields: readonly FieldView[];
  readonly stray: readonly StrayBits[];
}

/** Any layout, for code that only prints and decodes. */
export type AnyLayout = Pick<Layout<FieldRows>, 'name' | 'info' | 'rows' | 'lanes'> & {
  decode(
    words: ArrayLike<number>,
    at?: number,
  ): { readonly values: object; readonly stray: readonly StrayBits[] };
};

/** A number as lanes; exact below 2^53 and for page-aligned values. */
export function lanesOf(n: number): U64 {
  const lo = n % 2 ** 32;
  return { lo, hi: (n - lo) / 2 ** 32 };
}

/** Loads `lanes` 32-bit words, an even number, from `pa`. */
export function loadWords(memory: MemoryView, pa: number, lanes: number): Uint32Array {
  const words = new Uint32Array(lanes);
  for (let i = 0; i < lanes; i += 2) {
    words[i] = memory.load64(pa + i * 4);
    words[i + 1] = memory.hi;
  }
  return words;
}

/** True when memory holds all of an entry. */
export function holds(memory: MemoryView, pa: number, bytes: number): boolean {
  return memory.isBacked(pa) && memory.isBacked(pa + bytes - 8);
}

/** Decodes an entry for people and for JSON. */
export function viewOf(layout: AnyLayout, words: Uint32Array, pa: number): EntryView {
  const { values, stray } = layout.decode(words);
  const fields: FieldView[] = [];
  for (const [name, value] of Object.entries(values) as [string, number | U64][]) {
    const lanes = typeof value === 'number' ? lanesOf(value) : value;
    const meaning = typeof value === 'number' ? layout.rows[name]?.of?.[value] : undefined;
    fields.push(meaning === undefined ? { name, value: lanes } : { name, value: lanes, meaning });
  }
  return {
    address: lanesOf(pa),
    words: wordsOf(words),
    layout: layout.name,
    section: layout.info.spec,
    fields,
    stray,
  };
}

/** Lanes as doublewords. */
export function wordsOf(words: Uint32Array): U64[] {
  const out: U64[] = [];
  for (let i = 0; i < words.length; i += 2)
    out.push({ lo: words[i] as number, hi: words[i + 1] as number });
  return out;
}

/** An address as one number; see `fromLanes` for what is exact. */
export function numberOf(v: U64): number {
  return fromLanes(v.lo, v.hi);
}

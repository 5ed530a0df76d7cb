import type { MemoryView } from '@iommukit/platform';

const TWO32 = 0x1_0000_0000;
/** Below this many entries, looking up a page's lanes costs more than it saves. */
const FEW = 4;
const LANE_MASK = 1023;

/**
 * A run of leaves to store; reused, so that a map allocates nothing.
 * @internal
 */
export interface LeafWords {
  /** The output address of the first page as the word holds it, and the distance to the next. */
  word: number;
  step: number;
  /** Everything but the address. */
  lo: number;
  hi: number;
  /** Where the address stands. */
  fieldLo: number;
  fieldHi: number;
}

/** Stores `pages` leaves of `items` equal entries each, from `entry` on, all within one table. */
export function storeLeafWords(
  memory: MemoryView,
  entry: number,
  pages: number,
  items: number,
  words: LeafWords,
): void {
  const { word, step, lo, hi, fieldLo, fieldHi } = words;
  const page = pages * items <= FEW ? undefined : memory.lanes(entry);
  if (page === undefined) {
    for (let i = 0, at = entry, next = word; i < pages; i++, next += step) {
      const low = (next & fieldLo) | lo;
      const high = ((next / TWO32) & fieldHi) | hi;
      for (let k = 0; k < items; k++, at += 8) memory.store64(at, low, high);
    }
    return;
  }
  const first = (entry / 4) & LANE_MASK;
  if (items === 1 && (word >>> 0) + pages * step <= TWO32)
    storeRun(page, first, first + pages * 2, words);
  else storeCarrying(page, first, pages, items, words);
}

/** One entry a page, and no carry into the high lane: one 32-bit addition makes the next address. */
function storeRun(page: Uint32Array, first: number, end: number, words: LeafWords): void {
  const step = words.step | 0;
  const high = ((words.word / TWO32) & words.fieldHi) | words.hi;
  let low = (words.word & words.fieldLo) | words.lo;
  for (let at = first; at < end; at += 2) {
    page[at] = low;
    page[at + 1] = high;
    low = (low + step) | 0;
  }
}

function storeCarrying(
  page: Uint32Array,
  first: number,
  pages: number,
  items: number,
  words: LeafWords,
): void {
  const { step, lo, hi, fieldLo, fieldHi } = words;
  let at = first;
  for (let i = 0, next = words.word; i < pages; i++, next += step) {
    const low = (next & fieldLo) | lo;
    const high = ((next / TWO32) & fieldHi) | hi;
    for (const end = at + items * 2; at < end; at += 2) {
      page[at] = low;
      page[at + 1] = high;
    }
  }
}

/**
 * Index of the first entry from `from` to `last` that is no leaf, by what entries of the level are; `last` + 1 when all are. Only where
 * a page takes one entry.
 */
export function endOfLeaves(
  page: Uint32Array,
  kinds: Uint8Array,
  leaf: number,
  from: number,
  last: number,
): number {
  let i = from;
  while (i <= last && kinds[(page[i * 2] as number) & 0xfff] === leaf) i++;
  return i;
}

import type { GenericEntries } from './generic-entries.ts';
import { lowBits } from './generic-tables.lanes.ts';

const TWO32 = 0x1_0000_0000;
const BITS = 64;

/** Powers of two: a look-up, since `**` is a call. */
const POW2: Float64Array = Float64Array.from({ length: BITS + 1 }, (_, i) => 2 ** i);

/**
 * The page sizes of one table by exponent, and which of them a map takes next.
 * @internal
 */
export class PageSizes {
  /** The smallest page, bytes; 0 when the caller left none. */
  readonly smallest: number;
  readonly #bitmap: number;
  /** Largest size that is at most 2^i; -1: none. */
  readonly #atMost = new Int8Array(BITS + 1).fill(-1);
  /** Next larger size of the same level; 0: none. */
  readonly #larger = new Int8Array(BITS);
  readonly #level = new Int8Array(BITS);
  readonly #leafLo = new Int32Array(BITS);
  readonly #leafHi = new Int32Array(BITS);

  constructor(bitmap: number, entries: GenericEntries<unknown>) {
    this.#bitmap = bitmap;
    let below = -1;
    let smallest = 0;
    for (let lg2 = 0; lg2 <= BITS; lg2++) {
      if (this.has(2 ** lg2)) {
        const level = Math.floor((lg2 - entries.granuleLg2) / 9);
        const { lo, hi } = entries.leafBits(level, lg2);
        this.#level[lg2] = level;
        this.#leafLo[lg2] = lo;
        this.#leafHi[lg2] = hi;
        if (below < 0) smallest = 2 ** lg2;
        else if (this.#level[below] === level) this.#larger[below] = lg2;
        below = lg2;
      }
      this.#atMost[lg2] = below;
    }
    this.smallest = smallest;
  }

  /** True when `size` is one page size in force. */
  has(size: number): boolean {
    const lo = size & this.#bitmap;
    const hi = (size / TWO32) & (this.#bitmap / TWO32);
    return size > 0 && (lo >>> 0) + (hi >>> 0) * TWO32 === size && lowestBit(size) === size;
  }

  bytesOf(lg2: number): number {
    return POW2[lg2] as number;
  }

  levelOf(lg2: number): number {
    return this.#level[lg2] as number;
  }

  leafLo(lg2: number): number {
    return this.#leafLo[lg2] as number;
  }

  leafHi(lg2: number): number {
    return this.#leafHi[lg2] as number;
  }

  /** The largest size, as exponent, that both addresses are aligned to and the length holds; -1: none. */
  best(iova: number, paddr: number, length: number): number {
    const lo = iova | paddr;
    let lg2 = BITS;
    if (lo !== 0) lg2 = 31 - Math.clz32(lo & -lo);
    else {
      const hi = (iova / TWO32) | (paddr / TWO32);
      if (hi !== 0) lg2 = 63 - Math.clz32(hi & -hi);
    }
    const high = Math.min(length / TWO32, TWO32 - 1);
    const fits = high >= 1 ? 63 - Math.clz32(high) : 31 - Math.clz32(length);
    return this.#atMost[Math.min(fits, lg2)] as number;
  }

  /** How many pages of a size stand in a row before a larger one of the same level may be possible. */
  count(iova: number, paddr: number, length: number, lg2: number): number {
    const bytes = POW2[lg2] as number;
    const n = Math.floor(length / bytes);
    const larger = this.#larger[lg2] as number;
    if (larger === 0) return n;
    const size = POW2[larger] as number;
    const offset = lowBits(iova, size);
    return offset === lowBits(paddr, size) ? Math.min(n, (size - offset) / bytes) : n;
  }
}

function lowestBit(n: number): number {
  const lo = n >>> 0;
  if (lo !== 0) return (lo & -lo) >>> 0;
  const hi = (n / TWO32) >>> 0;
  return ((hi & -hi) >>> 0) * TWO32;
}

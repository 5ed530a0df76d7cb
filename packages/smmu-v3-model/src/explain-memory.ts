/*
 * A view of memory for `explain`, which keeps what hardware would store (IHI 0070 3.13) and tells of each access.
 * Not modelled: stores of anybody else while an explanation runs.
 */
import type { MemoryView } from '@iommukit/platform';

/** Hears what a translation does to memory. */
export interface MemoryEvents {
  loaded(pa: number, lo: number, hi: number): void;
  /** Nothing answers at the address. */
  absent(pa: number): void;
  updated(pa: number, before: [number, number], after: [number, number]): void;
  /** An update found another word than the one that was loaded. */
  raced(): void;
}

/** Memory as it would become: what is stored stays here, and each access is told. */
export class ExplainMemory implements MemoryView {
  hi = 0;
  readonly blockBytes: number = 4096;
  readonly #memory: MemoryView;
  readonly #events: MemoryEvents;
  readonly #stored: Map<number, readonly [number, number]> = new Map();

  constructor(memory: MemoryView, events: MemoryEvents) {
    this.#memory = memory;
    this.#events = events;
  }

  load64(pa: number): number {
    const [lo, hi] = this.peek(pa);
    this.#events.loaded(pa, lo, hi);
    this.hi = hi;
    return lo;
  }

  /** The doubleword at `pa`, without a word to anyone. */
  peek(pa: number): readonly [number, number] {
    const stored = this.#stored.get(pa);
    if (stored !== undefined) return stored;
    const lo = this.#memory.load64(pa);
    return [lo, this.#memory.hi];
  }

  store64(pa: number, lo: number, hi: number): void {
    this.#stored.set(pa, [fromInt(lo), fromInt(hi)]);
  }

  /** What memory holds in place of these words now; `undefined` when it is the same, or nothing is there any more. */
  changed(pa: number, words: ArrayLike<number>): number[] | undefined {
    if (!this.#memory.isBacked(pa)) return undefined;
    const now: number[] = [];
    let same = true;
    for (let i = 0; i < words.length; i += 2) {
      const [lo, hi] = this.peek(pa + i * 4);
      same &&= lo === words[i] && hi === words[i + 1];
      now.push(lo, hi);
    }
    return same ? undefined : now;
  }

  cas64(pa: number, oldLo: number, oldHi: number, lo: number, hi: number): boolean {
    const [nowLo, nowHi] = this.peek(pa);
    if (nowLo !== fromInt(oldLo) || nowHi !== fromInt(oldHi)) {
      this.#events.raced();
      return false;
    }
    this.store64(pa, lo, hi);
    this.#events.updated(pa, [nowLo, nowHi], [fromInt(lo), fromInt(hi)]);
    return true;
  }

  load32(pa: number): number {
    const upper = pa % 8 !== 0;
    const [lo, hi] = this.peek(upper ? pa - 4 : pa);
    return upper ? hi : lo;
  }

  store32(pa: number, value: number): void {
    const upper = pa % 8 !== 0;
    const at = upper ? pa - 4 : pa;
    const [lo, hi] = this.peek(at);
    this.store64(at, upper ? lo : value, upper ? value : hi);
  }

  /** Nothing leaves this view. */
  clean(_pa: number, _bytes: number): void {}

  isBacked(pa: number): boolean {
    const backed = this.#memory.isBacked(pa);
    if (!backed) this.#events.absent(pa);
    return backed;
  }

  /** Every access goes through the methods above. */
  lanes(_pa: number): undefined {
    return undefined;
  }

  /** Every access goes through the methods above. */
  block(_lo: number, _hi: number): undefined {
    return undefined;
  }
}

function fromInt(lane: number): number {
  const rest = lane % 2 ** 32;
  return rest < 0 ? rest + 2 ** 32 : rest;
}

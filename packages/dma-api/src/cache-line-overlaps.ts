import type { DebugEntry } from './debug-entries.ts';

/** Mappings of one cache line beyond the first that the kernel can count (three tags of a radix tree). */
export const MAX_OVERLAP = 7;

interface Line {
  /** The mapping that came first. */
  readonly first: DebugEntry;
  /** Further ones, at most {@link MAX_OVERLAP}. */
  further: number;
}

/** The cache lines that live mappings begin in, except those that a device only reads (`dma_active_cacheline`). */
export class CacheLineOverlaps {
  readonly #lineBytes: number;
  readonly #lines = new Map<number, Line>();

  constructor(lineBytes: number) {
    this.#lineBytes = lineBytes;
  }

  /** Number of the line that an entry begins in. */
  lineOf({ paddr }: DebugEntry): number {
    return Math.floor(paddr / this.#lineBytes);
  }

  /** Null for a line of its own, else the mapping that was there first, and whether they are too many to count. */
  insert(entry: DebugEntry): { readonly first: DebugEntry; readonly uncounted: boolean } | null {
    if (entry.dir === 'TO_DEVICE') return null;
    const number = this.lineOf(entry);
    const line = this.#lines.get(number);
    if (line === undefined) {
      this.#lines.set(number, { first: entry, further: 0 });
      return null;
    }
    const uncounted = line.further === MAX_OVERLAP;
    if (!uncounted) line.further++;
    return { first: line.first, uncounted };
  }

  remove(entry: DebugEntry): void {
    if (entry.dir === 'TO_DEVICE') return;
    const number = this.lineOf(entry);
    const line = this.#lines.get(number);
    if (line === undefined) return;
    if (line.further === 0) this.#lines.delete(number);
    else line.further--;
  }
}

/** Ranges that do not overlap, ascending; bytes, `end` exclusive. */
export class RangeList<T extends { readonly start: number; readonly end: number }> {
  readonly #ranges: T[] = [];

  get all(): readonly T[] {
    return this.#ranges;
  }

  /** Those that share a byte with [start, end). */
  meeting(start: number, end: number): readonly T[] {
    const first = this.#firstEndingAfter(start);
    let last = first;
    while (last < this.#ranges.length && (this.#ranges[last] as T).start < end) last++;
    return this.#ranges.slice(first, last);
  }

  /** The one that holds a byte. */
  at(byte: number): T | undefined {
    return this.meeting(byte, byte + 1)[0];
  }

  /** Adds one that meets none of the others. */
  add(range: T): void {
    this.#ranges.splice(this.#firstEndingAfter(range.start), 0, range);
  }

  /** Takes one out that is in. */
  delete(range: T): void {
    this.#ranges.splice(this.#firstEndingAfter(range.start), 1);
  }

  #firstEndingAfter(byte: number): number {
    let low = 0;
    let high = this.#ranges.length;
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      if ((this.#ranges[middle] as T).end <= byte) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

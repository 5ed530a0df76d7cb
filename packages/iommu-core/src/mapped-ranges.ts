const RECORD_BYTES = 16;

/** First index whose value is not below `from`. */
function lowerBound(values: readonly number[], from: number): number {
  let low = 0;
  let high = values.length;
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    if ((values[middle] as number) < from) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Ranges that wait for `iotlbSyncMap`: disjoint, ascending, touching ones joined. Addresses in bytes. */
export class MappedRanges {
  readonly #starts: number[] = [];
  readonly #ends: number[] = [];

  get count(): number {
    return this.#starts.length;
  }

  /** 16 for each range. */
  get bytes(): number {
    return RECORD_BYTES * this.#starts.length;
  }

  /** Joins [start, end) with what touches it. */
  add(start: number, end: number): void {
    const first = lowerBound(this.#ends, start);
    let last = first;
    let from = start;
    let to = end;
    while (last < this.#starts.length && (this.#starts[last] as number) <= end) {
      from = Math.min(from, this.#starts[last] as number);
      to = Math.max(to, this.#ends[last] as number);
      last++;
    }
    this.#starts.splice(first, last - first, from);
    this.#ends.splice(first, last - first, to);
  }

  /** Takes [start, end) out: it is unmapped again. */
  remove(start: number, end: number): void {
    const first = lowerBound(this.#ends, start);
    let last = first;
    const starts: number[] = [];
    const ends: number[] = [];
    while (last < this.#starts.length && (this.#starts[last] as number) < end) {
      const from = this.#starts[last] as number;
      const to = this.#ends[last] as number;
      if (from < start) {
        starts.push(from);
        ends.push(start);
      }
      if (to > end) {
        starts.push(end);
        ends.push(to);
      }
      last++;
    }
    this.#starts.splice(first, last - first, ...starts);
    this.#ends.splice(first, last - first, ...ends);
  }

  /** Shows each range, ascending, and forgets those for which `visit` returns true. */
  drain(visit: (start: number, end: number) => boolean): void {
    let kept = 0;
    for (let i = 0; i < this.#starts.length; i++) {
      const start = this.#starts[i] as number;
      const end = this.#ends[i] as number;
      if (visit(start, end)) continue;
      this.#starts[kept] = start;
      this.#ends[kept++] = end;
    }
    this.#starts.length = kept;
    this.#ends.length = kept;
  }
}

/** Bytes of one record and of one detached table. */
const RECORD_BYTES = 24;
const DETACHED_BYTES = 8;

/**
 * In the place of a leaf size: tables went with the range, so cached table entries must go too (no leaf-only invalidation).
 * @example pending.forEach((start, end, leafSize) => invalidate(start, end, leafSize !== HAD_TABLES));
 */
export const HAD_TABLES = 0;

function grown(old: Float64Array): Float64Array {
  const larger = new Float64Array(old.length * 2);
  larger.set(old);
  return larger;
}

/**
 * What range unmaps cleared and nobody has invalidated yet, of one page table: ranges with the size of their leaves, and the tables
 * that were unlinked. A table is only listed here: nothing is ever written to one that a device may still be reading. Ranges of one
 * kind that touch or overlap are one record. Addresses in bytes.
 *
 * To flush: invalidate each record, wait until that is complete, then {@link RangeGather.releaseDetached}.
 * @example const pending = new RangeGather(); table.unmapRange(iova, size, pending); pending.bytes // 24 for one record
 */
export class RangeGather {
  // Ordered by kind, then by start: records of one kind are disjoint, those of different kinds need not be.
  #kinds: Float64Array = new Float64Array(8);
  #starts: Float64Array = new Float64Array(8);
  #ends: Float64Array = new Float64Array(8);
  #count = 0;
  #detached: Float64Array = new Float64Array(8);
  #detachedCount = 0;

  /** Ranges that wait for an invalidation. */
  get records(): number {
    return this.#count;
  }

  /** Tables that wait for it. */
  get detached(): number {
    return this.#detachedCount;
  }

  /** What must be remembered until the flush, bytes: 24 for each record, 8 for each table. */
  get bytes(): number {
    return RECORD_BYTES * this.#count + DETACHED_BYTES * this.#detachedCount;
  }

  /** True when nothing waits. */
  get isEmpty(): boolean {
    return this.#count === 0 && this.#detachedCount === 0;
  }

  /** Notes that the leaves of [start, end), of `leafSize` bytes each, were cleared, or tables over it ({@link HAD_TABLES}). */
  add(start: number, end: number, leafSize: number): void {
    // The first record that ends at `start` or later is the first that can join.
    const first = this.#firstEndingFrom(leafSize, start);
    let last = first;
    let from = start;
    let to = end;
    while (
      last < this.#count &&
      this.#kinds[last] === leafSize &&
      (this.#starts[last] as number) <= end
    ) {
      from = Math.min(from, this.#starts[last] as number);
      to = Math.max(to, this.#ends[last] as number);
      last++;
    }
    if (last === first) this.#shift(first, first + 1);
    else if (last > first + 1) this.#shift(last, first + 1);
    this.#kinds[first] = leafSize;
    this.#starts[first] = from;
    this.#ends[first] = to;
  }

  /** Notes a table that nothing points to any more. */
  detach(table: number): void {
    if (this.#detachedCount === this.#detached.length) this.#detached = grown(this.#detached);
    this.#detached[this.#detachedCount++] = table;
  }

  /** True when a record holds a byte of [start, end): a map of that range must flush first (break-before-make). */
  meets(start: number, end: number): boolean {
    for (let i = 0; i < this.#count; ) {
      const kind = this.#kinds[i] as number;
      const at = this.#firstEndingFrom(kind, start);
      for (let k = at; k < this.#count && k <= at + 1 && this.#kinds[k] === kind; k++)
        if ((this.#ends[k] as number) > start && (this.#starts[k] as number) < end) return true;
      i = this.#firstEndingFrom(kind, Infinity);
    }
    return false;
  }

  /** Shows every record: [start, end) and the size of its leaves, or {@link HAD_TABLES}; those of one size ascending. */
  forEach(visit: (start: number, end: number, leafSize: number) => void): void {
    for (let i = 0; i < this.#count; i++)
      visit(this.#starts[i] as number, this.#ends[i] as number, this.#kinds[i] as number);
  }

  /** Shows every detached table, in the order in which they were unlinked. */
  forEachDetached(visit: (table: number) => void): void {
    for (let i = 0; i < this.#detachedCount; i++) visit(this.#detached[i] as number);
  }

  /** The invalidation of all records is complete: forgets them, and gives the detached tables back. */
  releaseDetached(owner: { releaseTable(table: number): void }): void {
    this.#count = 0;
    const n = this.#detachedCount;
    this.#detachedCount = 0;
    for (let i = 0; i < n; i++) owner.releaseTable(this.#detached[i] as number);
  }

  /** Index of the first record of `kind` whose end is at `from` or above, or where the records of that kind end. */
  #firstEndingFrom(kind: number, from: number): number {
    let low = 0;
    let high = this.#count;
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      const other = this.#kinds[middle] as number;
      if (other < kind || (other === kind && (this.#ends[middle] as number) < from))
        low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Moves the records from index `from` on to index `to`. */
  #shift(from: number, to: number): void {
    const count = this.#count + to - from;
    while (count > this.#kinds.length) {
      this.#kinds = grown(this.#kinds);
      this.#starts = grown(this.#starts);
      this.#ends = grown(this.#ends);
    }
    this.#kinds.copyWithin(to, from, this.#count);
    this.#starts.copyWithin(to, from, this.#count);
    this.#ends.copyWithin(to, from, this.#count);
    this.#count = count;
  }
}

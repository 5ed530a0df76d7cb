// A treap over parallel arrays, threaded by address: lookups take the tree, neighbours take the thread.
// 40 bytes a slot and growth by half keep it below 64 bytes for each range at the fullest moment.
// Slot 0 is the anchor above all ranges (its bounds are Infinity, the model of the kernel's ~0): head of the thread, and "no node" in a tree link.

const FIRST_CAPACITY = 64;

export const ANCHOR = 0;

export class IovaTree {
  lo: Float64Array = new Float64Array(FIRST_CAPACITY);
  hi: Float64Array = new Float64Array(FIRST_CAPACITY);
  prev: Int32Array = new Int32Array(FIRST_CAPACITY);
  next: Int32Array = new Int32Array(FIRST_CAPACITY);
  size = 0;
  #left = new Int32Array(FIRST_CAPACITY);
  #right = new Int32Array(FIRST_CAPACITY);
  #parent = new Int32Array(FIRST_CAPACITY);
  #priority = new Int32Array(FIRST_CAPACITY);
  #root = 0;
  #used = 1;
  #free = 0;
  #seed = 1;

  constructor() {
    this.lo[ANCHOR] = Number.POSITIVE_INFINITY;
    this.hi[ANCHOR] = Number.POSITIVE_INFINITY;
    this.#setPriorities(0);
  }

  /** Bytes of typed arrays held. */
  get bytes(): number {
    return this.lo.length * 40;
  }

  /** The range with the highest `lo <= pfn`, or ANCHOR when there is none. */
  floor(pfn: number): number {
    const { lo } = this;
    let found = ANCHOR;
    let slot = this.#root;
    while (slot !== 0) {
      if ((lo[slot] as number) <= pfn) {
        found = slot;
        slot = this.#right[slot] as number;
      } else {
        slot = this.#left[slot] as number;
      }
    }
    return found;
  }

  /** The range with the lowest `lo >= pfn`, or ANCHOR. */
  ceiling(pfn: number): number {
    const { lo } = this;
    let found = ANCHOR;
    let slot = this.#root;
    while (slot !== 0) {
      if ((lo[slot] as number) >= pfn) {
        found = slot;
        slot = this.#left[slot] as number;
      } else {
        slot = this.#right[slot] as number;
      }
    }
    return found;
  }

  /** The range that contains `pfn`, or ANCHOR. */
  find(pfn: number): number {
    const slot = this.lastAtOrBelow(pfn);
    return slot !== ANCHOR && pfn <= (this.hi[slot] as number) ? slot : ANCHOR;
  }

  /** As {@link floor}, but steps over reservations that were made with lo above hi: they contain nothing. */
  lastAtOrBelow(pfn: number): number {
    let slot = this.floor(pfn);
    while (slot !== ANCHOR && (this.lo[slot] as number) > (this.hi[slot] as number))
      slot = this.prev[slot] as number;
    return slot;
  }

  /** Links a new range directly below `above`; the caller guarantees that this is its place. */
  insertBelow(above: number, lo: number, hi: number): number {
    const slot = this.#take();
    const below = this.prev[above] as number;
    this.lo[slot] = lo;
    this.hi[slot] = hi;
    this.prev[slot] = below;
    this.next[slot] = above;
    this.next[below] = slot;
    this.prev[above] = slot;
    // Of two neighbours the deeper one always has its inner link free.
    if (below !== ANCHOR && this.#right[below] === 0) {
      this.#right[below] = slot;
      this.#parent[slot] = below;
    } else if (above !== ANCHOR) {
      this.#left[above] = slot;
      this.#parent[slot] = above;
    } else {
      this.#root = slot;
      this.#parent[slot] = 0;
    }
    const priority = this.#priority[slot] as number;
    let up = this.#parent[slot] as number;
    while (up !== 0 && (this.#priority[up] as number) < priority) {
      this.#rotateUp(slot);
      up = this.#parent[slot] as number;
    }
    this.size++;
    return slot;
  }

  remove(slot: number): void {
    for (;;) {
      const left = this.#left[slot] as number;
      const right = this.#right[slot] as number;
      if (left === 0 && right === 0) break;
      const leftWins =
        right === 0 ||
        (left !== 0 && (this.#priority[left] as number) > (this.#priority[right] as number));
      this.#rotateUp(leftWins ? left : right);
    }
    const up = this.#parent[slot] as number;
    if (up === 0) this.#root = 0;
    else if (this.#left[up] === slot) this.#left[up] = 0;
    else this.#right[up] = 0;
    const below = this.prev[slot] as number;
    const above = this.next[slot] as number;
    this.next[below] = above;
    this.prev[above] = below;
    this.next[slot] = this.#free;
    this.#free = slot;
    this.size--;
  }

  #rotateUp(slot: number): void {
    const up = this.#parent[slot] as number;
    const top = this.#parent[up] as number;
    if (this.#left[up] === slot) {
      const inner = this.#right[slot] as number;
      this.#left[up] = inner;
      if (inner !== 0) this.#parent[inner] = up;
      this.#right[slot] = up;
    } else {
      const inner = this.#left[slot] as number;
      this.#right[up] = inner;
      if (inner !== 0) this.#parent[inner] = up;
      this.#left[slot] = up;
    }
    this.#parent[up] = slot;
    this.#parent[slot] = top;
    if (top === 0) this.#root = slot;
    else if (this.#left[top] === up) this.#left[top] = slot;
    else this.#right[top] = slot;
  }

  #take(): number {
    let slot = this.#free;
    if (slot !== 0) {
      this.#free = this.next[slot] as number;
    } else {
      if (this.#used === this.lo.length) this.#grow();
      slot = this.#used++;
    }
    this.#left[slot] = 0;
    this.#right[slot] = 0;
    return slot;
  }

  #grow(): void {
    const old = this.lo.length;
    const capacity = old + Math.ceil(old / 2);
    this.lo = grown(this.lo, new Float64Array(capacity));
    this.hi = grown(this.hi, new Float64Array(capacity));
    this.prev = grown(this.prev, new Int32Array(capacity));
    this.next = grown(this.next, new Int32Array(capacity));
    this.#left = grown(this.#left, new Int32Array(capacity));
    this.#right = grown(this.#right, new Int32Array(capacity));
    this.#parent = grown(this.#parent, new Int32Array(capacity));
    this.#priority = grown(this.#priority, new Int32Array(capacity));
    this.#setPriorities(old);
  }

  // A fixed sequence (Knuth's linear congruential constants): the same calls give the same tree on every run.
  #setPriorities(from: number): void {
    const priority = this.#priority;
    for (let slot = from; slot < priority.length; slot++) {
      priority[slot] = Math.imul(this.#seed, 1_664_525) + 1_013_904_223;
      this.#seed = priority[slot] as number;
    }
  }
}

function grown<A extends Float64Array | Int32Array>(from: A, to: A): A {
  to.set(from);
  return to;
}

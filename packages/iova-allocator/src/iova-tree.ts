import { log2Floor } from '@iommukit/bits';

// A height-balanced (AVL) tree over parallel arrays, threaded by address: lookups take the tree, neighbours take the thread.
// 37 bytes a slot, 46 with the summaries that the augmented search needs. From 64 ranges on there are at most 1.375 slots a range, however many there were
// before, so that a live range costs at most 63.25 bytes.
// Slot 0 is the anchor above all ranges (its bounds are Infinity, the model of the kernel's ~0): head of the thread, and "no node" in a tree link.

const FIRST_CAPACITY = 64;
// Slots a range: after a change of size, and from where on the arrays are too large.
const GROWTH = 1.2;
const SHRINK = 1.375;

export const ANCHOR = 0;

/** 2^n, since an operator or a call in the search would cost more than a load. */
const POWER: Float64Array = Float64Array.from({ length: 54 }, (_, n) => 2 ** n);

/**
 * One more than the order of the largest naturally aligned block in `[start, end)`, 0 for an empty gap.
 * A gap of 2^n pages or more holds a block of order n - 1 wherever it lies, so only order n is in doubt.
 */
export function blockRank(start: number, end: number): number {
  if (end <= start) return 0;
  const order = log2Floor(end - start);
  const size = POWER[order] as number;
  return (Math.floor(end / size) - 1) * size >= start ? order + 1 : order;
}

export class IovaTree {
  lo: Float64Array = new Float64Array(FIRST_CAPACITY);
  hi: Float64Array = new Float64Array(FIRST_CAPACITY);
  prev: Int32Array = new Int32Array(FIRST_CAPACITY);
  next: Int32Array = new Int32Array(FIRST_CAPACITY);
  left: Int32Array = new Int32Array(FIRST_CAPACITY);
  right: Int32Array = new Int32Array(FIRST_CAPACITY);
  parent: Int32Array = new Int32Array(FIRST_CAPACITY);
  /** Largest gap below a range of the subtree, pages; empty unless summaries are kept. */
  gap: Float64Array;
  /** {@link blockRank} of the best of those gaps; empty unless summaries are kept. */
  rank: Uint8Array;
  root = 0;
  size = 0;
  /** Set for good by a reservation whose ends are in the wrong order: from then on ranges may lie over each other. */
  irregular = false;
  readonly #summaries: boolean;
  #height = new Uint8Array(FIRST_CAPACITY);

  constructor(summaries: 'summaries' | 'plain') {
    this.#summaries = summaries === 'summaries';
    const kept = this.#summaries ? FIRST_CAPACITY : 0;
    this.gap = new Float64Array(kept);
    this.rank = new Uint8Array(kept);
    this.lo[ANCHOR] = Number.POSITIVE_INFINITY;
    this.hi[ANCHOR] = Number.POSITIVE_INFINITY;
  }

  /** Bytes of typed arrays held. */
  get bytes(): number {
    return this.lo.length * (this.#summaries ? 46 : 37);
  }

  /** First pfn of the gap directly below a range: its own lowest pfn when there is none. */
  gapStart(slot: number): number {
    const below = this.prev[slot] as number;
    return below === ANCHOR ? 0 : (this.hi[below] as number) + 1;
  }

  /** The range with the highest `lo <= pfn`, or ANCHOR when there is none. */
  floor(pfn: number): number {
    const { lo, left, right } = this;
    let found = ANCHOR;
    let slot = this.root;
    while (slot !== 0) {
      if ((lo[slot] as number) <= pfn) {
        found = slot;
        slot = right[slot] as number;
      } else {
        slot = left[slot] as number;
      }
    }
    return found;
  }

  /** The range with the lowest `lo >= pfn`, or ANCHOR. */
  ceiling(pfn: number): number {
    const { lo, left, right } = this;
    let found = ANCHOR;
    let slot = this.root;
    while (slot !== 0) {
      if ((lo[slot] as number) >= pfn) {
        found = slot;
        slot = left[slot] as number;
      } else {
        slot = right[slot] as number;
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
    if (lo > hi) this.irregular = true;
    // Of two neighbours the deeper one always has its inner link free.
    if (below !== ANCHOR && this.right[below] === 0) {
      this.right[below] = slot;
      this.parent[slot] = below;
    } else if (above !== ANCHOR) {
      this.left[above] = slot;
      this.parent[slot] = above;
    } else {
      this.root = slot;
      this.parent[slot] = 0;
    }
    this.#retrace(slot, above);
    return slot;
  }

  /** Lets a range begin lower. */
  growDown(slot: number, lo: number): void {
    this.lo[slot] = lo;
    if (this.#summaries) this.#retrace(slot, slot);
  }

  /**
   * Takes a range out. Slots stay dense: the last one moves into the free place. Returns the slot that a range lost by that
   * (it is now in `slot`), ANCHOR when none moved.
   */
  remove(slot: number): number {
    const { prev, next, left, right, parent } = this;
    const below = prev[slot] as number;
    const above = next[slot] as number;
    next[below] = above;
    prev[above] = below;
    const lower = left[slot] as number;
    const upper = right[slot] as number;
    let from = parent[slot] as number;
    let through = above;
    if (lower === 0 || upper === 0) {
      const child = lower + upper;
      this.#replace(slot, child);
      if (child !== 0 && child === above) {
        this.#summarise(child);
        through = ANCHOR;
      }
    } else {
      // The next range takes the place of the removed one; it has no left child.
      from = parent[above] as number;
      if (from === slot) {
        from = above;
      } else {
        this.#replace(above, right[above] as number);
        right[above] = upper;
        parent[upper] = above;
      }
      left[above] = lower;
      parent[lower] = above;
      this.#replace(slot, above);
      // What its parent knows is the summary of the removed range.
      this.#height[above] = this.#height[slot] as number;
      if (this.#summaries) {
        this.gap[above] = this.gap[slot] as number;
        this.rank[above] = this.rank[slot] as number;
      }
    }
    this.#retrace(from, through);
    const last = this.size--;
    if (slot !== last) this.#move(last, slot);
    if (this.lo.length > FIRST_CAPACITY && this.lo.length > SHRINK * this.size)
      this.#resize(Math.max(FIRST_CAPACITY, Math.ceil(GROWTH * last)));
    return slot === last ? ANCHOR : last;
  }

  /** How many ranges lie above a range in the tree. */
  depth(slot: number): number {
    let depth = 0;
    for (let up = this.parent[slot] as number; up !== 0; up = this.parent[up] as number) depth++;
    return depth;
  }

  /** Puts `child` (or nothing) where `slot` hangs. */
  #replace(slot: number, child: number): void {
    const up = this.parent[slot] as number;
    if (up === 0) this.root = child;
    else if (this.left[up] === slot) this.left[up] = child;
    else this.right[up] = child;
    if (child !== 0) this.parent[child] = up;
  }

  /** Restores balance and summaries from `from` upwards; may stop early only above `through`, whose own gap changed too. */
  #retrace(from: number, through: number): void {
    const { left, right, parent, gap, rank } = this;
    const height = this.#height;
    const summaries = this.#summaries;
    let pending = summaries ? through : ANCHOR;
    let slot = from;
    while (slot !== 0) {
      if (slot === pending) pending = ANCHOR;
      const oldHeight = height[slot] as number;
      const oldGap = summaries ? (gap[slot] as number) : 0;
      const oldRank = summaries ? (rank[slot] as number) : 0;
      const l = left[slot] as number;
      const r = right[slot] as number;
      const lean = (height[l] as number) - (height[r] as number);
      let top = slot;
      if (lean > 1) {
        top = l;
        if ((height[left[l] as number] as number) < (height[right[l] as number] as number)) {
          top = right[l] as number;
          this.#rotateUp(top);
        }
        this.#rotateUp(top);
      } else if (lean < -1) {
        top = r;
        if ((height[right[r] as number] as number) < (height[left[r] as number] as number)) {
          top = left[r] as number;
          this.#rotateUp(top);
        }
        this.#rotateUp(top);
      } else {
        this.#summarise(slot);
      }
      if (
        pending === ANCHOR &&
        height[top] === oldHeight &&
        (!summaries || (gap[top] === oldGap && rank[top] === oldRank))
      )
        return;
      slot = parent[top] as number;
    }
  }

  #summarise(slot: number): void {
    const height = this.#height;
    const l = this.left[slot] as number;
    const r = this.right[slot] as number;
    const lh = height[l] as number;
    const rh = height[r] as number;
    height[slot] = Math.max(lh, rh) + 1;
    if (!this.#summaries) return;
    const { gap, rank } = this;
    const start = this.gapStart(slot);
    const end = this.lo[slot] as number;
    let most = end - start;
    let best = blockRank(start, end);
    // Slot 0 has no gap and rank 0, so a missing child never wins.
    if ((gap[l] as number) > most) most = gap[l] as number;
    if ((gap[r] as number) > most) most = gap[r] as number;
    if ((rank[l] as number) > best) best = rank[l] as number;
    if ((rank[r] as number) > best) best = rank[r] as number;
    gap[slot] = most;
    rank[slot] = best;
  }

  #rotateUp(slot: number): void {
    const { left, right, parent } = this;
    const up = parent[slot] as number;
    this.#replace(up, slot);
    if (left[up] === slot) {
      const inner = right[slot] as number;
      left[up] = inner;
      if (inner !== 0) parent[inner] = up;
      right[slot] = up;
    } else {
      const inner = left[slot] as number;
      right[up] = inner;
      if (inner !== 0) parent[inner] = up;
      left[slot] = up;
    }
    parent[up] = slot;
    this.#summarise(up);
    this.#summarise(slot);
  }

  #take(): number {
    const slot = ++this.size;
    if (slot === this.lo.length) this.#resize(Math.ceil(GROWTH * slot));
    this.left[slot] = 0;
    this.right[slot] = 0;
    // Differs from every height of a linked slot, so that the first step upwards never stops early.
    this.#height[slot] = 0;
    return slot;
  }

  #move(from: number, to: number): void {
    const { lo, hi, prev, next, left, right, parent, gap, rank } = this;
    lo[to] = lo[from] as number;
    hi[to] = hi[from] as number;
    const below = prev[from] as number;
    const above = next[from] as number;
    prev[to] = below;
    next[to] = above;
    next[below] = to;
    prev[above] = to;
    const l = left[from] as number;
    const r = right[from] as number;
    left[to] = l;
    right[to] = r;
    if (l !== 0) parent[l] = to;
    if (r !== 0) parent[r] = to;
    this.#replace(from, to);
    this.#height[to] = this.#height[from] as number;
    if (!this.#summaries) return;
    gap[to] = gap[from] as number;
    rank[to] = rank[from] as number;
  }

  #resize(capacity: number): void {
    this.lo = copied(this.lo, new Float64Array(capacity));
    this.hi = copied(this.hi, new Float64Array(capacity));
    this.prev = copied(this.prev, new Int32Array(capacity));
    this.next = copied(this.next, new Int32Array(capacity));
    this.left = copied(this.left, new Int32Array(capacity));
    this.right = copied(this.right, new Int32Array(capacity));
    this.parent = copied(this.parent, new Int32Array(capacity));
    this.#height = copied(this.#height, new Uint8Array(capacity));
    if (!this.#summaries) return;
    this.gap = copied(this.gap, new Float64Array(capacity));
    this.rank = copied(this.rank, new Uint8Array(capacity));
  }
}

function copied<A extends Float64Array | Int32Array | Uint8Array>(from: A, to: A): A {
  to.set(from.length > to.length ? from.subarray(0, to.length) : from);
  return to;
}

// The allocator once more, plain arrays and a switch for each fact, so that a test can break one and see the replay notice. Shares no code with the packages.
import type { SimClock } from '@iommukit/platform';

export interface Facts {
  readonly magazine: number;
  /** Where a full magazine goes when both of a CPU are full. */
  readonly depot: 'lifo' | 'fifo' | 'none';
  /** Reclaim while there are more magazines in the depot than this. */
  readonly reclaimAbove: number;
  readonly rounding: boolean;
  readonly aligned: boolean;
  readonly pop: 'lifo' | 'fifo';
  readonly caches: 'per-cpu' | 'shared';
  readonly windows: boolean;
}

interface Node {
  lo: number;
  hi: number;
}

interface Pair {
  loaded: number[];
  prev: number[];
}

const ORDERS = 6;
const DELAY_US = 100_000;

function orderOf(size: number): number {
  return Math.ceil(Math.log2(size));
}

export class BreakableAllocator {
  readonly counters = { treeAllocs: 0, depotPushes: 0, depotPops: 0, nodesVisited: 0 };
  readonly #facts: Facts;
  readonly #clock: SimClock;
  readonly #start: number;
  readonly #below4g: number;
  readonly #anchor: Node = { lo: Number.POSITIVE_INFINITY, hi: Number.POSITIVE_INFINITY };
  readonly #nodes: Node[] = [this.#anchor];
  #hint = this.#anchor;
  #hint32 = this.#anchor;
  #failed: number;
  readonly #pairs: Pair[][];
  readonly #depots: number[][][] = Array.from({ length: ORDERS }, () => []);
  readonly #armed: boolean[] = Array.from({ length: ORDERS }, () => false);

  constructor(
    facts: Facts,
    init: { granule: number; startPfn: number; clock: SimClock; cpus: number },
  ) {
    this.#facts = facts;
    this.#clock = init.clock;
    this.#start = init.startPfn;
    this.#below4g = 2 ** 32 / init.granule;
    this.#failed = this.#below4g;
    this.#pairs = Array.from({ length: init.cpus }, () =>
      Array.from({ length: ORDERS }, () => ({ loaded: [], prev: [] })),
    );
  }

  /** The captures reserve disjoint windows of an empty space only. */
  reserveIova(lo: number, hi: number): void {
    if (this.#facts.windows) this.#insert({ lo, hi });
  }

  allocIovaFast(cpu: number, size: number, limitPfn: number): number {
    const { rounding, aligned } = this.#facts;
    const pages = rounding && size < 32 ? 2 ** orderOf(size) : size;
    const order = orderOf(pages);
    const cached =
      order < ORDERS ? this.#take(this.#pair(cpu, order), order, limitPfn + 1 - pages) : 0;
    if (cached !== 0) return cached;
    const pfn = this.#search(pages, limitPfn + 1, aligned ? 2 ** order : 1);
    if (pfn !== 0) this.counters.treeAllocs++;
    return pfn;
  }

  freeIovaFast(cpu: number, pfn: number, size: number): void {
    const order = orderOf(size);
    if (order >= ORDERS) {
      this.#release(pfn);
      return;
    }
    const { magazine, depot } = this.#facts;
    const pair = this.#pair(cpu, order);
    if (pair.loaded.length >= magazine) {
      const full = pair.loaded;
      pair.loaded = pair.prev;
      pair.prev = full;
      if (pair.loaded.length >= magazine) {
        // Back to where they were: the loaded one leaves, the previous one stays.
        pair.prev = pair.loaded;
        pair.loaded = [];
        if (depot === 'none') for (const old of full) this.#release(old);
        else {
          this.#depots[order]?.push(full);
          this.counters.depotPushes++;
          this.#arm(order);
        }
      }
    }
    pair.loaded.push(pfn);
  }

  #pair(cpu: number, order: number): Pair {
    const row = this.#pairs[this.#facts.caches === 'shared' ? 0 : cpu];
    return row?.[order] as Pair;
  }

  #take(pair: Pair, order: number, limit: number): number {
    if (pair.loaded.length === 0) {
      if (pair.prev.length > 0) {
        const { prev } = pair;
        pair.prev = pair.loaded;
        pair.loaded = prev;
      } else {
        const depot = this.#depots[order] as number[][];
        const full = this.#facts.depot === 'fifo' ? depot.shift() : depot.pop();
        if (full === undefined) return 0;
        this.counters.depotPops++;
        pair.loaded = full;
      }
    }
    const { loaded } = pair;
    if (this.#facts.pop === 'fifo') {
      const at = loaded.findIndex((pfn) => pfn <= limit);
      return at < 0 ? 0 : (loaded.splice(at, 1)[0] as number);
    }
    const at = loaded.findLastIndex((pfn) => pfn <= limit);
    if (at < 0) return 0;
    const pfn = loaded[at] as number;
    const top = loaded.pop() as number;
    if (at < loaded.length) loaded[at] = top;
    return pfn;
  }

  #arm(order: number): void {
    if (this.#armed[order]) return;
    this.#armed[order] = true;
    this.#clock.schedule(DELAY_US, () => {
      this.#armed[order] = false;
      const depot = this.#depots[order] as number[][];
      if (depot.length <= this.#facts.reclaimAbove) return;
      for (const pfn of depot.pop() ?? []) this.#release(pfn);
      this.#arm(order);
    });
  }

  #index(node: Node): number {
    return node === this.#anchor ? this.#nodes.length - 1 : this.#floor(node.lo);
  }

  /** Index of the last node that begins at or below `pfn`, -1 when there is none. */
  #floor(pfn: number): number {
    let low = 0;
    let high = this.#nodes.length;
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      if ((this.#nodes[middle] as Node).lo <= pfn) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  #insert(node: Node): void {
    this.#nodes.splice(this.#floor(node.lo) + 1, 0, node);
  }

  #search(size: number, limit: number, align: number): number {
    const low32 = limit <= this.#below4g;
    if (low32 && size >= this.#failed) return 0;
    const hint = low32 ? this.#hint32 : this.#hint;
    for (const retry of [false, true]) {
      if (retry && hint.hi >= limit) break;
      const lowest = retry ? hint.hi + 1 : this.#start;
      let at = retry ? this.#nodes.length - 1 : this.#index(hint);
      for (let high = limit; at >= 0; at--) {
        high = Math.min(high, (this.#nodes[at] as Node).lo);
        const pfn = Math.floor((high - size) / align) * align;
        if (pfn < lowest) break;
        const below = this.#nodes[at - 1];
        if (below !== undefined && pfn <= below.hi) continue;
        const node = { lo: pfn, hi: pfn + size - 1 };
        this.#insert(node);
        if (node.hi < this.#below4g) this.#hint32 = node;
        else this.#hint = node;
        return pfn;
      }
    }
    this.#failed = size;
    return 0;
  }

  #release(pfn: number): void {
    const at = this.#floor(pfn);
    const node = this.#nodes[at];
    if (node === undefined || pfn > node.hi) return;
    const above = this.#nodes[at + 1] as Node;
    if (node === this.#hint32 || (node.hi < this.#below4g && node.lo >= this.#hint32.lo))
      this.#hint32 = above;
    if (node.lo < this.#below4g) this.#failed = this.#below4g;
    if (node.lo >= this.#hint.lo) this.#hint = above;
    this.#nodes.splice(at, 1);
  }
}

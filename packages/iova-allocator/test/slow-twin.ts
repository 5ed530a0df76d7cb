// The allocator once more, slow and plain: sorted arrays, 64-bit wrap by bigint, magazines as arrays. Shares no code with src/.
import type { IovaProfile } from '../src/index.ts';

interface Node {
  lo: bigint;
  hi: bigint;
}

const TOP = 2n ** 64n - 1n;
const u64 = (n: bigint): bigint => BigInt.asUintN(64, n);
const MAG = 127;
const CLASSES = 6;

interface Work {
  due: number;
  seq: number;
}

export class SlowTwin {
  readonly nodes: Node[];
  readonly anchor: Node = { lo: TOP, hi: TOP };
  readonly dma32: bigint;
  readonly start: bigint;
  readonly top: bigint;
  readonly profile: IovaProfile;
  cached: Node;
  cached32: Node;
  max32: bigint;
  online: boolean[];
  loaded: number[][][] = [];
  prev: number[][][] = [];
  depots: number[][][] = [];
  works: (Work | undefined)[] = [];
  now = 0;
  seq = 0;

  constructor(granule: number, startPfn: number, cpus: number, profile: IovaProfile) {
    this.nodes = [this.anchor];
    this.start = BigInt(startPfn);
    this.dma32 = 2n ** 32n / BigInt(granule);
    this.top = TOP / BigInt(granule);
    this.cached = this.anchor;
    this.cached32 = this.anchor;
    this.max32 = this.dma32;
    this.profile = profile;
    this.online = Array.from({ length: cpus }, () => true);
    for (let k = 0; k < CLASSES; k++) {
      this.loaded.push(this.online.map(() => []));
      this.prev.push(this.online.map(() => []));
      this.depots.push([]);
      this.works.push(undefined);
    }
  }

  alloc(
    sizeIn: number,
    limitIn: number,
    sizeAligned: 'aligned' | 'unaligned',
  ): [number, number] | null {
    const size = BigInt(sizeIn);
    const limit = u64(BigInt(limitIn) + 1n);
    let align = 1n;
    while (sizeAligned === 'aligned' && align < size) align *= 2n;
    if (limit <= this.dma32 && size >= this.max32) return null;
    const hint = limit <= this.dma32 ? this.cached32 : this.cached;
    let at = this.nodes.indexOf(hint);
    let high = limit;
    let low = this.start;
    for (let pass = 0; ; pass++) {
      let fit = 0n;
      for (;;) {
        const node = this.nodes[at] as Node;
        if (node.lo < high) high = node.lo;
        fit = u64(high - size);
        fit -= fit % align;
        at--;
        const below = this.nodes[at];
        if (below === undefined || fit > below.hi || fit < low) break;
      }
      if (high >= size && fit >= low) {
        const node = { lo: fit, hi: fit + size - 1n };
        this.nodes.splice(at + 1, 0, node);
        if (node.hi < this.dma32) this.cached32 = node;
        else this.cached = node;
        return [Number(node.lo), Number(node.hi)];
      }
      if (pass > 0 || hint.hi >= limit) break;
      high = limit;
      low = hint.hi + 1n;
      at = this.nodes.length - 1;
    }
    this.max32 = size;
    return null;
  }

  find(pfn: number): Node | undefined {
    return this.nodes.find((n) => n !== this.anchor && n.lo <= BigInt(pfn) && BigInt(pfn) <= n.hi);
  }

  free(pfn: number): void {
    const node = this.find(pfn);
    if (node === undefined) return;
    const at = this.nodes.indexOf(node);
    const above = this.nodes[at + 1] as Node;
    if (node === this.cached32 || (node.hi < this.dma32 && node.lo >= this.cached32.lo))
      this.cached32 = above;
    if (node.lo < this.dma32) this.max32 = this.dma32;
    if (node.lo >= this.cached.lo) this.cached = above;
    this.nodes.splice(at, 1);
  }

  reserve(loIn: number, hiIn: number): [number, number] | null {
    let lo = BigInt(loIn);
    const hi = BigInt(hiIn);
    if (lo > this.top || hi > this.top) return null;
    let overlap = false;
    for (const node of this.nodes) {
      if (lo <= node.hi && hi >= node.lo) {
        if (lo < node.lo) node.lo = lo;
        if (hi > node.hi) lo = node.hi + 1n;
        if (lo >= node.lo && hi <= node.hi) return [Number(node.lo), Number(node.hi)];
        overlap = true;
      } else if (overlap) break;
    }
    const at = this.nodes.findIndex((n) => n.lo > lo);
    this.nodes.splice(at, 0, { lo, hi });
    return [Number(lo), Number(hi)];
  }

  allocFast(cpu: number, sizeIn: number, limit: number, flush: 'flush' | 'no-flush'): number {
    const size = sizeIn < 32 ? 2 ** this.order(sizeIn) : sizeIn;
    const pfn = this.get(cpu, this.order(size), u64(BigInt(limit) + 1n - BigInt(size)));
    if (pfn !== 0) return pfn;
    let range = this.alloc(size, limit, 'aligned');
    if (range === null && flush === 'flush') {
      this.online.forEach((up, c) => {
        if (up) this.flushCpu(c);
      });
      for (const depot of this.depots) {
        if (this.profile.version === '6.1') depot.reverse(); // an array, from its start
        while (depot.length > 0) this.empty(depot.pop() as number[]);
      }
      range = this.alloc(size, limit, 'aligned');
    }
    return range === null ? 0 : range[0];
  }

  freeFast(cpu: number, pfn: number, size: number): void {
    const k = this.order(size);
    if (k >= CLASSES) {
      this.free(pfn);
      return;
    }
    const [loaded, prev] = this.pair(k, cpu);
    if (loaded.length === MAG && prev.length < MAG) this.setPair(k, cpu, prev, loaded);
    else if (loaded.length === MAG) {
      this.setPair(k, cpu, [], prev);
      this.pair(k, cpu)[0].push(pfn);
      const depot = this.depots[k] as number[][];
      if (this.profile.version === '6.1' && depot.length === 32) this.empty(loaded);
      else {
        depot.push(loaded);
        this.arm(k);
      }
      return;
    }
    this.pair(k, cpu)[0].push(pfn);
  }

  dead(cpu: number): void {
    this.online[cpu] = false;
    this.flushCpu(cpu);
  }

  advance(us: number): void {
    const end = this.now + us;
    for (;;) {
      let k = -1;
      this.works.forEach((w, i) => {
        const best = this.works[k];
        if (
          w !== undefined &&
          w.due <= end &&
          (best === undefined || w.due < best.due || (w.due === best.due && w.seq < best.seq))
        )
          k = i;
      });
      if (k < 0) break;
      this.now = this.works[k]?.due as number;
      this.runWork(k);
    }
    this.now = end;
  }

  runWork(k: number): void {
    if (this.works[k] === undefined) return;
    this.works[k] = undefined;
    const depot = this.depots[k] as number[][];
    if (depot.length > this.online.filter(Boolean).length) {
      this.empty(depot.pop() as number[]);
      this.arm(k);
    }
  }

  private order(size: number): number {
    let k = 0;
    while (2 ** k < size) k++;
    return k;
  }

  private pair(k: number, cpu: number): [number[], number[]] {
    return [this.loaded[k]?.[cpu] as number[], this.prev[k]?.[cpu] as number[]];
  }

  private setPair(k: number, cpu: number, loaded: number[], prev: number[]): void {
    (this.loaded[k] as number[][])[cpu] = loaded;
    (this.prev[k] as number[][])[cpu] = prev;
  }

  private get(cpu: number, k: number, limit: bigint): number {
    if (k >= CLASSES) return 0;
    const [loaded, prev] = this.pair(k, cpu);
    if (loaded.length === 0) {
      if (prev.length > 0) this.setPair(k, cpu, prev, loaded);
      else {
        const full = this.depots[k]?.pop();
        if (full === undefined) return 0;
        this.setPair(k, cpu, full, prev);
      }
    }
    const magazine = this.pair(k, cpu)[0];
    const at = magazine.findLastIndex((pfn) => BigInt(pfn) <= limit);
    if (at < 0) return 0;
    const pfn = magazine[at] as number;
    const top = magazine.pop() as number;
    if (at < magazine.length) magazine[at] = top;
    return pfn;
  }

  private empty(magazine: number[]): void {
    for (const pfn of magazine.splice(0)) this.free(pfn);
  }

  private flushCpu(cpu: number): void {
    for (let k = 0; k < CLASSES; k++) {
      for (const magazine of this.pair(k, cpu)) this.empty(magazine);
    }
  }

  private arm(k: number): void {
    if (this.profile.version === '6.1' || this.works[k] !== undefined) return;
    this.works[k] = { due: this.now + 100_000, seq: this.seq++ };
  }
}

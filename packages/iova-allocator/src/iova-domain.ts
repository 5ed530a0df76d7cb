import { isPowerOfTwo, roundUpPowerOfTwo } from '@iommukit/bits';
import { augmentedSearch } from './augmented-search.ts';
import { fragmentation, type IovaFragmentation, largestFreeBlock } from './fragmentation.ts';
import {
  type GapPass,
  type GapSearch,
  type IovaSearch,
  linearSearch,
  newGapPass,
} from './gap-search.ts';
import { type IovaCounters, newCounters } from './iova-counters.ts';
import type {
  IovaDomainOptions,
  IovaDomainState,
  IovaMemory,
  IovaRange,
  IovaRestoreOptions,
} from './iova-domain-options.ts';
import {
  checkPfn,
  checkSize,
  IovaError,
  MAX_PFN,
  refuseDoubleFree,
  refuseFree,
} from './iova-error.ts';
import type { IovaProfile } from './iova-profile.ts';
import { checkSnapshot, type IovaSnapshot, restoreRanges } from './iova-snapshot.ts';
import { ANCHOR, IovaTree } from './iova-tree.ts';
import { type DepotWorkRun, RangeCaches } from './range-caches.ts';

const MAX_GRANULE = 65_536;
// By size: the cache order, and the size a fast allocation is rounded to. 32 is the last cached size and the first not rounded; it is its own power of two.
const LAST_CACHED = 32;
const ORDER = Uint8Array.from({ length: LAST_CACHED + 1 }, (_, n) => Math.ceil(Math.log2(n || 1)));
const ROUNDED = Uint8Array.from(ORDER, (order) => 2 ** order);

/**
 * Linux's IOVA allocator for one address space (`struct iova_domain`): ranges are found from the top down, aligned to the next power of two of their
 * size, starting at the range remembered from last time; freed ranges of up to 32 pages wait in per-CPU magazines.
 * Sizes are pages of the granule, limits are the highest pfn allowed. A limit is at most 2^52 - 1, so the kernel's wrap of `limit_pfn + 1` to 0 cannot occur.
 *
 * Source: `drivers/iommu/iova.c`.
 * @example const iovad = new IovaDomain({ granule: 4096, startPfn: 1, clock: new SimClock(), cpus: 1, profile: IOVA_PROFILES['7.3'] });
 */
export class IovaDomain {
  readonly granule: number;
  readonly startPfn: number;
  readonly profile: IovaProfile;
  /** First pfn above 4 GiB (`dma_32bit_pfn`). */
  readonly dma32Pfn: number;
  readonly counters: IovaCounters = newCounters();
  readonly search: IovaSearch;
  readonly #tree: IovaTree;
  readonly #search: GapSearch;
  readonly #pass: GapPass = newGapPass();
  readonly #caches: RangeCaches;
  readonly #online: Uint8Array;
  readonly #memoryFails: ((what: IovaMemory) => boolean) | null;
  readonly #highestPfn: number;
  /** Pfns in magazines and depot, kept only when frees are checked. */
  #cachedPfns: Set<number> | null;
  #onlineCount: number;
  #cached: number = ANCHOR;
  #cached32: number = ANCHOR;
  #max32AllocSize: number;
  #gone = false;

  /** Throws {@link IovaError} for a granule, start or number of CPUs that the kernel would stop at (`init_iova_domain`). */
  constructor(options: IovaDomainOptions) {
    const { granule, startPfn, clock, cpus, profile, search = 'linear' } = options;
    if (!isPowerOfTwo(granule) || granule > MAX_GRANULE)
      throw new IovaError(
        'IOVA_GRANULE',
        { name: 'granule', value: granule },
        `granule ${granule} is no power of two up to ${MAX_GRANULE}`,
        'Pass the smallest page size of the domain, bytes',
      );
    checkPfn('startPfn', startPfn);
    if (!Number.isInteger(cpus) || cpus < 1)
      throw new IovaError(
        'IOVA_CPU',
        { name: 'cpus', value: cpus },
        `${cpus} is no number of CPUs`,
        'Pass the number of possible CPUs, at least 1',
      );
    if (search !== 'linear' && search !== 'augmented')
      throw new IovaError(
        'IOVA_SEARCH',
        { name: 'search', value: search },
        `there is no search ${String(search)}`,
        'Pass linear or augmented',
      );
    this.search = search;
    this.#tree = new IovaTree(search === 'augmented' ? 'summaries' : 'plain');
    this.#search = search === 'augmented' ? augmentedSearch : linearSearch;
    this.#cachedPfns = options.checked === true ? new Set() : null;
    this.granule = granule;
    this.startPfn = startPfn;
    this.profile = profile;
    this.dma32Pfn = 2 ** 32 / granule;
    this.#highestPfn = Math.min(2 ** 64 / granule - 1, MAX_PFN);
    this.#max32AllocSize = this.dma32Pfn;
    this.#memoryFails = options.memoryFails ?? null;
    this.#online = new Uint8Array(cpus).fill(1);
    this.#onlineCount = cpus;
    this.#caches = new RangeCaches({
      clock,
      cpus,
      profile,
      counters: this.counters,
      onlineCpus: () => this.#onlineCount,
      releasePfn: (pfn) => this.#releaseCached(pfn),
      magazineFails: () => this.#fails('magazine'),
    });
  }

  /** Size of the last search that found nothing; a 32-bit request of at least this size fails unseen (`max32_alloc_size`). */
  get max32AllocSize(): number {
    return this.#max32AllocSize;
  }

  /** Ranges in the tree, cached ones included. */
  get rangeCount(): number {
    return this.#tree.size;
  }

  /** Bytes of typed arrays behind the tree. */
  get treeBytes(): number {
    return this.#tree.bytes;
  }

  /**
   * Searches `size` pages that end at or below `limitPfn`, always in the tree (`alloc_iova`). `null` when nothing fits.
   * `'aligned'` aligns to the next power of two of the size but does not round the size itself.
   * @example iovad.allocIova(3, 0xfffff, 'aligned') // { pfnLo: 0xffffc, pfnHi: 0xffffe }
   */
  allocIova(
    size: number,
    limitPfn: number,
    sizeAligned: 'aligned' | 'unaligned',
  ): IovaRange | null {
    this.#checkAlive();
    checkSize(size);
    checkPfn('limitPfn', limitPfn);
    const slot = this.#alloc(size, limitPfn, sizeAligned);
    return slot === ANCHOR ? null : this.#range(slot);
  }

  /**
   * The range that contains `pfn`, `null` when none does (`find_iova`).
   * @example iovad.findIova(0xffffd)?.pfnLo // 0xffffc
   */
  findIova(pfn: number): IovaRange | null {
    this.#checkAlive();
    checkPfn('pfn', pfn);
    const slot = this.#tree.find(pfn);
    return slot === ANCHOR ? null : this.#range(slot);
  }

  /**
   * Frees the whole range that contains `pfn`; does nothing when none does (`free_iova`).
   * @example iovad.freeIova(0xffffd);
   */
  freeIova(pfn: number): void {
    this.#checkAlive();
    checkPfn('pfn', pfn);
    const slot = this.#tree.find(pfn);
    if (slot !== ANCHOR) this.#remove(slot);
  }

  /**
   * Keeps `[pfnLo, pfnHi]` (inclusive) from being allocated (`reserve_iova`). Returns the range that holds the reservation, or its uppermost part where older
   * ranges lie in it: those grow downwards in place and are never joined. `null`, with a warning counted, beyond the 64-bit address space.
   * Source: section 1.4 of the kernel facts; no remembered range moves.
   * @example iovad.reserveIova(0x8000, 0x8fff) // { pfnLo: 0x8000, pfnHi: 0x8fff }
   */
  reserveIova(pfnLo: number, pfnHi: number): IovaRange | null {
    this.#checkAlive();
    this.#checkReservation('pfnLo', pfnLo);
    this.#checkReservation('pfnHi', pfnHi);
    if (pfnLo > this.#highestPfn || pfnHi > this.#highestPfn) {
      this.counters.warnings++;
      return null;
    }
    const tree = this.#tree;
    let from = pfnLo;
    // Nothing below the last range at or below `from` can overlap, and nothing after the first one above both ends.
    const first = tree.lastAtOrBelow(from);
    let slot = first === ANCHOR ? (tree.next[ANCHOR] as number) : first;
    let overlap = false;
    for (; slot !== ANCHOR; slot = tree.next[slot] as number) {
      const lo = tree.lo[slot] as number;
      const hi = tree.hi[slot] as number;
      if (from <= hi && pfnHi >= lo) {
        if (from < lo) tree.growDown(slot, from);
        if (pfnHi > hi) from = hi + 1;
        if (from >= (tree.lo[slot] as number) && pfnHi <= hi) return this.#range(slot);
        overlap = true;
      } else if (overlap || (lo > from && lo > pfnHi)) break;
    }
    if (this.#fails('range')) return null;
    const below = tree.floor(from);
    if (below !== ANCHOR && tree.lo[below] === from) {
      // The kernel warns, leaves the new object out of the tree and returns it all the same.
      this.counters.warnings++;
      return { pfnLo: from, pfnHi };
    }
    return this.#range(tree.insertBelow(tree.next[below] as number, from, pfnHi));
  }

  /**
   * Allocates on behalf of `cpu`: from its magazines, else from the tree (`alloc_iova_fast`). Returns the first pfn, 0 when nothing fits.
   * Sizes below 32 are rounded up to a power of two. `'flush'` empties the caches of all online CPUs and the depots after a failure and tries once more.
   * A size above `limitPfn + 1` wraps in the kernel and takes any cached range, also one above the limit: so it does here.
   * @example const pfn = iovad.allocIovaFast(0, 1, 0xfffff, 'flush');
   */
  allocIovaFast(
    cpu: number,
    size: number,
    limitPfn: number,
    flushRcache: 'flush' | 'no-flush',
  ): number {
    this.#checkAlive();
    this.#checkCpu(cpu);
    checkSize(size);
    checkPfn('limitPfn', limitPfn);
    let pages = size;
    if (size <= LAST_CACHED) {
      pages = ROUNDED[size] as number;
      const limit = limitPfn + 1 - pages;
      const pfn = this.#caches.get(
        cpu,
        ORDER[size] as number,
        limit < 0 ? Number.POSITIVE_INFINITY : limit,
      );
      if (pfn !== 0) {
        this.counters.cacheAllocs++;
        if (this.#cachedPfns !== null) this.#cachedPfns.delete(pfn);
        return pfn;
      }
      this.counters.cacheMisses++;
    }
    let slot = this.#alloc(pages, limitPfn, 'aligned');
    if (slot === ANCHOR) {
      if (flushRcache === 'no-flush') return 0;
      this.#flushCaches();
      slot = this.#alloc(pages, limitPfn, 'aligned');
      if (slot === ANCHOR) return 0;
    }
    return this.#tree.lo[slot] as number;
  }

  /**
   * Frees a range of {@link allocIovaFast} on behalf of `cpu`: into its magazines when `size` is at most 32 pages, else from the tree (`free_iova_fast`).
   * `size` is the one that was asked for. Unless the domain is `checked`, nothing checks that the range is allocated: freed twice, it is handed out twice.
   * A checked domain throws {@link IovaError} (`IOVA_DOUBLE_FREE` for a range in a cache, `IOVA_NOT_LIVE` where no range begins) and stays as it was.
   * @example iovad.freeIovaFast(0, pfn, 1);
   */
  freeIovaFast(cpu: number, pfn: number, size: number): void {
    this.#checkAlive();
    this.#checkCpu(cpu);
    checkSize(size);
    checkPfn('pfn', pfn);
    if (this.#cachedPfns !== null) {
      this.#freeChecked(this.#cachedPfns, cpu, pfn, size);
      return;
    }
    if (size <= LAST_CACHED && this.#caches.insert(cpu, ORDER[size] as number, pfn)) {
      this.counters.cacheFrees++;
      return;
    }
    const slot = this.#tree.find(pfn);
    if (slot !== ANCHOR) this.#remove(slot);
  }

  /**
   * Brings a CPU back; without effect on one that is online.
   * @example iovad.setCpuOnline(1);
   */
  setCpuOnline(cpu: number): void {
    this.#checkAlive();
    if (!this.#isOnline(cpu)) {
      this.#online[cpu] = 1;
      this.#onlineCount++;
    }
  }

  /**
   * Takes a CPU away and empties its magazines into the tree (`iova_cpuhp_dead`); without effect on one that is offline.
   * @example iovad.cpuDead(1);
   */
  cpuDead(cpu: number): void {
    this.#checkAlive();
    if (!this.#isOnline(cpu)) return;
    if (this.#onlineCount === 1)
      throw new IovaError(
        'IOVA_CPU',
        { name: 'cpu', value: cpu },
        `CPU ${cpu} is the last one online`,
        'Bring another CPU online first',
      );
    this.#online[cpu] = 0;
    this.#onlineCount--;
    this.#caches.flushCpu(cpu);
  }

  /**
   * Runs the depot work of an order (0 to 5) now if one is pending, as `flush_delayed_work` does; the clock runs it at its time otherwise.
   * @example iovad.flushDepotWork(0)?.pending
   */
  flushDepotWork(order: number): DepotWorkRun | undefined {
    this.#checkAlive();
    return this.#caches.flushDepotWork(order);
  }

  /**
   * A copy of the whole state, for checks and display.
   * @example iovad.state().cached32Pfn
   */
  state(): IovaDomainState {
    const { lo, next } = this.#tree;
    const ranges: IovaRange[] = [];
    for (let slot = next[ANCHOR] as number; slot !== ANCHOR; slot = next[slot] as number)
      ranges.push(this.#range(slot));
    return {
      ranges,
      cachedPfn: this.#cached === ANCHOR ? null : (lo[this.#cached] as number),
      cached32Pfn: this.#cached32 === ANCHOR ? null : (lo[this.#cached32] as number),
      max32AllocSize: this.#max32AllocSize,
      caches: this.#caches.state(),
    };
  }

  /**
   * Ranges that somebody holds, ascending, reservations included: all of the tree but what waits in a cache when the iteration starts.
   * Ranges may come and go meanwhile; the iteration goes on above the last one it gave.
   * @example for (const { pfnLo, pfnHi } of iovad.liveRanges()) pages += pfnHi - pfnLo + 1;
   */
  *liveRanges(): Generator<IovaRange, void, undefined> {
    this.#checkAlive();
    const cached = this.#caches.cachedPfns();
    const tree = this.#tree;
    for (let slot = tree.next[ANCHOR] as number; slot !== ANCHOR; ) {
      const range = this.#range(slot);
      if (!cached.has(range.pfnLo)) yield range;
      slot = tree.ceiling(range.pfnLo + 1);
    }
  }

  /**
   * How the pages from the start up to `limitPfn` (inclusive, default: all) are used, and the gaps between ranges by length.
   * @example iovad.fragmentation(0xfffff).histogram[0]?.gaps
   */
  fragmentation(limitPfn: number = this.#highestPfn): IovaFragmentation {
    this.#checkAlive();
    checkPfn('limitPfn', limitPfn);
    return fragmentation(this.#tree, this.#caches.cachedPfns(), this.startPfn, limitPfn + 1);
  }

  /**
   * The largest naturally aligned free block that ends at or below `limitPfn`, the highest one of that size; `null` when nothing is free.
   * It does not look into caches, and changes neither hints nor counters. With the augmented search it costs O(log n).
   * @example iovad.largestFreeBlock(0xfffff) // { pfnLo: 0x80000, pfnHi: 0xfffff }
   */
  largestFreeBlock(limitPfn: number): IovaRange | null {
    this.#checkAlive();
    checkPfn('limitPfn', limitPfn);
    return largestFreeBlock(this.#tree, this.#search, this.startPfn, limitPfn + 1);
  }

  /**
   * Everything that decides later results, and the counters, as plain JSON values; {@link IovaDomain.restore} makes a domain of it again.
   * @example const saved = JSON.stringify(iovad.snapshot());
   */
  snapshot(): IovaSnapshot {
    const { ranges, cachedPfn, cached32Pfn, max32AllocSize, caches } = this.state();
    return {
      format: 'iommukit-iova',
      version: 1,
      granule: this.granule,
      startPfn: this.startPfn,
      profile: { ...this.profile },
      search: this.search,
      checked: this.#cachedPfns !== null,
      ranges: ranges.map(({ pfnLo, pfnHi }) => [pfnLo, pfnHi] as const),
      depths: this.#depths(),
      cachedPfn,
      cached32Pfn,
      max32AllocSize,
      online: Array.from(this.#online, (up) => up === 1),
      caches: caches.map(({ depot, cpus }) => ({ depot, cpus })),
      depotWorks: this.#caches.pendingWorks(),
      counters: { ...this.counters },
    };
  }

  /**
   * A domain that goes on exactly where the snapshot was taken: ranges, hints, failed size, magazines in their order, depot, pending work, CPUs, counters.
   * Throws {@link IovaError} (`IOVA_SNAPSHOT`) for what {@link IovaDomain.snapshot} cannot have made.
   * @example const twin = IovaDomain.restore(JSON.parse(saved), { clock: new SimClock() });
   */
  static restore(snapshot: IovaSnapshot, options: IovaRestoreOptions): IovaDomain {
    checkSnapshot(snapshot);
    const { granule, startPfn, profile, checked } = snapshot;
    const search = options.search ?? snapshot.search;
    const cpus = snapshot.online.length;
    const iovad = new IovaDomain({ granule, startPfn, cpus, profile, checked, ...options, search });
    const { cached, cached32 } = restoreRanges(iovad.#tree, snapshot);
    iovad.#cached = cached;
    iovad.#cached32 = cached32;
    iovad.#max32AllocSize = snapshot.max32AllocSize;
    snapshot.online.forEach((up, cpu) => {
      iovad.#online[cpu] = up ? 1 : 0;
    });
    iovad.#onlineCount = snapshot.online.filter(Boolean).length;
    iovad.#caches.restore(snapshot.caches, snapshot.depotWorks);
    if (iovad.#cachedPfns !== null) iovad.#cachedPfns = iovad.#caches.cachedPfns();
    Object.assign(iovad.counters, snapshot.counters);
    return iovad;
  }

  /**
   * Destroys the space: pending work is cancelled, all ranges are forgotten (`put_iova_domain`). Every later call throws {@link IovaError}.
   * @example iovad.putIovaDomain();
   */
  putIovaDomain(): void {
    this.#checkAlive();
    this.#caches.destroy();
    this.#cachedPfns?.clear();
    this.#gone = true;
  }

  #alloc(size: number, limitPfn: number, sizeAligned: 'aligned' | 'unaligned'): number {
    if (this.#fails('range')) {
      this.counters.failedAllocs++;
      return ANCHOR;
    }
    const tree = this.#tree;
    const pass = this.#pass;
    const limit = limitPfn + 1;
    const low32 = limit <= this.dma32Pfn;
    if (low32 && size >= this.#max32AllocSize) {
      this.counters.failedAllocs++;
      this.counters.refusedAllocs++;
      return ANCHOR;
    }
    pass.size = size;
    pass.align = sizeAligned === 'unaligned' || size === 1 ? 1 : roundUpPowerOfTwo(size);
    pass.start = low32 ? this.#cached32 : this.#cached;
    pass.high = limit;
    pass.low = this.startPfn;
    pass.visited = 0;
    pass.misaligned = 0;
    const retryPfn = tree.hi[pass.start] as number;
    let found = this.#search(tree, pass);
    if (!found && retryPfn < limit) {
      this.counters.searchRetries++;
      pass.start = limit > this.dma32Pfn ? ANCHOR : tree.ceiling(limit);
      pass.high = limit;
      pass.low = retryPfn + 1;
      found = this.#search(tree, pass);
    }
    this.counters.nodesVisited += pass.visited;
    this.counters.misalignedGaps += pass.misaligned;
    if (!found) {
      this.#max32AllocSize = size;
      this.counters.failedAllocs++;
      return ANCHOR;
    }
    const last = pass.pfn + size - 1;
    const slot = tree.insertBelow(pass.above, pass.pfn, last);
    if (last < this.dma32Pfn) this.#cached32 = slot;
    else this.#cached = slot;
    this.counters.treeAllocs++;
    return slot;
  }

  #remove(slot: number): void {
    const tree = this.#tree;
    const lo = tree.lo[slot] as number;
    const above = tree.next[slot] as number;
    const below4g = (tree.hi[slot] as number) < this.dma32Pfn;
    if (slot === this.#cached32 || (below4g && lo >= (tree.lo[this.#cached32] as number)))
      this.#cached32 = above;
    if (lo < this.dma32Pfn) this.#max32AllocSize = this.dma32Pfn;
    if (lo >= (tree.lo[this.#cached] as number)) this.#cached = above;
    const moved = tree.remove(slot);
    if (moved !== ANCHOR) {
      if (this.#cached === moved) this.#cached = slot;
      if (this.#cached32 === moved) this.#cached32 = slot;
    }
    this.counters.treeFrees++;
  }

  #freeChecked(cached: Set<number>, cpu: number, pfn: number, size: number): void {
    const slot = this.#tree.find(pfn);
    if (cached.has(pfn)) refuseDoubleFree(pfn, size);
    if (slot === ANCHOR || this.#tree.lo[slot] !== pfn) refuseFree(pfn);
    // A full depot (6.1) may empty a magazine within the call, so the pfn is noted first.
    cached.add(pfn);
    if (size <= LAST_CACHED && this.#caches.insert(cpu, ORDER[size] as number, pfn)) {
      this.counters.cacheFrees++;
      return;
    }
    cached.delete(pfn);
    this.#remove(slot);
  }

  #releaseCached(pfn: number): void {
    if (this.#cachedPfns !== null) this.#cachedPfns.delete(pfn);
    const slot = this.#tree.find(pfn);
    if (slot === ANCHOR) this.counters.warnings++;
    else this.#remove(slot);
  }

  #flushCaches(): void {
    this.counters.cacheFlushes++;
    for (let cpu = 0; cpu < this.#online.length; cpu++)
      if (this.#online[cpu] === 1) this.#caches.flushCpu(cpu);
    this.#caches.flushDepots();
  }

  #range(slot: number): IovaRange {
    return { pfnLo: this.#tree.lo[slot] as number, pfnHi: this.#tree.hi[slot] as number };
  }

  #depths(): number[] {
    const tree = this.#tree;
    const all: number[] = [];
    for (let slot = tree.next[ANCHOR] as number; slot !== ANCHOR; slot = tree.next[slot] as number)
      all.push(tree.depth(slot));
    return all;
  }

  #fails(what: IovaMemory): boolean {
    return this.#memoryFails?.(what) ?? false;
  }

  #isOnline(cpu: number): boolean {
    const online = this.#online[cpu];
    if (online === undefined) this.#refuseCpu(cpu);
    return online === 1;
  }

  #checkCpu(cpu: number): void {
    if (this.#online[cpu] !== 1) this.#refuseCpu(cpu);
  }

  #refuseCpu(cpu: number): never {
    throw new IovaError(
      'IOVA_CPU',
      { name: 'cpu', value: cpu },
      `CPU ${cpu} is not one of the ${this.#onlineCount} CPUs online`,
      'Run on an online CPU, or bring it online first',
    );
  }

  // Pfns beyond the space get the kernel's own answer; with granules below 4 KiB those from 2^52 on are beyond what is modelled.
  #checkReservation(name: string, pfn: number): void {
    const beyond = pfn >= 2 ** 64 / this.granule && Number.isInteger(pfn);
    if (!beyond) checkPfn(name, pfn);
  }

  #checkAlive(): void {
    if (this.#gone)
      throw new IovaError(
        'IOVA_DOMAIN_GONE',
        { name: 'startPfn', value: this.startPfn },
        'the domain was destroyed by putIovaDomain',
        'Create a new IovaDomain',
      );
  }
}

import { isPowerOfTwo, roundUpPowerOfTwo } from '@iommukit/bits';
import type { Clock } from '@iommukit/platform';
import { type GapPass, type GapSearch, linearSearch } from './gap-search.ts';
import { type IovaCounters, newCounters } from './iova-counters.ts';
import { checkPfn, checkSize, IovaError, MAX_PFN } from './iova-error.ts';
import type { IovaProfile } from './iova-profile.ts';
import { ANCHOR, IovaTree } from './iova-tree.ts';
import { type DepotWorkRun, type RangeCacheState, RangeCaches } from './range-caches.ts';

/**
 * A range of page frames, both ends inclusive (`struct iova`).
 * @example const pages = range.pfnHi - range.pfnLo + 1;
 */
export interface IovaRange {
  readonly pfnLo: number;
  readonly pfnHi: number;
}

/**
 * What memory the kernel would allocate: the object of a range, or a magazine of a cache.
 * @example const fails = (what: IovaMemory) => what === 'magazine';
 */
export type IovaMemory = 'range' | 'magazine';

/**
 * How an {@link IovaDomain} is set up.
 * @example const options: IovaDomainOptions = { granule: 4096, startPfn: 1, clock, cpus: 2, profile: IOVA_PROFILES['7.3'] };
 */
export interface IovaDomainOptions {
  /** Bytes of a page of this space, a power of two. */
  readonly granule: number;
  /** Lowest pfn a search may return; reservations may lie below. */
  readonly startPfn: number;
  /** Drives the depot work. */
  readonly clock: Clock;
  /** Possible CPUs, numbered from 0; all start online. */
  readonly cpus: number;
  readonly profile: IovaProfile;
  /** Asked before each memory allocation of the kernel after set-up; true lets it fail. Absent: none fails. */
  readonly memoryFails?: (what: IovaMemory) => boolean;
}

/**
 * A copy of everything that decides the next result.
 * @example iovad.state().ranges.length
 */
export interface IovaDomainState {
  /** All ranges, ascending; those in caches are among them. */
  readonly ranges: readonly IovaRange[];
  /** Low pfn of the remembered ranges, `null` for the anchor above all ranges. */
  readonly cachedPfn: number | null;
  readonly cached32Pfn: number | null;
  readonly max32AllocSize: number;
  /** By order. */
  readonly caches: readonly RangeCacheState[];
}

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
  readonly #tree = new IovaTree();
  readonly #search: GapSearch = linearSearch;
  readonly #pass: GapPass = {
    size: 0,
    align: 1,
    start: ANCHOR,
    high: 0,
    low: 0,
    pfn: 0,
    above: ANCHOR,
    visited: 0,
  };
  readonly #caches: RangeCaches;
  readonly #online: Uint8Array;
  readonly #memoryFails: ((what: IovaMemory) => boolean) | null;
  readonly #highestPfn: number;
  #onlineCount: number;
  #cached: number = ANCHOR;
  #cached32: number = ANCHOR;
  #max32AllocSize: number;
  #gone = false;

  /** Throws {@link IovaError} for a granule, start or number of CPUs that the kernel would stop at (`init_iova_domain`). */
  constructor(options: IovaDomainOptions) {
    const { granule, startPfn, clock, cpus, profile } = options;
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
    const slot = this.#alloc(size, limitPfn, sizeAligned === 'aligned');
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
        if (from < lo) tree.lo[slot] = from;
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
        return pfn;
      }
    }
    let slot = this.#alloc(pages, limitPfn, true);
    if (slot === ANCHOR) {
      if (flushRcache === 'no-flush') return 0;
      this.#flushCaches();
      slot = this.#alloc(pages, limitPfn, true);
      if (slot === ANCHOR) return 0;
    }
    return this.#tree.lo[slot] as number;
  }

  /**
   * Frees a range of {@link allocIovaFast} on behalf of `cpu`: into its magazines when `size` is at most 32 pages, else from the tree (`free_iova_fast`).
   * `size` is the one that was asked for. Nothing checks that the range is allocated.
   * @example iovad.freeIovaFast(0, pfn, 1);
   */
  freeIovaFast(cpu: number, pfn: number, size: number): void {
    this.#checkAlive();
    this.#checkCpu(cpu);
    checkSize(size);
    checkPfn('pfn', pfn);
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
   * Destroys the space: pending work is cancelled, all ranges are forgotten (`put_iova_domain`). Every later call throws {@link IovaError}.
   * @example iovad.putIovaDomain();
   */
  putIovaDomain(): void {
    this.#checkAlive();
    this.#caches.destroy();
    this.#gone = true;
  }

  #alloc(size: number, limitPfn: number, aligned: boolean): number {
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
    pass.align = !aligned || size === 1 ? 1 : roundUpPowerOfTwo(size);
    pass.start = low32 ? this.#cached32 : this.#cached;
    pass.high = limit;
    pass.low = this.startPfn;
    pass.visited = 0;
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
    tree.remove(slot);
    this.counters.treeFrees++;
  }

  #releaseCached(pfn: number): void {
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

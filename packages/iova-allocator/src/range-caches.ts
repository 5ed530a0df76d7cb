import type { Clock } from '@iommukit/platform';
import type { IovaCounters } from './iova-counters.ts';
import type { IovaProfile } from './iova-profile.ts';
import { MagazinePool, NO_MAGAZINE } from './magazine-pool.ts';

/**
 * Orders that are cached: ranges of 1, 2, 4, 8, 16 and 32 pages (`IOVA_RANGE_CACHE_MAX_SIZE`).
 * @example IOVA_RANGE_CACHE_MAX_SIZE // 6
 */
export const IOVA_RANGE_CACHE_MAX_SIZE = 6;

/**
 * Largest range, bytes, that the caches serve (`iova_rcache_range`); with dma-iommu also the value of `dma_opt_mapping_size`.
 * `pageSize` is the CPU's page size, bytes.
 * @example iovaRcacheRange(4096) // 131072
 */
export function iovaRcacheRange(pageSize: number): number {
  return pageSize * 2 ** (IOVA_RANGE_CACHE_MAX_SIZE - 1);
}

/**
 * One run of a depot's reclaim work.
 * @example iovad.flushDepotWork(0)?.depotAfter
 */
export interface DepotWorkRun {
  readonly order: number;
  /** Full magazines in the depot before and after. */
  readonly depotBefore: number;
  readonly depotAfter: number;
  /** True when the work queued itself again. */
  readonly pending: boolean;
}

/**
 * The caches of one order: entries bottom first, `null` where no magazine was ever needed.
 * @example iovad.state().caches[0]?.cpus[0]?.loaded
 */
export interface RangeCacheState {
  readonly order: number;
  /** Full magazines, the oldest first. */
  readonly depot: readonly (readonly number[])[];
  readonly workPending: boolean;
  /** By CPU number, all possible CPUs. */
  readonly cpus: readonly {
    readonly loaded: readonly number[] | null;
    readonly prev: readonly number[] | null;
  }[];
}

/** The caches of one order as a snapshot has them. */
export type SavedCache = Pick<RangeCacheState, 'depot' | 'cpus'>;

/**
 * A depot work that waits for its time.
 * @example iovad.snapshot().depotWorks[0]?.inUs
 */
export interface PendingDepotWork {
  readonly order: number;
  /** Microseconds from now. */
  readonly inUs: number;
}

/** What the caches need from the domain around them. */
export interface RangeCacheHost {
  readonly clock: Clock;
  readonly cpus: number;
  readonly profile: IovaProfile;
  readonly counters: IovaCounters;
  onlineCpus(): number;
  /** Takes the range at `pfn` out of the tree. */
  releasePfn(pfn: number): void;
  /** True when the kernel's allocation of a magazine would fail now. */
  magazineFails(): boolean;
}

/** Per-CPU magazines and the depot of every order (`struct iova_rcache`). */
export class RangeCaches {
  readonly #host: RangeCacheHost;
  readonly #pool = new MagazinePool();
  readonly #loaded: Int32Array;
  readonly #prev: Int32Array;
  readonly #depots: number[][] = [];
  readonly #timers: (number | null)[] = [];
  readonly #works: (() => void)[] = [];
  readonly #dues: number[] = [];
  /** Orders whose work is armed, the first armed first. */
  #armed: number[] = [];
  readonly #release: (pfn: number) => void;

  constructor(host: RangeCacheHost) {
    this.#host = host;
    this.#release = (pfn) => host.releasePfn(pfn);
    const places = host.cpus * IOVA_RANGE_CACHE_MAX_SIZE;
    this.#loaded = new Int32Array(places).fill(NO_MAGAZINE);
    this.#prev = new Int32Array(places).fill(NO_MAGAZINE);
    for (let order = 0; order < IOVA_RANGE_CACHE_MAX_SIZE; order++) {
      this.#depots.push([]);
      this.#timers.push(null);
      this.#dues.push(0);
      this.#works.push(() => {
        this.#runDepotWork(order);
      });
    }
    if (host.profile.magazineMemory === 'at-init') {
      for (let at = 0; at < places; at++) {
        this.#loaded[at] = this.#pool.take();
        this.#prev[at] = this.#pool.take();
      }
    }
  }

  /** A cached pfn at or below `limit`, 0 when the one magazine that is looked at has none (`__iova_rcache_get`). */
  get(cpu: number, order: number, limit: number): number {
    const at = cpu * IOVA_RANGE_CACHE_MAX_SIZE + order;
    const pool = this.#pool;
    let loaded = this.#loaded[at] as number;
    if (pool.count(loaded) === 0) {
      const prev = this.#prev[at] as number;
      if (pool.count(prev) !== 0) {
        this.#prev[at] = loaded;
        loaded = prev;
      } else {
        const full = (this.#depots[order] as number[]).pop();
        if (full === undefined) return 0;
        pool.release(loaded);
        loaded = full;
        this.#host.counters.depotPops++;
      }
      this.#loaded[at] = loaded;
    }
    return pool.pop(loaded, limit);
  }

  /** Keeps `pfn`; false when a magazine was needed and there was no memory (`__iova_rcache_insert`). */
  insert(cpu: number, order: number, pfn: number): boolean {
    const at = cpu * IOVA_RANGE_CACHE_MAX_SIZE + order;
    const pool = this.#pool;
    const loaded = this.#loaded[at] as number;
    if (pool.hasRoom(loaded)) {
      pool.push(loaded, pfn);
      return true;
    }
    const prev = this.#prev[at] as number;
    if (pool.hasRoom(prev)) {
      this.#prev[at] = loaded;
      this.#loaded[at] = prev;
      pool.push(prev, pfn);
      return true;
    }
    if (this.#host.magazineFails()) return false;
    let overflow = NO_MAGAZINE;
    if (loaded !== NO_MAGAZINE) {
      if (prev === NO_MAGAZINE) this.#prev[at] = loaded;
      else if (!this.#pushDepot(order, loaded)) overflow = loaded;
    }
    const fresh = pool.take();
    this.#loaded[at] = fresh;
    pool.push(fresh, pfn);
    if (overflow !== NO_MAGAZINE) {
      pool.drain(overflow, this.#release);
      pool.release(overflow);
    }
    return true;
  }

  /** Gives a CPU's cached pfns back to the tree; the empty magazines stay (`free_cpu_cached_iovas`). */
  flushCpu(cpu: number): void {
    const base = cpu * IOVA_RANGE_CACHE_MAX_SIZE;
    for (let order = 0; order < IOVA_RANGE_CACHE_MAX_SIZE; order++) {
      this.#pool.drain(this.#loaded[base + order] as number, this.#release);
      this.#pool.drain(this.#prev[base + order] as number, this.#release);
    }
  }

  /** Empties every depot into the tree (`free_global_cached_iovas`). */
  flushDepots(): void {
    for (const depot of this.#depots) {
      // 6.1 starts at the oldest one instead; the tree, its hints and the failed size come out the same in any order.
      for (let full = depot.pop(); full !== undefined; full = depot.pop()) {
        this.#pool.drain(full, this.#release);
        this.#pool.release(full);
      }
    }
  }

  /** Runs a pending depot work now instead of at its time; `undefined` when none is pending. */
  flushDepotWork(order: number): DepotWorkRun | undefined {
    const timer = this.#timers[order];
    if (timer === null || timer === undefined) return undefined;
    this.#host.clock.cancel(timer);
    const depotBefore = (this.#depots[order] as number[]).length;
    this.#runDepotWork(order);
    return {
      order,
      depotBefore,
      depotAfter: (this.#depots[order] as number[]).length,
      pending: this.#timers[order] !== null,
    };
  }

  state(): RangeCacheState[] {
    return this.#depots.map((depot, order) => ({
      order,
      depot: depot.map((full) => this.#pool.entries(full) ?? []),
      workPending: this.#timers[order] !== null,
      cpus: Array.from({ length: this.#host.cpus }, (_, cpu) => {
        const at = cpu * IOVA_RANGE_CACHE_MAX_SIZE + order;
        return {
          loaded: this.#pool.entries(this.#loaded[at] as number),
          prev: this.#pool.entries(this.#prev[at] as number),
        };
      }),
    }));
  }

  /** Depot works in the order in which they will run. */
  pendingWorks(): PendingDepotWork[] {
    const now = this.#host.clock.nowUs;
    return this.#armed
      .map((order) => ({ order, inUs: (this.#dues[order] as number) - now }))
      .sort((a, b) => a.inUs - b.inUs);
  }

  /** Every pfn that waits in a magazine. */
  cachedPfns(): Set<number> {
    const all = new Set<number>();
    const add = (magazine: number): void => {
      for (const pfn of this.#pool.entries(magazine) ?? []) all.add(pfn);
    };
    for (const depot of this.#depots) depot.forEach(add);
    this.#loaded.forEach(add);
    this.#prev.forEach(add);
    return all;
  }

  /** Takes over saved contents in place of its own. */
  restore(caches: readonly SavedCache[], works: readonly PendingDepotWork[]): void {
    this.destroy();
    const magazine = (entries: readonly number[] | null): number => {
      if (entries === null) return NO_MAGAZINE;
      const fresh = this.#pool.take();
      for (const pfn of entries) this.#pool.push(fresh, pfn);
      return fresh;
    };
    caches.forEach((cache, order) => {
      for (const full of cache.depot) (this.#depots[order] as number[]).push(magazine(full));
      cache.cpus.forEach((pair, cpu) => {
        const at = cpu * IOVA_RANGE_CACHE_MAX_SIZE + order;
        this.#loaded[at] = magazine(pair.loaded);
        this.#prev[at] = magazine(pair.prev);
      });
    });
    for (const { order, inUs } of works) this.#schedule(order, inUs);
  }

  /** Forgets everything without touching the tree (`free_iova_rcaches`). */
  destroy(): void {
    for (let order = 0; order < IOVA_RANGE_CACHE_MAX_SIZE; order++) {
      const timer = this.#timers[order];
      if (timer !== null && timer !== undefined) this.#host.clock.cancel(timer);
      this.#disarm(order);
      for (const full of (this.#depots[order] as number[]).splice(0)) this.#pool.release(full);
    }
    for (const places of [this.#loaded, this.#prev]) {
      for (const magazine of places) this.#pool.release(magazine);
      places.fill(NO_MAGAZINE);
    }
  }

  #pushDepot(order: number, full: number): boolean {
    const depot = this.#depots[order] as number[];
    const { depotLimit } = this.#host.profile;
    if (depotLimit !== null && depot.length >= depotLimit) {
      this.#host.counters.depotOverflows++;
      return false;
    }
    depot.push(full);
    this.#host.counters.depotPushes++;
    this.#armDepotWork(order);
    return true;
  }

  #armDepotWork(order: number): void {
    const { depotReclaimDelayUs } = this.#host.profile;
    // A work that is already pending keeps its time.
    if (depotReclaimDelayUs === null || this.#timers[order] !== null) return;
    this.#schedule(order, depotReclaimDelayUs);
  }

  #schedule(order: number, inUs: number): void {
    const { clock } = this.#host;
    this.#timers[order] = clock.schedule(inUs, this.#works[order] as () => void);
    this.#dues[order] = clock.nowUs + inUs;
    this.#armed.push(order);
  }

  #disarm(order: number): void {
    this.#timers[order] = null;
    this.#armed = this.#armed.filter((other) => other !== order);
  }

  #runDepotWork(order: number): void {
    this.#disarm(order);
    const depot = this.#depots[order] as number[];
    if (depot.length <= this.#host.onlineCpus()) return;
    const full = depot.pop() as number;
    this.#host.counters.depotReclaims++;
    this.#pool.drain(full, this.#release);
    this.#pool.release(full);
    this.#armDepotWork(order);
  }
}

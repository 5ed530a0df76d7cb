import { log2Ceil } from '@iommukit/bits';
import type { Platform } from '@iommukit/platform';
import { DmaError } from './dma-error.ts';
import type { ExposureMeter, ExposureWindow } from './exposure.ts';

/**
 * How unmaps of a lazy domain are collected (`struct iommu_dma_options`).
 * @example const options: FlushQueueOptions = { mode: 'per-cpu', size: 256, timeoutUs: 10_000 };
 */
export interface FlushQueueOptions {
  /** One ring for each CPU, or one for all. */
  readonly mode: 'single' | 'per-cpu';
  /** Entries of a ring, a power of two from 2 on; it holds one less. */
  readonly size: number;
  /** From the first entry after rest to the flush, microseconds. */
  readonly timeoutUs: number;
}

/** The rings of most domains (`IOVA_DEFAULT_FQ_SIZE`, `IOVA_DEFAULT_FQ_TIMEOUT`). @example FLUSH_QUEUE_PER_CPU.size // 256 */
export const FLUSH_QUEUE_PER_CPU: FlushQueueOptions = {
  mode: 'per-cpu',
  size: 256,
  timeoutUs: 10_000,
};

/**
 * The ring where a flush is costly, by `IommuDevice.shadowOnFlush` (`IOVA_SINGLE_FQ_SIZE`, `IOVA_SINGLE_FQ_TIMEOUT`).
 * @example FLUSH_QUEUE_SINGLE.timeoutUs // 1_000_000
 */
export const FLUSH_QUEUE_SINGLE: FlushQueueOptions = {
  mode: 'single',
  size: 32_768,
  timeoutUs: 1_000_000,
};

/**
 * What a queue does when it drains.
 * @example const target: FlushQueueTarget = { flushAll() {}, freeIova: (pfn, pages) => iovad.freeIovaFast(0, pfn, pages), putPages() {} };
 */
export interface FlushQueueTarget {
  /** Invalidates the whole domain and waits (`flush_iotlb_all`). */
  flushAll(): void;
  /** Gives a range of granules back to the allocator, from the CPU that runs. */
  freeIova(pfn: number, pages: number): void;
  /** Frees table pages that the unmap took out (`iommu_put_pages_list`). */
  putPages(freelist: readonly number[]): void;
}

/**
 * How a {@link FlushQueue} is made.
 * @example const init: FlushQueueInit = { ...FLUSH_QUEUE_PER_CPU, cpus: 4, platform, target };
 */
export interface FlushQueueInit extends FlushQueueOptions {
  /** Possible CPUs. */
  readonly cpus: number;
  /** Clock of the timer; `cpu` chooses the ring. */
  readonly platform: Pick<Platform, 'clock' | 'cpu'>;
  readonly target: FlushQueueTarget;
  /** `external`: the timer is only marked as on, and {@link FlushQueue.expire} is called by who replays a record. Default `clock`. */
  readonly timer?: 'clock' | 'external';
  /** Who counts what stays reachable, and the bytes of a page. */
  readonly exposure?: { readonly meter: ExposureMeter; readonly granule: number };
}

/** What can be seen of a queue between two calls. @example queue.state().rings // [{ head: 0, tail: 3 }] */
export interface FlushQueueState {
  /** Flushes that have begun (`fq_flush_start_cnt`). */
  readonly flushStart: number;
  /** Flushes that are complete (`fq_flush_finish_cnt`). */
  readonly flushFinish: number;
  readonly timerOn: boolean;
  /** By CPU, or the only one. */
  readonly rings: readonly { readonly head: number; readonly tail: number }[];
}

/**
 * What may be changed about the flush queues of all lazy domains of a `DmaApi`; what is absent is the kernel's.
 * @example const flushQueue: FlushQueueSettings = { size: 4, exposure: new ExposureMeter() };
 */
export interface FlushQueueSettings extends Partial<FlushQueueOptions> {
  /** As in {@link FlushQueueInit}. */
  readonly timer?: 'clock' | 'external';
  /** Counts what stays reachable after an unmap. */
  readonly exposure?: ExposureMeter;
  /** Asked when a queue is made; true: there is no memory for it. */
  readonly memoryFails?: () => boolean;
}

const NO_PAGES: readonly number[] = [];

class Ring {
  head = 0;
  tail = 0;
  readonly pfns: Float64Array;
  readonly pages: Float64Array;
  /** Flushes that had begun when the entry came. */
  readonly counters: Float64Array;
  readonly freelists: (readonly number[])[];

  constructor(size: number) {
    this.pfns = new Float64Array(size);
    this.pages = new Float64Array(size);
    this.counters = new Float64Array(size);
    this.freelists = new Array<readonly number[]>(size).fill(NO_PAGES);
  }
}

/**
 * Unmapped IOVA ranges that wait for one flush of the whole domain (`struct iova_fq`, `queue_iova`): lazy invalidation. A range goes back
 * to the allocator only after a flush that began later than it was queued. A full ring flushes in the caller; the timer starts with the
 * first entry after rest, is not extended, and runs on the CPU that started it. Throws {@link DmaError} `DMA_SETUP` for a size that is
 * no power of two.
 * @example const queue = new FlushQueue({ ...FLUSH_QUEUE_PER_CPU, cpus: 1, platform, target }); queue.queue(0xfffff, 1, []);
 */
export class FlushQueue {
  readonly mode: 'single' | 'per-cpu';
  /** Entries of a ring. */
  readonly size: number;
  readonly timeoutUs: number;
  readonly #platform: Pick<Platform, 'clock' | 'cpu'>;
  readonly #target: FlushQueueTarget;
  readonly #rings: Ring[];
  readonly #external: boolean;
  readonly #exposure: ExposureWindow | null;
  #flushStart = 0;
  #flushFinish = 0;
  #timerOn = false;
  #timer = 0;

  constructor(init: FlushQueueInit) {
    if (init.size < 2 || 2 ** log2Ceil(init.size) !== init.size)
      throw new DmaError(
        'DMA_SETUP',
        'flush queue',
        `has rings of ${init.size} entries`,
        'Take a power of two',
      );
    this.mode = init.mode;
    this.size = init.size;
    this.timeoutUs = init.timeoutUs;
    this.#platform = init.platform;
    this.#target = init.target;
    this.#external = init.timer === 'external';
    const count = init.mode === 'single' ? 1 : init.cpus;
    this.#rings = Array.from({ length: count }, () => new Ring(init.size));
    this.#exposure = init.exposure?.meter.watch(init.exposure.granule, init.platform.clock) ?? null;
  }

  /** Ranges that wait. */
  get pending(): number {
    let count = 0;
    for (const { head, tail } of this.#rings) count += (tail - head + this.size) % this.size;
    return count;
  }

  /** A copy of the counters and of the ends of the rings. */
  state(): FlushQueueState {
    return {
      flushStart: this.#flushStart,
      flushFinish: this.#flushFinish,
      timerOn: this.#timerOn,
      rings: this.#rings.map(({ head, tail }) => ({ head, tail })),
    };
  }

  /**
   * Takes over an unmapped range of `pages` granules from `pfn` on, and table pages to free with it (`queue_iova`). What is flushed
   * already is freed first, for the CPU's own ring only. The array of table pages must not be changed afterwards.
   */
  queue(pfn: number, pages: number, freelist: readonly number[]): void {
    const platform = this.#platform;
    const ring = this.#ring(platform.cpu);
    this.#drain(ring);
    if ((ring.tail + 1) % this.size === ring.head) {
      this.#flushAll();
      this.#drain(ring);
    }
    const at = ring.tail;
    ring.tail = (at + 1) % this.size;
    ring.pfns[at] = pfn;
    ring.pages[at] = pages;
    ring.counters[at] = this.#flushStart;
    // An empty gather list may still be filled by its next user.
    if (freelist.length > 0) ring.freelists[at] = freelist;
    this.#exposure?.open(pages, this.#flushStart);
    if (this.#timerOn) return;
    this.#timerOn = true;
    if (this.#external) return;
    const { cpu, clock } = platform;
    this.#timer = clock.schedule(this.timeoutUs, () => {
      const interrupted = platform.cpu;
      platform.cpu = cpu;
      this.expire();
      platform.cpu = interrupted;
    });
  }

  /** The timer's work on the CPU that runs: one flush, then every ring is drained (`fq_flush_timeout`). The next entry starts the timer again. */
  expire(): void {
    this.#timerOn = false;
    this.#flushAll();
    for (const ring of this.#rings) this.#drain(ring);
  }

  /** Ends the queue with its domain: the timer is off, table pages are freed, ranges are not (`iommu_dma_free_fq`). */
  free(): void {
    if (this.#timerOn) this.#platform.clock.cancel(this.#timer);
    this.#timerOn = false;
    for (const ring of this.#rings) {
      for (let at = ring.head; at !== ring.tail; at = (at + 1) % this.size)
        this.#putPages(ring, at);
      ring.head = ring.tail;
    }
    this.#exposure?.close(Infinity);
  }

  #ring(cpu: number): Ring {
    return this.#rings[this.mode === 'single' ? 0 : cpu] as Ring;
  }

  /** `fq_flush_iotlb`: what is queued between the two counts is not covered. */
  #flushAll(): void {
    this.#flushStart++;
    this.#target.flushAll();
    this.#flushFinish++;
    this.#exposure?.close(this.#flushFinish);
  }

  /** Frees from the head what a complete flush has covered (`fq_ring_free_locked`). */
  #drain(ring: Ring): void {
    const finish = this.#flushFinish;
    while (ring.head !== ring.tail) {
      const at = ring.head;
      if ((ring.counters[at] as number) >= finish) return;
      this.#putPages(ring, at);
      this.#target.freeIova(ring.pfns[at] as number, ring.pages[at] as number);
      ring.head = (at + 1) % this.size;
    }
  }

  #putPages(ring: Ring, at: number): void {
    const freelist = ring.freelists[at] as readonly number[];
    if (freelist.length === 0) return;
    ring.freelists[at] = NO_PAGES;
    this.#target.putPages(freelist);
  }
}

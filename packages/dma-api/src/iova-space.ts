import { log2Ceil, minPageSize } from '@iommukit/bits';
import type { IotlbGather } from '@iommukit/io-pgtable';
import type { IommuCore, IommuDevice, IommuDomain } from '@iommukit/iommu-core';
import { IovaDomain, type IovaProfile } from '@iommukit/iova-allocator';
import { ERRNO, type Platform, type TraceChannel } from '@iommukit/platform';
import type { ByteRange, DmaDevice } from './dma-device.ts';
import { DmaDomain } from './dma-domain.ts';
import { DmaError } from './dma-error.ts';
import type { DmaEvent } from './dma-event.ts';
import type { DmaProfile } from './dma-profile.ts';
import {
  FLUSH_QUEUE_PER_CPU,
  FLUSH_QUEUE_SINGLE,
  FlushQueue,
  type FlushQueueOptions,
  type FlushQueueSettings,
} from './flush-queue.ts';

const BELOW_4G = 2 ** 32;
const NO_LIMIT = 2 ** 64;

/** IOVA spaces of domains: set-up, reservations, and the choice of an IOVA for a device. */
export class IovaSpaces {
  readonly #core: IommuCore;
  readonly #platform: Platform;
  readonly #cpus: number;
  readonly #profile: DmaProfile;
  readonly #iovaProfile: IovaProfile;
  readonly #trace: TraceChannel<DmaEvent>;
  readonly #settings: FlushQueueSettings;
  #count = 0;

  constructor(init: {
    readonly core: IommuCore;
    readonly platform: Platform;
    readonly cpus: number;
    readonly profile: DmaProfile;
    readonly iovaProfile: IovaProfile;
    readonly trace: TraceChannel<DmaEvent>;
    readonly flushQueue?: FlushQueueSettings;
  }) {
    this.#core = init.core;
    this.#settings = init.flushQueue ?? {};
    this.#platform = init.platform;
    this.#cpus = init.cpus;
    this.#profile = init.profile;
    this.#iovaProfile = init.iovaProfile;
    this.#trace = init.trace;
  }

  of(domain: IommuDomain): DmaDomain | null {
    return domain.dmaCookie instanceof DmaDomain ? domain.dmaCookie : null;
  }

  init(domain: IommuDomain, device: IommuDevice, windows: readonly ByteRange[]): DmaDomain {
    const known = this.of(domain);
    if (known !== null) return known;
    const granule = minPageSize(domain.pgsizeBitmap);
    if (granule === 0)
      throw new DmaError(
        'DMA_SETUP',
        device.name,
        'is attached to a domain without page sizes',
        'Attach it to a DMA domain',
      );
    const startPfn = Math.max(1, Math.floor(domain.apertureStart / granule));
    const iovad = new IovaDomain({
      granule,
      startPfn,
      clock: this.#platform.clock,
      cpus: this.#cpus,
      profile: this.#iovaProfile,
    });
    const space = new DmaDomain(domain, iovad, this.#count++, this.#flushQueueOptions(device));
    domain.dmaCookie = space;
    if (this.#trace.on) this.#trace.emit({ name: 'init', iovad: space.id, granule, startPfn });
    if (domain.type === 'dma-fq') {
      const capable =
        this.#profile.deferredFlush === 'always' || device.ops?.capabilities.deferredFlush === true;
      if (!capable || this.initFlushQueue(space) !== 0) domain.flushAtOnce();
    }
    for (const window of windows) this.#reserveBytes(space, window);
    for (const region of device.ops?.getResvRegions(device) ?? []) {
      if (region.type === 'msi-software') continue;
      this.#reserveBytes(space, region);
      if (region.type !== 'msi') continue;
      const start = region.start - (region.start % granule);
      for (let page = start; page < region.end; page += granule)
        space.msiPages.unshift({ paddr: page, iova: page });
    }
    return space;
  }

  /** `iommu_dma_init_options`. */
  #flushQueueOptions(device: IommuDevice): FlushQueueOptions {
    const single = this.#profile.singleFlushQueue === 'shadow-on-flush' && device.shadowOnFlush;
    const kernels = single ? FLUSH_QUEUE_SINGLE : FLUSH_QUEUE_PER_CPU;
    const { mode, size, timeoutUs } = { ...kernels, ...this.#settings };
    return { mode, size, timeoutUs };
  }

  /** Gives a space its flush queue, for good: 0, also when it has one, or -ENOMEM with a warning (`iommu_dma_init_fq`). */
  initFlushQueue(space: DmaDomain): number {
    if (space.flushQueue !== null) return 0;
    const { memoryFails, exposure, timer } = this.#settings;
    if (memoryFails?.() === true) {
      if (this.#trace.on)
        this.#trace.emit({ name: 'warn', text: 'iova flush queue initialization failed' });
      return -ERRNO.ENOMEM;
    }
    const { domain, granule } = space;
    space.flushQueue = new FlushQueue({
      ...space.flushQueueOptions,
      cpus: this.#cpus,
      platform: this.#platform,
      target: {
        flushAll: () => this.#core.flushIotlbAll(domain),
        freeIova: (pfn, pages) => this.#freePfn(space, pfn, pages),
        putPages: (freelist) => domain.ops.freeTables?.(freelist),
      },
      ...(timer === undefined ? {} : { timer }),
      ...(exposure === undefined ? {} : { exposure: { meter: exposure, granule } }),
    });
    return 0;
  }

  release(domain: IommuDomain): void {
    const space = this.of(domain);
    space?.flushQueue?.free();
    space?.iovad.putIovaDomain();
    domain.dmaCookie = null;
  }

  #reserveBytes(space: DmaDomain, range: ByteRange): void {
    this.reserve(
      space,
      Math.floor(range.start / space.granule),
      Math.ceil(range.end / space.granule) - 1,
    );
  }

  reserve(space: DmaDomain, pfnLo: number, pfnHi: number): void {
    if (this.#trace.on) this.#trace.emit({ name: 'reserve', iovad: space.id, pfnLo, pfnHi });
    space.iovad.reserveIova(pfnLo, pfnHi);
  }

  allocPfn(space: DmaDomain, size: number, limitPfn: number, flush: 'flush' | 'no-flush'): number {
    const trace = this.#trace;
    if (trace.on) trace.emit({ name: 'alloc_fast', iovad: space.id, size, limitPfn, flush });
    const pfn = space.iovad.allocIovaFast(this.#platform.cpu, size, limitPfn, flush);
    if (trace.on) trace.emit({ name: 'alloc_fast_ret', iovad: space.id, pfn });
    return pfn;
  }

  alloc(dev: DmaDevice, space: DmaDomain, size: number, dmaEnd: number): number {
    const { granule } = space;
    const pages = size / granule;
    // A mask of 0 bits was never set: only the bus limits then (`min_not_zero`).
    const unset = dmaEnd === 1 && dev.busEnd < NO_LIMIT;
    const end = Math.min(unset ? NO_LIMIT : dmaEnd, dev.busEnd, space.domain.apertureEnd);
    if (end > BELOW_4G && dev.pci32bitWorkaround) {
      const pfn = this.allocPfn(space, pages, BELOW_4G / granule - 1, 'no-flush');
      if (pfn !== 0) return pfn * granule;
      if (this.#profile.try32 === 'latch') {
        dev.pci32bitWorkaround = false;
        if (this.#trace.on)
          this.#trace.emit({ name: 'notice', text: `Using ${log2Ceil(end)}-bit DMA addresses` });
      }
    }
    // The limit is the granule that holds the last byte.
    return this.allocPfn(space, pages, Math.ceil(end / granule) - 1, 'flush') * granule;
  }

  /** Gives an IOVA back at once (`free_iova_fast`). */
  free(space: DmaDomain, iova: number, size: number): void {
    this.#freePfn(space, iova / space.granule, size / space.granule);
  }

  /** Gives an IOVA back after the next flush, with the tables of its queued unmap (`iommu_dma_free_iova`, `queue_iova`). */
  queue(space: DmaDomain, iova: number, size: number, gather: IotlbGather): void {
    space.flushQueue?.queue(iova / space.granule, size / space.granule, gather.freelist);
  }

  #freePfn(space: DmaDomain, pfn: number, size: number): void {
    if (this.#trace.on) this.#trace.emit({ name: 'free_fast', iovad: space.id, pfn, size });
    space.iovad.freeIovaFast(this.#platform.cpu, pfn, size);
  }
}

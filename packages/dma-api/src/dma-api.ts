import type { IommuCore, IommuDevice, IommuDomain } from '@iommukit/iommu-core';
import type { IovaDomain, IovaProfile } from '@iommukit/iova-allocator';
import { createCounters, type Platform, type TraceChannel } from '@iommukit/platform';
import type { BounceBuffers } from './bounce-buffers.ts';
import type { DmaCaches } from './dma-caches.ts';
import type { DmaDebug } from './dma-debug.ts';
import { type ByteRange, checkRanges, DmaDevice, type DmaDeviceOptions } from './dma-device.ts';
import type { DmaDomain } from './dma-domain.ts';
import { DmaError } from './dma-error.ts';
import type { DmaEvent } from './dma-event.ts';
import type { DmaIovaState } from './dma-iova-state.ts';
import { DmaLayer, type KmallocRule, type RamExtent } from './dma-layer.ts';
import { MaskCalls } from './dma-masks.ts';
import type { DmaProfile } from './dma-profile.ts';
import { mapDoorbell } from './doorbells.ts';
import type { FlushQueueSettings } from './flush-queue.ts';
import { IovaSpaces } from './iova-space.ts';
import { type DmaMemory, PageSource } from './page-source.ts';
import { type IovaDestroy, type IovaLink, type IovaUnlink, TwoStep } from './two-step.ts';

/** How a {@link DmaApi} is set up. @example const init: DmaApiOptions = { core, platform, cpus: 2, profile, iovaProfile, trace }; */
export interface DmaApiOptions {
  readonly core: IommuCore;
  /** `platform.cpu` decides whose IOVA caches are used. */
  readonly platform: Platform;
  /** Possible CPUs. */
  readonly cpus: number;
  readonly profile: DmaProfile;
  readonly iovaProfile: IovaProfile;
  readonly trace: TraceChannel<DmaEvent>;
  /** Needed for devices that do not snoop. */
  readonly caches?: DmaCaches;
  /** Changes to the flush queues of lazy domains. */
  readonly flushQueue?: FlushQueueSettings;
  /** Bounce slots for untrusted devices and for buffers that share cache lines; absent: such buffers cannot be mapped, as without swiotlb. */
  readonly bounce?: BounceBuffers;
  /** Bounce small buffers of devices that do not snoop (`CONFIG_DMA_BOUNCE_UNALIGNED_KMALLOC`); absent: never. */
  readonly kmalloc?: KmallocRule;
  /** Compare every physical address that a caller gives with the page table; counted in `checks`. */
  readonly checking?: boolean;
  /** Notices what drivers do wrong; absent: nobody looks. */
  readonly debug?: DmaDebug;
  /** Memory for coherent allocations without a provider. */
  readonly memory?: DmaMemory;
  /** What a device without IOMMU should reach; default: the frames of `memory`, without it 4 GiB from 0. */
  readonly ram?: RamExtent;
}

/**
 * The DMA mapping interface over IOMMU domains (`drivers/iommu/dma-iommu.c`). In a strict domain an unmap returns after the invalidation, and only
 * then the IOVA is free again; a lazy domain leaves both to its flush queue. Addresses and sizes in bytes. Devices in an identity domain get physical addresses.
 * The steps (`initDomain`, `reserve`, `allocIova`, `mapRange`, `unmapRange`, `freeIova`) are exported for who drives them one by one.
 * @example const dma = new DmaApi({ core, platform, cpus: 1, profile: DMA_PROFILES['6.12'], iovaProfile: IOVA_PROFILES['6.12'], trace: new TraceChannel() });
 */
export class DmaApi extends MaskCalls {
  readonly #caches: DmaCaches | null;
  readonly #spaces: IovaSpaces;
  readonly #twoStep: TwoStep;

  constructor(options: DmaApiOptions) {
    super(layerOf(options), {
      size: options.memory?.atomicPool,
      clock: options.platform.clock,
    });
    const { layer, ranges, bouncer } = this;
    this.#caches = layer.caches;
    this.#spaces = layer.spaces;
    this.#twoStep = new TwoStep(layer, ranges, bouncer);
  }

  /**
   * Prepares a probed device for DMA (`iommu_setup_dma_ops`); the first device of a domain initialises its IOVA space.
   * Throws {@link DmaError}: `DMA_SETUP` without a domain or in one that its owner maps, `UNMODELLED_NON_COHERENT_DMA` (no `caches` were given), `DMA_PARAMETER` (a bad range).
   */
  setupDevice(device: IommuDevice, options: DmaDeviceOptions): DmaDevice {
    const domain = device.group?.domain ?? null;
    if (domain === null)
      throw new DmaError('DMA_SETUP', device.name, 'has no domain', 'Probe it with core first');
    if (!options.coherent && this.#caches === null)
      throw new DmaError(
        'UNMODELLED_NON_COHERENT_DMA',
        device.name,
        'does not snoop and nobody maintains the caches',
        'Pass caches to DmaApi',
      );
    if (!domain.isDma && domain.type !== 'identity')
      throw new DmaError(
        'DMA_SETUP',
        device.name,
        `is in a domain of type ${domain.type}`,
        'Detach it first',
      );
    checkRanges(device.name, options.dmaRanges ?? []);
    const space = domain.isDma ? this.initDomain(domain, device, options.pciWindows) : null;
    return new DmaDevice(device, domain, space, options);
  }

  /**
   * Step: gives a domain its IOVA space and reserves, in this order, the bridge windows and the device's reserved regions except the
   * software doorbell window (`iommu_dma_init_domain`, `iova_reserve_iommu_regions`). A domain that has one keeps it, and nothing is reserved again.
   */
  initDomain(
    domain: IommuDomain,
    device: IommuDevice,
    pciWindows: readonly ByteRange[] = [],
  ): DmaDomain {
    return this.#spaces.init(domain, device, pciWindows);
  }

  /** Makes a domain lazy for good, as the callback of `core.setGroupType` (`iommu_dma_init_fq`): 0 or -ENOMEM with a warning. */
  initFlushQueue(domain: IommuDomain): number {
    const space = this.#spaces.of(domain);
    return space === null ? 0 : this.#spaces.initFlushQueue(space);
  }

  /** Destroys the IOVA space of a domain (`iommu_put_dma_cookie`). */
  releaseDomain(domain: IommuDomain): void {
    this.#spaces.release(domain);
  }

  /** The IOVA allocator of a domain; throws {@link DmaError} before `initDomain`. */
  iovaDomainOf(domain: IommuDomain): IovaDomain {
    return this.#spaceOf(domain).iovad;
  }

  /** Step: keeps the pfns `pfnLo` to `pfnHi` (inclusive) from being allocated. */
  reserve(domain: IommuDomain, pfnLo: number, pfnHi: number): void {
    this.#spaces.reserve(this.#spaceOf(domain), pfnLo, pfnHi);
  }

  /**
   * Step: an IOVA for `size` bytes (a multiple of the granule) below the device's limits, 0 when there is none
   * (`iommu_dma_alloc_iova`). PCI devices with wide masks get 32-bit addresses while there are any. `end` (exclusive) replaces the streaming mask.
   */
  allocIova(dev: DmaDevice, size: number, end: number = dev.dmaEnd): number {
    return this.#spaces.alloc(dev, this.#spaceOf(dev.domain), size, end);
  }

  /** Step: one call of the allocator, in granules: first pfn or 0 (`alloc_iova_fast`). */
  allocPfn(
    domain: IommuDomain,
    pages: number,
    limitPfn: number,
    flush: 'flush' | 'no-flush',
  ): number {
    return this.#spaces.allocPfn(this.#spaceOf(domain), pages, limitPfn, flush);
  }

  /** Step: gives an IOVA back (`iommu_dma_free_iova`); its invalidation must be over. */
  freeIova(domain: IommuDomain, iova: number, size: number): void {
    this.#spaces.free(this.#spaceOf(domain), iova, size);
  }

  /** Step: IOVA, then page tables (`__iommu_dma_map`): the DMA address of `paddr`, or {@link DMA_MAPPING_ERROR}. */
  mapRange(dev: DmaDevice, paddr: number, size: number, prot: number): number {
    return this.ranges.map(dev, paddr, size, prot);
  }

  /** Step: page tables, invalidation, then the IOVA (`__iommu_dma_unmap`). */
  unmapRange(dev: DmaDevice, dmaAddr: number, size: number): void {
    this.ranges.unmap(dev, dmaAddr, size);
  }

  /**
   * Two-step, first: an IOVA range for `size` bytes that begin at `paddr` (only its offset in a granule matters), into `state`
   * (`dma_iova_try_alloc`). False, and an empty state: the device has no IOVA space, the size is 0 or has bit 63 (both warn), or the space is full;
   * map the pieces with the other calls then. Throws {@link DmaError} `NO_TWO_STEP` for kernels before 7.2.
   */
  iovaTryAlloc(dev: DmaDevice, state: DmaIovaState, paddr: number, size: number): boolean {
    return this.#twoStep.tryAlloc(dev, state, paddr, size);
  }

  /**
   * Two-step: maps one piece; no device may use it before `iovaSync` (`dma_iova_link`). 0, or: -EIO (inside a granule, and not the first; warns), -EOPNOTSUPP
   * (must be coherent, but the device does not snoop or the range was bounced), -EPERM (device memory or coherent memory that would have to bounce),
   * -ENOMEM (no bounce slot), or what core's map returned, -EEXIST for a piece that is linked already.
   */
  iovaLink(dev: DmaDevice, state: DmaIovaState, link: IovaLink): number {
    return this.#twoStep.link(dev, state, link);
  }

  /** Two-step: makes `size` linked bytes from `offset` on visible to the device (`dma_iova_sync`): 0 or the driver's errno. */
  iovaSync(dev: DmaDevice, state: DmaIovaState, offset: number, size: number): number {
    return this.#twoStep.sync(dev, state, offset, size);
  }

  /**
   * Two-step: unmaps a range of linked bytes and invalidates at once, in lazy domains too; the IOVA stays (`dma_iova_unlink`). Throws {@link DmaError}
   * `PIECES_INCOMPLETE` for pieces with a hole and, in checking mode, `PAGE_MISMATCH`, before anything is changed.
   */
  iovaUnlink(dev: DmaDevice, state: DmaIovaState, what: IovaUnlink): void {
    this.#twoStep.unlink(dev, state, what);
  }

  /**
   * Two-step, last: unlinks the first `mapped` bytes and frees the range (`dma_iova_destroy`). Profiles with `twoStepDestroy: 'queued'` leave
   * both to the flush queue of a lazy domain. Throws as `iovaUnlink`.
   */
  iovaDestroy(dev: DmaDevice, state: DmaIovaState, what: IovaDestroy): void {
    this.#twoStep.destroy(dev, state, what);
  }

  /** Two-step, last: frees a range of which nothing is linked any more (`dma_iova_free`). */
  iovaFree(dev: DmaDevice, state: DmaIovaState): void {
    this.#twoStep.free(dev, state);
  }

  /** The driver lets go of a device: what it still has mapped is reported, if `debug` is there (`BUS_NOTIFY_UNBOUND_DRIVER`). */
  releaseDevice(dev: DmaDevice): void {
    this.layer.debug?.released(dev);
  }

  /**
   * Where the device writes to ring the doorbell at `paddr` (`iommu_dma_sw_msi`): the doorbell's page is mapped WRITE, NOEXEC, MMIO
   * once for a domain. The address, -ENOMEM when it cannot be mapped; `paddr` itself without an IOVA space.
   */
  mapMsiPage(dev: DmaDevice, paddr: number): number {
    return mapDoorbell(this.layer, dev, paddr);
  }

  #spaceOf(domain: IommuDomain): DmaDomain {
    const space = this.#spaces.of(domain);
    if (space === null)
      throw new DmaError(
        'DMA_SETUP',
        `domain of type ${domain.type}`,
        'has no IOVA space',
        'Call initDomain or setupDevice first',
      );
    return space;
  }
}

function layerOf(options: DmaApiOptions): DmaLayer {
  const { memory } = options;
  const frames = memory?.frames ?? { base: 0, size: 2 ** 32 };
  const ram = options.ram ?? { start: frames.base, end: frames.base + frames.size };
  if (!(ram.start >= 0 && ram.end > ram.start))
    throw new DmaError(
      'DMA_PARAMETER',
      'ram',
      `is from ${ram.start} to ${ram.end}`,
      'Give an end behind the start',
    );
  return new DmaLayer({
    core: options.core,
    spaces: new IovaSpaces(options),
    profile: options.profile,
    trace: options.trace,
    counters: createCounters('walks', 'walksSaved', 'checks'),
    caches: options.caches ?? null,
    bounce: options.bounce ?? null,
    kmalloc: options.kmalloc ?? null,
    checking: options.checking === true,
    debug: options.debug ?? null,
    ram,
    pages: memory === undefined ? null : new PageSource(memory),
  });
}

import { hex } from '@iommukit/bits';
import { IOMMU_MMIO, IOMMU_NOEXEC, IOMMU_WRITE, IotlbGather } from '@iommukit/io-pgtable';
import type { IommuCore, IommuDevice, IommuDomain, SgRun } from '@iommukit/iommu-core';
import type { IovaDomain, IovaProfile } from '@iommukit/iova-allocator';
import { ERRNO, type Platform, type TraceChannel } from '@iommukit/platform';
import { type ByteRange, DmaDevice, type DmaDeviceOptions } from './dma-device.ts';
import type { DmaDomain } from './dma-domain.ts';
import { DmaError } from './dma-error.ts';
import type { DmaEvent, SgPiece } from './dma-event.ts';
import type { DmaProfile } from './dma-profile.ts';
import { type DmaAttrs, type DmaDirection, dmaProt } from './dma-prot.ts';
import { IovaSpaces } from './iova-space.ts';
import { DMA_MAPPING_ERROR, invalidateSg, ScatterLayout, type SgElement } from './scatter-list.ts';

/**
 * Cache maintenance for devices that do not snoop (`arch_sync_dma_for_device`, `arch_sync_dma_for_cpu`). Physical bytes.
 * @example const caches: DmaCaches = { forDevice: (paddr, size) => view.clean(paddr, size), forCpu() {} };
 */
export interface DmaCaches {
  forDevice(paddr: number, size: number, dir: DmaDirection): void;
  forCpu(paddr: number, size: number, dir: DmaDirection): void;
}

/**
 * Where coherent memory comes from: physically contiguous runs whose lengths are multiples of the page.
 * @example const pages: PageProvider = { alloc: (size) => [{ paddr: frames.alloc(size), length: size }], free() {} };
 */
export interface PageProvider {
  /** Runs that add up to `size` bytes, zeroed; null when there is no memory. */
  alloc(size: number): readonly SgRun[] | null;
  free(runs: readonly SgRun[]): void;
}

/**
 * A coherent allocation.
 * @example const ring = dma.allocCoherent(dev, 0x4000, pages); ring?.dmaAddress;
 */
export interface CoherentMemory {
  readonly dmaAddress: number;
  /** Bytes that were asked for. */
  readonly size: number;
  readonly runs: readonly SgRun[];
}

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
}

const DOORBELL_PROT = IOMMU_WRITE + IOMMU_NOEXEC + IOMMU_MMIO;

/**
 * The DMA mapping interface over IOMMU domains (`drivers/iommu/dma-iommu.c`), strict mode: an unmap returns after the
 * invalidation, and only then the IOVA is free again. Addresses and sizes in bytes. Devices in an identity domain get physical addresses.
 * The steps (`initDomain`, `reserve`, `allocIova`, `mapRange`, `unmapRange`, `freeIova`) are exported for who drives them one by one.
 * @example const dma = new DmaApi({ core, platform, cpus: 1, profile: DMA_PROFILES['6.12'], iovaProfile: IOVA_PROFILES['6.12'], trace: new TraceChannel() });
 */
export class DmaApi {
  readonly trace: TraceChannel<DmaEvent>;
  readonly #core: IommuCore;
  readonly #profile: DmaProfile;
  readonly #caches: DmaCaches | null;
  readonly #spaces: IovaSpaces;
  readonly #layout = new ScatterLayout();
  readonly #gather = new IotlbGather();

  constructor(options: DmaApiOptions) {
    this.trace = options.trace;
    this.#core = options.core;
    this.#profile = options.profile;
    this.#caches = options.caches ?? null;
    this.#spaces = new IovaSpaces(options);
  }

  /**
   * Prepares a probed device for DMA (`iommu_setup_dma_ops`); the first device of a domain initialises its IOVA space.
   * Throws {@link DmaError}: `DMA_SETUP` without a domain, `UNMODELLED_FLUSH_QUEUE`, `UNMODELLED_SWIOTLB` (untrusted device),
   * `UNMODELLED_NON_COHERENT_DMA` (no `caches` were given).
   */
  setupDevice(device: IommuDevice, options: DmaDeviceOptions): DmaDevice {
    const domain = device.group?.domain ?? null;
    if (domain === null)
      throw new DmaError('DMA_SETUP', device.name, 'has no domain', 'Probe it with core first');
    if (domain.type === 'dma-fq')
      throw new DmaError(
        'UNMODELLED_FLUSH_QUEUE',
        device.name,
        'is in a domain with a flush queue',
        "Use default domain type 'dma'",
      );
    if (device.info.untrusted === true)
      throw new DmaError(
        'UNMODELLED_SWIOTLB',
        device.name,
        'is untrusted and needs bounce buffers',
        'Describe it as trusted',
      );
    if (!options.coherent && this.#caches === null)
      throw new DmaError(
        'UNMODELLED_NON_COHERENT_DMA',
        device.name,
        'does not snoop and nobody maintains the caches',
        'Pass caches to DmaApi',
      );
    if (domain.type === 'blocked' || domain.type === 'unmanaged')
      throw new DmaError(
        'DMA_SETUP',
        device.name,
        `is in a domain of type ${domain.type}`,
        'Detach it first',
      );
    const space =
      domain.type === 'dma' ? this.initDomain(domain, device, options.pciWindows) : null;
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
    const space = this.#spaceOf(dev.domain);
    const { granule } = space;
    if (dev.minAlignMask > granule - 1) {
      this.#warn('Unsupported alignment constraint');
      return DMA_MAPPING_ERROR;
    }
    const offset = paddr % granule;
    const bytes = Math.ceil((size + offset) / granule) * granule;
    const iova = this.#spaces.alloc(dev, space, bytes, dev.dmaEnd);
    if (iova === 0) return DMA_MAPPING_ERROR;
    if (this.#core.map(dev.domain, iova, paddr - offset, bytes, prot) !== 0) {
      this.#spaces.free(space, iova, bytes);
      return DMA_MAPPING_ERROR;
    }
    return iova + offset;
  }

  /** Step: page tables, invalidation, then the IOVA (`__iommu_dma_unmap`). */
  unmapRange(dev: DmaDevice, dmaAddr: number, size: number): void {
    const space = this.#spaceOf(dev.domain);
    const { granule } = space;
    const offset = dmaAddr % granule;
    const iova = dmaAddr - offset;
    const bytes = Math.ceil((size + offset) / granule) * granule;
    const gather = this.#gather;
    gather.init();
    const unmapped = this.#core.unmapFast(dev.domain, iova, bytes, gather);
    if (unmapped !== bytes)
      this.#warn(`unmapped ${hex(unmapped)} of ${hex(bytes)} bytes at ${hex(iova)}`);
    this.#core.iotlbSync(dev.domain, gather);
    this.#spaces.free(space, iova, bytes);
  }

  /** Maps one buffer (`dma_map_page`, `dma_map_phys`): its DMA address, or {@link DMA_MAPPING_ERROR}. */
  mapPage(
    dev: DmaDevice,
    paddr: number,
    size: number,
    dir: DmaDirection,
    attrs?: DmaAttrs,
  ): number {
    let dmaAddr: number;
    this.#forDevice(dev, paddr, size, dir, attrs);
    if (dev.space === null)
      dmaAddr = paddr + size > Math.min(dev.dmaEnd, dev.busEnd) ? DMA_MAPPING_ERROR : paddr;
    else dmaAddr = this.mapRange(dev, paddr, size, dmaProt(dir, attrs, dev.coherence));
    if (this.trace.on && this.#profile.events !== 'none')
      this.trace.emit({
        name: this.#profile.events === 'page' ? 'dma_map_page' : 'dma_map_phys',
        device: dev.name,
        dir,
        dmaAddr,
        size,
        paddr,
      });
    return dmaAddr;
  }

  /** Unmaps what `mapPage` returned, with the same size. An address that does not translate is left alone, with a warning, as in the kernel. */
  unmapPage(
    dev: DmaDevice,
    dmaAddr: number,
    size: number,
    dir: DmaDirection,
    attrs?: DmaAttrs,
  ): void {
    this.#unmapOne(dev, dmaAddr, size, dir, attrs);
    if (this.trace.on && this.#profile.events !== 'none')
      this.trace.emit({
        name: this.#profile.events === 'page' ? 'dma_unmap_page' : 'dma_unmap_phys',
        device: dev.name,
        dir,
        dmaAddr,
        size,
      });
  }

  #unmapOne(
    dev: DmaDevice,
    dmaAddr: number,
    size: number,
    dir: DmaDirection,
    attrs: DmaAttrs | undefined,
  ): void {
    if (attrs?.mmio !== true && attrs?.requireCoherent !== true) {
      const paddr = this.#core.iovaToPhys(dev.domain, dmaAddr);
      if (paddr === 0 && dev.space !== null) {
        this.#warn(`unmap of ${hex(dmaAddr)}, which does not translate`);
        return;
      }
      if (dev.coherence === 'non-coherent' && attrs?.skipCpuSync !== true)
        this.#caches?.forCpu(paddr, size, dir);
    }
    if (dev.space !== null) this.unmapRange(dev, dmaAddr, size);
  }

  /**
   * Maps a list into one IOVA range and merges what is adjacent there into segments (`iommu_dma_map_sg`). The number of segments,
   * written into the first elements, or -ENOMEM, -EREMOTEIO (a peer out of reach), -EINVAL (anything else).
   */
  mapSg(dev: DmaDevice, sg: readonly SgElement[], dir: DmaDirection, attrs?: DmaAttrs): number {
    if (attrs?.skipCpuSync !== true) this.syncSgForDevice(dev, sg, dir);
    let result: number;
    if (dev.space === null) {
      for (const element of sg) {
        element.dmaAddress = element.paddr;
        element.dmaLength = element.length;
      }
      result = sg.length;
    } else result = this.#mapList(dev, dev.space, sg, dmaProt(dir, attrs, dev.coherence));
    if (result < 0) {
      invalidateSg(sg);
      return result === -ERRNO.ENOMEM || result === -ERRNO.EREMOTEIO ? result : -ERRNO.EINVAL;
    }
    if (this.trace.on && this.#profile.events !== 'none' && result > 0)
      this.trace.emit({
        name: 'dma_map_sg',
        device: dev.name,
        dir,
        mapped: sg
          .slice(0, result)
          .map(({ dmaAddress, dmaLength }) => ({ address: dmaAddress, length: dmaLength })),
        pieces: pieces(sg),
      });
    return result;
  }

  #mapList(dev: DmaDevice, space: DmaDomain, sg: readonly SgElement[], prot: number): number {
    const layout = this.#layout;
    if (!layout.place(sg, space.granule, dev.segBoundary)) return -ERRNO.EREMOTEIO;
    const bytes = layout.iovaLength;
    let iova = 0;
    if (bytes > 0) {
      iova = this.#spaces.alloc(dev, space, bytes, dev.dmaEnd);
      if (iova === 0) return -ERRNO.ENOMEM;
      const mapped = this.#core.mapSg(dev.domain, iova, layout.runs, prot);
      if (mapped < bytes) {
        this.#spaces.free(space, iova, bytes);
        return mapped < 0 ? mapped : -ERRNO.EINVAL;
      }
    }
    return layout.finalise(sg, iova, dev.segBoundary, dev.maxSegSize);
  }

  /** Unmaps a list that `mapSg` mapped: one unmap for all segments (`iommu_dma_unmap_sg`). */
  unmapSg(dev: DmaDevice, sg: readonly SgElement[], dir: DmaDirection, attrs?: DmaAttrs): void {
    if (this.trace.on && this.#profile.events !== 'none')
      this.trace.emit({ name: 'dma_unmap_sg', device: dev.name, dir, pieces: pieces(sg) });
    if (attrs?.skipCpuSync !== true) this.syncSgForCpu(dev, sg, dir);
    if (dev.space === null) return;
    let start = 0;
    let end = 0;
    for (const element of sg) {
      if (element.dmaBus) {
        element.dmaBus = false;
        continue;
      }
      if (element.dmaLength === 0) break;
      if (end === 0) start = element.dmaAddress;
      end = element.dmaAddress + element.dmaLength;
    }
    if (end !== 0) this.unmapRange(dev, start, end - start);
  }

  /** Hands a mapped buffer to the CPU (`dma_sync_single_for_cpu`); nothing to do for devices that snoop. */
  syncForCpu(dev: DmaDevice, dmaAddr: number, size: number, dir: DmaDirection): void {
    if (dev.coherence === 'coherent') return;
    this.#caches?.forCpu(this.#core.iovaToPhys(dev.domain, dmaAddr), size, dir);
  }

  /** Hands a mapped buffer back to the device (`dma_sync_single_for_device`). */
  syncForDevice(dev: DmaDevice, dmaAddr: number, size: number, dir: DmaDirection): void {
    if (dev.coherence === 'coherent') return;
    this.#caches?.forDevice(this.#core.iovaToPhys(dev.domain, dmaAddr), size, dir);
  }

  /** As `syncForCpu` for each element of a list. */
  syncSgForCpu(dev: DmaDevice, sg: readonly SgElement[], dir: DmaDirection): void {
    if (dev.coherence === 'coherent') return;
    for (const { paddr, length } of sg) this.#caches?.forCpu(paddr, length, dir);
  }

  /** As `syncForDevice` for each element of a list. */
  syncSgForDevice(dev: DmaDevice, sg: readonly SgElement[], dir: DmaDirection): void {
    if (dev.coherence === 'coherent') return;
    for (const { paddr, length } of sg) this.#caches?.forDevice(paddr, length, dir);
  }

  /**
   * Memory that device and CPU share for long: pages from the provider, one IOVA below the coherent mask, mapped BIDIRECTIONAL
   * (`iommu_dma_alloc`). Null when there is no memory, no IOVA, or no table.
   */
  allocCoherent(dev: DmaDevice, size: number, pages: PageProvider): CoherentMemory | null {
    const memory = this.#allocCoherent(dev, size, pages);
    if (
      this.trace.on &&
      this.#profile.events !== 'none' &&
      (memory !== null || this.#profile.failedAllocEvent)
    )
      this.trace.emit({
        name: 'dma_alloc',
        device: dev.name,
        dmaAddr: memory?.dmaAddress ?? 0,
        size,
      });
    return memory;
  }

  #allocCoherent(dev: DmaDevice, size: number, pages: PageProvider): CoherentMemory | null {
    const granule = dev.space?.granule ?? 4096;
    const bytes = Math.ceil(size / granule) * granule;
    const runs = pages.alloc(bytes);
    if (runs === null) return null;
    if (dev.space === null) {
      const first = runs[0];
      if (first === undefined || runs.length !== 1)
        throw new DmaError(
          'UNMODELLED_DMA_DIRECT',
          dev.name,
          'bypasses the IOMMU and got scattered pages',
          'Provide one contiguous run',
        );
      return { dmaAddress: first.paddr, size, runs };
    }
    const iova = this.#spaces.alloc(dev, dev.space, bytes, dev.coherentEnd);
    if (iova !== 0) {
      const prot = dmaProt('BIDIRECTIONAL', undefined, dev.coherence);
      if (this.#core.mapSg(dev.domain, iova, runs, prot) === bytes)
        return { dmaAddress: iova, size, runs };
      this.#spaces.free(dev.space, iova, bytes);
    }
    pages.free(runs);
    return null;
  }

  /** Gives back what `allocCoherent` returned: unmapped and invalidated first, then the pages (`iommu_dma_free`). */
  freeCoherent(dev: DmaDevice, memory: CoherentMemory, pages: PageProvider): void {
    if (this.trace.on && this.#profile.events !== 'none')
      this.trace.emit({
        name: 'dma_free',
        device: dev.name,
        dmaAddr: memory.dmaAddress,
        size: memory.size,
      });
    if (dev.space !== null) this.unmapRange(dev, memory.dmaAddress, memory.size);
    pages.free(memory.runs);
  }

  /**
   * Where the device writes to ring the doorbell at `paddr` (`iommu_dma_sw_msi`): the doorbell's page is mapped WRITE, NOEXEC, MMIO
   * once for a domain. The address, -ENOMEM when it cannot be mapped; `paddr` itself without an IOVA space.
   */
  mapMsiPage(dev: DmaDevice, paddr: number): number {
    const space = dev.space;
    if (space === null) return paddr;
    const offset = paddr % space.granule;
    const page = paddr - offset;
    for (const known of space.msiPages) if (known.paddr === page) return known.iova + offset;
    const iova = this.#spaces.alloc(dev, space, space.granule, dev.dmaEnd);
    if (iova === 0) return -ERRNO.ENOMEM;
    if (this.#core.map(dev.domain, iova, page, space.granule, DOORBELL_PROT) !== 0) {
      this.#spaces.free(space, iova, space.granule);
      return -ERRNO.ENOMEM;
    }
    space.msiPages.unshift({ paddr: page, iova });
    return iova + offset;
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

  #forDevice(
    dev: DmaDevice,
    paddr: number,
    size: number,
    dir: DmaDirection,
    attrs: DmaAttrs | undefined,
  ): void {
    if (dev.coherence === 'coherent' || attrs?.skipCpuSync === true || attrs?.mmio === true) return;
    this.#caches?.forDevice(paddr, size, dir);
  }

  #warn(text: string): void {
    if (this.trace.on) this.trace.emit({ name: 'warn', text });
  }
}

function pieces(sg: readonly SgElement[]): SgPiece[] {
  return sg.map(({ paddr, length }) => ({ address: paddr, length }));
}

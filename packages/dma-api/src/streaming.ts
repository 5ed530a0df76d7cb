import { hex } from '@iommukit/bits';
import type { Bouncer } from './bounce.ts';
import type { DmaDevice } from './dma-device.ts';
import { cleans, type DmaLayer } from './dma-layer.ts';
import { type DmaAttrs, type DmaDirection, dmaProt } from './dma-prot.ts';
import type { RangeMapper } from './range-mapper.ts';
import { DMA_MAPPING_ERROR } from './scatter-list.ts';

/**
 * A streaming mapping as its holder knows it; bytes.
 * @example const mapping: LiveMapping = { dmaAddr, paddr: 0x4000_0000, size: 4096, dir: 'FROM_DEVICE' };
 */
export interface LiveMapping {
  readonly dmaAddr: number;
  /** What is mapped: the buffer, or its bounce slot. */
  readonly paddr: number;
  readonly size: number;
  readonly dir: DmaDirection;
}

/**
 * Attributes of an unmap, and the physical address of the buffer where the caller has it at hand: then no table is walked for it.
 * @example dma.unmapPhys(dev, dmaAddr, 4096, 'FROM_DEVICE', { page: 0x4000_0000 });
 */
export interface UnmapOptions extends DmaAttrs {
  /** Physical address of the first byte of the buffer, bytes; not of a bounce slot. */
  readonly page?: number;
}

/** Map, unmap and sync of one range through an IOVA space (`iommu_dma_map_phys`, `iommu_dma_unmap_phys`, `iommu_dma_sync_single_*`). */
export class Streaming {
  /** The physical address that the last successful `map` mapped: the buffer's, or its bounce slot's. */
  mappedPaddr = 0;
  readonly #layer: DmaLayer;
  readonly #ranges: RangeMapper;
  readonly #bouncer: Bouncer;

  constructor(layer: DmaLayer, ranges: RangeMapper, bouncer: Bouncer) {
    this.#layer = layer;
    this.#ranges = ranges;
    this.#bouncer = bouncer;
  }

  /** The DMA address, or `DMA_MAPPING_ERROR`. Bounces, cleans, then maps. */
  map(dev: DmaDevice, paddr: number, size: number, dir: DmaDirection, attrs?: DmaAttrs): number {
    const layer = this.#layer;
    let mapped = paddr;
    if (this.#bouncer.bounces(dev, paddr, size, dir, attrs)) {
      if (attrs?.requireCoherent === true) return DMA_MAPPING_ERROR;
      mapped = this.#bouncer.map(dev, { paddr, size, dir, attrs });
      if (mapped === DMA_MAPPING_ERROR) return DMA_MAPPING_ERROR;
    }
    if (attrs?.mmio !== true && cleans(dev, attrs)) {
      layer.cleanForDevice(mapped, size, dir);
      layer.barrier();
    }
    const dmaAddr = this.#ranges.map(dev, mapped, size, dmaProt(dir, attrs, dev.coherence));
    if (dmaAddr === DMA_MAPPING_ERROR) {
      if (attrs?.mmio !== true && attrs?.requireCoherent !== true)
        layer.bounce?.unmap(mapped, size, dir, attrs);
      return DMA_MAPPING_ERROR;
    }
    this.mappedPaddr = mapped;
    return dmaAddr;
  }

  /** Unmaps by address: the physical address comes from the page table, or from `page` when that is what was mapped. */
  unmap(
    dev: DmaDevice,
    dmaAddr: number,
    size: number,
    dir: DmaDirection,
    options?: UnmapOptions,
  ): void {
    if (options?.mmio === true || options?.requireCoherent === true) {
      this.#ranges.unmap(dev, dmaAddr, size);
      return;
    }
    const page = options?.page;
    const known = page !== undefined && !this.#bouncer.bounces(dev, page, size, dir);
    const paddr = known ? this.#checked(dev, dmaAddr, page) : this.#layer.walk(dev, dmaAddr);
    if (paddr === 0) {
      this.#layer.warnOn(`unmap of ${hex(dmaAddr)}, which does not translate`);
      return;
    }
    this.#release(dev, { dmaAddr, paddr, size, dir }, options);
  }

  /** Unmaps what its holder knows: no lookup. */
  unmapKnown(dev: DmaDevice, mapping: LiveMapping, attrs?: DmaAttrs): void {
    if (attrs?.mmio === true || attrs?.requireCoherent === true) {
      this.#ranges.unmap(dev, mapping.dmaAddr, mapping.size);
      return;
    }
    this.#layer.counters.walksSaved++;
    this.#release(dev, mapping, attrs);
  }

  #release(dev: DmaDevice, mapping: LiveMapping, attrs: DmaAttrs | undefined): void {
    const layer = this.#layer;
    const { dmaAddr, paddr, size, dir } = mapping;
    if (cleans(dev, attrs)) {
      layer.cleanForCpu(paddr, size, dir);
      layer.barrier();
    }
    this.#ranges.unmap(dev, dmaAddr, size);
    layer.bounce?.unmap(paddr, size, dir, attrs);
  }

  /** A sync of these bytes has something to do: coherent devices without bounce buffers return at once. */
  needsSync(dev: DmaDevice, size: number, dir: DmaDirection): boolean {
    return dev.coherence === 'non-coherent' || this.#bouncer.mayBounce(dev, size, dir);
  }

  /** Gives the bytes to the CPU: caches first, then the slot. */
  syncForCpu(
    dev: DmaDevice,
    dmaAddr: number,
    size: number,
    dir: DmaDirection,
    page?: number,
  ): void {
    if (!this.needsSync(dev, size, dir)) return;
    this.#toCpu(dev, this.#physical(dev, dmaAddr, size, dir, page), size, dir);
  }

  /** Gives the bytes to the device: the slot first, then caches. */
  syncForDevice(
    dev: DmaDevice,
    dmaAddr: number,
    size: number,
    dir: DmaDirection,
    page?: number,
  ): void {
    if (!this.needsSync(dev, size, dir)) return;
    this.#toDevice(dev, this.#physical(dev, dmaAddr, size, dir, page), size, dir);
  }

  /** As `syncForCpu` at `paddr`, which its holder knows. */
  syncKnownForCpu(dev: DmaDevice, paddr: number, size: number, dir: DmaDirection): void {
    if (!this.needsSync(dev, size, dir)) return;
    this.#layer.counters.walksSaved++;
    this.#toCpu(dev, paddr, size, dir);
  }

  /** As `syncForDevice` at `paddr`, which its holder knows. */
  syncKnownForDevice(dev: DmaDevice, paddr: number, size: number, dir: DmaDirection): void {
    if (!this.needsSync(dev, size, dir)) return;
    this.#layer.counters.walksSaved++;
    this.#toDevice(dev, paddr, size, dir);
  }

  #toCpu(dev: DmaDevice, paddr: number, size: number, dir: DmaDirection): void {
    const layer = this.#layer;
    if (dev.coherence === 'non-coherent') {
      layer.cleanForCpu(paddr, size, dir);
      layer.barrier();
    }
    layer.bounce?.syncForCpu(paddr, size, dir);
  }

  #toDevice(dev: DmaDevice, paddr: number, size: number, dir: DmaDirection): void {
    const layer = this.#layer;
    layer.bounce?.syncForDevice(paddr, size, dir);
    if (dev.coherence === 'non-coherent') {
      layer.cleanForDevice(paddr, size, dir);
      layer.barrier();
    }
  }

  /** `page` names the original: where a slot could be in its place, the table is asked. */
  #physical(
    dev: DmaDevice,
    dmaAddr: number,
    size: number,
    dir: DmaDirection,
    page: number | undefined,
  ): number {
    if (page === undefined || !this.#bouncer.neverBounces(dev, size, dir))
      return this.#layer.walk(dev, dmaAddr);
    return this.#checked(dev, dmaAddr, page);
  }

  /** The caller's page, compared with the table in checking mode. */
  #checked(dev: DmaDevice, dmaAddr: number, page: number): number {
    const layer = this.#layer;
    layer.counters.walksSaved++;
    layer.checkMapped(dev, dmaAddr, page);
    return page;
  }
}

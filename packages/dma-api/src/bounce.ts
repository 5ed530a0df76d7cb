import { log2Ceil } from '@iommukit/bits';
import type { DmaDevice } from './dma-device.ts';
import type { DmaLayer, KmallocRule } from './dma-layer.ts';
import type { DmaAttrs, DmaDirection } from './dma-prot.ts';
import { DMA_MAPPING_ERROR, type SgElement } from './scatter-list.ts';

/** One buffer to bounce; bytes. */
export interface BouncedBuffer {
  readonly paddr: number;
  readonly size: number;
  readonly dir: DmaDirection;
  readonly attrs?: DmaAttrs | undefined;
}

/** When a mapping goes through a bounce slot, and how (`dev_use_swiotlb`, `iommu_dma_map_swiotlb`). */
export class Bouncer {
  readonly #layer: DmaLayer;

  constructor(layer: DmaLayer) {
    this.#layer = layer;
  }

  /** The device and the buffer are of a kind that may bounce (`dev_use_swiotlb`). */
  mayBounce(dev: DmaDevice, size: number, dir: DmaDirection): boolean {
    return (
      dev.untrusted || (!this.#kmallocSafe(dev, dir) && !kmallocAligned(this.#layer.kmalloc, size))
    );
  }

  /** The same for a list: one such element is enough (`dev_use_sg_swiotlb`). */
  listMayBounce(dev: DmaDevice, sg: readonly SgElement[], dir: DmaDirection): boolean {
    if (dev.untrusted) return true;
    if (this.#kmallocSafe(dev, dir)) return false;
    const { kmalloc } = this.#layer;
    return sg.some(({ length }) => !kmallocAligned(kmalloc, length));
  }

  /** The mapping of these bytes goes through a slot: it may, and an end lies inside a granule. */
  bounces(
    dev: DmaDevice,
    paddr: number,
    size: number,
    dir: DmaDirection,
    attrs?: DmaAttrs,
  ): boolean {
    if (attrs?.mmio === true || dev.space === null) return false;
    const { granule } = dev.space;
    return (paddr % granule !== 0 || size % granule !== 0) && this.mayBounce(dev, size, dir);
  }

  /** No mapping that holds these bytes can be bounced, however large it is: what a sync of a part of it may rely on. */
  neverBounces(dev: DmaDevice, size: number, dir: DmaDirection): boolean {
    if (dev.untrusted) return false;
    const { kmalloc } = this.#layer;
    return this.#kmallocSafe(dev, dir) || kmalloc === null || size >= 2 * kmalloc.minAlign;
  }

  /** The slot's address of the first byte, or `DMA_MAPPING_ERROR` (`iommu_dma_map_swiotlb`). */
  map(dev: DmaDevice, buffer: BouncedBuffer): number {
    const layer = this.#layer;
    const { bounce } = layer;
    const { granule } = layer.spaceOf(dev);
    if (bounce?.active !== true) {
      layer.print('warn', 'DMA bounce buffers are inactive, unable to map unaligned transaction.');
      return DMA_MAPPING_ERROR;
    }
    const { paddr, size, dir, attrs } = buffer;
    dev.usedBounce = true;
    const slot = bounce.map({ device: dev, paddr, size, allocAlignMask: granule - 1, dir, attrs });
    if (slot === DMA_MAPPING_ERROR || !dev.untrusted) return slot;
    const before = slot % granule;
    if (before !== 0) bounce.zero(slot - before, before);
    const over = (slot + size) % granule;
    if (over !== 0) bounce.zero(slot + size, granule - over);
    return slot;
  }

  /** A device without IOMMU shares cache lines with others in a buffer of this size (`dma_kmalloc_needs_bounce`). */
  kmallocBounces(dev: DmaDevice, size: number, dir: DmaDirection): boolean {
    return !this.#kmallocSafe(dev, dir) && !kmallocAligned(this.#layer.kmalloc, size);
  }

  #kmallocSafe(dev: DmaDevice, dir: DmaDirection): boolean {
    return this.#layer.kmalloc === null || dev.coherence === 'coherent' || dir === 'TO_DEVICE';
  }
}

const KMALLOC_SIZES = [8, 16, 32, 64, 96, 128, 192];

/** An allocation of this size has its cache lines for itself (`dma_kmalloc_size_aligned`). */
function kmallocAligned(rule: KmallocRule | null, size: number): boolean {
  if (rule === null || size >= 2 * rule.minAlign) return true;
  const rounded = KMALLOC_SIZES.find((known) => known >= size) ?? 2 ** log2Ceil(size);
  return rounded % rule.cacheAlign === 0;
}

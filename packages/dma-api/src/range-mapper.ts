import { hex } from '@iommukit/bits';
import { IotlbGather } from '@iommukit/io-pgtable';
import type { DmaDevice } from './dma-device.ts';
import type { DmaLayer } from './dma-layer.ts';
import { DMA_MAPPING_ERROR } from './scatter-list.ts';

/** IOVA and page tables of one range, without caches and bounce buffers (`__iommu_dma_map`, `__iommu_dma_unmap`). */
export class RangeMapper {
  readonly #layer: DmaLayer;
  readonly #gather = new IotlbGather();

  constructor(layer: DmaLayer) {
    this.#layer = layer;
  }

  /** The DMA address of `paddr`, or `DMA_MAPPING_ERROR`; `end` is the exclusive limit of the IOVA. */
  map(dev: DmaDevice, paddr: number, size: number, prot: number, end: number = dev.dmaEnd): number {
    const layer = this.#layer;
    const space = layer.spaceOf(dev);
    const { granule } = space;
    if (dev.minAlignMask > granule - 1) {
      layer.warnOn('minAlignMask exceeds the granule', 'Unsupported alignment constraint');
      return DMA_MAPPING_ERROR;
    }
    const offset = paddr % granule;
    const bytes = Math.ceil((size + offset) / granule) * granule;
    const iova = layer.spaces.alloc(dev, space, bytes, end);
    if (iova === 0) return DMA_MAPPING_ERROR;
    if (layer.core.map(dev.domain, iova, paddr - offset, bytes, prot) !== 0) {
      layer.spaces.free(space, iova, bytes);
      return DMA_MAPPING_ERROR;
    }
    return iova + offset;
  }

  /** Page tables, invalidation, then the IOVA; with a flush queue the last two wait in it. */
  unmap(dev: DmaDevice, dmaAddr: number, size: number): void {
    const layer = this.#layer;
    const space = layer.spaceOf(dev);
    const { granule } = space;
    const offset = dmaAddr % granule;
    const iova = dmaAddr - offset;
    const bytes = Math.ceil((size + offset) / granule) * granule;
    const queue = space.flushQueue;
    const gather = this.#gather;
    gather.init();
    gather.queued = queue !== null;
    this.clear(dev, iova, bytes, gather);
    if (queue === null) {
      layer.core.iotlbSync(dev.domain, gather);
      layer.spaces.free(space, iova, bytes);
    } else layer.spaces.queue(space, iova, bytes, gather);
  }

  /** Clears page tables and invalidates at once; the IOVA stays taken. Whole granules. */
  unmapNow(dev: DmaDevice, iova: number, bytes: number): void {
    const gather = this.#gather;
    gather.init();
    this.clear(dev, iova, bytes, gather);
    this.#layer.core.iotlbSync(dev.domain, gather);
  }

  clear(dev: DmaDevice, iova: number, bytes: number, gather: IotlbGather): void {
    const unmapped = this.#layer.core.unmapFast(dev.domain, iova, bytes, gather);
    if (unmapped !== bytes)
      this.#layer.warnOn(`unmapped ${hex(unmapped)} of ${hex(bytes)} bytes at ${hex(iova)}`);
  }
}

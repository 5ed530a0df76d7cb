import { ERRNO } from '@iommukit/platform';
import type { Bouncer } from './bounce.ts';
import type { DmaDevice } from './dma-device.ts';
import { cleans, type DmaLayer } from './dma-layer.ts';
import { type DmaAttrs, type DmaDirection, dmaProt } from './dma-prot.ts';
import type { RangeMapper } from './range-mapper.ts';
import { DMA_MAPPING_ERROR, invalidateSg, ScatterLayout, type SgElement } from './scatter-list.ts';
import type { Streaming } from './streaming.ts';

/** Map, unmap and sync of scatter-gather lists through an IOVA space (`iommu_dma_map_sg`, `iommu_dma_unmap_sg`, `iommu_dma_sync_sg_*`). */
export class ScatterMapping {
  readonly #layer: DmaLayer;
  readonly #ranges: RangeMapper;
  readonly #bouncer: Bouncer;
  readonly #streaming: Streaming;
  readonly #layout = new ScatterLayout();

  constructor(layer: DmaLayer, ranges: RangeMapper, bouncer: Bouncer, streaming: Streaming) {
    this.#layer = layer;
    this.#ranges = ranges;
    this.#bouncer = bouncer;
    this.#streaming = streaming;
  }

  /** Number of segments, or -ENOMEM, -EREMOTEIO, -EIO (a bounced list), -EINVAL. `mapped` collects what a bounced list mapped, element by element. */
  map(
    dev: DmaDevice,
    sg: readonly SgElement[],
    dir: DmaDirection,
    attrs?: DmaAttrs,
    mapped?: number[],
  ): number {
    if (this.#bouncer.listMayBounce(dev, sg, dir))
      return this.#mapEach(dev, sg, dir, attrs, mapped);
    if (attrs?.skipCpuSync !== true) this.syncForDevice(dev, sg, dir);
    const result = this.#mapWhole(dev, sg, dmaProt(dir, attrs, dev.coherence));
    if (result >= 0) return result;
    invalidateSg(sg);
    return result === -ERRNO.ENOMEM || result === -ERRNO.EREMOTEIO ? result : -ERRNO.EINVAL;
  }

  #mapWhole(dev: DmaDevice, sg: readonly SgElement[], prot: number): number {
    const { spaces, core } = this.#layer;
    const space = this.#layer.spaceOf(dev);
    const layout = this.#layout;
    if (!layout.place(sg, space.granule, dev.segBoundary)) return -ERRNO.EREMOTEIO;
    const bytes = layout.iovaLength;
    let iova = 0;
    if (bytes > 0) {
      iova = spaces.alloc(dev, space, bytes, dev.dmaEnd);
      if (iova === 0) return -ERRNO.ENOMEM;
      const mapped = core.mapSg(dev.domain, iova, layout.runs, prot);
      if (mapped < bytes) {
        spaces.free(space, iova, bytes);
        return mapped < 0 ? mapped : -ERRNO.EINVAL;
      }
    }
    return layout.finalise(sg, iova, dev.segBoundary, dev.maxSegSize);
  }

  /** A mapping for each element (`iommu_dma_map_sg_swiotlb`). */
  #mapEach(
    dev: DmaDevice,
    sg: readonly SgElement[],
    dir: DmaDirection,
    attrs: DmaAttrs | undefined,
    mapped: number[] | undefined,
  ): number {
    const streaming = this.#streaming;
    const first = sg[0];
    if (first !== undefined) first.dmaBounced = true;
    for (let i = 0; i < sg.length; i++) {
      const element = sg[i] as SgElement;
      element.dmaAddress = streaming.map(dev, element.paddr, element.length, dir, attrs);
      if (element.dmaAddress === DMA_MAPPING_ERROR) {
        this.#unmapEach(dev, sg.slice(0, i), dir, { ...attrs, skipCpuSync: true });
        return -ERRNO.EIO;
      }
      element.dmaLength = element.length;
      mapped?.push(streaming.mappedPaddr);
    }
    return sg.length;
  }

  #unmapEach(
    dev: DmaDevice,
    sg: readonly SgElement[],
    dir: DmaDirection,
    attrs: DmaAttrs | undefined,
    mapped?: readonly number[],
  ): void {
    for (let i = 0; i < sg.length; i++) {
      const { dmaAddress, dmaLength: size } = sg[i] as SgElement;
      const paddr = mapped?.[i];
      if (paddr === undefined) this.#streaming.unmap(dev, dmaAddress, size, dir, attrs);
      else this.#streaming.unmapKnown(dev, { dmaAddr: dmaAddress, paddr, size, dir }, attrs);
    }
  }

  /** One unmap for all segments; a bounced list element by element, without lookups where `mapped` tells what its mapping collected. */
  unmap(
    dev: DmaDevice,
    sg: readonly SgElement[],
    dir: DmaDirection,
    attrs?: DmaAttrs,
    mapped?: readonly number[],
  ): void {
    if (sg[0]?.dmaBounced === true) {
      this.#unmapEach(dev, sg, dir, attrs, mapped);
      return;
    }
    if (attrs?.skipCpuSync !== true) this.syncForCpu(dev, sg, dir);
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
    if (end !== 0) this.#ranges.unmap(dev, start, end - start);
  }

  /** Gives a list to the CPU. */
  syncForCpu(
    dev: DmaDevice,
    sg: readonly SgElement[],
    dir: DmaDirection,
    mapped?: readonly number[],
  ): void {
    const streaming = this.#streaming;
    if (sg[0]?.dmaBounced === true) {
      for (let i = 0; i < sg.length; i++) {
        const { dmaAddress, length } = sg[i] as SgElement;
        const paddr = mapped?.[i];
        if (paddr === undefined) streaming.syncForCpu(dev, dmaAddress, length, dir);
        else streaming.syncKnownForCpu(dev, paddr, length, dir);
      }
    } else if (cleans(dev, undefined)) {
      for (const { paddr, length } of sg) this.#layer.cleanForCpu(paddr, length, dir);
      this.#layer.barrier();
    }
  }

  /** Gives a list to the device. */
  syncForDevice(
    dev: DmaDevice,
    sg: readonly SgElement[],
    dir: DmaDirection,
    mapped?: readonly number[],
  ): void {
    const streaming = this.#streaming;
    if (sg[0]?.dmaBounced === true) {
      for (let i = 0; i < sg.length; i++) {
        const { dmaAddress, length } = sg[i] as SgElement;
        const paddr = mapped?.[i];
        if (paddr === undefined) streaming.syncForDevice(dev, dmaAddress, length, dir);
        else streaming.syncKnownForDevice(dev, paddr, length, dir);
      }
    } else if (cleans(dev, undefined)) {
      for (const { paddr, length } of sg) this.#layer.cleanForDevice(paddr, length, dir);
      this.#layer.barrier();
    }
  }
}

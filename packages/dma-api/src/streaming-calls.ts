import type { TraceChannel } from '@iommukit/platform';
import { Bouncer } from './bounce.ts';
import type { DmaDevice } from './dma-device.ts';
import { DirectMapping } from './dma-direct.ts';
import type { DmaEvent, SgPiece } from './dma-event.ts';
import type { DmaCounters, DmaLayer } from './dma-layer.ts';
import type { DmaAttrs, DmaDirection } from './dma-prot.ts';
import { HandleTable } from './handle-table.lanes.ts';
import { RangeMapper } from './range-mapper.ts';
import { DMA_MAPPING_ERROR, type SgElement, type SgTable } from './scatter-list.ts';
import { ScatterMapping } from './scatter-mapping.ts';
import { type LiveMapping, Streaming, type UnmapOptions } from './streaming.ts';

/** The streaming calls of a `DmaApi`: which way a device takes, and the events. */
export class StreamingCalls {
  readonly trace: TraceChannel<DmaEvent>;
  /** Lookups of physical addresses: done, saved, and done only to check. */
  readonly counters: DmaCounters;
  protected readonly layer: DmaLayer;
  protected readonly ranges: RangeMapper;
  protected readonly bouncer: Bouncer;
  protected readonly streaming: Streaming;
  protected readonly scatter: ScatterMapping;
  protected readonly direct: DirectMapping;
  protected readonly handleTable: HandleTable = new HandleTable();

  constructor(layer: DmaLayer) {
    this.trace = layer.trace;
    this.counters = layer.counters;
    this.layer = layer;
    this.ranges = new RangeMapper(layer);
    this.bouncer = new Bouncer(layer);
    this.streaming = new Streaming(layer, this.ranges, this.bouncer);
    this.scatter = new ScatterMapping(layer, this.ranges, this.bouncer, this.streaming);
    this.direct = new DirectMapping(layer, this.bouncer);
  }

  /**
   * Maps a physical range for streaming (`dma_map_phys`): its DMA address, or {@link DMA_MAPPING_ERROR}. Both ends inside granules of an
   * untrusted device, or a small buffer under the `kmalloc` rule: through a bounce slot, and then the address keeps only the bits of `minAlignMask`.
   */
  mapPhys(
    dev: DmaDevice,
    paddr: number,
    size: number,
    dir: DmaDirection,
    attrs?: DmaAttrs,
  ): number {
    const maps = dev.space === null ? this.direct : this.streaming;
    const dmaAddr = maps.map(dev, paddr, size, dir, attrs);
    if (this.trace.on && this.layer.profile.events !== 'none')
      this.trace.emit({
        name: this.layer.profile.events === 'page' ? 'dma_map_page' : 'dma_map_phys',
        device: dev.name,
        dir,
        dmaAddr,
        size,
        paddr,
      });
    if (this.layer.debug !== null)
      this.layer.debug.mapPhys(dev, { dmaAddr, paddr, size, dir }, attrs);
    return dmaAddr;
  }

  /** As `mapPhys`, by its older name: `paddr` is the page's address plus the offset (`dma_map_page`). */
  mapPage(
    dev: DmaDevice,
    paddr: number,
    size: number,
    dir: DmaDirection,
    attrs?: DmaAttrs,
  ): number {
    return this.mapPhys(dev, paddr, size, dir, attrs);
  }

  /** As `mapPhys`, for a buffer that the kernel has mapped at its physical address (`dma_map_single`). */
  mapSingle(
    dev: DmaDevice,
    paddr: number,
    size: number,
    dir: DmaDirection,
    attrs?: DmaAttrs,
  ): number {
    this.layer.debug?.mapSingle(dev, paddr, size);
    return this.mapPhys(dev, paddr, size, dir, attrs);
  }

  /** Maps registers or memory of another device: never cached, never bounced (`dma_map_resource`). */
  mapResource(
    dev: DmaDevice,
    paddr: number,
    size: number,
    dir: DmaDirection,
    attrs?: DmaAttrs,
  ): number {
    return this.mapPhys(dev, paddr, size, dir, { ...attrs, mmio: true });
  }

  /** Undoes `mapResource` (`dma_unmap_resource`). */
  unmapResource(
    dev: DmaDevice,
    dmaAddr: number,
    size: number,
    dir: DmaDirection,
    attrs?: DmaAttrs,
  ): void {
    this.unmapPhys(dev, dmaAddr, size, dir, { ...attrs, mmio: true });
  }

  /** The result of a map call is no address (`dma_mapping_error`); debugging notes that the driver asked. */
  mappingError(dev: DmaDevice, dmaAddr: number): boolean {
    this.layer.debug?.mappingError(dev, dmaAddr);
    return dmaAddr === DMA_MAPPING_ERROR;
  }

  /**
   * Unmaps what `mapPhys` returned, with the same size, direction and attributes (`dma_unmap_phys`). The physical address comes from the page table,
   * or from `options.page`, the buffer's physical address, unless it was bounced. An address that does not translate is left
   * alone, with a warning, as in the kernel. Throws {@link DmaError} before anything is changed: `HANDLE_OWNED` for the address of a live handle,
   * in checking mode `PAGE_MISMATCH` for a wrong page.
   */
  unmapPhys(
    dev: DmaDevice,
    dmaAddr: number,
    size: number,
    dir: DmaDirection,
    options?: UnmapOptions,
  ): void {
    this.handleTable.checkPlain(dev, dmaAddr);
    if (dev.space === null) this.direct.unmap(dev, dmaAddr, size, dir, options);
    else this.streaming.unmap(dev, dmaAddr, size, dir, options);
    this.unmapped(dev, { dmaAddr, size, dir }, options);
  }

  /** Tells that a single mapping ended. */
  protected unmapped(
    dev: DmaDevice,
    { dmaAddr, size, dir }: Omit<LiveMapping, 'paddr'>,
    attrs?: DmaAttrs,
  ): void {
    if (this.trace.on && this.layer.profile.events !== 'none')
      this.trace.emit({
        name: this.layer.profile.events === 'page' ? 'dma_unmap_page' : 'dma_unmap_phys',
        device: dev.name,
        dir,
        dmaAddr,
        size,
      });
    if (this.layer.debug !== null) this.layer.debug.unmapPhys(dev, { dmaAddr, size, dir }, attrs);
  }

  /** As `unmapPhys`, by its older name (`dma_unmap_page`). */
  unmapPage(
    dev: DmaDevice,
    dmaAddr: number,
    size: number,
    dir: DmaDirection,
    options?: UnmapOptions,
  ): void {
    this.unmapPhys(dev, dmaAddr, size, dir, options);
  }

  /** Undoes `mapSingle` (`dma_unmap_single`). */
  unmapSingle(
    dev: DmaDevice,
    dmaAddr: number,
    size: number,
    dir: DmaDirection,
    options?: UnmapOptions,
  ): void {
    this.unmapPhys(dev, dmaAddr, size, dir, options);
  }

  /**
   * Hands a mapped buffer, or a part of one, to the CPU (`dma_sync_single_for_cpu`); nothing to do for trusted devices that snoop.
   * `page`: the physical address of its first byte, as in `unmapPhys`.
   */
  syncForCpu(
    dev: DmaDevice,
    dmaAddr: number,
    size: number,
    dir: DmaDirection,
    page?: number,
  ): void {
    if (dev.space === null) this.direct.syncForCpu(dev, dmaAddr, size, dir);
    else this.streaming.syncForCpu(dev, dmaAddr, size, dir, page);
    this.layer.debug?.syncSingle(dev, dmaAddr, size, dir, 'cpu');
  }

  /** Hands a mapped buffer back to the device (`dma_sync_single_for_device`). */
  syncForDevice(
    dev: DmaDevice,
    dmaAddr: number,
    size: number,
    dir: DmaDirection,
    page?: number,
  ): void {
    if (dev.space === null) this.direct.syncForDevice(dev, dmaAddr, size, dir);
    else this.streaming.syncForDevice(dev, dmaAddr, size, dir, page);
    this.layer.debug?.syncSingle(dev, dmaAddr, size, dir, 'device');
  }

  /**
   * Maps a list into one IOVA range and merges what is adjacent there into segments (`dma_map_sg`). The number of segments, written into the first
   * elements, or -ENOMEM, -EREMOTEIO (a peer out of reach), -EIO (a bounced list), -EINVAL (anything else).
   */
  mapSg(dev: DmaDevice, sg: readonly SgElement[], dir: DmaDirection, attrs?: DmaAttrs): number {
    return this.mapList(dev, sg, dir, attrs);
  }

  /** As `mapSg`; `mapped` collects what a bounced list mapped. */
  protected mapList(
    dev: DmaDevice,
    sg: readonly SgElement[],
    dir: DmaDirection,
    attrs: DmaAttrs | undefined,
    mapped?: number[],
  ): number {
    const result =
      dev.space === null
        ? this.direct.mapSg(dev, sg, dir, attrs)
        : this.scatter.map(dev, sg, dir, attrs, mapped);
    if (result > 0 && this.trace.on && this.layer.profile.events !== 'none')
      this.trace.emit({
        name: 'dma_map_sg',
        device: dev.name,
        dir,
        mapped: sg
          .slice(0, result)
          .map(({ dmaAddress, dmaLength }) => ({ address: dmaAddress, length: dmaLength })),
        pieces: pieces(sg),
      });
    if (result > 0) this.layer.debug?.mapSg(dev, sg, result, dir, attrs);
    return result;
  }

  /** Unmaps a list that `mapSg` mapped, all its elements: one unmap for all segments, one for each element of a bounced list (`dma_unmap_sg`). */
  unmapSg(dev: DmaDevice, sg: readonly SgElement[], dir: DmaDirection, attrs?: DmaAttrs): void {
    const first = sg[0];
    if (first !== undefined) this.handleTable.checkPlain(dev, first.dmaAddress);
    this.unmapList(dev, sg, dir, attrs);
  }

  /** As `unmapSg`; `mapped` is what `mapList` collected. */
  protected unmapList(
    dev: DmaDevice,
    sg: readonly SgElement[],
    dir: DmaDirection,
    attrs: DmaAttrs | undefined,
    mapped?: readonly number[],
  ): void {
    if (this.trace.on && this.layer.profile.events !== 'none')
      this.trace.emit({ name: 'dma_unmap_sg', device: dev.name, dir, pieces: pieces(sg) });
    this.layer.debug?.unmapSg(dev, sg, dir, attrs);
    if (dev.space === null) this.direct.unmapSg(dev, sg, dir, attrs);
    else this.scatter.unmap(dev, sg, dir, attrs, mapped);
  }

  /** As `syncForCpu` for a list (`dma_sync_sg_for_cpu`). */
  syncSgForCpu(dev: DmaDevice, sg: readonly SgElement[], dir: DmaDirection): void {
    if (dev.space === null) this.direct.syncSgForCpu(dev, sg, dir);
    else this.scatter.syncForCpu(dev, sg, dir);
    this.layer.debug?.syncSg(dev, sg, dir, 'cpu');
  }

  /** As `syncForDevice` for a list (`dma_sync_sg_for_device`). */
  syncSgForDevice(dev: DmaDevice, sg: readonly SgElement[], dir: DmaDirection): void {
    if (dev.space === null) this.direct.syncSgForDevice(dev, sg, dir);
    else this.scatter.syncForDevice(dev, sg, dir);
    this.layer.debug?.syncSg(dev, sg, dir, 'device');
  }

  /** As `mapSg`, and keeps the number of segments in the table: 0 or a negative errno (`dma_map_sgtable`). */
  mapSgtable(dev: DmaDevice, table: SgTable, dir: DmaDirection, attrs?: DmaAttrs): number {
    const result = this.mapSg(dev, table.sg, dir, attrs);
    if (result < 0) return result;
    table.nents = result;
    return 0;
  }

  /** Undoes `mapSgtable` (`dma_unmap_sgtable`). */
  unmapSgtable(dev: DmaDevice, table: SgTable, dir: DmaDirection, attrs?: DmaAttrs): void {
    this.unmapSg(dev, table.sg, dir, attrs);
  }

  /** As `syncSgForCpu` (`dma_sync_sgtable_for_cpu`). */
  syncSgtableForCpu(dev: DmaDevice, table: SgTable, dir: DmaDirection): void {
    this.syncSgForCpu(dev, table.sg, dir);
  }

  /** As `syncSgForDevice` (`dma_sync_sgtable_for_device`). */
  syncSgtableForDevice(dev: DmaDevice, table: SgTable, dir: DmaDirection): void {
    this.syncSgForDevice(dev, table.sg, dir);
  }
}

function pieces(sg: readonly SgElement[]): SgPiece[] {
  return sg.map(({ paddr, length }) => ({ address: paddr, length }));
}

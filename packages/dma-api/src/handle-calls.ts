import type { DmaDevice } from './dma-device.ts';
import type { DmaHandle, DmaSgHandle } from './dma-handle.ts';
import type { DmaAttrs, DmaDirection } from './dma-prot.ts';
import type { SgElement } from './scatter-list.ts';
import { StreamingCalls } from './streaming-calls.ts';

/** The calls of a `DmaApi` that give out and take handles, over its streaming calls. */
export class HandleCalls extends StreamingCalls {
  /**
   * As `mapPhys`, and remembers what was mapped: a handle, or null when the mapping failed. Its unmap and syncs look nothing up.
   * Throws {@link DmaError} `HANDLE_SIZE` for 4 GiB and more.
   * @example const handle = dma.mapPhysHandle(dev, 0x4000_0000, 4096, 'FROM_DEVICE');
   */
  mapPhysHandle(
    dev: DmaDevice,
    paddr: number,
    size: number,
    dir: DmaDirection,
    attrs?: DmaAttrs,
  ): DmaHandle | null {
    this.handleTable.checkSize(dev, size);
    const dmaAddr = this.mapPhys(dev, paddr, size, dir, attrs);
    if (this.mappingError(dev, dmaAddr)) return null;
    const mapped = dev.space === null ? dmaAddr : this.streaming.mappedPaddr;
    return this.handleTable.add(dev, dmaAddr, mapped, size, dir);
  }

  /**
   * Unmaps by handle, with the attributes of the map. Throws {@link DmaError} before any store or command: `HANDLE_UNMAPPED` (used twice),
   * `HANDLE_STALE`, `HANDLE_FOREIGN`, `HANDLE_SIZE`, `HANDLE_DIRECTION`, `HANDLE_ADDRESS`; in checking mode `PAGE_MISMATCH`.
   */
  unmapHandle(dev: DmaDevice, handle: DmaHandle, attrs?: DmaAttrs): void {
    this.handleTable.check(dev, handle);
    const { dmaAddr, size, dir } = handle;
    if (dev.space === null) this.direct.unmap(dev, dmaAddr, size, dir, attrs);
    else {
      this.layer.checkMapped(dev, dmaAddr, handle.paddr);
      this.streaming.unmapKnown(dev, handle, attrs);
    }
    this.handleTable.remove(handle);
    this.unmapped(dev, handle, attrs);
  }

  /** As `syncForCpu` for a part of a mapping, by default all of it. Throws as `unmapHandle`, and `HANDLE_SIZE` for a part outside. */
  syncHandleForCpu(
    dev: DmaDevice,
    handle: DmaHandle,
    offset = 0,
    size: number = handle.size - offset,
  ): void {
    this.handleTable.check(dev, handle);
    this.handleTable.checkPart(dev, handle, offset, size);
    const { dmaAddr, paddr, dir } = handle;
    if (dev.space === null) this.direct.syncForCpu(dev, dmaAddr + offset, size, dir);
    else this.streaming.syncKnownForCpu(dev, paddr + offset, size, dir);
    this.layer.debug?.syncSingle(dev, dmaAddr + offset, size, dir, 'cpu');
  }

  /** As `syncForDevice` for a part of a mapping, by default all of it. Throws as `syncHandleForCpu`. */
  syncHandleForDevice(
    dev: DmaDevice,
    handle: DmaHandle,
    offset = 0,
    size: number = handle.size - offset,
  ): void {
    this.handleTable.check(dev, handle);
    this.handleTable.checkPart(dev, handle, offset, size);
    const { dmaAddr, paddr, dir } = handle;
    if (dev.space === null) this.direct.syncForDevice(dev, dmaAddr + offset, size, dir);
    else this.streaming.syncKnownForDevice(dev, paddr + offset, size, dir);
    this.layer.debug?.syncSingle(dev, dmaAddr + offset, size, dir, 'device');
  }

  /** As `mapSg`, and remembers what a bounced list mapped: a handle, or the errno. */
  mapSgHandle(
    dev: DmaDevice,
    sg: readonly SgElement[],
    dir: DmaDirection,
    attrs?: DmaAttrs,
  ): DmaSgHandle | number {
    let size = 0;
    for (const { length } of sg) size += length;
    this.handleTable.checkSize(dev, size);
    const mapped: number[] = [];
    const nents = this.mapList(dev, sg, dir, attrs, mapped);
    const first = sg[0];
    if (nents < 0 || first === undefined) return nents;
    const paddr = mapped[0] ?? first.paddr;
    const handle = this.handleTable.add(dev, first.dmaAddress, paddr, size, dir);
    return { sg, nents, handle, mapped };
  }

  /** Unmaps a list by handle, with the attributes of the map. Throws as `unmapHandle`. */
  unmapSgHandle(dev: DmaDevice, list: DmaSgHandle, attrs?: DmaAttrs): void {
    const { sg, handle, mapped } = list;
    this.handleTable.check(dev, handle);
    for (let i = 0; i < mapped.length; i++)
      this.layer.checkMapped(dev, (sg[i] as SgElement).dmaAddress, mapped[i] as number);
    this.handleTable.remove(handle);
    this.unmapList(dev, sg, handle.dir, attrs, mapped);
  }

  /** As `syncSgForCpu` by handle. Throws as `unmapHandle`. */
  syncSgHandleForCpu(dev: DmaDevice, list: DmaSgHandle): void {
    this.handleTable.check(dev, list.handle);
    const { sg, handle, mapped } = list;
    if (dev.space === null) this.direct.syncSgForCpu(dev, sg, handle.dir);
    else this.scatter.syncForCpu(dev, sg, handle.dir, mapped);
    this.layer.debug?.syncSg(dev, sg, handle.dir, 'cpu');
  }

  /** As `syncSgForDevice` by handle. Throws as `unmapHandle`. */
  syncSgHandleForDevice(dev: DmaDevice, list: DmaSgHandle): void {
    this.handleTable.check(dev, list.handle);
    const { sg, handle, mapped } = list;
    if (dev.space === null) this.direct.syncSgForDevice(dev, sg, handle.dir);
    else this.scatter.syncForDevice(dev, sg, handle.dir, mapped);
    this.layer.debug?.syncSg(dev, sg, handle.dir, 'device');
  }

  /** Live handles and the bytes of their records. */
  get handles(): { readonly live: number; readonly bytes: number } {
    const { live, bytes } = this.handleTable;
    return { live, bytes };
  }
}

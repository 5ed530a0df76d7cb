import type { DmaApi, DmaAttrs, DmaDevice, DmaDirection } from '@iommukit/dma-api';

/**
 * Who tells the unmap and the syncs which physical address is mapped. K: nobody, the page table is asked; Q: the caller names the
 * buffer's page; H: the handle that the map returned knows it.
 */
export type UnmapWay = 'K' | 'Q' | 'H';

/** What is mapped; bytes. */
export interface Buffer {
  readonly paddr: number;
  readonly size: number;
  readonly dir: DmaDirection;
  readonly attrs?: DmaAttrs | undefined;
}

/** A live mapping, and what its way does with it. */
export interface LiveBuffer {
  readonly buffer: Buffer;
  readonly address: number;
  /** The physical address that a handle knows; null in the other ways. */
  readonly mapped: number | null;
  /** Bytes that a driver keeps for it: address and length, or the handle's record. */
  readonly kept: number;
  toCpu(): void;
  toDevice(): void;
  unmap(): void;
}

/** Address and length of a mapping. */
const ADDRESS_AND_LENGTH = 8 + 8;

/** Maps a buffer in a way; null when it cannot be mapped. */
export function mapIn(
  way: UnmapWay,
  dma: DmaApi,
  dev: DmaDevice,
  buffer: Buffer,
): LiveBuffer | null {
  return way === 'H' ? byHandle(dma, dev, buffer) : byAddress(way, dma, dev, buffer);
}

function byHandle(dma: DmaApi, dev: DmaDevice, buffer: Buffer): LiveBuffer | null {
  const { paddr, size, dir, attrs } = buffer;
  const before = dma.handles.bytes;
  const handle = dma.mapPhysHandle(dev, paddr, size, dir, attrs);
  if (handle === null) return null;
  return {
    buffer,
    address: handle.dmaAddr,
    mapped: handle.paddr,
    kept: dma.handles.bytes - before,
    toCpu: () => dma.syncHandleForCpu(dev, handle),
    toDevice: () => dma.syncHandleForDevice(dev, handle),
    unmap: () => dma.unmapHandle(dev, handle, attrs),
  };
}

function byAddress(way: 'K' | 'Q', dma: DmaApi, dev: DmaDevice, buffer: Buffer): LiveBuffer | null {
  const { paddr, size, dir, attrs } = buffer;
  const address = dma.mapPhys(dev, paddr, size, dir, attrs);
  if (dma.mappingError(dev, address)) return null;
  const page = way === 'Q' ? paddr : undefined;
  const options = page === undefined ? attrs : { ...attrs, page };
  return {
    buffer,
    address,
    mapped: null,
    kept: ADDRESS_AND_LENGTH,
    toCpu: () => dma.syncForCpu(dev, address, size, dir, page),
    toDevice: () => dma.syncForDevice(dev, address, size, dir, page),
    unmap: () => dma.unmapPhys(dev, address, size, dir, options),
  };
}

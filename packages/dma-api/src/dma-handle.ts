import type { DmaDevice } from './dma-device.ts';
import type { DmaDirection } from './dma-prot.ts';
import type { SgElement } from './scatter-list.ts';

/**
 * A streaming mapping that knows what it mapped, so that neither unmap nor sync asks the page table. Given out by `mapPhysHandle`, taken back
 * by `unmapHandle`, once. Bytes.
 * @example const handle = dma.mapPhysHandle(dev, 0x4000_0200, 0x400, 'FROM_DEVICE'); if (handle !== null) dma.unmapHandle(dev, handle);
 */
export interface DmaHandle {
  /** What the device is given. */
  readonly dmaAddr: number;
  /** What is really mapped: the buffer's physical address, or its bounce slot's. */
  readonly paddr: number;
  readonly size: number;
  readonly dir: DmaDirection;
  readonly device: DmaDevice;
  /** Changes whenever `slot` is given to another mapping. */
  readonly generation: number;
  /** Place of its record among the live ones. */
  readonly slot: number;
}

/**
 * A mapped list that knows what its elements mapped.
 * @example const list = dma.mapSgHandle(dev, sg, 'FROM_DEVICE'); if (typeof list !== 'number') dma.unmapSgHandle(dev, list);
 */
export interface DmaSgHandle {
  readonly sg: readonly SgElement[];
  /** Segments, in the first elements of `sg`. */
  readonly nents: number;
  /** Guards the whole list; its size is that of all elements. */
  readonly handle: DmaHandle;
  /** Physical addresses of a list that went through bounce slots, by element; empty otherwise: unmap needs none then. */
  readonly mapped: readonly number[];
}

/** Bytes of a record: 8 + 8 + size 4 + generation 4 + device 4 + direction 1, padded. @example DMA_HANDLE_BYTES * live */
export const DMA_HANDLE_BYTES = 32;

import type { DmaDevice } from './dma-device.ts';
import type { DmaAttrs, DmaDirection } from './dma-prot.ts';

/**
 * A request for a bounce slot; addresses and sizes in bytes.
 * @example const request: BounceRequest = { device, paddr: 0x4000_0200, size: 0x400, allocAlignMask: 0xfff, dir: 'TO_DEVICE' };
 */
export interface BounceRequest {
  /** Its `minAlignMask` tells which low bits of the address the slot keeps. */
  readonly device: DmaDevice;
  /** The original's first byte. */
  readonly paddr: number;
  readonly size: number;
  /** The slot begins at a multiple of this plus 1, and takes whole ones. */
  readonly allocAlignMask: number;
  readonly dir: DmaDirection;
  readonly attrs?: DmaAttrs | undefined;
}

/**
 * What the DMA layer needs of a pool of bounce slots (`kernel/dma/swiotlb.c`). The product's is `Swiotlb`.
 * @example const slot = bounce.map({ device, paddr, size, allocAlignMask: 0xfff, dir: 'FROM_DEVICE' });
 */
export interface BounceBuffers {
  /** There are slots at all (`is_swiotlb_active`). */
  readonly active: boolean;
  /** Longest buffer that fits a slot, bytes, before the device's `minAlignMask` is taken off. */
  readonly maxMappingSize: number;
  /**
   * Takes a slot and copies the whole original into it, whatever the direction (`swiotlb_tbl_map_single`). The slot's address of the
   * first byte, or `DMA_MAPPING_ERROR`.
   */
  map(request: BounceRequest): number;
  /** The address is inside a slot that is taken (`is_swiotlb_buffer`). */
  owns(paddr: number): boolean;
  /** Copies back what a device may have written unless `skipCpuSync`, and gives the slot back; nothing for other addresses. */
  unmap(paddr: number, size: number, dir: DmaDirection, attrs?: DmaAttrs): void;
  /** Copies the original into the slot; called for any address, does nothing for those that are no slot. */
  syncForDevice(paddr: number, size: number, dir: DmaDirection): void;
  /** Copies the slot to the original; called for any address. */
  syncForCpu(paddr: number, size: number, dir: DmaDirection): void;
  /** Zeroes padding inside the granules of a slot, so that an untrusted device finds nothing there. Physical bytes. */
  zero(paddr: number, size: number): void;
}

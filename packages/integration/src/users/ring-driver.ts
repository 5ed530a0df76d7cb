/** Bytes of a receive buffer. @example dma.mapPhys(dev, paddr, RING_BUFFER, 'FROM_DEVICE') */
export const RING_BUFFER = 2048;

/**
 * What a small network driver does with its receive ring: buffers are posted, looked at in place, and handed over. Written twice, once with
 * addresses and once with handles, over the same DMA API.
 * @example const ring: RingDriver = new RingByHandle(dma, dev); ring.post(0, 0x4000_0000); ring.peek(0, 64); ring.take(0);
 */
export interface RingDriver {
  /** Gives the buffer at `paddr` to the device; false when it cannot be mapped. */
  post(slot: number, paddr: number): boolean;
  /** The device wrote `bytes`: the CPU reads them, then the device may have the buffer again. */
  peek(slot: number, bytes: number): void;
  /** The buffer goes to the network stack, and the slot is empty. */
  take(slot: number): void;
  /** Bytes that the driver remembers for its posted buffers. */
  readonly keptBytes: number;
}

const SIZE_OF_STATE = 16;
const LIMIT = 2 ** 63;

/**
 * An IOVA range that is filled piece by piece (`struct dma_iova_state`): two 64-bit words, whatever the number of pieces. Made
 * once, reused by every `iovaTryAlloc`.
 * @example const state = new DmaIovaState(); if (dma.iovaTryAlloc(dev, state, 0, 0x20000)) dma.iovaLink(dev, state, link);
 */
export class DmaIovaState {
  /** Bytes that the state takes in a driver. */
  static readonly bytes: number = SIZE_OF_STATE;
  /** DMA address of the first byte. */
  addr = 0;
  #size = 0;
  /** A piece went through a bounce slot (bit 63 of the size word, `DMA_IOVA_USE_SWIOTLB`): unlink must look each granule up. */
  usesBounce = false;

  /** Bytes that were asked for (`dma_iova_size`). */
  get size(): number {
    return this.#size;
  }

  /** There is a range to link to; otherwise the driver maps its pieces one by one (`dma_use_iova`). */
  get usesIova(): boolean {
    return this.#size !== 0 || this.usesBounce;
  }

  /** The second word as it is stored, size and flag. */
  get sizeWord(): bigint {
    return BigInt(this.#size) + (this.usesBounce ? BigInt(LIMIT) : 0n);
  }

  /** Takes over a range. */
  assign(addr: number, size: number): void {
    this.addr = addr;
    this.#size = size;
    this.usesBounce = false;
  }
}

import type { DmaApi, DmaDevice } from '@iommukit/dma-api';
import { RING_BUFFER, type RingDriver } from './ring-driver.ts';

/** Address and length, 8 bytes each, as `DEFINE_DMA_UNMAP_ADDR` and `DEFINE_DMA_UNMAP_LEN` keep them. */
const KEPT = 16;

/**
 * The ring as Linux drivers write it: it remembers an address, and says size and direction again in every call.
 * @example const ring = new RingByAddress(dma, dev);
 */
export class RingByAddress implements RingDriver {
  readonly #dma: DmaApi;
  readonly #dev: DmaDevice;
  readonly #posted = new Map<number, number>();

  constructor(dma: DmaApi, dev: DmaDevice) {
    this.#dma = dma;
    this.#dev = dev;
  }

  post(slot: number, paddr: number): boolean {
    const address = this.#dma.mapPhys(this.#dev, paddr, RING_BUFFER, 'FROM_DEVICE');
    if (this.#dma.mappingError(this.#dev, address)) return false;
    this.#posted.set(slot, address);
    return true;
  }

  peek(slot: number, bytes: number): void {
    const address = this.#posted.get(slot);
    if (address === undefined) return;
    this.#dma.syncForCpu(this.#dev, address, bytes, 'FROM_DEVICE');
    this.#dma.syncForDevice(this.#dev, address, bytes, 'FROM_DEVICE');
  }

  take(slot: number): void {
    const address = this.#posted.get(slot);
    if (address === undefined) return;
    this.#posted.delete(slot);
    this.#dma.unmapPhys(this.#dev, address, RING_BUFFER, 'FROM_DEVICE');
  }

  get keptBytes(): number {
    return this.#posted.size * KEPT;
  }
}

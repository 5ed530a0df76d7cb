import { DMA_HANDLE_BYTES, type DmaApi, type DmaDevice, type DmaHandle } from '@iommukit/dma-api';
import { RING_BUFFER, type RingDriver } from './ring-driver.ts';

/**
 * The same ring with handles: size and direction are said once, at the map, and a failed map is null.
 * @example const ring = new RingByHandle(dma, dev);
 */
export class RingByHandle implements RingDriver {
  readonly #dma: DmaApi;
  readonly #dev: DmaDevice;
  readonly #posted = new Map<number, DmaHandle>();

  constructor(dma: DmaApi, dev: DmaDevice) {
    this.#dma = dma;
    this.#dev = dev;
  }

  post(slot: number, paddr: number): boolean {
    const handle = this.#dma.mapPhysHandle(this.#dev, paddr, RING_BUFFER, 'FROM_DEVICE');
    if (handle === null) return false;
    this.#posted.set(slot, handle);
    return true;
  }

  peek(slot: number, bytes: number): void {
    const handle = this.#posted.get(slot);
    if (handle === undefined) return;
    this.#dma.syncHandleForCpu(this.#dev, handle, 0, bytes);
    this.#dma.syncHandleForDevice(this.#dev, handle, 0, bytes);
  }

  take(slot: number): void {
    const handle = this.#posted.get(slot);
    if (handle === undefined) return;
    this.#posted.delete(slot);
    this.#dma.unmapHandle(this.#dev, handle);
  }

  get keptBytes(): number {
    return this.#posted.size * DMA_HANDLE_BYTES;
  }
}

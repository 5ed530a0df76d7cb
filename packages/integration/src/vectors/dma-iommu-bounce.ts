import { type BounceBuffers, type BounceRequest, DMA_MAPPING_ERROR } from '@iommukit/dma-api';
import type { CoreCall } from './iommu-core-mock.ts';
import { hex } from './vector-values.lanes.ts';

const FIRST_SLOT = 0x70_0000_0000;
const SLOT_STRIDE = 0x2_0000;
/** Bits that every slot keeps of an address at least, where the device asks for any. */
const SLOT_MASK = 2047;

/** Bounce slots as recordings of kind `dma-iommu` number them: nothing is copied, everything is written down. */
export class RecordedBounce implements BounceBuffers {
  readonly active: boolean;
  readonly maxMappingSize: number = SLOT_STRIDE;
  readonly #calls: CoreCall[];
  readonly #failing: number;
  readonly #slots = new Map<number, number>();
  #taken = 0;
  #asked = 0;

  /** The request of number `failing`, from 1, finds no slot; 0: none does. */
  constructor(calls: CoreCall[], active: 'active' | 'inactive', failing: number) {
    this.#calls = calls;
    this.active = active === 'active';
    this.#failing = failing;
  }

  map({ device, paddr, size, allocAlignMask }: BounceRequest): number {
    if (++this.#asked === this.#failing) {
      this.#calls.push(['bounce_fail', hex(paddr), hex(size)]);
      return DMA_MAPPING_ERROR;
    }
    // Both masks are runs of low bits.
    const kept = Math.min(device.minAlignMask, Math.max(allocAlignMask, SLOT_MASK)) + 1;
    const slot = FIRST_SLOT + this.#taken++ * SLOT_STRIDE + (paddr % kept);
    this.#slots.set(slot, size);
    this.#calls.push(['bounce', hex(paddr), hex(size), hex(slot)]);
    return slot;
  }

  owns(paddr: number): boolean {
    for (const [slot, size] of this.#slots) if (paddr >= slot && paddr < slot + size) return true;
    return false;
  }

  unmap(paddr: number, size: number): void {
    if (this.#slots.delete(paddr)) this.#calls.push(['unbounce', hex(paddr), hex(size)]);
  }

  syncForDevice(paddr: number, size: number): void {
    this.#calls.push(['bounce_dev', hex(paddr), hex(size)]);
  }

  syncForCpu(paddr: number, size: number): void {
    this.#calls.push(['bounce_cpu', hex(paddr), hex(size)]);
  }

  zero(): void {}
}

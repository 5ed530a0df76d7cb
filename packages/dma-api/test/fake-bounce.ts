import type { BounceBuffers, BounceRequest } from '../src/index.ts';
import { DMA_MAPPING_ERROR } from '../src/index.ts';
import { type Call, h } from './call.ts';

const FIRST_SLOT = 0x70_0000_0000;
const SLOT_STRIDE = 0x2_0000;

/** Bounce slots as the recordings number them; nothing is copied, everything is written down. */
export class FakeBounce implements BounceBuffers {
  readonly active: boolean;
  readonly maxMappingSize = SLOT_STRIDE;
  /** Zeroed ranges: not a call in the recordings. */
  readonly zeroed: Call[] = [];
  readonly #calls: Call[];
  readonly #fail: number;
  readonly #slots = new Map<number, number>();
  #taken = 0;
  #asked = 0;

  constructor(calls: Call[], options: { readonly active?: boolean; readonly fail?: number } = {}) {
    this.#calls = calls;
    this.active = options.active ?? true;
    this.#fail = options.fail ?? 0;
  }

  get live(): number {
    return this.#slots.size;
  }

  map({ device, paddr, size, allocAlignMask }: BounceRequest): number {
    if (++this.#asked === this.#fail) {
      this.#calls.push(['bounce_fail', h(paddr), h(size)]);
      return DMA_MAPPING_ERROR;
    }
    // Both masks are runs of low bits.
    const kept = paddr % (Math.min(device.minAlignMask, Math.max(allocAlignMask, 2047)) + 1);
    const slot = FIRST_SLOT + this.#taken++ * SLOT_STRIDE + kept;
    this.#slots.set(slot, size);
    this.#calls.push(['bounce', h(paddr), h(size), h(slot)]);
    return slot;
  }

  owns(paddr: number): boolean {
    for (const [slot, size] of this.#slots) if (paddr >= slot && paddr < slot + size) return true;
    return false;
  }

  unmap(paddr: number, size: number): void {
    if (this.#slots.delete(paddr)) this.#calls.push(['unbounce', h(paddr), h(size)]);
  }

  syncForDevice(paddr: number, size: number): void {
    this.#calls.push(['bounce_dev', h(paddr), h(size)]);
  }

  syncForCpu(paddr: number, size: number): void {
    this.#calls.push(['bounce_cpu', h(paddr), h(size)]);
  }

  zero(paddr: number, size: number): void {
    this.zeroed.push([h(paddr), h(size)]);
  }
}

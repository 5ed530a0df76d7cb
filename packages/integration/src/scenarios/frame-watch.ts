import type { FrameAllocator, PhysicalMemory } from '@iommukit/platform';

const FRAME = 4096;
const POISON = 0xa5a5a5a5;

/**
 * Table frames under suspicion: each freed frame is filled with 0xA5 at once, and `freed` is told, so that a device can read on with
 * whatever it still holds.
 */
export class FrameWatch {
  /** Loads by the SMMU from frames that nobody has allocated. */
  readsOfFree = 0;
  frees = 0;
  /** Frames allocated since `fresh` was last cleared. */
  readonly fresh: Set<number> = new Set<number>();
  onFree: () => void = () => {};
  readonly #frames: FrameAllocator;

  constructor(memory: PhysicalMemory, frames: FrameAllocator) {
    this.#frames = frames;
    const alloc = frames.alloc.bind(frames);
    const free = frames.free.bind(frames);
    frames.alloc = (bytes) => {
      const pa = alloc(bytes);
      if (pa >= 0) for (let at = 0; at < bytes; at += FRAME) this.fresh.add(pa + at);
      return pa;
    };
    frames.free = (pa, bytes) => {
      free(pa, bytes);
      for (let at = pa; at < pa + bytes; at += FRAME) memory.lanes(at)?.fill(POISON);
      this.frees++;
      this.onFree();
    };
  }

  /** True for a frame of the pool. */
  holds(pa: number): boolean {
    return pa >= this.#frames.base && pa < this.#frames.base + this.#frames.size;
  }

  /** Notes a load by the SMMU. */
  load(pa: number): void {
    if (this.holds(pa) && !this.#frames.isAllocated(pa)) this.readsOfFree++;
  }
}

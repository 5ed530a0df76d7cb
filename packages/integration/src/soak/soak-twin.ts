import type { MemoryView } from '@iommukit/platform';

/** What memory must hold, as one plain array of 32-bit words: no caches, no addresses of devices, no slots. */
export class SoakTwin {
  readonly base: number;
  readonly words: Uint32Array;
  /** Pages that anybody ever had. */
  readonly used: Set<number> = new Set<number>();

  constructor(pool: { readonly base: number; readonly size: number }) {
    this.base = pool.base;
    this.words = new Uint32Array(pool.size / 4);
  }

  get(paddr: number): number {
    return this.words[(paddr - this.base) / 4] as number;
  }

  set(paddr: number, word: number): void {
    this.words[(paddr - this.base) / 4] = word;
  }

  /** Somebody has a page from now on. */
  use(page: number): void {
    this.used.add(page);
  }

  zero(paddr: number, bytes: number): void {
    const first = (paddr - this.base) / 4;
    this.words.fill(0, first, first + bytes / 4);
  }

  /** First word of [paddr, paddr + bytes) that a view has otherwise, or -1. */
  differsAt(view: MemoryView, paddr: number, bytes: number): number {
    for (let at = paddr; at < paddr + bytes; at += 8) {
      const lo = view.load64(at);
      if (lo !== this.get(at)) return at;
      if (view.hi !== this.get(at + 4)) return at + 4;
    }
    return -1;
  }
}

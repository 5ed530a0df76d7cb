import type { IovaDomain } from '@iommukit/iova-allocator';

/** The IOVA ranges that an allocator has given out, and what is asked before one goes back. */
export class SoakRanges {
  /** Granules by first pfn. */
  readonly live: Map<number, number> = new Map<number, number>();
  /** All granules of live ranges. */
  readonly #held = new Set<number>();

  /** `freeing` hears of each range before the allocator does, `wrong` of a range that was never given out. */
  constructor(
    iovad: IovaDomain,
    freeing: (pfn: number, pages: number) => void,
    wrong: (text: string) => void,
  ) {
    const { live } = this;
    const alloc = iovad.allocIovaFast.bind(iovad);
    const free = iovad.freeIovaFast.bind(iovad);
    iovad.allocIovaFast = (cpu, size, limitPfn, flush) => {
      const pfn = alloc(cpu, size, limitPfn, flush);
      if (pfn === 0) return pfn;
      for (let i = 0; i < size; i++) {
        if (this.#held.has(pfn + i)) wrong(`pfn ${pfn + i} is handed out twice`);
        this.#held.add(pfn + i);
      }
      live.set(pfn, size);
      return pfn;
    };
    iovad.freeIovaFast = (cpu, pfn, size) => {
      if (live.get(pfn) !== size) wrong(`pfn ${pfn}: ${size} freed of ${live.get(pfn) ?? 'none'}`);
      freeing(pfn, size);
      live.delete(pfn);
      for (let i = 0; i < size; i++) this.#held.delete(pfn + i);
      free(cpu, pfn, size);
    };
  }

  /** True for a granule of a range that has not gone back. */
  holds(pfn: number): boolean {
    return this.#held.has(pfn);
  }
}

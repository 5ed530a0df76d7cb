import { ctz } from '@iommukit/bits';

/** One bit for each id from 0 to `last`; set means taken. Searches skip 32 taken ids at a time. */
export class PasidBitmap {
  readonly #words: Uint32Array;

  constructor(last: number) {
    this.#words = new Uint32Array((last >>> 5) + 1);
  }

  has(id: number): boolean {
    return (((this.#words[id >>> 5] as number) >>> (id & 31)) & 1) === 1;
  }

  set(id: number): void {
    const at = id >>> 5;
    this.#words[at] = (this.#words[at] as number) | (1 << (id & 31));
  }

  clear(id: number): void {
    const at = id >>> 5;
    this.#words[at] = (this.#words[at] as number) & ~(1 << (id & 31));
  }

  /** The lowest free id from `min` to `max`, both inclusive; -1 when all are taken. */
  firstFree(min: number, max: number): number {
    // The first word counts only from the bit of `min` on.
    let mask = 0xffff_ffff << (min & 31);
    for (let at = min >>> 5; at <= max >>> 5; at++) {
      const free = (~(this.#words[at] as number) & mask) >>> 0;
      if (free !== 0) {
        const id = at * 32 + ctz(free);
        return id <= max ? id : -1;
      }
      mask = 0xffff_ffff;
    }
    return -1;
  }
}

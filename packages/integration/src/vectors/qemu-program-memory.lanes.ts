import { BusError, type MemoryView } from '@iommukit/platform';

const PAGE = 4096;
const LANES = PAGE / 4;
const TWO32 = 0x1_0000_0000;

/**
 * One range of RAM that is emptied between programs: tens of thousands of them run on the few pages that the first ones touched. Nothing
 * is backed outside the range, so that a fetch there is an external abort.
 */
export class ProgramMemory implements MemoryView {
  hi = 0;
  readonly blockBytes: number = PAGE;
  readonly #base: number;
  readonly #end: number;
  readonly #pages: Map<number, Uint32Array> = new Map();
  readonly #spare: Uint32Array[] = [];

  constructor(base: number, end: number) {
    this.#base = base;
    this.#end = end;
  }

  /** All of the RAM is zero again. */
  clear(): void {
    for (const page of this.#pages.values()) {
      page.fill(0);
      this.#spare.push(page);
    }
    this.#pages.clear();
  }

  load64(pa: number): number {
    const page = this.#pages.get(frameOf(pa));
    if (page === undefined) {
      this.#demand(pa);
      this.hi = 0;
      return 0;
    }
    const i = (pa / 4) & (LANES - 1);
    this.hi = page[i + 1] as number;
    return page[i] as number;
  }

  store64(pa: number, lo: number, hi: number): void {
    const page = this.#page(pa);
    const i = (pa / 4) & (LANES - 1);
    page[i] = lo;
    page[i + 1] = hi;
  }

  cas64(pa: number, oldLo: number, oldHi: number, lo: number, hi: number): boolean {
    if (this.load64(pa) !== oldLo >>> 0 || this.hi !== oldHi >>> 0) return false;
    this.store64(pa, lo, hi);
    return true;
  }

  load32(pa: number): number {
    const page = this.#pages.get(frameOf(pa));
    if (page !== undefined) return page[(pa / 4) & (LANES - 1)] as number;
    this.#demand(pa);
    return 0;
  }

  store32(pa: number, value: number): void {
    this.#page(pa)[(pa / 4) & (LANES - 1)] = value;
  }

  /** Nothing to do: there is one observer. */
  clean(_pa: number, _bytes: number): void {}

  isBacked(pa: number): boolean {
    return pa >= this.#base && pa < this.#end;
  }

  lanes(pa: number): Uint32Array | undefined {
    return this.isBacked(pa) ? this.#page(pa) : undefined;
  }

  block(lo: number, hi: number): Uint32Array | undefined {
    return this.lanes((hi >>> 0) * TWO32 + (lo >>> 0));
  }

  #demand(pa: number): void {
    if (!this.isBacked(pa)) throw new BusError({ pa });
  }

  #page(pa: number): Uint32Array {
    const frame = frameOf(pa);
    const known = this.#pages.get(frame);
    if (known !== undefined) return known;
    this.#demand(pa);
    const page = this.#spare.pop() ?? new Uint32Array(LANES);
    this.#pages.set(frame, page);
    return page;
  }
}

function frameOf(pa: number): number {
  return Math.floor(pa / PAGE);
}

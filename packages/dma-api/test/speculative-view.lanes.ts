import { type MemoryView, NonCoherentView } from '@iommukit/platform';

const LINE = 64;
const WORDS = LINE / 4;

/** A CPU's cache over memory of devices that do not snoop, which also fetches lines that nobody asked for: `prefetch`. */
export class SpeculativeView implements MemoryView {
  hi = 0;
  readonly blockBytes = 4096;
  readonly #dirty: NonCoherentView;
  /** Lines with stores that were not written back. */
  readonly #stored = new Set<number>();
  /** Clean lines, as they were when they were fetched. */
  readonly #fetched = new Map<number, Uint32Array>();

  constructor(memory: MemoryView) {
    this.#dirty = new NonCoherentView(memory);
  }

  /** The cache holds something of these bytes. */
  holds(pa: number, bytes: number, what: 'dirty' | 'any'): boolean {
    for (let line = Math.floor(pa / LINE); line * LINE < pa + bytes; line++) {
      if (what === 'any' && this.#fetched.has(line)) return true;
      if (this.#stored.has(line)) return true;
    }
    return false;
  }

  prefetch(pa: number, bytes: number): void {
    for (let line = Math.floor(pa / LINE); line * LINE < pa + bytes; line++)
      if (!this.#fetched.has(line))
        this.#fetched.set(
          line,
          Uint32Array.from({ length: WORDS }, (_, i) => this.#dirty.load32(line * LINE + i * 4)),
        );
  }

  load32(pa: number): number {
    const line = this.#fetched.get(Math.floor(pa / LINE));
    return line === undefined ? this.#dirty.load32(pa) : (line[(pa % LINE) / 4] as number);
  }

  store32(pa: number, value: number): void {
    const line = Math.floor(pa / LINE);
    const fetched = this.#fetched.get(line);
    if (fetched !== undefined) {
      this.#fetched.delete(line);
      fetched.forEach((word, i) => {
        this.#dirty.store32(line * LINE + i * 4, word);
      });
    }
    this.#dirty.store32(pa, value);
    this.#stored.add(line);
  }

  load64(pa: number): number {
    this.hi = this.load32(pa + 4);
    return this.load32(pa);
  }

  store64(pa: number, lo: number, hi: number): void {
    this.store32(pa, lo);
    this.store32(pa + 4, hi);
  }

  cas64(pa: number, oldLo: number, oldHi: number, lo: number, hi: number): boolean {
    if (this.load64(pa) !== oldLo >>> 0 || this.hi !== oldHi >>> 0) return false;
    this.store64(pa, lo, hi);
    return true;
  }

  clean(pa: number, bytes: number): void {
    this.#dirty.clean(pa, bytes);
    for (let line = Math.floor(pa / LINE); line * LINE < pa + bytes; line++)
      this.#stored.delete(line);
  }

  invalidate(pa: number, bytes: number): void {
    this.#dirty.invalidate(pa, bytes);
    for (let line = Math.floor(pa / LINE); line * LINE < pa + bytes; line++) {
      this.#fetched.delete(line);
      this.#stored.delete(line);
    }
  }

  isBacked(pa: number): boolean {
    return this.#dirty.isBacked(pa);
  }

  lanes(): undefined {
    return undefined;
  }

  block(): undefined {
    return undefined;
  }
}

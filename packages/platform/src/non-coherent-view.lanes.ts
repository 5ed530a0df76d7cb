import type { MemoryView } from './memory-view.ts';

const LINE = 64;
const LINE_LANES = 16;

/**
 * What a CPU's data cache does to a device that does not snoop it: stores stay in 64-byte lines of this view until they are
 * cleaned, so a device that looks at the memory underneath sees the old content. Cleans are counted by call and by line.
 * @example const cpu = new NonCoherentView(memory); cpu.store64(pa, 1, 0); memory.load64(pa); // still 0
 */
export class NonCoherentView implements MemoryView {
  hi = 0;
  readonly blockBytes = 4096;
  /** Calls of `clean`. */
  cleanCalls = 0;
  /** Lines that those calls covered (a line is 64 bytes), dirty or not, as `dc cvac` would be issued. */
  cleanLines = 0;
  /** Calls of `invalidate`. */
  invalidateCalls = 0;
  readonly #memory: MemoryView;
  readonly #lines = new Map<number, Uint32Array>();

  constructor(memory: MemoryView) {
    this.#memory = memory;
  }

  /** Lines with stores that no other view sees yet. */
  get dirtyLines(): number {
    return this.#lines.size;
  }

  load64(pa: number): number {
    const line = this.#lines.get(Math.floor(pa / LINE));
    if (line === undefined) {
      const lo = this.#memory.load64(pa);
      this.hi = this.#memory.hi;
      return lo;
    }
    const i = (pa / 4) & (LINE_LANES - 1);
    this.hi = line[i + 1] as number;
    return line[i] as number;
  }

  store64(pa: number, lo: number, hi: number): void {
    const line = this.#fill(pa);
    const i = (pa / 4) & (LINE_LANES - 1);
    line[i] = lo;
    line[i + 1] = hi;
  }

  cas64(pa: number, oldLo: number, oldHi: number, lo: number, hi: number): boolean {
    if (this.load64(pa) !== oldLo >>> 0 || this.hi !== oldHi >>> 0) return false;
    this.store64(pa, lo, hi);
    return true;
  }

  load32(pa: number): number {
    const line = this.#lines.get(Math.floor(pa / LINE));
    if (line === undefined) return this.#memory.load32(pa);
    return line[(pa / 4) & (LINE_LANES - 1)] as number;
  }

  store32(pa: number, value: number): void {
    this.#fill(pa)[(pa / 4) & (LINE_LANES - 1)] = value;
  }

  clean(pa: number, bytes: number): void {
    this.cleanCalls++;
    const end = Math.ceil((pa + bytes) / LINE);
    for (let n = Math.floor(pa / LINE); n < end; n++) {
      this.cleanLines++;
      const line = this.#lines.get(n);
      if (line === undefined) continue;
      this.#lines.delete(n);
      for (let i = 0; i < LINE_LANES; i += 2)
        this.#memory.store64(n * LINE + i * 4, line[i] as number, line[i + 1] as number);
    }
  }

  /** Drops this view's own copy of [pa, pa + bytes): stores that were not cleaned are lost, as with `dc ivac`. */
  invalidate(pa: number, bytes: number): void {
    this.invalidateCalls++;
    const end = Math.ceil((pa + bytes) / LINE);
    for (let n = Math.floor(pa / LINE); n < end; n++) this.#lines.delete(n);
  }

  isBacked(pa: number): boolean {
    return this.#memory.isBacked(pa);
  }

  /** Always `undefined`: bulk stores would bypass the cache. */
  lanes(_pa: number): undefined {
    return undefined;
  }

  block(_lo: number, _hi: number): undefined {
    return undefined;
  }

  #fill(pa: number): Uint32Array {
    const n = Math.floor(pa / LINE);
    let line = this.#lines.get(n);
    if (line === undefined) {
      line = new Uint32Array(LINE_LANES);
      for (let i = 0; i < LINE_LANES; i += 2) {
        line[i] = this.#memory.load64(n * LINE + i * 4);
        line[i + 1] = this.#memory.hi;
      }
      this.#lines.set(n, line);
    }
    return line;
  }
}

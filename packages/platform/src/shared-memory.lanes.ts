import type { MemoryView } from './memory-view.ts';
import { BusError, MemoryRangeError } from './physical-memory.lanes.ts';

/**
 * One range of RAM on a `SharedArrayBuffer`, for workers: every access is atomic through a `BigUint64Array` or `Int32Array` view,
 * the only way JavaScript has to keep a doubleword whole between threads. Each worker makes its own instance on the same buffer.
 * `base` and the buffer's length are bytes, multiples of 4 KiB, else {@link MemoryRangeError}; outside them {@link BusError}.
 * @example const memory = new SharedMemory({ base: 0x4000_0000, buffer: new SharedArrayBuffer(0x10_0000) });
 */
export class SharedMemory implements MemoryView {
  hi = 0;
  readonly blockBytes = 4096;
  readonly base: number;
  readonly buffer: SharedArrayBuffer;
  readonly #doublewords: BigUint64Array;
  readonly #words: Int32Array;

  constructor(options: { readonly base: number; readonly buffer: SharedArrayBuffer }) {
    const { base, buffer } = options;
    if (base % 4096 !== 0 || buffer.byteLength % 4096 !== 0 || buffer.byteLength === 0)
      throw new MemoryRangeError({ base, size: buffer.byteLength });
    this.base = base;
    this.buffer = buffer;
    this.#doublewords = new BigUint64Array(buffer);
    this.#words = new Int32Array(buffer);
  }

  load64(pa: number): number {
    const value = Atomics.load(this.#doublewords, this.#index(pa, 8));
    this.hi = Number(value >> 32n);
    return Number(value & 0xffffffffn);
  }

  store64(pa: number, lo: number, hi: number): void {
    Atomics.store(this.#doublewords, this.#index(pa, 8), join(lo, hi));
  }

  cas64(pa: number, oldLo: number, oldHi: number, lo: number, hi: number): boolean {
    const old = join(oldLo, oldHi);
    const index = this.#index(pa, 8);
    return Atomics.compareExchange(this.#doublewords, index, old, join(lo, hi)) === old;
  }

  load32(pa: number): number {
    return Atomics.load(this.#words, this.#index(pa, 4)) >>> 0;
  }

  store32(pa: number, value: number): void {
    Atomics.store(this.#words, this.#index(pa, 4), value | 0);
  }

  /** Nothing to do: this view is coherent. */
  clean(_pa: number, _bytes: number): void {}

  isBacked(pa: number): boolean {
    return pa >= this.base && pa < this.base + this.buffer.byteLength;
  }

  /** Always `undefined`: plain lane access would tear between workers. */
  lanes(_pa: number): undefined {
    return undefined;
  }

  block(_lo: number, _hi: number): undefined {
    return undefined;
  }

  #index(pa: number, bytes: number): number {
    if (!this.isBacked(pa)) throw new BusError({ pa });
    return Math.trunc((pa - this.base) / bytes);
  }
}

function join(lo: number, hi: number): bigint {
  return (BigInt(hi >>> 0) << 32n) | BigInt(lo >>> 0);
}

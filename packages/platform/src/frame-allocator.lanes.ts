import { hex, IommuError } from '@iommukit/bits';

/**
 * Where frames come from; sizes and addresses in bytes.
 * @example const pool: FramePool = { base: 0x1_0000_0000, size: 0x1000_0000 };
 */
export interface FramePool {
  /** First byte, 4 KiB aligned. */
  readonly base: number;
  /** Bytes, a multiple of 4 KiB. */
  readonly size: number;
  /** State shared between workers: `FrameAllocator.stateBytes(size)` bytes, zeroed. Absent: private to this instance. */
  readonly state?: SharedArrayBuffer;
}

/**
 * Frames that were allocated and never freed.
 * @example const leaks: LeakReport = frames.leakReport(); leaks.frames // 0
 */
export interface LeakReport {
  /** Number of 4 KiB frames still allocated. */
  readonly frames: number;
  /** Their addresses, ascending, at most 64. */
  readonly first: readonly number[];
}

const FRAME = 4096;
// Words of the shared state before the bitmap: frames in use, search hint.
const USED = 0;
const HINT = 1;
const BITMAP = 2;

/**
 * Hands out naturally aligned runs of 4 KiB frames: `alloc` returns an address, or -1 when the pool is exhausted (the caller turns
 * that into -ENOMEM). State is a bitmap updated with Atomics, so workers may share it. A double free throws {@link FrameError}, as
 * does a size of 0 or of more than 4 GiB. While a worker tries a run of more than 32 frames, others may see its words as taken.
 * @example const frames = new FrameAllocator({ base: 0x1_0000_0000, size: 0x10_0000 }); const pa = frames.alloc(4096);
 */
export class FrameAllocator {
  readonly base: number;
  readonly size: number;
  /** Fails the call that makes it zero: 1 fails the next `alloc`, 0 fails none. Set by tests of failure paths. */
  failIn = 0;
  /** Calls of `alloc`, failed ones included. */
  allocCalls = 0;
  readonly #state: Int32Array;
  // Bit 0 of the bitmap is the frame at the 128 KiB boundary at or below `base`: a run aligned in the bitmap is aligned in memory,
  // and one of up to 32 frames never crosses a word.
  readonly #origin: number;
  readonly #first: number;
  readonly #end: number;

  constructor(pool: FramePool) {
    if (pool.base < 0 || pool.base % FRAME !== 0 || pool.size % FRAME !== 0 || pool.size <= 0)
      throw new FrameError('FRAME_POOL', { pa: pool.base, bytes: pool.size });
    this.base = pool.base;
    this.size = pool.size;
    this.#first = (pool.base / FRAME) % 32;
    this.#end = this.#first + pool.size / FRAME;
    this.#origin = pool.base - this.#first * FRAME;
    const bytes = FrameAllocator.stateBytes(pool.size);
    if (pool.state !== undefined && pool.state.byteLength < bytes)
      throw new FrameError('FRAME_POOL', { pa: pool.base, bytes: pool.state.byteLength });
    this.#state = new Int32Array(pool.state ?? new ArrayBuffer(bytes));
  }

  /** Bytes of shared state that a pool of `size` bytes needs. */
  static stateBytes(size: number): number {
    // One word more than the frames need: the pool may start in the middle of a word.
    return (BITMAP + Math.ceil(size / FRAME / 32) + 1) * 4;
  }

  /** Frames in use. */
  get used(): number {
    return Atomics.load(this.#state, USED);
  }

  /** Allocates `bytes` (rounded up to a power of two of frames), aligned to its size; -1 when nothing fits. Content is not zeroed. */
  alloc(bytes: number): number {
    this.allocCalls++;
    if (this.failIn > 0 && --this.failIn === 0) return -1;
    const count = runLength(bytes);
    const index = count <= 32 ? this.#claimInWord(count) : this.#claimWords(count / 32);
    if (index < 0) return -1;
    Atomics.add(this.#state, USED, count);
    return this.#origin + index * FRAME;
  }

  /**
   * Frees what `alloc(bytes)` returned, or an aligned part of it. Throws {@link FrameError} `FRAME_FREE`, and changes nothing, when
   * the run is outside the pool, misaligned, or not allocated as a whole.
   */
  free(pa: number, bytes: number): void {
    const count = runLength(bytes);
    const index = (pa - this.#origin) / FRAME;
    const inside = Number.isInteger(index) && index >= this.#first && index + count <= this.#end;
    // A run of more than 32 frames is aligned to its own size too, which the bitmap's origin need not be.
    if (!inside || (pa / FRAME) % count !== 0) throw new FrameError('FRAME_FREE', { pa, bytes });
    const first = BITMAP + (index >>> 5);
    const words = Math.ceil(count / 32);
    const mask = runMask(Math.min(count, 32), index & 31);
    for (let word = first; word < first + words; word++)
      if ((Atomics.load(this.#state, word) & mask) !== mask)
        throw new FrameError('FRAME_FREE', { pa, bytes });
    for (let word = first; word < first + words; word++)
      // Checked again: another worker may free the same run at this moment.
      if ((Atomics.and(this.#state, word, ~mask) & mask) !== mask)
        throw new FrameError('FRAME_FREE', { pa, bytes });
    Atomics.sub(this.#state, USED, count);
    // Reuse the lowest free word first, so that layouts are reproducible.
    const word = index >>> 5;
    if (word < Atomics.load(this.#state, HINT)) Atomics.store(this.#state, HINT, word);
  }

  /** True when the frame that holds `pa` is allocated. */
  isAllocated(pa: number): boolean {
    const index = Math.floor((pa - this.#origin) / FRAME);
    return index >= this.#first && index < this.#end && this.#taken(index);
  }

  /** What is still allocated. */
  leakReport(): LeakReport {
    const first: number[] = [];
    let frames = 0;
    for (let index = this.#first; index < this.#end; index++) {
      if (!this.#taken(index)) continue;
      frames++;
      if (first.length < 64) first.push(this.#origin + index * FRAME);
    }
    return { frames, first };
  }

  #taken(index: number): boolean {
    return ((Atomics.load(this.#state, BITMAP + (index >>> 5)) >>> (index & 31)) & 1) === 1;
  }

  /** The bits of a word that are outside the pool. */
  #outside(word: number): number {
    let mask = 0;
    if (word === 0 && this.#first > 0) mask = runMask(this.#first, 0);
    const left = this.#end - word * 32;
    return left < 32 ? mask | (-1 << left) : mask;
  }

  #claimInWord(count: number): number {
    const state = this.#state;
    const words = Math.ceil(this.#end / 32);
    const hint = count === 1 ? Atomics.load(state, HINT) : 0;
    // Words below the hint come last: another worker may have freed there after the hint was read or overwritten.
    for (let step = 0; step < words; step++) {
      const word = (hint + step) % words;
      const outside = this.#outside(word);
      let old = Atomics.load(state, BITMAP + word);
      for (;;) {
        const bit = freeRun(old | outside, count);
        if (bit < 0) break;
        const seen = Atomics.compareExchange(state, BITMAP + word, old, old | runMask(count, bit));
        if (seen === old) {
          if (count === 1) Atomics.store(state, HINT, word);
          return word * 32 + bit;
        }
        old = seen;
      }
    }
    return -1;
  }

  #claimWords(count: number): number {
    const state = this.#state;
    const words = Math.floor(this.#end / 32);
    const lowest = Math.ceil(this.#first / 32);
    // Runs are aligned to their size from address 0, not from the pool's base.
    const skew = (this.#origin / FRAME / 32) % count;
    const aligned = (count - skew) % count;
    for (
      let word = aligned < lowest ? aligned + count : aligned;
      word + count <= words;
      word += count
    ) {
      let got = 0;
      while (got < count && Atomics.compareExchange(state, BITMAP + word + got, 0, -1) === 0) got++;
      if (got === count) return word * 32;
      while (got > 0) Atomics.store(state, BITMAP + word + --got, 0);
    }
    return -1;
  }
}

function runLength(bytes: number): number {
  const frames = Math.ceil(bytes / FRAME);
  if (!(frames >= 1 && frames <= 0x10_0000)) throw new FrameError('FRAME_SIZE', { pa: 0, bytes });
  return frames === 1 ? 1 : 2 ** (32 - Math.clz32(frames - 1));
}

function runMask(count: number, bit: number): number {
  return count === 32 ? -1 : ((1 << count) - 1) << bit;
}

function freeRun(word: number, count: number): number {
  for (let bit = 0; bit < 32; bit += count) if ((word & runMask(count, bit)) === 0) return bit;
  return -1;
}

/**
 * A pool, size or free that cannot be; codes `FRAME_POOL`, `FRAME_SIZE`, `FRAME_FREE` (not allocated, or freed twice).
 * @example try { frames.free(0x1000, 4096); } catch (e) { (e as FrameError).code; } // 'FRAME_FREE'
 */
export class FrameError extends IommuError<{ pa: number; bytes: number }> {
  override readonly name = 'FrameError';
  constructor(code: string, operands: { pa: number; bytes: number }) {
    const { pa, bytes } = operands;
    super(code, operands, `${hex(bytes)} bytes at ${hex(pa)}`, 'Free exactly what was allocated');
  }
}

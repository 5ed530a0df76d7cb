/**
 * The words of a queue that its producers share, each access indivisible: what `atomic_t`, `cmpxchg` and `atomic_long_xor` are to the
 * kernel. Values are signed 32-bit numbers, indexes count words. An observer or a scheduler in tests implements it too.
 * @example const words: QueueWords = new SharedQueueWords(new SharedArrayBuffer(queueWordsBytes(8)));
 */
export interface QueueWords {
  load(index: number): number;
  store(index: number, value: number): void;
  /** Stores `value` if the word is `old`; true when it was. */
  cas(index: number, old: number, value: number): boolean;
  /** Adds; the value before. */
  add(index: number, by: number): number;
  /** Keeps the bits of `mask`; the value before. */
  and(index: number, mask: number): number;
  /** Flips the bits of `mask`. */
  xor(index: number, mask: number): void;
}

/** Words before the bitmap of valid entries. */
export const FIXED_WORDS = 4;

/** Bytes that the words of a queue of 2^lg2 entries take. @example queueWordsBytes(8) // 48 */
export function queueWordsBytes(lg2: number): number {
  return (FIXED_WORDS + Math.ceil(2 ** lg2 / 32)) * 4;
}

/** Words of a queue that one thread alone uses. */
export class PrivateQueueWords implements QueueWords {
  readonly #words: Int32Array;

  constructor(lg2: number) {
    this.#words = new Int32Array(queueWordsBytes(lg2) / 4);
  }

  load(index: number): number {
    return this.#words[index] as number;
  }

  store(index: number, value: number): void {
    this.#words[index] = value;
  }

  cas(index: number, old: number, value: number): boolean {
    if (this.#words[index] !== old) return false;
    this.#words[index] = value;
    return true;
  }

  add(index: number, by: number): number {
    const old = this.#words[index] as number;
    this.#words[index] = old + by;
    return old;
  }

  and(index: number, mask: number): number {
    const old = this.#words[index] as number;
    this.#words[index] = old & mask;
    return old;
  }

  xor(index: number, mask: number): void {
    this.#words[index] = (this.#words[index] as number) ^ mask;
  }
}

/**
 * Words of a queue between workers, over a `SharedArrayBuffer` of {@link queueWordsBytes} bytes, zeroed; each worker makes its own
 * instance on the same buffer.
 * @example new CommandQueue({ ...parts, words: new SharedQueueWords(buffer) });
 */
export class SharedQueueWords implements QueueWords {
  readonly #words: Int32Array;

  constructor(buffer: SharedArrayBuffer) {
    this.#words = new Int32Array(buffer);
  }

  load(index: number): number {
    return Atomics.load(this.#words, index);
  }

  store(index: number, value: number): void {
    Atomics.store(this.#words, index, value);
  }

  cas(index: number, old: number, value: number): boolean {
    return Atomics.compareExchange(this.#words, index, old, value) === old;
  }

  add(index: number, by: number): number {
    return Atomics.add(this.#words, index, by);
  }

  and(index: number, mask: number): number {
    return Atomics.and(this.#words, index, mask);
  }

  xor(index: number, mask: number): void {
    Atomics.xor(this.#words, index, mask);
  }
}

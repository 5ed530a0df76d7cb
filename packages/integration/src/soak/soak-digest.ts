import { createHash, type Hash } from 'node:crypto';

const WORDS = 2048;

/** SHA-256 over numbers in the order in which they were seen, each as a 64-bit floating-point number in the byte order of the machine. */
export class SoakDigest {
  readonly #hash: Hash = createHash('sha256');
  readonly #numbers = new Float64Array(WORDS);
  #used = 0;

  add(value: number): void {
    this.#numbers[this.#used++] = value;
    if (this.#used === WORDS) this.#flush();
  }

  /** The digest so far, in hex. */
  text(): string {
    this.#flush();
    return this.#hash.copy().digest('hex');
  }

  #flush(): void {
    this.#hash.update(new Uint8Array(this.#numbers.buffer, 0, this.#used * 8));
    this.#used = 0;
  }
}

/**
 * Small ids handed out lowest first from `first` on, as an IDA or an xarray limit does.
 * @example new IdSpace(1, 255).alloc() // 1
 */
export class IdSpace {
  readonly #first: number;
  readonly #last: number;
  readonly #used = new Set<number>();
  #lowestFree: number;

  constructor(first: number, last: number) {
    this.#first = first;
    this.#last = last;
    this.#lowestFree = first;
  }

  /** The lowest free id up to `last`, or -1. */
  alloc(last: number = this.#last): number {
    let id = this.#lowestFree;
    while (this.#used.has(id)) id++;
    if (id > Math.min(last, this.#last)) return -1;
    this.#used.add(id);
    this.#lowestFree = id + 1;
    return id;
  }

  /** Takes a certain id: whether it was free. */
  take(id: number): boolean {
    if (id < this.#first || id > this.#last || this.#used.has(id)) return false;
    this.#used.add(id);
    return true;
  }

  /** Takes an id back. */
  free(id: number): void {
    if (this.#used.delete(id) && id < this.#lowestFree)
      this.#lowestFree = Math.max(id, this.#first);
  }
}

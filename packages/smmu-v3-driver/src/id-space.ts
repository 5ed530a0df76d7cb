/** Small ids handed out lowest first from `first` on, as an IDA or an xarray limit does. */
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

  /** The lowest free id, or -1. */
  alloc(): number {
    let id = this.#lowestFree;
    while (this.#used.has(id)) id++;
    if (id > this.#last) return -1;
    this.#used.add(id);
    this.#lowestFree = id + 1;
    return id;
  }

  free(id: number): void {
    if (this.#used.delete(id) && id < this.#lowestFree)
      this.#lowestFree = Math.max(id, this.#first);
  }
}

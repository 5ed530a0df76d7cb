/**
 * Page frame numbers in one magazine (`IOVA_MAG_SIZE`).
 * @example IOVA_MAG_SIZE // 127
 */
export const IOVA_MAG_SIZE = 127;

export const NO_MAGAZINE = -1;

const FIRST_MAGAZINES = 8;

/** The magazines of a domain, numbered; their entries lie in one array so that a push or pop allocates nothing. */
export class MagazinePool {
  #pfns = new Float64Array(FIRST_MAGAZINES * IOVA_MAG_SIZE);
  #counts = new Uint8Array(FIRST_MAGAZINES);
  #used = 0;
  readonly #free: number[] = [];

  /** Magazines in use. */
  get live(): number {
    return this.#used - this.#free.length;
  }

  take(): number {
    const reused = this.#free.pop();
    if (reused !== undefined) return reused;
    if (this.#used === this.#counts.length) this.#grow();
    return this.#used++;
  }

  release(magazine: number): void {
    if (magazine === NO_MAGAZINE) return;
    this.#counts[magazine] = 0;
    this.#free.push(magazine);
  }

  count(magazine: number): number {
    return magazine === NO_MAGAZINE ? 0 : (this.#counts[magazine] as number);
  }

  hasRoom(magazine: number): boolean {
    return magazine !== NO_MAGAZINE && (this.#counts[magazine] as number) < IOVA_MAG_SIZE;
  }

  push(magazine: number, pfn: number): void {
    const count = this.#counts[magazine] as number;
    this.#pfns[magazine * IOVA_MAG_SIZE + count] = pfn;
    this.#counts[magazine] = count + 1;
  }

  /** Takes the topmost entry at or below `limit` and moves the top entry into its place; 0 when there is none. */
  pop(magazine: number, limit: number): number {
    const pfns = this.#pfns;
    const base = magazine * IOVA_MAG_SIZE;
    const top = base + (this.#counts[magazine] as number) - 1;
    let at = top;
    while (at >= base && (pfns[at] as number) > limit) at--;
    if (at < base) return 0;
    const pfn = pfns[at] as number;
    pfns[at] = pfns[top] as number;
    this.#counts[magazine] = top - base;
    return pfn;
  }

  /** Hands every entry to `release`, bottom first, and leaves the magazine empty. */
  drain(magazine: number, release: (pfn: number) => void): void {
    if (magazine === NO_MAGAZINE) return;
    const base = magazine * IOVA_MAG_SIZE;
    const count = this.#counts[magazine] as number;
    this.#counts[magazine] = 0;
    for (let k = 0; k < count; k++) release(this.#pfns[base + k] as number);
  }

  /** A copy of the entries, bottom first; `null` for no magazine. */
  entries(magazine: number): number[] | null {
    if (magazine === NO_MAGAZINE) return null;
    const base = magazine * IOVA_MAG_SIZE;
    return Array.from(this.#pfns.subarray(base, base + this.count(magazine)));
  }

  #grow(): void {
    const capacity = this.#counts.length * 2;
    const pfns = new Float64Array(capacity * IOVA_MAG_SIZE);
    pfns.set(this.#pfns);
    const counts = new Uint8Array(capacity);
    counts.set(this.#counts);
    this.#pfns = pfns;
    this.#counts = counts;
  }
}

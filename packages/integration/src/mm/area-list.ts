import type { VmArea } from '@iommukit/sva-pasid';

/**
 * A range of pages of a process, and what they may be used for.
 * @example const area: MappedArea = { start: 0x1000, end: 0x3000, allowed: { read: true, write: false, exec: false } };
 */
export interface MappedArea {
  /** Bytes, whole pages; `end` is exclusive. */
  readonly start: number;
  readonly end: number;
  readonly allowed: VmArea;
  /** First doubleword of each page when it is first used, as a file has it; absent: zeros. */
  readonly content?: (page: number) => { readonly lo: number; readonly hi: number };
}

/** The areas of a process, disjoint and ascending. */
export class AreaList {
  readonly #areas: MappedArea[] = [];

  get areas(): readonly MappedArea[] {
    return this.#areas;
  }

  /** The area of an address, or null. */
  at(address: number): MappedArea | null {
    const found = this.#areas[this.#endingAfter(address)];
    return found !== undefined && found.start <= address ? found : null;
  }

  /** Puts an area in place of whatever was there. */
  put(area: MappedArea): void {
    this.cut(area.start, area.end);
    this.#areas.splice(this.#endingAfter(area.start), 0, area);
  }

  /** Takes a range out; areas that it goes through stay on both sides. Returns the pieces that were there. */
  cut(start: number, end: number): MappedArea[] {
    const first = this.#endingAfter(start);
    const kept: MappedArea[] = [];
    const gone: MappedArea[] = [];
    let after = first;
    for (; after < this.#areas.length; after++) {
      const area = this.#areas[after] as MappedArea;
      if (area.start >= end) break;
      if (area.start < start) kept.push({ ...area, end: start });
      gone.push({ ...area, start: Math.max(area.start, start), end: Math.min(area.end, end) });
      if (end < area.end) kept.push({ ...area, start: end });
    }
    this.#areas.splice(first, after - first, ...kept);
    return gone;
  }

  /** Index of the first area that ends after an address. */
  #endingAfter(address: number): number {
    let low = 0;
    let high = this.#areas.length;
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      if ((this.#areas[middle] as MappedArea).end <= address) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

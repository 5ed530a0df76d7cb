/** Bytes of a slot (`IO_TLB_SIZE`). @example SWIOTLB_SLOT // 2048 */
export const SWIOTLB_SLOT = 2048;
/** Slots that one buffer can take at most, and that are tracked together (`IO_TLB_SEGSIZE`). @example SWIOTLB_SEGMENT // 128 */
export const SWIOTLB_SEGMENT = 128;

const PAGE = 4096;
const TWO32 = 2 ** 32;
const NONE = -1;

/** What a search must respect; bytes. */
export interface SlotSearch {
  /** The original's first byte. */
  readonly paddr: number;
  /** Bytes of the buffer with its padding in front. */
  readonly size: number;
  /** The buffer begins at a multiple of this plus 1. */
  readonly allocAlignMask: number;
  /** Low address bits that the slot must share with the original. */
  readonly minAlignMask: number;
  /** No buffer crosses a multiple of this. */
  readonly segBoundary: number;
}

/** Low bits of an address, of any size. */
function bits(address: number, mask: number): number {
  return ((address % TWO32) & mask) >>> 0;
}

/** Bits of the original's address that the bounced address keeps (`swiotlb_align_offset`). Masks below 2^32, any address. */
export function alignOffset(minAlignMask: number, alignMask: number, address: number): number {
  return bits(address, minAlignMask & (alignMask | (SWIOTLB_SLOT - 1)));
}

/** Whole slots for so many bytes (`nr_slots`), any number of them. */
export function slotsOf(bytes: number): number {
  return Math.ceil(bytes / SWIOTLB_SLOT);
}

/** As many areas as were wished, a power of two, with at least a segment each (`limit_nareas`). */
export function limitAreas(wished: number, slots: number): number {
  let areas = 1;
  while (areas < wished) areas *= 2;
  return slots < areas * SWIOTLB_SEGMENT ? Math.max(1, Math.floor(slots / SWIOTLB_SEGMENT)) : areas;
}

/** A contiguous run of slots in areas that CPUs search apart (`struct io_tlb_pool`). Knows numbers only: no memory is touched. */
export class SwiotlbPool {
  readonly start: number;
  readonly end: number;
  readonly slots: number;
  readonly areas: number;
  /** Made for one buffer, and freed with it. */
  readonly transient: boolean;
  readonly #areaSlots: number;
  /** Where each area's next search begins. */
  readonly #next: Int32Array;
  readonly #used: Int32Array;
  /** Free slots from this one to the end of its run in its segment; 0: taken. */
  readonly #free: Int32Array;
  /** Bytes of the buffer from this slot on. */
  readonly #sizes: Float64Array;
  readonly #originals: Float64Array;
  readonly #pads: Int32Array;
  /** Which low bits of the address the buffer kept. */
  readonly #masks: Float64Array;

  constructor(start: number, slots: number, areas: number, life: 'lasting' | 'transient') {
    this.start = start;
    this.end = start + slots * SWIOTLB_SLOT;
    this.slots = slots;
    this.areas = areas;
    this.transient = life === 'transient';
    this.#areaSlots = Math.floor(slots / areas);
    this.#next = new Int32Array(areas);
    this.#used = new Int32Array(areas);
    this.#free = new Int32Array(slots);
    this.#sizes = new Float64Array(slots);
    this.#originals = new Float64Array(slots).fill(NONE);
    this.#pads = new Int32Array(slots);
    this.#masks = new Float64Array(slots);
    for (let i = 0; i < slots; i++)
      this.#free[i] = Math.min(SWIOTLB_SEGMENT - (i % SWIOTLB_SEGMENT), slots - i);
  }

  /** Slots that are taken in an area. */
  usedIn(area: number): number {
    return this.#used[area] as number;
  }

  holds(address: number): boolean {
    return address >= this.start && address < this.end;
  }

  /** The slot at an address of this pool is taken. */
  isTaken(address: number): boolean {
    return (this.#free[this.#indexOf(address)] as number) === 0;
  }

  /** Takes adjacent slots of an area: the first one's index, or -1 (`swiotlb_search_pool_area`). */
  take(area: number, search: SlotSearch): number {
    const count = slotsOf(search.size);
    if (count > this.#areaSlots - (this.#used[area] as number)) return NONE;
    let { allocAlignMask } = search;
    // What is a page or more begins at a page where nobody asked for anything.
    if (allocAlignMask === 0 && search.minAlignMask === 0 && search.size >= PAGE)
      allocAlignMask = PAGE - 1;
    allocAlignMask |= SWIOTLB_SLOT - 1;
    const keepMask = search.minAlignMask & ~allocAlignMask;
    const stride = Math.floor(Math.max(allocAlignMask, keepMask) / SWIOTLB_SLOT) + 1;
    const busStart = this.start % search.segBoundary;
    const boundarySlots = Math.max(1, Math.floor(search.segBoundary / SWIOTLB_SLOT));
    const base = area * this.#areaSlots;
    let at = this.#next[area] as number;
    for (let checked = 0; checked < this.#areaSlots; ) {
      const index = base + at;
      const address = busStart + index * SWIOTLB_SLOT;
      if (
        bits(address, allocAlignMask) !== 0 ||
        (search.paddr !== 0 && bits(address, keepMask) !== bits(search.paddr, keepMask))
      ) {
        at = this.#wrap(at + 1);
        checked++;
        continue;
      }
      const crosses = ((slotsOf(busStart) + index) % boundarySlots) + count > boundarySlots;
      if (!crosses && (this.#free[index] as number) >= count) {
        this.#occupy(index, count, search);
        this.#next[area] = this.#wrap(at + count);
        this.#used[area] = (this.#used[area] as number) + count;
        return index;
      }
      at = this.#wrap(at + stride);
      checked += stride;
    }
    return NONE;
  }

  /** Back to the first slot of the area; never to another place (`wrap_area_index`). */
  #wrap(at: number): number {
    return at >= this.#areaSlots ? 0 : at;
  }

  #occupy(index: number, count: number, search: SlotSearch): void {
    const offset = alignOffset(search.minAlignMask, 0, search.paddr);
    for (let i = 0; i < count; i++) {
      this.#free[index + i] = 0;
      this.#sizes[index + i] = search.size - offset - i * SWIOTLB_SLOT;
    }
    this.#mergeBefore(index, 0);
  }

  /** Counts the free slots in front of `index` anew, down to its segment's start. */
  #mergeBefore(index: number, behind: number): void {
    const first = index - (index % SWIOTLB_SEGMENT);
    for (let i = index - 1, free = behind; i >= first && this.#free[i] !== 0; i--)
      this.#free[i] = ++free;
  }

  /** Notes what is bounced in slots that were taken, from the first behind the `padSlots` in front on. */
  describe(index: number, count: number, search: SlotSearch, padSlots: number): void {
    this.#pads[index] = padSlots;
    for (let i = 0; i < count; i++) {
      this.#originals[index + i] = search.paddr + i * SWIOTLB_SLOT;
      this.#masks[index + i] = search.minAlignMask;
    }
  }

  /**
   * What the bounced byte at `address` stands for: the original's byte, and the bytes of the buffer from there on; null for padding
   * (`swiotlb_bounce`).
   */
  original(address: number): { paddr: number; size: number } | null {
    const index = this.#indexOf(address);
    const paddr = this.#originals[index] as number;
    if (paddr === NONE) return null;
    // Negative in the first bytes of a later slot, when the original did not begin on a slot's boundary.
    const ahead = (address % SWIOTLB_SLOT) - alignOffset(this.#masks[index] as number, 0, paddr);
    return { paddr: paddr + ahead, size: (this.#sizes[index] as number) - ahead };
  }

  /** Gives the buffer at `address` back: the number of its slots (`swiotlb_release_slots`). */
  release(address: number): number {
    let index = this.#indexOf(address);
    const offset = alignOffset(this.#masks[index] as number, 0, address);
    index -= this.#pads[index] as number;
    const count = slotsOf((this.#sizes[index] as number) + offset);
    const area = Math.floor(index / this.#areaSlots);
    const segmentEnd = index - (index % SWIOTLB_SEGMENT) + SWIOTLB_SEGMENT;
    let free = 0;
    if (index + count < Math.min(segmentEnd, this.slots))
      free = this.#free[index + count] as number;
    for (let i = index + count - 1; i >= index; i--) {
      this.#free[i] = ++free;
      this.#originals[i] = NONE;
      this.#sizes[i] = 0;
      this.#pads[i] = 0;
    }
    this.#mergeBefore(index, free);
    this.#used[area] = (this.#used[area] as number) - count;
    return count;
  }

  #indexOf(address: number): number {
    return Math.floor((address - this.start) / SWIOTLB_SLOT);
  }
}

import { hex, IommuError } from '@iommukit/bits';
import type { MemoryView } from './memory-view.ts';

/**
 * A range of RAM, bytes; both 4 KiB aligned.
 * @example const ram: RamRange = { base: 0x4000_0000, size: 0x3000_0000 };
 */
export interface RamRange {
  /** First byte. */
  readonly base: number;
  /** Bytes. */
  readonly size: number;
}

const PAGE = 4096;
const PAGE_LANES = 1024;
const TWO32 = 0x1_0000_0000;
/** Below it, a page frame number is a 31-bit integer. */
const SMALL = 2 ** 43;
const SMALL_HI = SMALL / TWO32;
/** Most bytes of a block. */
const MAX_BLOCK = 0x10_0000;

interface Region {
  readonly base: number;
  readonly end: number;
  /** Pages that were stored to or lent: parts of blocks. */
  readonly pages: (Uint32Array | undefined)[];
  /** What pages are cut from. A page of its own costs a walk a look-up; a block costs address space. */
  readonly blocks: (Uint32Array | undefined)[];
  /** Number of the first page frame, and how many there are; none where frame numbers do not fit into 31 bits. */
  readonly firstFrame: number;
  readonly frameCount: number;
}

/**
 * Sparse physical memory: pages of declared RAM appear, zeroed, when they are first stored to. It is itself the coherent view of
 * its content. A load of RAM that was never stored to reads zero; an address outside all ranges throws {@link BusError}, ranges that
 * are empty, misaligned or overlap throw {@link MemoryRangeError}. Alignment of an access is the caller's duty.
 * @example const memory = new PhysicalMemory([{ base: 0x4000_0000, size: 0x10_0000 }]); memory.store64(0x4000_0000, 0xf47, 0);
 */
export class PhysicalMemory implements MemoryView {
  hi = 0;
  readonly blockBytes: number;
  readonly #regions: Region[];
  readonly #blockShift: number;
  #last: Region;

  constructor(ranges: readonly RamRange[]) {
    this.#regions = ranges.map(({ base, size }, i) => {
      const whole = base >= 0 && base % PAGE === 0 && size % PAGE === 0 && size > 0;
      const taken = ranges.some(
        (other, j) => j < i && base < other.base + other.size && other.base < base + size,
      );
      if (!whole || taken) throw new MemoryRangeError({ base, size });
      const small = base + size <= SMALL;
      return {
        base,
        end: base + size,
        pages: [],
        blocks: [],
        firstFrame: small ? base / PAGE : 0,
        frameCount: small ? size / PAGE : 0,
      };
    });
    const first = this.#regions[0];
    if (first === undefined) throw new MemoryRangeError({ base: 0, size: 0 });
    this.#last = first;
    let blockBytes = MAX_BLOCK;
    for (const { base, size } of ranges)
      while (base % blockBytes !== 0 || size % blockBytes !== 0) blockBytes /= 2;
    this.blockBytes = blockBytes;
    this.#blockShift = 31 - Math.clz32(blockBytes / PAGE);
  }

  /** The ranges of RAM, as constructed. */
  get ranges(): readonly RamRange[] {
    return this.#regions.map(({ base, end }) => ({ base, size: end - base }));
  }

  load64(pa: number): number {
    const page = this.#peek(pa);
    if (page === undefined) {
      this.hi = 0;
      return 0;
    }
    const i = (pa / 4) & (PAGE_LANES - 1);
    this.hi = page[i + 1] as number;
    return page[i] as number;
  }

  store64(pa: number, lo: number, hi: number): void {
    const page = this.#touch(pa);
    const i = (pa / 4) & (PAGE_LANES - 1);
    page[i] = lo;
    page[i + 1] = hi;
  }

  cas64(pa: number, oldLo: number, oldHi: number, lo: number, hi: number): boolean {
    const page = this.#touch(pa);
    const i = (pa / 4) & (PAGE_LANES - 1);
    if (page[i] !== oldLo >>> 0 || page[i + 1] !== oldHi >>> 0) return false;
    page[i] = lo;
    page[i + 1] = hi;
    return true;
  }

  load32(pa: number): number {
    const page = this.#peek(pa);
    return page === undefined ? 0 : (page[(pa / 4) & (PAGE_LANES - 1)] as number);
  }

  store32(pa: number, value: number): void {
    this.#touch(pa)[(pa / 4) & (PAGE_LANES - 1)] = value;
  }

  /** Nothing to do: this view is coherent. */
  clean(_pa: number, _bytes: number): void {}

  isBacked(pa: number): boolean {
    for (const region of this.#regions) if (pa >= region.base && pa < region.end) return true;
    return false;
  }

  lanes(pa: number): Uint32Array | undefined {
    return this.isBacked(pa) ? this.#touch(pa) : undefined;
  }

  block(lo: number, hi: number): Uint32Array | undefined {
    const { firstFrame, frameCount, blocks } = this.#last;
    const index = ((hi << 20) | (lo >>> 12)) - firstFrame;
    if (hi >>> 0 < SMALL_HI && index >= 0 && index < frameCount) {
      const block = blocks[index >>> this.#blockShift];
      if (block !== undefined) return block;
    }
    return this.#findBlock(hi * TWO32 + (lo >>> 0));
  }

  #findBlock(pa: number): Uint32Array | undefined {
    if (!this.isBacked(pa)) return undefined;
    const region = this.#region(pa);
    return this.#blockOf(region, Math.floor((pa - region.base) / this.blockBytes));
  }

  #blockOf(region: Region, index: number): Uint32Array {
    const known = region.blocks[index];
    if (known !== undefined) return known;
    const block = new Uint32Array(this.blockBytes / 4);
    region.blocks[index] = block;
    return block;
  }

  /** Copies bytes into memory; address and length are multiples of 4. */
  write(pa: number, bytes: Uint8Array): void {
    const words = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const end = bytes.byteLength - (bytes.byteLength % 4);
    for (let at = 0; at < end; ) {
      // One page lookup for a page, not for a word.
      const page = this.#touch(pa + at);
      const first = ((pa + at) / 4) & (PAGE_LANES - 1);
      const last = Math.min(PAGE_LANES, first + (end - at) / 4);
      for (let i = first; i < last; i++, at += 4) page[i] = words.getUint32(at, true);
    }
  }

  /** Zeroes [pa, pa + bytes); both multiples of 4. */
  zero(pa: number, bytes: number): void {
    for (let at = 0; at < bytes; ) {
      const page = this.#touch(pa + at);
      const first = ((pa + at) / 4) & (PAGE_LANES - 1);
      const count = Math.min(PAGE_LANES - first, (bytes - at) / 4);
      page.fill(0, first, first + count);
      at += count * 4;
    }
  }

  /** Addresses of the pages that were ever stored to or lent by `lanes`, ascending within each range. */
  *touchedPages(): Generator<number> {
    // Keys, not a count to `length`: one store at the end of a terabyte would cost 2^28 steps.
    for (const { base, pages } of this.#regions)
      for (const i of Object.keys(pages)) yield base + Number(i) * PAGE;
  }

  #region(pa: number): Region {
    const last = this.#last;
    return pa >= last.base && pa < last.end ? last : this.#findRegion(pa);
  }

  /** Apart from `#region`, so that the usual case stays small enough to be inlined. */
  #findRegion(pa: number): Region {
    for (const region of this.#regions) {
      if (pa >= region.base && pa < region.end) {
        this.#last = region;
        return region;
      }
    }
    throw new BusError({ pa });
  }

  #peek(pa: number): Uint32Array | undefined {
    const region = this.#region(pa);
    // Page counts of one range stay far below 2^31, so the truncation is exact.
    return region.pages[((pa - region.base) / PAGE) | 0];
  }

  #touch(pa: number): Uint32Array {
    const region = this.#region(pa);
    const index = ((pa - region.base) / PAGE) | 0;
    return region.pages[index] ?? this.#addPage(region, index);
  }

  #addPage(region: Region, index: number): Uint32Array {
    const pages = this.blockBytes / PAGE;
    const block = this.#blockOf(region, Math.floor(index / pages));
    const first = (index % pages) * PAGE_LANES;
    const page = block.subarray(first, first + PAGE_LANES);
    region.pages[index] = page;
    return page;
  }
}

/**
 * An access outside all RAM, which a bus would answer with an external abort; code `BUS_ERROR`.
 * @example try { memory.load64(0); } catch (e) { (e as BusError).operands.pa; }
 */
export class BusError extends IommuError<{ pa: number }> {
  override readonly name = 'BusError';
  constructor(operands: { pa: number }) {
    super('BUS_ERROR', operands, `no memory at ${hex(operands.pa)}`, 'Declare the range as RAM');
  }
}

/**
 * A RAM range is empty, not page aligned, or overlaps an earlier one; code `MEMORY_RANGE`.
 * @example try { new PhysicalMemory([]); } catch (e) { (e as MemoryRangeError).code; }
 */
export class MemoryRangeError extends IommuError<{ base: number; size: number }> {
  override readonly name = 'MemoryRangeError';
  constructor(operands: { base: number; size: number }) {
    const { base, size } = operands;
    super(
      'MEMORY_RANGE',
      operands,
      `${hex(base)} + ${hex(size)} is no range of whole 4 KiB pages of its own`,
      'Align base and size to 4096 and keep ranges apart',
    );
  }
}

import { type U64, u64 } from '@iommukit/bits';
import { ERRNO } from '@iommukit/platform';
import type { IotlbGather } from '../iotlb-gather.ts';
import type { DirtyRecord } from '../page-table.ts';
import { EMPTY, GenericTables, LEAF, lowBits, TABLE } from './generic-tables.lanes.ts';

const TWO32 = 0x1_0000_0000;
const TWO64 = TWO32 * TWO32;
/** Below it every integer is an exact number. */
const SAFE = 2 ** 53;
/** The table of this step holds the first, the last address of the range. */
export const FIRST = 1;
export const LAST = 2;

/**
 * What a dirty read does besides recording.
 * @example table.readAndClearDirty(iova, size, { noClear: false, gather }, record);
 */
export interface ReadDirtyOptions {
  /** Leaves the marks as they are, and adds nothing to the gather. */
  readonly noClear: boolean;
  /** Takes the ranges whose marks were cleared. */
  readonly gather?: IotlbGather;
}

/**
 * What reads the tables of one generic page table, and the marks of dirty pages in them; maps and unmaps build on it
 * (`GenericPageTable`).
 * @internal
 */
export class GenericLookups<H> extends GenericTables<H> {
  // The range of the call that runs.
  /** @internal */ start = 0;
  /** First address of the last smallest page. @internal */ last = 0;
  /** @internal */ end = 0;

  iovaToPhys(iova: number): number {
    // The address of a table stays in lanes and calls are inlined by hand: a number above 2^31 that a call returns is boxed.
    const { memory, kinds, inverses, masks, readLo, readHi, unscale, topLevel } = this;
    const counters = this.counters;
    counters.walks++;
    if (!this.covers(iova)) return 0;
    const inBlock = memory.blockBytes - 1;
    let mask = this.topMask;
    let atLo = this.topLo;
    let atHi = this.topHi;
    let block = memory.block(atLo, atHi);
    let heldLo = atLo & ~inBlock;
    let heldHi = atHi;
    for (let level = topLevel; ; level--) {
      atLo |= ((iova * (inverses[level] as number)) & mask) << 3;
      if ((((atLo ^ heldLo) & ~inBlock) | (atHi ^ heldHi)) !== 0) {
        block = memory.block(atLo, atHi);
        heldLo = atLo & ~inBlock;
        heldHi = atHi;
      }
      let lo: number;
      let hi: number;
      if (block !== undefined) {
        const k = (atLo & inBlock) >>> 2;
        lo = (block[k] as number) | 0;
        hi = (block[k + 1] as number) | 0;
      } else {
        lo = memory.load64(atHi * TWO32 + (atLo >>> 0)) | 0;
        hi = memory.hi | 0;
      }
      let kind = kinds[(level << 12) | (lo & 0xfff)] as number;
      if (kind === EMPTY && this.notZero) kind = this.kindOf(level, lo, hi);
      if (kind !== TABLE) {
        counters.walkLevels += topLevel - level + 1;
        return kind === EMPTY ? 0 : this.#byteAt(level, lo, hi, iova);
      }
      atLo = lo & readLo;
      atHi = hi & readHi;
      if (unscale !== 1) {
        const table = (atHi * TWO32 + (atLo >>> 0)) * unscale;
        atLo = table | 0;
        atHi = (table / TWO32) | 0;
      }
      mask = masks[level - 1] as number;
    }
  }

  iovaToPhys64(iova: U64): U64 {
    // A number holds every page-aligned address exactly; the rest of a page is the same on both sides.
    const offset = iova.lo & (this.granule - 1);
    const start = iova.hi * TWO32 + ((iova.lo - offset) >>> 0);
    const page = this.iovaToPhys(start);
    return page === 0 && !this.#isMapped(start) ? u64(0, 0) : u64(page | offset, page / TWO32);
  }

  /**
   * Records pages of [iova, iova + size) that the device wrote, and makes them clean unless `noClear`. Holes are skipped. A page of
   * one entry is recorded whole from the address where the walk enters it; one of several entries without its last entry, unless
   * the request ends before, though all of it is made clean: so does the kernel. `record` null: nothing is recorded.
   * -EOPNOTSUPP: the format has no dirty tracking; -EINVAL: no size; -EOVERFLOW, -ERANGE as `map`.
   */
  readAndClearDirty(
    iova: number,
    size: number,
    options: ReadDirtyOptions,
    record: DirtyRecord | null,
  ): number {
    if (this.dirtyLo === 0) return -ERRNO.EOPNOTSUPP;
    if (size === 0) return -ERRNO.EINVAL;
    if (wraps(iova, size)) return -ERRNO.EOVERFLOW;
    if (!this.setRange(iova, size)) return -ERRNO.ERANGE;
    this.#readTable(this.topLevel, this.top, iova, FIRST | LAST, { ...options, record });
    return 0;
  }

  /** Marks the page of an IOVA as written, whether it may be or not. -ENOENT: a hole; -EOPNOTSUPP, -ERANGE as above. */
  setDirty(iova: number): number {
    if (this.dirtyLo === 0) return -ERRNO.EOPNOTSUPP;
    if (!this.covers(iova)) return -ERRNO.ERANGE;
    let table = this.top;
    let mask = this.topMask;
    for (let level = this.topLevel; ; level--) {
      const entry = table + ((iova / (this.spans[level] as number)) & mask) * 8;
      const lo = this.memory.load64(entry);
      const hi = this.memory.hi;
      const kind = this.kindOf(level, lo, hi);
      if (kind === EMPTY) return -ERRNO.ENOENT;
      if (kind === LEAF) {
        this.#mark(entry, 0, this.dirtyLo);
        return 0;
      }
      table = this.address(lo, hi);
      mask = this.masks[level - 1] as number;
    }
  }

  /** Notes the range of a call; false when the call has nothing to do with it. @internal */
  setRange(iova: number, length: number): boolean {
    if (length === 0 || wraps(iova, length)) return false;
    const end = iova + length;
    if (!this.translates(iova, end)) return false;
    const rest = lowBits(end, this.granule);
    this.start = iova;
    this.end = end;
    this.last = end - (rest === 0 ? this.granule : rest);
    return true;
  }

  /** True when an IOVA is mapped, as that of physical address 0 is too. */
  #isMapped(iova: number): boolean {
    if (!this.covers(iova)) return false;
    let kind = TABLE;
    let table = this.top;
    let mask = this.topMask;
    for (let level = this.topLevel; kind === TABLE; level--) {
      const lo = this.memory.load64(table + ((iova / (this.spans[level] as number)) & mask) * 8);
      kind = this.kindOf(level, lo, this.memory.hi);
      table = this.address(lo, this.memory.hi);
      mask = this.masks[level - 1] as number;
    }
    return kind === LEAF;
  }

  /** The byte of a leaf's page that an IOVA stands for. */
  #byteAt(level: number, lo: number, hi: number, iova: number): number {
    const address = ((hi & this.readHi) * TWO32 + ((lo & this.readLo) >>> 0)) * this.unscale;
    const span = this.spans[level] as number;
    if ((this.contLo | this.contHi) === 0 && span < TWO32)
      return address + ((iova & (span - 1)) >>> 0);
    const size = this.spanItems(lo, hi, span) * span;
    return address - lowBits(address, size) + lowBits(iova, size);
  }

  /** Records the dirty pages of the range in a table; `iova` is where the walk enters it. */
  #readTable(level: number, table: number, iova: number, part: number, call: DirtyCall): void {
    const memory = this.memory;
    const span = this.spans[level] as number;
    const mask = level === this.topLevel ? this.topMask : (this.masks[level] as number);
    const first = (part & FIRST) !== 0 ? (this.start / span) & mask : 0;
    const last = (part & LAST) !== 0 ? (this.last / span) & mask : mask;
    const base = iova - lowBits(iova, span);
    for (let i = first; i <= last; ) {
      const lo = memory.load64(table + i * 8);
      const hi = memory.hi;
      const kind = this.kindOf(level, lo, hi);
      const at = i === first ? iova : base + (i - first) * span;
      if (kind === EMPTY) i++;
      else if (kind === TABLE) {
        const edge = (i === first ? part & FIRST : 0) | (i === last ? part & LAST : 0);
        this.#readTable(level - 1, this.address(lo, hi), at, edge, call);
        i++;
      } else {
        const items = this.spanItems(lo, hi, span);
        const page = i - (i & (items - 1));
        if (this.#isDirty(table + page * 8, items)) {
          const counted = items === 1 ? 1 : Math.min(last + 1 - i, page + items - 1 - i);
          call.record?.(at, counted * span);
          if (!call.noClear) {
            for (let k = 0; k < items; k++) this.#mark(table + (page + k) * 8, this.dirtyLo, 0);
            call.gather?.addRange(at, counted * span);
          }
        }
        i = page + items;
      }
    }
  }

  #isDirty(entry: number, items: number): boolean {
    for (let k = 0; k < items; k++)
      if ((this.memory.load64(entry + k * 8) & this.dirtyLo) !== 0) return true;
    return false;
  }

  /** Clears and sets bits of an entry's low lane; the device may set some at the same time. */
  #mark(entry: number, clear: number, set: number): void {
    const memory = this.memory;
    for (;;) {
      const lo = memory.load64(entry);
      const hi = memory.hi;
      const next = (lo & ~clear) | set;
      if (next === (lo | 0)) return;
      if (memory.cas64(entry, lo, hi, next, hi)) break;
    }
    this.counters.stores++;
  }
}

/** What a dirty read was asked for. */
interface DirtyCall extends ReadDirtyOptions {
  readonly record: DirtyRecord | null;
}

/** True when [iova, iova + length) runs past 2^64. */
export function wraps(iova: number, length: number): boolean {
  if (iova + length <= SAFE) return false;
  // Split, since the sum of an unaligned length and a high address is no exact number.
  const rest = lowBits(iova, 4096);
  return rest + length > TWO64 - (iova - rest);
}

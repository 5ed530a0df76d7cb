import {
  PTE_HI_ADDRESS_MASK,
  PTE_HI_DBM,
  PTE_LO_AP_RDONLY,
  PTE_TYPE_MASK,
  PTE_TYPE_TABLE,
} from '@iommukit/arm-arch';
import { type U64, u64 } from '@iommukit/bits';
import { ERRNO } from '@iommukit/platform';
import type { DirtyRecord } from '../page-table.ts';
import { LAST_LEVEL, LpaeTables } from './lpae-tables.lanes.ts';

const TWO32 = 0x1_0000_0000;

/**
 * The descent of one long-descriptor page table, and what only reads along it: look-ups and the marks of dirty pages. Maps and unmaps
 * build on it (`LpaePageTable`).
 * @internal
 */
export class LpaeLookups<R> extends LpaeTables<R> {
  /** Level of the entry where the last descent ended. @internal */ level = 0;
  /** Address in lanes of that entry, or of the table from which the next descent goes on. @internal */ atLo = 0;
  /** @internal */ atHi = 0;

  /**
   * Follows table entries to the entry of `leafLevel` that translates an IOVA, or to the first on the way that leads no further: no
   * table, or one without `mark` in its high lane. From the top, or where `from` is a lower level from the table at `atLo` and `atHi`.
   * Returns the memory block that holds the entry, `undefined` where memory lends none. Addresses stay in lanes, since a number above
   * 2^31 that a call returns is boxed, and one block serves for as many levels as it can: look-ups are most of the cost.
   * @internal
   */
  descend(iova: number, leafLevel: number, mark: number, from: number): Uint32Array | undefined {
    const memory = this.memory;
    const inverses = this.inverses;
    const isTop = from === this.topLevel;
    let mask = isTop ? this.topMask : this.mask;
    // The table, and then the entry: tables are aligned to their size.
    let atLo = isTop ? this.baseLo : this.atLo;
    let atHi = isTop ? this.baseHi : this.atHi;
    const inBlock = memory.blockBytes - 1;
    let block = memory.block(atLo, atHi);
    let heldLo = atLo & ~inBlock;
    let heldHi = atHi;
    let level = from;
    for (; ; level++) {
      atLo |= ((iova * (inverses[level] as number)) & mask) << 3;
      if ((((atLo ^ heldLo) & ~inBlock) | (atHi ^ heldHi)) !== 0) {
        block = memory.block(atLo, atHi);
        heldLo = atLo & ~inBlock;
        heldHi = atHi;
      }
      if (level === leafLevel || level === LAST_LEVEL) break;
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
      if ((lo & PTE_TYPE_MASK) !== PTE_TYPE_TABLE || (hi & mark) !== mark) break;
      atLo = lo & this.addressMask;
      atHi = (hi & PTE_HI_ADDRESS_MASK) | ((lo & this.wideMask) << 4);
      mask = this.mask;
    }
    this.level = level;
    this.atLo = atLo;
    this.atHi = atHi;
    return block;
  }

  /** Has the next descent go on in the table that an entry points to. @internal */
  enterTable(lo: number, hi: number): void {
    this.atLo = lo & this.addressMask;
    this.atHi = (hi & PTE_HI_ADDRESS_MASK) | ((lo & this.wideMask) << 4);
  }

  /** Address of the entry where the last descent ended. @internal */
  entryAddress(): number {
    return this.atHi * TWO32 + (this.atLo >>> 0);
  }

  iovaToPhys(iova: number): number {
    const { memory, topLevel } = this;
    const counters = this.counters;
    counters.walks++;
    const block = this.descend(iova, LAST_LEVEL, 0, topLevel);
    const level = this.level;
    counters.walkLevels += level - topLevel + 1;
    let lo: number;
    let hi: number;
    if (block !== undefined) {
      const k = (this.atLo & (memory.blockBytes - 1)) >>> 2;
      lo = (block[k] as number) | 0;
      hi = (block[k + 1] as number) | 0;
    } else {
      lo = memory.load64(this.entryAddress()) | 0;
      hi = memory.hi | 0;
    }
    return (lo & PTE_TYPE_MASK) === this.leafTypes[level] ? this.#byteAt(lo, hi, iova, level) : 0;
  }

  iovaToPhys64(iova: U64): U64 {
    // No level looks at bits above 51, and without them a number holds every byte's address.
    const pa = this.iovaToPhys((iova.hi & 0xf_ffff) * TWO32 + (iova.lo >>> 0));
    return u64(pa >>> 0, Math.floor(pa / TWO32));
  }

  /**
   * Reports leaves of [iova, iova + size) that the device wrote through, and makes them clean unless `noClear`
   * (`arm_lpae_read_and_clear_dirty`). A leaf is reported whole, from the address where the walk meets it. Returns 0, or -EINVAL
   * at a hole (what was reported before stands), for an empty or too high range, or from every format but 64-bit stage 1; so does
   * a range of the upper half, but for one that wraps to its bottom, which reports nothing. The caller invalidates.
   */
  readAndClearDirty(
    iova: number,
    size: number,
    options: { readonly noClear: boolean },
    record: DirtyRecord,
  ): number {
    // As in 64 bits: a range may wrap, and is then empty.
    const wrapped = Math.max(iova, size) - TWO32 * TWO32 + Math.min(iova, size);
    const end = wrapped > 0 ? wrapped : iova + size;
    if (size === 0 || end > 2 ** this.geometry.ias) {
      this.raise('dirty: range is empty or too high');
      return -ERRNO.EINVAL;
    }
    if (!this.dirtyTracking) return -ERRNO.EINVAL;
    const memory = this.memory;
    for (let at = iova; at < end; ) {
      let table = this.base;
      let mask = this.topMask;
      let level = this.topLevel;
      for (; ; level++) {
        const entry = table + ((at / (this.spans[level] as number)) & mask) * 8;
        const lo = memory.load64(entry);
        const hi = memory.hi;
        if ((lo & PTE_TYPE_MASK) === this.leafTypes[level]) {
          if ((hi & PTE_HI_DBM) !== 0 && (lo & PTE_LO_AP_RDONLY) === 0) {
            record(at, this.spans[level] as number);
            if (!options.noClear) this.#setReadOnly(entry);
          }
          break;
        }
        if ((lo & PTE_TYPE_MASK) !== PTE_TYPE_TABLE) return -ERRNO.EINVAL;
        table = this.address(lo, hi);
        mask = this.mask;
      }
      at += this.spans[level] as number;
    }
    return 0;
  }

  /** The byte of a leaf that `iova` stands for; or-ed as in the kernel, which differs from a sum for a block at an odd address. */
  #byteAt(lo: number, hi: number, iova: number, level: number): number {
    const within = (this.spans[level] as number) - 1;
    const low = (lo & this.addressMask) | (iova & within);
    const high = (hi & PTE_HI_ADDRESS_MASK) | ((lo & this.wideMask) << 4);
    const top = within < TWO32 ? high : high | ((iova / TWO32) & (within / TWO32));
    return top * TWO32 + (low >>> 0);
  }

  #setReadOnly(entry: number): void {
    const memory = this.memory;
    for (;;) {
      const lo = memory.load64(entry);
      const hi = memory.hi;
      if (memory.cas64(entry, lo, hi, lo | PTE_LO_AP_RDONLY, hi)) return;
    }
  }
}

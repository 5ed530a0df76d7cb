import {
  PTE_HI_ADDRESS_MASK,
  PTE_HI_DBM,
  PTE_HI_SW_SYNC,
  PTE_LO_AP_RDONLY,
  PTE_TYPE_MASK,
  PTE_TYPE_TABLE,
} from '@iommukit/arm-arch';
import { type U64, u64 } from '@iommukit/bits';
import { ERRNO } from '@iommukit/platform';
import type { IotlbGather } from '../iotlb-gather.ts';
import { requirePageCount } from '../page-count.ts';
import type { DirtyRecord } from '../page-table.ts';
import { IOMMU_READ, IOMMU_WRITE } from '../prot.ts';
import type { RangeGather } from '../range-gather.ts';
import type { PhysRun, RangePageTable, UnmapRangeOptions } from '../range-page-table.ts';
import type { TableShape } from '../table-shape.ts';
import {
  addressHi,
  addressLo,
  clearEntries,
  firstOther,
  firstUsed,
  type LeafRun,
  storeLeaves,
} from '../table-words.lanes.ts';
import { LpaeMapPlan } from './lpae-map-plan.lanes.ts';
import { mapRange } from './lpae-map-range.lanes.ts';
import { LAST_LEVEL, LpaeTables, PROTS } from './lpae-tables.lanes.ts';
import { LpaeUnmapPlan, unmapRange } from './lpae-unmap-range.lanes.ts';

const TWO32 = 0x1_0000_0000;
/** Of a page size that no level has. */
const NO_LEVEL = LAST_LEVEL + 1;
const DIRECTIONS = IOMMU_READ + IOMMU_WRITE;

/**
 * A page table of the long-descriptor family in physical memory (`drivers/iommu/io-pgtable-arm.c`): the algorithm, for whichever
 * format it is given. Nothing but the top table's address is remembered: all entries live in memory. Made by `createPageTable`.
 * @example table.mapPages(0x1000, 0x4000_0000, 4096, 1, IOMMU_READ + IOMMU_WRITE); table.iovaToPhys(0x1010); // 0x4000_0010
 */
export class LpaePageTable<R> extends LpaeTables<R> implements RangePageTable {
  mapped = 0;
  failedAt = -1;
  /** The level of each page size below 2^31, by its leading zeros. */
  readonly #levels: Int8Array = Int8Array.from({ length: 32 }, (_, zeros) =>
    zeros === 0 ? -1 : this.#levelOfAny(2 ** (31 - zeros)),
  );
  readonly #run: LeafRun = { paddr: 0, step: 0, lo: 0, hi: 0 };
  readonly #mapPlan: LpaeMapPlan = new LpaeMapPlan(this);
  readonly #unmapPlan: LpaeUnmapPlan = new LpaeUnmapPlan();

  /** How the tables look to a reader. */
  get shape(): TableShape {
    return this;
  }

  mapPages(iova: number, paddr: number, pgsize: number, pgcount: number, prot: number): number {
    if (pgcount !== 1) requirePageCount(pgcount);
    this.mapped = 0;
    const counters = this.counters;
    counters.formatCalls++;
    const leafLevel = this.#levelOf(pgsize);
    if (leafLevel < 0) {
      this.raise('map: page size is not configured');
      return -ERRNO.EINVAL;
    }
    if (iova < this.firstIova || iova >= this.endIova || paddr >= this.endPaddr) {
      this.raise('map: address out of range');
      return -ERRNO.ERANGE;
    }
    if ((prot & DIRECTIONS) === 0) return -ERRNO.EINVAL;
    const memory = this.memory;
    const { inverses, topLevel, syncMark } = this;
    // The table, and then the entry, in lanes: tables are aligned to their size.
    let atLo = this.baseLo;
    let atHi = this.baseHi;
    let mask = this.topMask;
    const inBlock = memory.blockBytes - 1;
    let block = memory.block(atLo, atHi);
    let heldLo = atLo & ~inBlock;
    let heldHi = atHi;
    for (let level = topLevel; ; level++) {
      const index = (iova * (inverses[level] as number)) & mask;
      atLo |= index << 3;
      if ((((atLo ^ heldLo) & ~inBlock) | (atHi ^ heldHi)) !== 0) {
        block = memory.block(atLo, atHi);
        heldLo = atLo & ~inBlock;
        heldHi = atHi;
      }
      const k = (atLo & inBlock) >>> 2;
      if (level === leafLevel) {
        counters.levels += level - topLevel + 1;
        const attrLo =
          (this.attrLo[prot & (PROTS - 1)] as number) | (this.leafTypes[level] as number);
        const attrHi = this.attrHi[prot & (PROTS - 1)] as number;
        if (
          pgcount === 1 &&
          block !== undefined &&
          ((block[k] as number) | (block[k + 1] as number)) === 0
        ) {
          block[k] = attrLo | addressLo(paddr);
          block[k + 1] = attrHi | addressHi(paddr);
          counters.stores++;
          if (!this.coherent) this.clean(atHi * TWO32 + (atLo >>> 0), 8);
          this.mapped = pgsize;
          return 0;
        }
        const entry = atHi * TWO32 + (atLo >>> 0);
        const n = Math.min(pgcount, this.#leftInTable(index, mask));
        const errno = this.#vacate(iova, level, entry, n);
        if (errno !== 0) return errno;
        const run = this.#run;
        run.paddr = paddr;
        run.step = pgsize;
        run.lo = attrLo;
        run.hi = attrHi;
        storeLeaves(memory, entry, n, run);
        counters.stores += n;
        if (!this.coherent) this.clean(entry, n * 8);
        this.mapped = n * pgsize;
        return 0;
      }
      if (level === LAST_LEVEL) {
        counters.levels += level - topLevel + 1;
        this.raise('map: no level has the page size');
        return -ERRNO.EINVAL;
      }
      let lo: number;
      let hi: number;
      if (block !== undefined) {
        lo = (block[k] as number) | 0;
        hi = (block[k + 1] as number) | 0;
      } else {
        lo = memory.load64(atHi * TWO32 + (atLo >>> 0)) | 0;
        hi = memory.hi | 0;
      }
      if ((lo & PTE_TYPE_MASK) !== PTE_TYPE_TABLE || (hi & syncMark) !== syncMark) {
        const errno = this.#enter(atHi * TWO32 + (atLo >>> 0), lo, hi);
        if (errno !== 0) {
          counters.levels += level - topLevel + 1;
          return errno;
        }
        lo = memory.load64(atHi * TWO32 + (atLo >>> 0)) | 0;
        hi = memory.hi | 0;
      }
      atLo = lo & this.addressMask;
      atHi = (hi & PTE_HI_ADDRESS_MASK) | ((lo & this.wideMask) << 4);
      mask = this.mask;
    }
  }

  unmapPages(iova: number, pgsize: number, pgcount: number, gather: IotlbGather | null): number {
    if (pgcount !== 1) requirePageCount(pgcount);
    const counters = this.counters;
    counters.formatCalls++;
    const leafLevel = this.#levelOf(pgsize);
    if (leafLevel < 0 || pgcount === 0) {
      this.raise('unmap: page size is not configured, or no pages');
      return 0;
    }
    if (iova < this.firstIova || iova >= this.endIova) {
      this.raise('unmap: address out of range');
      return 0;
    }
    const memory = this.memory;
    const { spans, inverses, topLevel, leafTypes } = this;
    let atLo = this.baseLo;
    let atHi = this.baseHi;
    let mask = this.topMask;
    const inBlock = memory.blockBytes - 1;
    let block = memory.block(atLo, atHi);
    let heldLo = atLo & ~inBlock;
    let heldHi = atHi;
    for (let level = topLevel; ; level++) {
      const index = (iova * (inverses[level] as number)) & mask;
      atLo |= index << 3;
      if ((((atLo ^ heldLo) & ~inBlock) | (atHi ^ heldHi)) !== 0) {
        block = memory.block(atLo, atHi);
        heldLo = atLo & ~inBlock;
        heldHi = atHi;
      }
      const k = (atLo & inBlock) >>> 2;
      if (level === leafLevel) {
        counters.levels += level - topLevel + 1;
        if (
          pgcount === 1 &&
          block !== undefined &&
          ((block[k] as number) & PTE_TYPE_MASK) === leafTypes[level]
        ) {
          block[k] = 0;
          block[k + 1] = 0;
          counters.stores++;
          if (!this.coherent) this.clean(atHi * TWO32 + (atLo >>> 0), 8);
          this.#gather(gather, iova, pgsize, 1);
          return pgsize;
        }
        const entry = atHi * TWO32 + (atLo >>> 0);
        const n = Math.min(pgcount, this.#leftInTable(index, mask));
        return this.#clear(level, entry, iova, n, gather);
      }
      let lo: number;
      let hi: number;
      if (block !== undefined) {
        lo = (block[k] as number) | 0;
        hi = (block[k + 1] as number) | 0;
      } else {
        lo = memory.load64(atHi * TWO32 + (atLo >>> 0)) | 0;
        hi = memory.hi | 0;
      }
      if ((lo & PTE_TYPE_MASK) !== PTE_TYPE_TABLE || level === LAST_LEVEL) {
        if ((lo | hi) === 0) {
          counters.levels += level - topLevel + 1;
          this.raiseConflict('unmap: nothing is mapped');
          return 0;
        }
        if (level === LAST_LEVEL) {
          counters.levels += level - topLevel + 1;
          this.raise('unmap: no level has the page size');
          return 0;
        }
        if ((lo & PTE_TYPE_MASK) === leafTypes[level]) {
          counters.levels += level - topLevel + 1;
          if (this.profile.partialBlockUnmap === 'refuse') {
            this.raise('Unmap of a partial large IOPTE is not allowed');
            return 0;
          }
          // Only where the next level has the requested size does the new table leave out the part that goes.
          const entry = atHi * TWO32 + (atLo >>> 0);
          const below = spans[level + 1] as number;
          const first = below === pgsize ? (iova / below) & this.mask : 0;
          const n = below === pgsize ? Math.min(pgcount, this.mask + 1 - first) : 0;
          const won = this.#split(level, entry, first, n);
          if (won && n > 0) {
            this.#gather(gather, iova, below, n);
            return n * below;
          }
          lo = memory.load64(entry);
          hi = memory.hi;
          // No frame, or another CPU unmapped the block meanwhile.
          if ((lo & PTE_TYPE_MASK) !== PTE_TYPE_TABLE) return 0;
          // The levels below are counted from here on as if the walk began at this one.
          counters.levels -= level - topLevel + 1;
        }
      }
      atLo = lo & this.addressMask;
      atHi = (hi & PTE_HI_ADDRESS_MASK) | ((lo & this.wideMask) << 4);
      mask = this.mask;
    }
  }

  mapRange(iova: number, runs: readonly PhysRun[], prot: number): number {
    const plan = this.#mapPlan;
    const errno = mapRange(this, plan, iova, runs, prot);
    this.mapped = plan.mapped;
    this.failedAt = plan.failedAt;
    return errno;
  }

  unmapRange(
    iova: number,
    size: number,
    pending: RangeGather,
    options?: UnmapRangeOptions,
  ): number {
    const plan = this.#unmapPlan;
    plan.reuseTables = options?.reuseTables === true;
    return unmapRange(this, plan, iova, size, pending);
  }

  iovaToPhys(iova: number): number {
    const memory = this.memory;
    const { inverses, topLevel, leafTypes } = this;
    const counters = this.counters;
    counters.walks++;
    let atLo = this.baseLo;
    let atHi = this.baseHi;
    let mask = this.topMask;
    const inBlock = memory.blockBytes - 1;
    let block = memory.block(atLo, atHi);
    let heldLo = atLo & ~inBlock;
    let heldHi = atHi;
    for (let level = topLevel; level <= LAST_LEVEL; level++) {
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
      const type = lo & PTE_TYPE_MASK;
      if (type === leafTypes[level]) {
        counters.walkLevels += level - topLevel + 1;
        return this.#byteAt(lo, hi, iova, level);
      }
      if (type !== PTE_TYPE_TABLE) {
        counters.walkLevels += level - topLevel + 1;
        return 0;
      }
      atLo = lo & this.addressMask;
      atHi = (hi & PTE_HI_ADDRESS_MASK) | ((lo & this.wideMask) << 4);
      mask = this.mask;
    }
    counters.walkLevels += LAST_LEVEL - topLevel + 1;
    return 0;
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

  /** Clears up to `n` entries of one table and returns their bytes; stops at the first that is empty. */
  #clear(
    level: number,
    entry: number,
    iova: number,
    n: number,
    gather: IotlbGather | null,
  ): number {
    const memory = this.memory;
    const size = this.spans[level] as number;
    const leafType = this.leafTypes[level] as number;
    let start = 0;
    let done = 0;
    for (;;) {
      done += firstOther(memory, entry + done * 8, n - done, leafType);
      if (done === n) break;
      const at = entry + done * 8;
      const lo = memory.load64(at);
      const hi = memory.hi;
      if ((lo | hi) === 0) {
        this.raiseConflict('unmap: nothing is mapped');
        break;
      }
      if (!this.profile.tableUnmapGathers) {
        this.#clearRun(level, entry + start * 8, iova + start * size, done - start, gather);
        start = done + 1;
      }
      this.dropTable(level, at, iova + done * size, this.address(lo, hi));
      done++;
    }
    this.#clearRun(level, entry + start * 8, iova + start * size, done - start, gather);
    return done * size;
  }

  /** Clears `n` entries in one go and tells the gather. */
  #clearRun(
    level: number,
    entry: number,
    iova: number,
    n: number,
    gather: IotlbGather | null,
  ): void {
    if (n <= 0) return;
    clearEntries(this.memory, entry, n);
    this.counters.stores += n;
    if (!this.coherent) this.clean(entry, n * 8);
    this.#gather(gather, iova, this.spans[level] as number, n);
  }

  #gather(gather: IotlbGather | null, iova: number, size: number, n: number): void {
    if (gather === null || gather.queued) return;
    this.counters.tlbAddPages += n;
    this.flush.tlbAddPage(gather, iova, size, n);
  }

  /** Entries from `index` to the end of the table; concatenated tables count as tables of their own (`arm_lpae_max_entries`). */
  #leftInTable(index: number, mask: number): number {
    const limit = mask & this.mask;
    return limit + 1 - (index & limit);
  }

  /** Makes `n` entries empty for a map: tables there go, leaves refuse. */
  #vacate(iova: number, level: number, entry: number, n: number): number {
    const memory = this.memory;
    for (let i = firstUsed(memory, entry, n); i < n; i += firstUsed(memory, entry + i * 8, n - i)) {
      const at = entry + i * 8;
      const lo = memory.load64(at);
      const hi = memory.hi;
      if ((lo & PTE_TYPE_MASK) === this.leafTypes[level]) {
        this.raiseConflict('map: a leaf is in the way');
        return -ERRNO.EEXIST;
      }
      if ((lo & PTE_TYPE_MASK) !== PTE_TYPE_TABLE) {
        // Only a foreign hand leaves an entry that is neither: replace it, as the kernel does.
        i++;
        continue;
      }
      this.dropTable(level, at, iova + i * (this.spans[level] as number), this.address(lo, hi));
      // Linux unmaps the table as it unmaps any run, which clears the entries of a run once more at its end.
      if (this.profile.tableUnmapGathers) {
        memory.store64(at, 0, 0);
        this.counters.stores++;
        if (!this.coherent) this.clean(at, 8);
      }
    }
    return 0;
  }

  /**
   * Replaces the block at `entry` by a table of the next level whose leaves say the same, all but `n` from `first` on. False
   * without a frame, or when another CPU changed the entry first.
   */
  #split(level: number, entry: number, first: number, n: number): boolean {
    const memory = this.memory;
    const lo = memory.load64(entry);
    const hi = memory.hi;
    const size = this.spans[level + 1] as number;
    const rest = first + n;
    const table = this.allocTable();
    if (table < 0) return false;
    const run = this.#run;
    run.step = size;
    run.lo = (lo & 0xffc) | (this.leafTypes[level + 1] as number);
    run.hi = hi & 0xffff_0000;
    run.paddr = this.address(lo, hi);
    storeLeaves(memory, table, first, run);
    run.paddr += rest * size;
    storeLeaves(memory, table + rest * 8, this.mask + 1 - rest, run);
    this.counters.stores += this.mask + 1 - n;
    if (!this.coherent) this.clean(table, this.granule);
    if (this.linkTable(entry, table, lo, hi)) return true;
    this.releaseTable(table);
    return false;
  }

  /**
   * Makes `entry`, whose value was (lo, hi), point to a table that the device may walk: links a fresh table where there is none, and
   * cleans an entry that nobody marked as clean, since whoever wrote it may not have got to that. 0, -ENOMEM, or -EEXIST for a leaf.
   */
  #enter(entry: number, lo: number, hi: number): number {
    if ((lo | hi) === 0) {
      const fresh = this.allocTable();
      if (fresh < 0) return -ERRNO.ENOMEM;
      if (this.linkTable(entry, fresh, 0, 0)) return 0;
      this.releaseTable(fresh);
      const winner = this.memory.load64(entry) | 0;
      return this.#refuseLeaf(winner);
    }
    if (!this.coherent && (hi & PTE_HI_SW_SYNC) === 0) this.clean(entry, 8);
    return this.#refuseLeaf(lo);
  }

  #refuseLeaf(lo: number): number {
    if ((lo & PTE_TYPE_MASK) === PTE_TYPE_TABLE) return 0;
    this.raiseConflict('map: a leaf is in the way');
    return -ERRNO.EEXIST;
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

  /**
   * The level whose leaves have `pgsize` bytes; -1 when the size is not configured. As the kernel asks, every bit of the size, not
   * just one, has to be in the bitmap: a sum of sizes passes, and is of no level.
   */
  #levelOf(pgsize: number): number {
    const small = pgsize | 0;
    if (small === pgsize && small > 0 && (small & (small - 1)) === 0)
      return this.#levels[Math.clz32(small)] as number;
    return this.#levelOfAny(pgsize);
  }

  #levelOfAny(pgsize: number): number {
    const bitmap = this.pgsizeBitmap;
    const foreign = (pgsize & ~bitmap) | ((pgsize / TWO32) & ~(bitmap / TWO32));
    if (foreign !== 0 || pgsize === 0) return -1;
    const level = this.spans.indexOf(pgsize);
    return level < 0 ? NO_LEVEL : level;
  }
}

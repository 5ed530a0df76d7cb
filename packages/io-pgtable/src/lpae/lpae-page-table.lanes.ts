import { PTE_HI_SW_SYNC, PTE_TYPE_MASK, PTE_TYPE_TABLE } from '@iommukit/arm-arch';
import { ERRNO } from '@iommukit/platform';
import type { IotlbGather } from '../iotlb-gather.ts';
import { requirePageCount } from '../page-count.ts';
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
import {
  WARN_CONFLICT,
  WARN_HOLE,
  WARN_NO_LEVEL_MAP,
  WARN_NO_LEVEL_UNMAP,
  WARN_PARTIAL,
  WARN_RANGE_MAP,
  WARN_RANGE_UNMAP,
  WARN_SIZE_MAP,
  WARN_SIZE_UNMAP,
} from '../warning.ts';
import { LpaeLookups } from './lpae-lookups.lanes.ts';
import { LpaeMapPlan } from './lpae-map-plan.lanes.ts';
import { mapRange } from './lpae-map-range.lanes.ts';
import { LAST_LEVEL, PROTS } from './lpae-tables.lanes.ts';
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
export class LpaePageTable<R> extends LpaeLookups<R> implements RangePageTable {
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
      this.raise(WARN_SIZE_MAP);
      return -ERRNO.EINVAL;
    }
    if (iova < this.firstIova || iova >= this.endIova || paddr >= this.endPaddr) {
      this.raise(WARN_RANGE_MAP);
      return -ERRNO.ERANGE;
    }
    if ((prot & DIRECTIONS) === 0) return -ERRNO.EINVAL;
    const { memory, topLevel, syncMark } = this;
    let block = this.descend(iova, leafLevel, syncMark, topLevel);
    while (this.level !== leafLevel) {
      const errno = this.#makeWay();
      if (errno !== 0) {
        counters.levels += this.level - topLevel + 1;
        return errno;
      }
      block = this.descend(iova, leafLevel, syncMark, this.level + 1);
    }
    counters.levels += leafLevel - topLevel + 1;
    const attrLo =
      (this.attrLo[prot & (PROTS - 1)] as number) | (this.leafTypes[leafLevel] as number);
    const attrHi = this.attrHi[prot & (PROTS - 1)] as number;
    if (pgcount === 1 && block !== undefined) {
      const k = (this.atLo & (memory.blockBytes - 1)) >>> 2;
      if (((block[k] as number) | (block[k + 1] as number)) === 0) {
        block[k] = attrLo | addressLo(paddr);
        block[k + 1] = attrHi | addressHi(paddr);
        counters.stores++;
        if (!this.coherent) this.clean(this.entryAddress(), 8);
        this.mapped = pgsize;
        return 0;
      }
    }
    const entry = this.entryAddress();
    const n = Math.min(pgcount, this.#leftInTable(iova, leafLevel));
    const errno = this.#vacate(iova, leafLevel, entry, n);
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

  unmapPages(iova: number, pgsize: number, pgcount: number, gather: IotlbGather | null): number {
    if (pgcount !== 1) requirePageCount(pgcount);
    const counters = this.counters;
    counters.formatCalls++;
    const leafLevel = this.#levelOf(pgsize);
    if (leafLevel < 0 || pgcount === 0) {
      this.raise(WARN_SIZE_UNMAP);
      return 0;
    }
    if (iova < this.firstIova || iova >= this.endIova) {
      this.raise(WARN_RANGE_UNMAP);
      return 0;
    }
    const { memory, topLevel } = this;
    let block = this.descend(iova, leafLevel, 0, topLevel);
    while (this.level !== leafLevel) {
      const done = this.#passAbove(iova, pgsize, pgcount, gather);
      if (done >= 0) return done;
      block = this.descend(iova, leafLevel, 0, this.level + 1);
    }
    counters.levels += leafLevel - topLevel + 1;
    if (pgcount === 1 && block !== undefined) {
      const k = (this.atLo & (memory.blockBytes - 1)) >>> 2;
      if (((block[k] as number) & PTE_TYPE_MASK) === this.leafTypes[leafLevel]) {
        block[k] = 0;
        block[k + 1] = 0;
        counters.stores++;
        if (!this.coherent) this.clean(this.entryAddress(), 8);
        this.#gather(gather, iova, pgsize, 1);
        return pgsize;
      }
    }
    const n = Math.min(pgcount, this.#leftInTable(iova, leafLevel));
    return this.#clear(leafLevel, this.entryAddress(), iova, n, gather);
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
        this.raiseConflict(WARN_HOLE);
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

  /** Entries from that of `iova` to the end of its table; concatenated tables count as tables of their own (`arm_lpae_max_entries`). */
  #leftInTable(iova: number, level: number): number {
    const limit = (level === this.topLevel ? this.topMask : this.mask) & this.mask;
    return limit + 1 - ((iova * (this.inverses[level] as number)) & limit);
  }

  /** Makes `n` entries empty for a map: tables there go, leaves refuse. */
  #vacate(iova: number, level: number, entry: number, n: number): number {
    const memory = this.memory;
    for (let i = firstUsed(memory, entry, n); i < n; i += firstUsed(memory, entry + i * 8, n - i)) {
      const at = entry + i * 8;
      const lo = memory.load64(at);
      const hi = memory.hi;
      if ((lo & PTE_TYPE_MASK) === this.leafTypes[level]) {
        this.raiseConflict(WARN_CONFLICT);
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

  /** Has a map go on below the entry where its descent ended, which is no leaf level's: 0 or a negative errno. */
  #makeWay(): number {
    if (this.level === LAST_LEVEL) {
      this.raise(WARN_NO_LEVEL_MAP);
      return -ERRNO.EINVAL;
    }
    const memory = this.memory;
    const entry = this.entryAddress();
    const lo = memory.load64(entry) | 0;
    const errno = this.#enter(entry, lo, memory.hi | 0);
    if (errno === 0) this.enterTable(memory.load64(entry), memory.hi);
    return errno;
  }

  /**
   * What an unmap does at an entry above its level that points to no table: the bytes that it returns, or -1 to go on below. A block of
   * which it means a part is split, where the kernel did that.
   */
  #passAbove(iova: number, pgsize: number, pgcount: number, gather: IotlbGather | null): number {
    const { memory, counters, level } = this;
    const entry = this.entryAddress();
    let lo = memory.load64(entry) | 0;
    let hi = memory.hi | 0;
    const levels = level - this.topLevel + 1;
    if ((lo | hi) === 0 || level === LAST_LEVEL) {
      counters.levels += levels;
      if ((lo | hi) === 0) this.raiseConflict(WARN_HOLE);
      else this.raise(WARN_NO_LEVEL_UNMAP);
      return 0;
    }
    if ((lo & PTE_TYPE_MASK) === this.leafTypes[level]) {
      if (this.profile.partialBlockUnmap === 'refuse') {
        counters.levels += levels;
        this.raise(WARN_PARTIAL);
        return 0;
      }
      // Only where the next level has the requested size does the new table leave out the part that goes.
      const below = this.spans[level + 1] as number;
      const first = below === pgsize ? (iova / below) & this.mask : 0;
      const n = below === pgsize ? Math.min(pgcount, this.mask + 1 - first) : 0;
      const won = this.#split(level, entry, first, n);
      lo = memory.load64(entry);
      hi = memory.hi;
      // No frame, or another CPU unmapped the block meanwhile.
      const isLost = !won && (lo & PTE_TYPE_MASK) !== PTE_TYPE_TABLE;
      if (isLost || (won && n > 0)) counters.levels += levels;
      if (isLost) return 0;
      if (won && n > 0) {
        this.#gather(gather, iova, below, n);
        return n * below;
      }
    }
    this.enterTable(lo, hi);
    return -1;
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
    this.raiseConflict(WARN_CONFLICT);
    return -ERRNO.EEXIST;
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

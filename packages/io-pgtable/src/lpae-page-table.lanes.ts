import {
  PTE_HI_ADDRESS_MASK,
  PTE_HI_DBM,
  PTE_HI_SW_SYNC,
  PTE_LO_AP_RDONLY,
  PTE_TYPE_MASK,
  PTE_TYPE_TABLE,
} from '@iommukit/arm-arch';
import type { U64 } from '@iommukit/bits';
import { ERRNO, type MemoryView } from '@iommukit/platform';
import type { FlushOps } from './flush-ops.ts';
import type { IotlbGather } from './iotlb-gather.ts';
import type { LpaeGeometry } from './lpae-geometry.ts';
import type { PageTable } from './page-table.ts';
import type { PageTableConfig, TableFrames } from './page-table-config.ts';
import type { PageTableFormat, TableRegisters, TcrFields } from './page-table-format.ts';
import type { IoPgtableProfile } from './profile.ts';
import { IOMMU_READ, IOMMU_WRITE } from './prot.ts';
import {
  addressHi,
  addressLo,
  clearEntries,
  firstOther,
  firstUsed,
  type LeafRun,
  storeLeaves,
  zeroWords,
} from './table-words.lanes.ts';

const TWO32 = 0x1_0000_0000;
const LAST_LEVEL = 3;
const PROTS = 64;
const DIRECTIONS = IOMMU_READ + IOMMU_WRITE;

/**
 * Told each entry of a walk: level, and the raw entry as unsigned lanes.
 * @example const print: EntryVisitor = (level, lo, hi) => lines.push(`${level}: ${hex64({ lo, hi })}`);
 */
export type EntryVisitor = (level: number, lo: number, hi: number) => void;

/**
 * Told each leaf: first IOVA, level, and the raw entry as unsigned lanes.
 * @example const count: LeafVisitor = () => { leaves++; };
 */
export type LeafVisitor = (iova: number, level: number, lo: number, hi: number) => void;

/**
 * A page table of the long-descriptor family in physical memory (`drivers/iommu/io-pgtable-arm.c`): the algorithm, for whichever
 * format it is given. Nothing but the top table's address is remembered: all entries live in memory. Made by `createPageTable`.
 * @example table.mapPages(0x1000, 0x4000_0000, 4096, 1, IOMMU_READ + IOMMU_WRITE); table.iovaToPhys(0x1010); // 0x4000_0010
 */
export class LpaePageTable implements PageTable {
  mapped = 0;
  /** Warnings raised so far; those that the kernel prints only once are counted every time. */
  warnings = 0;
  readonly pgsizeBitmap: number;
  /** Physical address of the top table, as TTBR0 or TTBR1 take it. */
  readonly ttbr: number;
  /** Translation control fields for a context descriptor. */
  readonly tcr: TcrFields;
  /** Memory attributes as they reach a context descriptor. */
  readonly mair: U64;
  /** Smallest page and table size, bytes: the granule of invalidations. */
  readonly granule: number;
  /** Granule and levels. */
  readonly geometry: LpaeGeometry;

  readonly #memory: MemoryView;
  readonly #frames: TableFrames;
  readonly #flush: FlushOps;
  readonly #profile: IoPgtableProfile;
  readonly #warn: ((text: string) => void) | undefined;
  readonly #coherent: boolean;
  readonly #noWarn: boolean;
  readonly #startLevel: number;
  readonly #entrySizes: readonly number[];
  readonly #leafTypes: readonly number[];
  readonly #topBytes: number;
  readonly #topMask: number;
  readonly #mask: number;
  /** The IOVAs that the table translates: [first, end). */
  readonly #firstIova: number;
  readonly #endIova: number;
  readonly #endPaddr: number;
  /** Where an entry keeps address bits 31:12, and which low bits are address bits 51:48. */
  readonly #addressMask: number;
  readonly #wideMask: number;
  readonly #tableLo: number;
  readonly #tableHi: number;
  readonly #attrLo = new Int32Array(PROTS);
  readonly #attrHi = new Int32Array(PROTS);
  readonly #run: LeafRun = { paddr: 0, step: 0, lo: 0, hi: 0 };

  constructor(
    format: PageTableFormat,
    geometry: LpaeGeometry,
    config: PageTableConfig,
    parts: { readonly registers: TableRegisters; readonly ttbr: number },
  ) {
    const quirks = config.quirks ?? {};
    this.pgsizeBitmap = geometry.pgsizeBitmap;
    this.geometry = geometry;
    this.ttbr = parts.ttbr;
    this.tcr = parts.registers.tcr;
    this.mair = parts.registers.mair;
    this.#memory = config.memory;
    this.#frames = config.frames;
    this.#flush = config.flush;
    this.#profile = config.profile;
    this.#warn = config.warn;
    this.#coherent = config.coherentWalk;
    this.#noWarn = quirks.noWarn === true;
    this.granule = geometry.granule;
    this.#startLevel = geometry.startLevel;
    this.#entrySizes = geometry.entrySizes;
    this.#leafTypes = format.leafTypes;
    this.#topBytes = topTableBytes(geometry);
    this.#topMask = geometry.topEntries - 1;
    this.#mask = (geometry.granule >>> 3) - 1;
    const span = 2 ** geometry.ias;
    this.#firstIova = quirks.ttbr1 ? TWO32 * TWO32 - span : 0;
    this.#endIova = this.#firstIova + span;
    this.#endPaddr = 2 ** geometry.oas;
    const wide = geometry.granule === 0x1_0000;
    this.#addressMask = wide ? 0xffff_0000 : 0xffff_f000;
    this.#wideMask = wide ? 0xf000 : 0;
    const table = format.tableAttributes(quirks);
    this.#tableLo = table.lo | PTE_TYPE_TABLE;
    this.#tableHi = table.hi;
    for (let prot = 0; prot < PROTS; prot++) {
      const leaf = format.leafAttributes(prot, quirks);
      this.#attrLo[prot] = leaf.lo;
      this.#attrHi[prot] = leaf.hi;
    }
    zeroWords(this.#memory, this.ttbr, this.#topBytes);
    if (!this.#coherent) this.#memory.clean(this.ttbr, this.#topBytes);
  }

  mapPages(iova: number, paddr: number, pgsize: number, pgcount: number, prot: number): number {
    this.mapped = 0;
    if (!this.#hasSizes(pgsize)) {
      this.#raise('map: page size is not configured');
      return -ERRNO.EINVAL;
    }
    if (iova < this.#firstIova || iova >= this.#endIova || paddr >= this.#endPaddr) {
      this.#raise('map: address out of range');
      return -ERRNO.ERANGE;
    }
    if ((prot & DIRECTIONS) === 0) return -ERRNO.EINVAL;
    const memory = this.#memory;
    let table = this.ttbr;
    let mask = this.#topMask;
    for (let level = this.#startLevel; ; level++) {
      const size = this.#entrySizes[level] as number;
      const index = (iova / size) & mask;
      const entry = table + index * 8;
      if (size === pgsize) {
        const n = Math.min(pgcount, mask + 1 - index);
        const errno = this.#vacate(iova, level, entry, n);
        if (errno !== 0) return errno;
        const run = this.#run;
        run.paddr = paddr;
        run.step = size;
        run.lo = (this.#attrLo[prot & (PROTS - 1)] as number) | (this.#leafTypes[level] as number);
        run.hi = this.#attrHi[prot & (PROTS - 1)] as number;
        storeLeaves(memory, entry, n, run);
        if (!this.#coherent) memory.clean(entry, n * 8);
        this.mapped = n * size;
        return 0;
      }
      if (level === LAST_LEVEL) {
        this.#raise('map: no level has the page size');
        return -ERRNO.EINVAL;
      }
      let lo = memory.load64(entry);
      let hi = memory.hi;
      if ((lo | hi) === 0) {
        const fresh = this.#allocTable();
        if (fresh < 0) return -ERRNO.ENOMEM;
        if (this.#linkTable(entry, fresh, 0, 0)) {
          table = fresh;
          mask = this.#mask;
          continue;
        }
        this.#frames.free(fresh, this.granule);
        lo = memory.load64(entry);
        hi = memory.hi;
      } else if (!this.#coherent && (hi & PTE_HI_SW_SYNC) === 0) {
        // Whoever wrote it may not have cleaned it yet, and the device must see it before what hangs below.
        memory.clean(entry, 8);
      }
      if ((lo & PTE_TYPE_MASK) !== PTE_TYPE_TABLE) {
        this.#raiseConflict('map: a leaf is in the way');
        return -ERRNO.EEXIST;
      }
      table = this.#address(lo, hi);
      mask = this.#mask;
    }
  }

  unmapPages(iova: number, pgsize: number, pgcount: number, gather: IotlbGather | null): number {
    if (!this.#hasSizes(pgsize) || pgcount === 0) {
      this.#raise('unmap: page size is not configured, or no pages');
      return 0;
    }
    if (iova < this.#firstIova || iova >= this.#endIova) {
      this.#raise('unmap: address out of range');
      return 0;
    }
    const memory = this.#memory;
    let table = this.ttbr;
    let mask = this.#topMask;
    for (let level = this.#startLevel; ; level++) {
      const size = this.#entrySizes[level] as number;
      const index = (iova / size) & mask;
      const entry = table + index * 8;
      if (size === pgsize)
        return this.#clear(level, entry, iova, Math.min(pgcount, mask + 1 - index), gather);
      let lo = memory.load64(entry);
      let hi = memory.hi;
      if ((lo | hi) === 0) {
        this.#raiseConflict('unmap: nothing is mapped');
        return 0;
      }
      if (level === LAST_LEVEL) {
        this.#raise('unmap: no level has the page size');
        return 0;
      }
      if ((lo & PTE_TYPE_MASK) === this.#leafTypes[level]) {
        if (this.#profile.partialBlockUnmap === 'refuse') {
          this.#raise('Unmap of a partial large IOPTE is not allowed');
          return 0;
        }
        // Only where the next level has the requested size does the new table leave out the part that goes.
        const below = this.#entrySizes[level + 1] as number;
        const first = below === pgsize ? (iova / below) & this.#mask : 0;
        const n = below === pgsize ? Math.min(pgcount, this.#mask + 1 - first) : 0;
        const won = this.#split(level, entry, first, n);
        if (won && n > 0) {
          if (gather !== null && !gather.queued) this.#flush.tlbAddPage(gather, iova, below, n);
          return n * below;
        }
        lo = memory.load64(entry);
        hi = memory.hi;
        // No frame, or another CPU unmapped the block meanwhile.
        if ((lo & PTE_TYPE_MASK) !== PTE_TYPE_TABLE) return 0;
      }
      table = this.#address(lo, hi);
      mask = this.#mask;
    }
  }

  iovaToPhys(iova: number): number {
    return this.iovaToPhys64({ lo: iova >>> 0, hi: (iova / TWO32) >>> 0 });
  }

  /** As `iovaToPhys`, for a byte address that a number cannot hold exactly (the upper half of the space). */
  iovaToPhys64(iova: U64): number {
    const memory = this.#memory;
    const page = iova.hi * TWO32 + ((iova.lo & 0xffff_f000) >>> 0);
    let table = this.ttbr;
    let mask = this.#topMask;
    for (let level = this.#startLevel; level <= LAST_LEVEL; level++) {
      const size = this.#entrySizes[level] as number;
      const lo = memory.load64(table + ((page / size) & mask) * 8);
      const hi = memory.hi;
      if ((lo & PTE_TYPE_MASK) === this.#leafTypes[level]) {
        // Sizes from 4 GiB on keep all low lane bits, and some of the high lane.
        const inLo = size < TWO32 ? iova.lo & (size - 1) : iova.lo;
        const inHi = size > TWO32 ? iova.hi & (size / TWO32 - 1) : 0;
        return this.#address(lo, hi) + (inHi * TWO32 + (inLo >>> 0));
      }
      if ((lo & PTE_TYPE_MASK) !== PTE_TYPE_TABLE) return 0;
      table = this.#address(lo, hi);
      mask = this.#mask;
    }
    return 0;
  }

  /**
   * Walks to a page-aligned IOVA and shows every entry on the way, the invalid one at the end included
   * (`arm_lpae_pgtable_walk`). Returns 0, or -EINVAL when no leaf was reached.
   */
  walk(iova: number, visit: EntryVisitor): number {
    const memory = this.#memory;
    let table = this.ttbr;
    let mask = this.#topMask;
    for (let level = this.#startLevel; level <= LAST_LEVEL; level++) {
      const lo = memory.load64(table + ((iova / (this.#entrySizes[level] as number)) & mask) * 8);
      const hi = memory.hi;
      visit(level, lo, hi);
      if ((lo & PTE_TYPE_MASK) === this.#leafTypes[level]) return 0;
      if ((lo & PTE_TYPE_MASK) !== PTE_TYPE_TABLE) break;
      table = this.#address(lo, hi);
      mask = this.#mask;
    }
    return -ERRNO.EINVAL;
  }

  /** Shows every leaf, in ascending order of IOVA; upper-half tables give upper-half IOVAs. */
  forEachLeaf(visit: LeafVisitor): void {
    this.#leavesBelow(this.#startLevel, this.ttbr, this.#firstIova, visit);
  }

  /**
   * Reports leaves of [iova, iova + size) that the device wrote through, and makes them clean unless `noClear`
   * (`arm_lpae_read_and_clear_dirty`). A leaf is reported whole, from the address where the walk meets it. Returns 0, or -EINVAL
   * at a hole (what was reported before stands) or for an empty or too high range. The caller invalidates.
   */
  readAndClearDirty(
    iova: number,
    size: number,
    options: { readonly noClear: boolean },
    record: (iova: number, bytes: number) => void,
  ): number {
    const end = iova + size;
    if (size === 0 || end > 2 ** this.geometry.ias) {
      this.#raise('dirty: range is empty or too high');
      return -ERRNO.EINVAL;
    }
    const memory = this.#memory;
    for (let at = iova; at < end; ) {
      let table = this.ttbr;
      let mask = this.#topMask;
      let level = this.#startLevel;
      for (; ; level++) {
        const entry = table + ((at / (this.#entrySizes[level] as number)) & mask) * 8;
        const lo = memory.load64(entry);
        const hi = memory.hi;
        if ((lo & PTE_TYPE_MASK) === this.#leafTypes[level]) {
          if ((hi & PTE_HI_DBM) !== 0 && (lo & PTE_LO_AP_RDONLY) === 0) {
            record(at, this.#entrySizes[level] as number);
            if (!options.noClear) this.#setReadOnly(entry);
          }
          break;
        }
        if ((lo & PTE_TYPE_MASK) !== PTE_TYPE_TABLE) return -ERRNO.EINVAL;
        table = this.#address(lo, hi);
        mask = this.#mask;
      }
      at += this.#entrySizes[level] as number;
    }
    return 0;
  }

  free(): void {
    this.#flush.tlbFlushAll();
    this.#freeBelow(this.#startLevel, this.ttbr, this.#topMask + 1);
    this.#frames.free(this.ttbr, this.#topBytes);
  }

  /** Clears up to `n` entries of one table and returns their bytes; stops at the first that is empty. */
  #clear(
    level: number,
    entry: number,
    iova: number,
    n: number,
    gather: IotlbGather | null,
  ): number {
    const memory = this.#memory;
    const size = this.#entrySizes[level] as number;
    const leafType = this.#leafTypes[level] as number;
    let start = 0;
    let done = 0;
    for (;;) {
      done += firstOther(memory, entry + done * 8, n - done, leafType);
      if (done === n) break;
      const at = entry + done * 8;
      const lo = memory.load64(at);
      const hi = memory.hi;
      if ((lo | hi) === 0) {
        this.#raiseConflict('unmap: nothing is mapped');
        break;
      }
      if (!this.#profile.tableUnmapGathers) {
        this.#clearRun(level, entry + start * 8, iova + start * size, done - start, gather);
        start = done + 1;
      }
      this.#dropTable(level, at, iova + done * size, this.#address(lo, hi));
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
    clearEntries(this.#memory, entry, n);
    if (!this.#coherent) this.#memory.clean(entry, n * 8);
    if (gather !== null && !gather.queued)
      this.#flush.tlbAddPage(gather, iova, this.#entrySizes[level] as number, n);
  }

  /** Unlinks a table, invalidates walks through it, and frees it with all below. */
  #dropTable(level: number, entry: number, iova: number, table: number): void {
    this.#memory.store64(entry, 0, 0);
    if (!this.#coherent) this.#memory.clean(entry, 8);
    this.#flush.tlbFlushWalk(iova, this.#entrySizes[level] as number, this.granule);
    this.#freeTable(level + 1, table);
  }

  /** Makes `n` entries empty for a map: tables there go, leaves refuse. */
  #vacate(iova: number, level: number, entry: number, n: number): number {
    const memory = this.#memory;
    for (let i = firstUsed(memory, entry, n); i < n; i += firstUsed(memory, entry + i * 8, n - i)) {
      const at = entry + i * 8;
      const lo = memory.load64(at);
      const hi = memory.hi;
      if ((lo & PTE_TYPE_MASK) === this.#leafTypes[level]) {
        this.#raiseConflict('map: a leaf is in the way');
        return -ERRNO.EEXIST;
      }
      if ((lo & PTE_TYPE_MASK) !== PTE_TYPE_TABLE) {
        // Only a foreign hand leaves an entry that is neither: replace it, as the kernel does.
        i++;
        continue;
      }
      this.#dropTable(
        level,
        at,
        iova + i * (this.#entrySizes[level] as number),
        this.#address(lo, hi),
      );
      if (!this.#coherent) memory.clean(at, 8);
    }
    return 0;
  }

  /**
   * Replaces the block at `entry` by a table of the next level whose leaves say the same, all but `n` from `first` on. False
   * without a frame, or when another CPU changed the entry first.
   */
  #split(level: number, entry: number, first: number, n: number): boolean {
    const memory = this.#memory;
    const lo = memory.load64(entry);
    const hi = memory.hi;
    const size = this.#entrySizes[level + 1] as number;
    const rest = first + n;
    const table = this.#allocTable();
    if (table < 0) return false;
    const run = this.#run;
    run.step = size;
    run.lo = (lo & 0xffc) | (this.#leafTypes[level + 1] as number);
    run.hi = hi & 0xffff_0000;
    run.paddr = this.#address(lo, hi);
    storeLeaves(memory, table, first, run);
    run.paddr += rest * size;
    storeLeaves(memory, table + rest * 8, this.#mask + 1 - rest, run);
    if (!this.#coherent) memory.clean(table, this.granule);
    if (this.#linkTable(entry, table, lo, hi)) return true;
    this.#frames.free(table, this.granule);
    return false;
  }

  /** A zeroed table below the top; -1 without a frame. Zeroed here, since frames come as their last user left them. */
  #allocTable(): number {
    const table = this.#frames.alloc(this.granule);
    if (table < 0) return -1;
    zeroWords(this.#memory, table, this.granule);
    if (!this.#coherent) this.#memory.clean(table, this.granule);
    return table;
  }

  /** Makes `entry` point to a table if it still holds (oldLo, oldHi); false when another CPU was faster. */
  #linkTable(entry: number, table: number, oldLo: number, oldHi: number): boolean {
    const memory = this.#memory;
    const lo = this.#tableLo | addressLo(table);
    const hi = this.#tableHi | addressHi(table);
    const done = memory.cas64(entry, oldLo, oldHi, lo, hi);
    if (this.#coherent) return done;
    if (done) {
      memory.clean(entry, 8);
      // The mark itself needs no clean: a device ignores it, and a CPU that misses it only cleans once more.
      memory.store64(entry, lo, hi | PTE_HI_SW_SYNC);
    } else {
      memory.load64(entry);
      if ((memory.hi & PTE_HI_SW_SYNC) === 0) memory.clean(entry, 8);
    }
    return done;
  }

  #setReadOnly(entry: number): void {
    const memory = this.#memory;
    for (;;) {
      const lo = memory.load64(entry);
      const hi = memory.hi;
      if (memory.cas64(entry, lo, hi, lo | PTE_LO_AP_RDONLY, hi)) return;
    }
  }

  #freeBelow(level: number, table: number, entries: number): void {
    if (level === LAST_LEVEL) return;
    const memory = this.#memory;
    for (let i = firstUsed(memory, table, entries); i < entries; ) {
      const lo = memory.load64(table + i * 8);
      if ((lo & PTE_TYPE_MASK) === PTE_TYPE_TABLE)
        this.#freeTable(level + 1, this.#address(lo, memory.hi));
      i++;
      i += firstUsed(memory, table + i * 8, entries - i);
    }
  }

  #freeTable(level: number, table: number): void {
    this.#freeBelow(level, table, this.#mask + 1);
    this.#frames.free(table, this.granule);
  }

  #leavesBelow(level: number, table: number, base: number, visit: LeafVisitor): void {
    const memory = this.#memory;
    const entries = level === this.#startLevel ? this.#topMask + 1 : this.#mask + 1;
    const size = this.#entrySizes[level] as number;
    for (let i = firstUsed(memory, table, entries); i < entries; ) {
      const lo = memory.load64(table + i * 8);
      const hi = memory.hi;
      if ((lo & PTE_TYPE_MASK) === this.#leafTypes[level]) visit(base + i * size, level, lo, hi);
      else if ((lo & PTE_TYPE_MASK) === PTE_TYPE_TABLE)
        this.#leavesBelow(level + 1, this.#address(lo, hi), base + i * size, visit);
      i++;
      i += firstUsed(memory, table + i * 8, entries - i);
    }
  }

  #address(lo: number, hi: number): number {
    return (
      ((hi & PTE_HI_ADDRESS_MASK) | ((lo & this.#wideMask) << 4)) * TWO32 +
      ((lo & this.#addressMask) >>> 0)
    );
  }

  #hasSizes(pgsize: number): boolean {
    // As the kernel asks: every bit of the request, not just one, is in the bitmap.
    const bitmap = this.pgsizeBitmap;
    return pgsize !== 0 && (pgsize & ~bitmap) === 0 && ((pgsize / TWO32) & ~(bitmap / TWO32)) === 0;
  }

  #raise(text: string): void {
    this.warnings++;
    this.#warn?.(text);
  }

  #raiseConflict(text: string): void {
    if (!this.#noWarn) this.#raise(text);
  }
}

/** Bytes to allocate for the top table: 64 at least, the alignment that TTBR demands (`arm_lpae_alloc_pgtable`). */
export function topTableBytes(geometry: LpaeGeometry): number {
  return geometry.topEntries < 8 ? 64 : geometry.topEntries * 8;
}

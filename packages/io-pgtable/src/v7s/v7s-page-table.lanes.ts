import { ERRNO } from '@iommukit/platform';
import type { IotlbGather } from '../iotlb-gather.ts';
import { requirePageCount } from '../page-count.ts';
import type { PageTable } from '../page-table.ts';
import { IOMMU_READ, IOMMU_WRITE } from '../prot.ts';
import {
  WARN_CONFLICT,
  WARN_HOLE,
  WARN_NO_LEVEL_MAP,
  WARN_PARTIAL,
  WARN_RANGE_MAP,
  WARN_RANGE_UNMAP,
} from '../warning.ts';
import {
  SHORT_COPIES,
  SHORT_PAGE_ADDRESS,
  SHORT_SECTION_ADDRESS,
  SHORT_SUPERSECTION,
  SHORT_TABLE_ADDRESS,
  SHORT_TYPE_LARGE,
  SHORT_TYPE_MASK,
  SHORT_TYPE_PAGE,
  SHORT_TYPE_TABLE,
} from './short-descriptor.ts';
import { firstNot, storeRun } from './short-words.lanes.ts';
import { TableOverrunError } from './table-overrun-error.ts';
import {
  ALL_BITS,
  leafIndex,
  PAGE,
  PROTS,
  SECTION,
  TABLE_MASK,
  V7sTables,
  wideHi,
} from './v7s-tables.lanes.ts';

const TWO32 = 0x1_0000_0000;
const DIRECTIONS = IOMMU_READ + IOMMU_WRITE;
/** Tells a supersection from everything else. */
const SUPER_MASK = SHORT_SUPERSECTION | SHORT_TYPE_MASK;
const SUPER = SHORT_SUPERSECTION | SHORT_TYPE_PAGE;
/** A multiplication costs a walk less than a division. */
const PER_SECTION = 1 / SECTION;
/** Where the attributes of 4 KiB pages begin. */
const PAGE_LEAVES: number = leafIndex(2, 1, 0);

/**
 * A page table of 32-bit entries in two levels (`drivers/iommu/io-pgtable-arm-v7s.c`): pages of 4 KiB, 64 KiB (16 equal entries),
 * 1 MiB and 16 MiB (16 equal entries). `mapPages` and `unmapPages` go page by page to the end, over tables, as the kernel's do, and
 * stop at the first page that fails. Made by `createPageTable(armV7s, config)`.
 *
 * The kernel does not look at the page size here: any multiple of an entry's span is written as so many equal entries. What would
 * leave the table, where the kernel would write over other memory, throws {@link TableOverrunError}.
 * @example table.mapPages(0x10_0000, 0x4000_0000, 0x1_0000, 1, IOMMU_READ + IOMMU_WRITE); table.iovaToPhys(0x10_1234); // 0x4000_1234
 */
export class V7sPageTable extends V7sTables implements PageTable {
  /** What one unmap found before it cleared. */
  readonly #old: Uint32Array = new Uint32Array(SHORT_COPIES);
  /** Where `#pageEntry` found the entry in its block. */
  #lane = 0;
  // Where a call is: the entry of its IOVA, that entry's level, span and index, and the entries that a page takes there.
  #level = 0;
  #span = 0;
  #index = 0;
  #entry = 0;
  #copies = 0;

  mapPages(iova: number, paddr: number, pgsize: number, pgcount: number, prot: number): number {
    if (pgcount !== 1) requirePageCount(pgcount);
    this.mapped = 0;
    this.counters.formatCalls++;
    if (iova >= this.endIova || paddr >= this.endPaddr) {
      this.raise(WARN_RANGE_MAP);
      return -ERRNO.ERANGE;
    }
    if ((prot & DIRECTIONS) === 0 || pgcount === 0) return -ERRNO.EINVAL;
    if (pgsize === PAGE && pgcount === 1 && this.coherent && this.#mapPage(iova, paddr, prot))
      return 0;
    this.#checkRun(iova, pgsize, pgcount);
    for (let done = 0; done < pgcount; ) {
      const at = done * pgsize;
      const n = this.#mapSome(iova + at, paddr + at, pgsize, pgcount - done, prot);
      if (n < 0) return n;
      done += n;
      this.mapped += n * pgsize;
    }
    return 0;
  }

  unmapPages(iova: number, pgsize: number, pgcount: number, gather: IotlbGather | null): number {
    if (pgcount !== 1) requirePageCount(pgcount);
    this.counters.formatCalls++;
    if (iova >= this.endIova) {
      this.raise(WARN_RANGE_UNMAP);
      return 0;
    }
    if (pgsize === PAGE && pgcount === 1 && this.coherent && this.#unmapPage(iova, gather))
      return PAGE;
    this.#checkRun(iova, pgsize, pgcount);
    // The kernel notes the entries of a page in an array of 16.
    if (entriesOf(pgsize) > SHORT_COPIES) throw new TableOverrunError({ iova, pgsize });
    let done = 0;
    while (done < pgcount) {
      const n = this.#unmapSome(iova + done * pgsize, pgsize, pgcount - done, gather);
      if (n === 0) break;
      done += n;
    }
    this.tellCleared(gather);
    return done * pgsize;
  }

  /** Maps one 4 KiB page, the usual call; false, and nothing done, where the long way must see to it. */
  #mapPage(iova: number, paddr: number, prot: number): boolean {
    const block = this.#pageEntry(iova);
    if (block === undefined || block[this.#lane] !== 0) return false;
    const attributes = this.leaves[PAGE_LEAVES + (prot & (PROTS - 1))] as number;
    block[this.#lane] = this.word(attributes, paddr, SHORT_PAGE_ADDRESS);
    const counters = this.counters;
    counters.levels += 2;
    counters.stores++;
    this.mapped = PAGE;
    return true;
  }

  /** Unmaps one 4 KiB page; false, and nothing done, as above. */
  #unmapPage(iova: number, gather: IotlbGather | null): boolean {
    const block = this.#pageEntry(iova);
    if (block === undefined || ((block[this.#lane] as number) & SHORT_TYPE_PAGE) === 0)
      return false;
    block[this.#lane] = 0;
    const counters = this.counters;
    counters.levels += 2;
    counters.stores++;
    this.addPages(gather, iova, PAGE, 1);
    return true;
  }

  /**
   * The memory block with the second-level entry of an IOVA, at `#lane`; `undefined` without a table, or where memory lends no blocks.
   * Addresses stay in lanes, and the block of the top table serves for both levels when it can: look-ups are most of the cost.
   */
  #pageEntry(iova: number): Uint32Array | undefined {
    const memory = this.memory;
    const inBlock = memory.blockBytes - 1;
    const top = (this.baseLo + (((iova * PER_SECTION) & this.topMask) << 2)) | 0;
    const topHi = this.baseHi;
    const block = memory.block(top, topHi);
    if (block === undefined) return undefined;
    const word = (block[(top & inBlock) >>> 2] as number) | 0;
    if ((word & SHORT_TYPE_MASK) !== SHORT_TYPE_TABLE) return undefined;
    const lo = (word & SHORT_TABLE_ADDRESS) | ((iova >>> 10) & (TABLE_MASK << 2));
    const hi = this.wide ? wideHi(word) : 0;
    this.#lane = (lo & inBlock) >>> 2;
    return (((lo ^ top) & ~inBlock) | (hi ^ topHi)) === 0 ? block : memory.block(lo, hi);
  }

  /** Maps at least one page, or as many of one table as are free; their number, or a negative errno. */
  #mapSome(iova: number, paddr: number, pgsize: number, left: number, prot: number): number {
    this.#aim(1, this.base, iova, pgsize);
    if (this.#copies === 0) {
      const table = this.#tableBelow(this.#entry);
      if (table < 0) return table;
      this.#aim(2, table, iova, pgsize);
      if (this.#copies === 0) {
        this.raise(WARN_NO_LEVEL_MAP);
        return -ERRNO.EINVAL;
      }
    }
    const level = this.#level;
    const span = this.#span;
    const entry = this.#entry;
    const copies = this.#copies;
    const word = this.#leaf(level, copies, paddr, prot);
    if (pgsize === span && this.coherent) {
      let room = Math.min(left, this.entryCount(level) - this.#index);
      // The MediaTek bits are no part of a 32-bit addition.
      if (this.wide) room = Math.min(room, Math.ceil((TWO32 - (paddr >>> 0)) / span));
      const free = firstNot(this.memory, entry, room, ALL_BITS, 0);
      if (free > 0) {
        storeRun(this.memory, entry, free, word, span);
        this.counters.stores += free;
        return free;
      }
    }
    const errno = this.#install(level, entry, copies, iova, word);
    return errno === 0 ? 1 : errno;
  }

  /** Points the fields at the entry of an IOVA in a table, and counts the level. */
  #aim(level: number, table: number, iova: number, pgsize: number): void {
    this.counters.levels++;
    const first = level === 1;
    const span = first ? SECTION : PAGE;
    const index = first ? (iova / SECTION) & this.topMask : (iova >>> 12) & TABLE_MASK;
    this.#level = level;
    this.#span = span;
    this.#index = index;
    this.#entry = table + index * 4;
    this.#copies = (pgsize / span) | 0;
  }

  /** The table below an entry, made if there is none: its address or a negative errno. */
  #tableBelow(entry: number): number {
    let word = this.memory.load32(entry);
    if (word === 0) {
      const fresh = this.allocTable();
      if (fresh < 0) return -ERRNO.ENOMEM;
      word = this.linkTable(entry, fresh);
      if (word === 0) return fresh;
      this.releaseTable(fresh);
    } else if (!this.coherent) {
      // Whoever wrote it may not have cleaned it yet, and the device must see it before what hangs below.
      this.clean(entry, 4);
    }
    if ((word & SHORT_TYPE_MASK) === SHORT_TYPE_TABLE)
      return this.address(word, SHORT_TABLE_ADDRESS);
    this.raise(WARN_CONFLICT);
    return -ERRNO.EEXIST;
  }

  /** Writes the equal entries of one page; tables in their place go, leaves refuse. */
  #install(level: number, entry: number, copies: number, iova: number, word: number): number {
    const memory = this.memory;
    for (let i = firstNot(memory, entry, copies, ALL_BITS, 0); i < copies; i++) {
      const old = memory.load32(entry + i * 4);
      if (old === 0) continue;
      if (level === 2 || (old & SHORT_TYPE_MASK) !== SHORT_TYPE_TABLE) {
        this.raise(WARN_CONFLICT);
        return -ERRNO.EEXIST;
      }
      this.clearEntries(entry + i * 4, 1);
      this.dropTable(iova + i * SECTION, old);
    }
    storeRun(memory, entry, copies, word, 0);
    this.counters.stores += copies;
    if (!this.coherent) this.clean(entry, copies * 4);
    return 0;
  }

  /** Unmaps at least one page, or as many of one table as are mapped by single entries; their number, 0 when it must stop. */
  #unmapSome(iova: number, pgsize: number, left: number, gather: IotlbGather | null): number {
    const memory = this.memory;
    this.#aim(1, this.base, iova, pgsize);
    if (this.#copies === 0) {
      const word = memory.load32(this.#entry);
      const type = word & SHORT_TYPE_MASK;
      if (type !== SHORT_TYPE_TABLE) {
        this.raise(type === 0 ? WARN_HOLE : WARN_PARTIAL);
        return 0;
      }
      this.#aim(2, this.address(word, SHORT_TABLE_ADDRESS), iova, pgsize);
    }
    const level = this.#level;
    const span = this.#span;
    const entry = this.#entry;
    const copies = this.#copies;
    if (copies <= 1) {
      // Non-coherent tables are cleaned page by page.
      const batch = this.coherent && pgsize === span;
      const n = batch ? Math.min(left, this.entryCount(level) - this.#index) : copies;
      const mask = level === 1 ? SUPER_MASK : SHORT_TYPE_PAGE;
      const single = firstNot(memory, entry, n, mask, SHORT_TYPE_PAGE);
      if (single > 0) {
        this.clearEntries(entry, single);
        this.noteCleared(iova, span, single, gather);
        if (!this.coherent) this.tellCleared(gather);
        return single;
      }
      const word = memory.load32(entry);
      const table = level === 1 && (word & SHORT_TYPE_MASK) === SHORT_TYPE_TABLE;
      if (!table || copies === 0) {
        this.raise((word & SHORT_TYPE_MASK) === 0 ? WARN_HOLE : WARN_PARTIAL);
        return 0;
      }
    }
    return this.#unmapRun(entry, span, copies, iova, gather) ? 1 : 0;
  }

  /** Clears all entries of one page, whatever they hold; false, and nothing done, when one holds nothing. */
  #unmapRun(
    entry: number,
    span: number,
    copies: number,
    iova: number,
    gather: IotlbGather | null,
  ): boolean {
    const memory = this.memory;
    const old = this.#old;
    const mask = span === SECTION ? SUPER_MASK : SHORT_TYPE_MASK;
    const value = span === SECTION ? SUPER : SHORT_TYPE_LARGE;
    if (firstNot(memory, entry, copies, mask, value) === copies) {
      // What was mapped as one page, the usual case.
      this.clearEntries(entry, copies);
      this.noteCleared(iova, span, copies, gather);
      if (!this.coherent) this.tellCleared(gather);
      return true;
    }
    for (let i = 0; i < copies; i++) {
      const word = memory.load32(entry + i * 4);
      if ((word & SHORT_TYPE_MASK) === 0) {
        this.raise(WARN_HOLE);
        return false;
      }
      old[i] = word;
    }
    this.clearEntries(entry, copies);
    for (let i = 0; i < copies; i++) {
      const word = old[i] as number;
      if (span === SECTION && (word & SHORT_TYPE_MASK) === SHORT_TYPE_TABLE) {
        this.tellCleared(gather);
        this.dropTable(iova + i * span, word);
      } else {
        this.noteCleared(iova + i * span, span, 1, gather);
      }
    }
    if (!this.coherent) this.tellCleared(gather);
    return true;
  }

  #leaf(level: number, copies: number, paddr: number, prot: number): number {
    const mask = level === 1 ? SHORT_SECTION_ADDRESS : SHORT_PAGE_ADDRESS;
    const attributes = this.leaves[leafIndex(level, copies, prot)] as number;
    return this.word(attributes, paddr, mask);
  }

  /** Refuses pages whose entries would run past the end of their table. */
  #checkRun(iova: number, pgsize: number, pgcount: number): void {
    const copies = entriesOf(pgsize);
    if (copies <= 1) return;
    const first = pgsize >= SECTION;
    const entries = first ? this.topMask + 1 : TABLE_MASK + 1;
    const left = entries - (first ? (iova / SECTION) & this.topMask : (iova >>> 12) & TABLE_MASK);
    if (copies * pgcount > left && (left % copies !== 0 || entries % copies !== 0))
      throw new TableOverrunError({ iova, pgsize });
  }
}

/** Entries that a page of this size takes. */
function entriesOf(pgsize: number): number {
  return Math.floor(pgsize / (pgsize >= SECTION ? SECTION : PAGE));
}

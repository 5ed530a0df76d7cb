import { hex, IommuError, type U64, u64Of } from '@iommukit/bits';
import { ERRNO } from '@iommukit/platform';
import type { IotlbGather } from '../iotlb-gather.ts';
import { requirePageCount } from '../page-count.ts';
import type { PageTable } from '../page-table.ts';
import { PageTableBase } from '../page-table-base.ts';
import type { PageTableConfig } from '../page-table-config.ts';
import { IOMMU_READ, IOMMU_WRITE } from '../prot.ts';
import type { EntryKind, TableShape } from '../table-shape.ts';
import { zeroWords } from '../table-words.lanes.ts';
import {
  SHORT_COPIES,
  SHORT_LARGE_ADDRESS,
  SHORT_PAGE_ADDRESS,
  SHORT_SECTION_ADDRESS,
  SHORT_SUPERSECTION,
  SHORT_SUPERSECTION_ADDRESS,
  SHORT_TABLE_ADDRESS,
  SHORT_TYPE_LARGE,
  SHORT_TYPE_MASK,
  SHORT_TYPE_PAGE,
  SHORT_TYPE_TABLE,
} from './short-descriptor.ts';
import { claimWord, firstNot, storeRun } from './short-words.lanes.ts';

const TWO32 = 0x1_0000_0000;
const DIRECTIONS = IOMMU_READ + IOMMU_WRITE;
const ALL_BITS = -1;
/** Tells a supersection from everything else. */
const SUPER_MASK = SHORT_SUPERSECTION | SHORT_TYPE_MASK;
const SUPER = SHORT_SUPERSECTION | SHORT_TYPE_PAGE;
/** Bytes that an entry of level 1 and of level 2 spans. */
export const SECTION = 0x10_0000;
const PAGE = 0x1000;
/** A multiplication costs a walk less than a division. */
const PER_SECTION = 1 / SECTION;
/** Bytes and largest index of a second-level table. */
const TABLE_BYTES = 1024;
const TABLE_MASK = 255;
/** Values of `prot`: six flags. */
export const PROTS = 64;

/**
 * Register values of a short-descriptor table.
 * @example const { ttbr, nmrr, prrr }: V7sRegisters = table.registers;
 */
export interface V7sRegisters {
  /** TTBR0: address of the top table and walk attributes; with `mtkExt`, address bits 34:32 in bits 2:0 instead of attributes. */
  readonly ttbr: number;
  /** TTBCR: 0, TTBR0 translates everything. */
  readonly tcr: number;
  /** Cacheability by remapped attribute. */
  readonly nmrr: number;
  /** Memory type and shareability by remapped attribute. */
  readonly prrr: number;
}

/** What a table is made from besides the configuration. @internal */
export interface V7sParts {
  readonly base: number;
  readonly topBytes: number;
  readonly registers: V7sRegisters;
  /** Attributes of a leaf by `leafIndex`. */
  readonly leaves: Int32Array;
  readonly tableAttributes: number;
}

/** Where the attributes of a leaf stand: by level, by being one of several entries, by `prot`. @internal */
export function leafIndex(level: number, several: boolean, prot: number): number {
  return (level * 2 + (several ? 1 : 0)) * PROTS + (prot & (PROTS - 1));
}

/**
 * A page table of 32-bit entries in two levels (`drivers/iommu/io-pgtable-arm-v7s.c`): pages of 4 KiB, 64 KiB (16 equal entries),
 * 1 MiB and 16 MiB (16 equal entries). `mapPages` and `unmapPages` go page by page to the end, over tables, as the kernel's do, and
 * stop at the first page that fails. Made by `createPageTable(armV7s, config)`.
 *
 * The kernel does not look at the page size here: any multiple of an entry's span is written as so many equal entries. What would
 * leave the table, where the kernel would write over other memory, throws {@link TableOverrunError}.
 * @example table.mapPages(0x10_0000, 0x4000_0000, 0x1_0000, 1, IOMMU_READ + IOMMU_WRITE); table.iovaToPhys(0x10_1234); // 0x4000_1234
 */
export class V7sPageTable extends PageTableBase implements PageTable, TableShape {
  readonly pgsizeBitmap: number;
  /** Physical address of the top table. */
  readonly base: number;
  /** Register values that point a device to the table. */
  readonly registers: V7sRegisters;

  readonly entryBytes = 4;
  readonly topLevel = 1;
  readonly leafLevel = 2;
  readonly roots: readonly number[];

  /** The address of the top table in lanes. */
  readonly #baseLo: number;
  readonly #baseHi: number;
  readonly #topBytes: number;
  readonly #topMask: number;
  readonly #endIova: number;
  readonly #endPaddr: number;
  /** Tables must lie below this. */
  readonly #endTable: number;
  /** Entries carry address bits 34:32 (MediaTek). */
  readonly #wide: boolean;
  readonly #leaves: Int32Array;
  readonly #tableAttributes: number;
  /** What one unmap found before it cleared. */
  readonly #old: Uint32Array = new Uint32Array(SHORT_COPIES);
  /** Cleared leaves that nobody was told of yet: first IOVA, span, number. */
  #clearedAt = 0;
  #clearedSpan = 0;
  #cleared = 0;
  /** Where `#pageEntry` found the entry in its block. */
  #lane = 0;

  constructor(config: PageTableConfig, pgsizeBitmap: number, parts: V7sParts) {
    super(config);
    const quirks = config.quirks ?? {};
    this.pgsizeBitmap = pgsizeBitmap;
    this.base = parts.base;
    this.roots = [parts.base];
    this.#baseLo = parts.base | 0;
    this.#baseHi = (parts.base / TWO32) | 0;
    this.registers = parts.registers;
    this.#topBytes = parts.topBytes;
    // As an integer: a power gives a double, and the walk's index would be one.
    this.#topMask = (2 ** (config.ias - 20) - 1) | 0;
    this.#endIova = 2 ** config.ias;
    this.#endPaddr = 2 ** config.oas;
    this.#endTable = tableLimit(config);
    this.#wide = quirks.mtkExt === true;
    this.#leaves = parts.leaves;
    this.#tableAttributes = parts.tableAttributes;
  }

  /** How the tables look to a reader. */
  get shape(): TableShape {
    return this;
  }

  /** Empties a fresh top table. @internal */
  zeroTop(): void {
    zeroWords(this.memory, this.base, this.#topBytes);
    if (!this.coherent) this.clean(this.base, this.#topBytes);
  }

  entryCount(level: number): number {
    return level === 1 ? this.#topMask + 1 : TABLE_MASK + 1;
  }

  entrySpan(level: number): number {
    return level === 1 ? SECTION : PAGE;
  }

  kind(level: number, lo: number, _hi: number): EntryKind {
    if (lo === 0) return 'empty';
    const type = lo & SHORT_TYPE_MASK;
    if (type === 0) return 'invalid';
    return level === 1 && type === SHORT_TYPE_TABLE ? 'table' : 'leaf';
  }

  tableAddress(_level: number, lo: number, _hi: number): number {
    return this.#address(lo, SHORT_TABLE_ADDRESS);
  }

  leafAddress(level: number, lo: number, _hi: number): number {
    return this.#address(lo, leafMask(level, lo));
  }

  leafSize(level: number, lo: number, _hi: number): number {
    return (~leafMask(level, lo) >>> 0) + 1;
  }

  iovaAt(offset: number): number {
    return offset;
  }

  offsetOf(iova: number): number {
    return iova % (SECTION * (this.#topMask + 1));
  }

  mapPages(iova: number, paddr: number, pgsize: number, pgcount: number, prot: number): number {
    if (pgcount !== 1) requirePageCount(pgcount);
    this.mapped = 0;
    this.counters.formatCalls++;
    if (iova >= this.#endIova || paddr >= this.#endPaddr) {
      this.raise('map: address out of range');
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
    if (iova >= this.#endIova) {
      this.raise('unmap: address out of range');
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
    this.#tellCleared(gather);
    return done * pgsize;
  }

  iovaToPhys(iova: number): number {
    const memory = this.memory;
    const counters = this.counters;
    counters.walks++;
    counters.walkLevels++;
    let level = 1;
    let word = memory.load32(this.base + ((iova / SECTION) & this.#topMask) * 4);
    if ((word & SHORT_TYPE_MASK) === SHORT_TYPE_TABLE) {
      counters.walkLevels++;
      level = 2;
      const table = this.#address(word, SHORT_TABLE_ADDRESS);
      word = memory.load32(table + ((iova >>> 12) & TABLE_MASK) * 4);
    }
    if ((word & SHORT_TYPE_MASK) === 0) return 0;
    const mask = leafMask(level, word);
    return this.#address(word, mask) + ((iova & ~mask) >>> 0);
  }

  iovaToPhys64(iova: U64): U64 {
    // No level looks at bits above 33, and without them the address is exact.
    return u64Of(this.iovaToPhys((iova.hi & 3) * TWO32 + (iova.lo >>> 0)));
  }

  free(): void {
    this.flushAll();
    const memory = this.memory;
    const entries = this.#topMask + 1;
    for (let i = 0; i < entries; i++) {
      i += firstNot(memory, this.base + i * 4, entries - i, ALL_BITS, 0);
      if (i === entries) break;
      const word = memory.load32(this.base + i * 4);
      if ((word & SHORT_TYPE_MASK) === SHORT_TYPE_TABLE)
        this.release(this.#address(word, SHORT_TABLE_ADDRESS), TABLE_BYTES);
    }
    this.frames.free(this.base, this.#topBytes);
  }

  /** Maps one 4 KiB page, the usual call; false, and nothing done, where the long way must see to it. */
  #mapPage(iova: number, paddr: number, prot: number): boolean {
    const block = this.#pageEntry(iova);
    if (block === undefined || block[this.#lane] !== 0) return false;
    const attributes = this.#leaves[PAGE_LEAVES + (prot & (PROTS - 1))] as number;
    block[this.#lane] = this.#word(attributes, paddr, SHORT_PAGE_ADDRESS);
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
    const top = (this.#baseLo + (((iova * PER_SECTION) & this.#topMask) << 2)) | 0;
    const topHi = this.#baseHi;
    const block = memory.block(top, topHi);
    if (block === undefined) return undefined;
    const word = (block[(top & inBlock) >>> 2] as number) | 0;
    if ((word & SHORT_TYPE_MASK) !== SHORT_TYPE_TABLE) return undefined;
    const lo = (word & SHORT_TABLE_ADDRESS) | ((iova >>> 10) & (TABLE_MASK << 2));
    const hi = this.#wide ? wideHi(word) : 0;
    this.#lane = (lo & inBlock) >>> 2;
    return (((lo ^ top) & ~inBlock) | (hi ^ topHi)) === 0 ? block : memory.block(lo, hi);
  }

  /** Maps at least one page, or as many of one table as are free; their number, or a negative errno. */
  #mapSome(iova: number, paddr: number, pgsize: number, left: number, prot: number): number {
    const memory = this.memory;
    const counters = this.counters;
    counters.levels++;
    let level = 1;
    let index = (iova / SECTION) & this.#topMask;
    let entry = this.base + index * 4;
    let copies = (pgsize / SECTION) | 0;
    if (copies === 0) {
      let word = memory.load32(entry);
      let table = -1;
      if (word === 0) {
        table = this.#allocTable();
        if (table < 0) return -ERRNO.ENOMEM;
        word = this.#linkTable(entry, table);
        if (word !== 0) this.release(table, TABLE_BYTES);
      } else if (!this.coherent) {
        // Whoever wrote it may not have cleaned it yet, and the device must see it before what hangs below.
        this.clean(entry, 4);
      }
      if (word !== 0) {
        if ((word & SHORT_TYPE_MASK) !== SHORT_TYPE_TABLE) {
          this.raise('map: a leaf is in the way');
          return -ERRNO.EEXIST;
        }
        table = this.#address(word, SHORT_TABLE_ADDRESS);
      }
      counters.levels++;
      level = 2;
      index = (iova >>> 12) & TABLE_MASK;
      entry = table + index * 4;
      copies = (pgsize / PAGE) | 0;
      if (copies === 0) {
        this.raise('map: no level has the page size');
        return -ERRNO.EINVAL;
      }
    }
    const span = level === 1 ? SECTION : PAGE;
    const word = this.#leaf(level, copies, paddr, prot);
    if (pgsize === span && this.coherent) {
      let room = Math.min(left, this.entryCount(level) - index);
      // The MediaTek bits are no part of a 32-bit addition.
      if (this.#wide) room = Math.min(room, Math.ceil((TWO32 - (paddr >>> 0)) / span));
      const free = firstNot(memory, entry, room, ALL_BITS, 0);
      if (free > 0) {
        storeRun(memory, entry, free, word, span);
        counters.stores += free;
        return free;
      }
    }
    const errno = this.#install(level, entry, copies, iova, word);
    return errno === 0 ? 1 : errno;
  }

  /** Writes the equal entries of one page; tables in their place go, leaves refuse. */
  #install(level: number, entry: number, copies: number, iova: number, word: number): number {
    const memory = this.memory;
    for (let i = firstNot(memory, entry, copies, ALL_BITS, 0); i < copies; i++) {
      const old = memory.load32(entry + i * 4);
      if (old === 0) continue;
      if (level === 2 || (old & SHORT_TYPE_MASK) !== SHORT_TYPE_TABLE) {
        this.raise('map: a leaf is in the way');
        return -ERRNO.EEXIST;
      }
      this.#clearEntries(entry + i * 4, 1);
      this.#dropTable(iova + i * SECTION, old);
    }
    storeRun(memory, entry, copies, word, 0);
    this.counters.stores += copies;
    if (!this.coherent) this.clean(entry, copies * 4);
    return 0;
  }

  /** Unmaps at least one page, or as many of one table as are mapped by single entries; their number, 0 when it must stop. */
  #unmapSome(iova: number, pgsize: number, left: number, gather: IotlbGather | null): number {
    const memory = this.memory;
    const counters = this.counters;
    counters.levels++;
    let level = 1;
    let index = (iova / SECTION) & this.#topMask;
    let entry = this.base + index * 4;
    let copies = (pgsize / SECTION) | 0;
    if (copies === 0) {
      const word = memory.load32(entry);
      const type = word & SHORT_TYPE_MASK;
      if (type !== SHORT_TYPE_TABLE) {
        this.raise(type === 0 ? 'unmap: nothing is mapped' : PARTIAL);
        return 0;
      }
      counters.levels++;
      level = 2;
      index = (iova >>> 12) & TABLE_MASK;
      entry = this.#address(word, SHORT_TABLE_ADDRESS) + index * 4;
      copies = (pgsize / PAGE) | 0;
    }
    const span = level === 1 ? SECTION : PAGE;
    if (copies <= 1) {
      // Non-coherent tables are cleaned page by page.
      const batch = this.coherent && pgsize === span;
      const n = batch ? Math.min(left, this.entryCount(level) - index) : copies;
      const single = firstNot(
        memory,
        entry,
        n,
        level === 1 ? SUPER_MASK : SHORT_TYPE_PAGE,
        SHORT_TYPE_PAGE,
      );
      if (single > 0) {
        this.#clearEntries(entry, single);
        this.#noteCleared(iova, span, single, gather);
        if (!this.coherent) this.#tellCleared(gather);
        return single;
      }
      const word = memory.load32(entry);
      const table = level === 1 && (word & SHORT_TYPE_MASK) === SHORT_TYPE_TABLE;
      if (!table || copies === 0) {
        this.raise((word & SHORT_TYPE_MASK) === 0 ? 'unmap: nothing is mapped' : PARTIAL);
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
      this.#clearEntries(entry, copies);
      this.#noteCleared(iova, span, copies, gather);
      if (!this.coherent) this.#tellCleared(gather);
      return true;
    }
    for (let i = 0; i < copies; i++) {
      const word = memory.load32(entry + i * 4);
      if ((word & SHORT_TYPE_MASK) === 0) {
        this.raise('unmap: nothing is mapped');
        return false;
      }
      old[i] = word;
    }
    this.#clearEntries(entry, copies);
    for (let i = 0; i < copies; i++) {
      const word = old[i] as number;
      if (span === SECTION && (word & SHORT_TYPE_MASK) === SHORT_TYPE_TABLE) {
        this.#tellCleared(gather);
        this.#dropTable(iova + i * span, word);
      } else {
        this.#noteCleared(iova + i * span, span, 1, gather);
      }
    }
    if (!this.coherent) this.#tellCleared(gather);
    return true;
  }

  #clearEntries(entry: number, n: number): void {
    storeRun(this.memory, entry, n, 0, 0);
    this.counters.stores += n;
    if (!this.coherent) this.clean(entry, n * 4);
  }

  /** Invalidates walks through a table that was unlinked, and frees it. */
  #dropTable(iova: number, word: number): void {
    this.counters.tlbFlushWalks++;
    this.flush.tlbFlushWalk(iova, SECTION, PAGE);
    this.release(this.#address(word, SHORT_TABLE_ADDRESS), TABLE_BYTES);
  }

  /** Remembers cleared leaves, so that one call tells of neighbours. */
  #noteCleared(iova: number, span: number, n: number, gather: IotlbGather | null): void {
    const next = this.#clearedAt + this.#cleared * this.#clearedSpan;
    if (this.#cleared > 0 && (span !== this.#clearedSpan || iova !== next))
      this.#tellCleared(gather);
    if (this.#cleared === 0) {
      this.#clearedAt = iova;
      this.#clearedSpan = span;
    }
    this.#cleared += n;
  }

  #tellCleared(gather: IotlbGather | null): void {
    const n = this.#cleared;
    if (n === 0) return;
    this.#cleared = 0;
    this.addPages(gather, this.#clearedAt, this.#clearedSpan, n);
  }

  /** A zeroed second-level table; -1 without a frame, or for one that no entry can point to. */
  #allocTable(): number {
    const table = this.frames.alloc(TABLE_BYTES);
    if (table < 0) return -1;
    if (table >= this.#endTable) {
      this.frames.free(table, TABLE_BYTES);
      return -1;
    }
    this.allocated();
    zeroWords(this.memory, table, TABLE_BYTES);
    if (!this.coherent) this.clean(table, TABLE_BYTES);
    return table;
  }

  /** Makes an empty entry point to a table; what another CPU wrote there first, otherwise 0. */
  #linkTable(entry: number, table: number): number {
    const old = claimWord(this.memory, entry, this.#word(this.#tableAttributes, table));
    if (old === 0) this.counters.stores++;
    if (!this.coherent) this.clean(entry, 4);
    return old;
  }

  #leaf(level: number, copies: number, paddr: number, prot: number): number {
    const mask = level === 1 ? SHORT_SECTION_ADDRESS : SHORT_PAGE_ADDRESS;
    const attributes = this.#leaves[leafIndex(level, copies > 1, prot)] as number;
    return this.#word(attributes, paddr, mask);
  }

  /** An entry; MediaTek's address bits 32, 33 and 34 stand in bits 9, 4 and 5. */
  #word(attributes: number, pa: number, mask = ALL_BITS): number {
    const word = attributes | (pa & mask);
    if (!this.#wide) return word;
    const hi = (pa / TWO32) | 0;
    return word | ((hi & 1) << 9) | ((hi & 6) << 3);
  }

  #address(word: number, mask: number): number {
    const lo = (word & mask) >>> 0;
    return this.#wide ? wideHi(word) * TWO32 + lo : lo;
  }

  /** Refuses pages whose entries would run past the end of their table. */
  #checkRun(iova: number, pgsize: number, pgcount: number): void {
    const copies = entriesOf(pgsize);
    if (copies <= 1) return;
    const first = pgsize >= SECTION;
    const entries = first ? this.#topMask + 1 : TABLE_MASK + 1;
    const left = entries - (first ? (iova / SECTION) & this.#topMask : (iova >>> 12) & TABLE_MASK);
    if (copies * pgcount > left && (left % copies !== 0 || entries % copies !== 0))
      throw new TableOverrunError({ iova, pgsize });
  }
}

/** Where the attributes of 4 KiB pages begin. */
const PAGE_LEAVES: number = leafIndex(2, false, 0);

const PARTIAL = 'Unmap of a partial large IOPTE is not allowed';

/** MediaTek's address bits 34:32. */
function wideHi(word: number): number {
  return ((word >>> 9) & 1) | ((word >>> 3) & 6);
}

/** Address bits of a leaf, which tell its size too. */
function leafMask(level: number, word: number): number {
  if (level === 1)
    return (word & SHORT_SUPERSECTION) !== 0 ? SHORT_SUPERSECTION_ADDRESS : SHORT_SECTION_ADDRESS;
  return (word & SHORT_TYPE_MASK) === SHORT_TYPE_LARGE ? SHORT_LARGE_ADDRESS : SHORT_PAGE_ADDRESS;
}

/** Entries that a page of this size takes. */
function entriesOf(pgsize: number): number {
  return Math.floor(pgsize / (pgsize >= SECTION ? SECTION : PAGE));
}

/** Tables lie below this: table entries and TTBR hold 32 address bits, with `mtkTtbrExt` as many as leaves. @internal */
export function tableLimit({ oas, quirks = {} }: PageTableConfig): number {
  return quirks.mtkTtbrExt ? 2 ** oas : TWO32;
}

/**
 * A page that tables of this format cannot hold: its entries would run past the end of their table, because the IOVA is not aligned
 * to the page size, or an unmap is told a size of more than 16 entries; code `TABLE_OVERRUN`. Nothing was changed.
 * @example try { table.mapPages(0xf_f000, 0, 0x1_0000, 1, IOMMU_READ); } catch (e) { (e as TableOverrunError).operands.pgsize; }
 */
export class TableOverrunError extends IommuError<{ iova: number; pgsize: number }> {
  override readonly name = 'TableOverrunError';
  constructor(operands: { iova: number; pgsize: number }) {
    super(
      'TABLE_OVERRUN',
      operands,
      `no table holds pages of ${hex(operands.pgsize)} from ${hex(operands.iova)} on`,
      "Pass one of the format's page sizes and an IOVA aligned to it",
    );
  }
}

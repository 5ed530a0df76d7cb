import { type U64, u64Of } from '@iommukit/bits';
import type { IotlbGather } from '../iotlb-gather.ts';
import { PageTableBase } from '../page-table-base.ts';
import type { PageTableConfig } from '../page-table-config.ts';
import type { EntryKind, TableShape } from '../table-shape.ts';
import { zeroWords } from '../table-words.lanes.ts';
import {
  SHORT_LARGE_ADDRESS,
  SHORT_PAGE_ADDRESS,
  SHORT_SECTION_ADDRESS,
  SHORT_SUPERSECTION,
  SHORT_SUPERSECTION_ADDRESS,
  SHORT_TABLE_ADDRESS,
  SHORT_TYPE_LARGE,
  SHORT_TYPE_MASK,
  SHORT_TYPE_TABLE,
} from './short-descriptor.ts';
import { claimWord, firstNot, storeRun } from './short-words.lanes.ts';

const TWO32 = 0x1_0000_0000;
/** All bits of an entry. */
export const ALL_BITS = -1;
/** Bytes that an entry of level 1 and of level 2 spans. */
export const SECTION = 0x10_0000;
export const PAGE = 0x1000;
/** Bytes and largest index of a second-level table. */
const TABLE_BYTES = 1024;
export const TABLE_MASK = 255;
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

/** Where the attributes of a leaf stand: by level, by the equal entries of its page (one or several), by `prot`. @internal */
export function leafIndex(level: number, copies: number, prot: number): number {
  return (level * 2 + (copies > 1 ? 1 : 0)) * PROTS + (prot & (PROTS - 1));
}

/**
 * The tables of one short-descriptor page table: shape, look-up, allocating, linking, clearing and freeing them, and what is fixed at
 * creation. Maps and unmaps build on it (`V7sPageTable`).
 * @internal
 */
export class V7sTables extends PageTableBase implements TableShape {
  readonly pgsizeBitmap: number;
  /** Physical address of the top table. */
  readonly base: number;
  /** Register values that point a device to the table. */
  readonly registers: V7sRegisters;

  readonly entryBytes = 4;
  readonly topLevel = 1;
  readonly leafLevel = 2;
  readonly roots: readonly number[];

  /** The address of the top table in lanes. @internal */ readonly baseLo: number;
  /** @internal */ readonly baseHi: number;
  readonly #topBytes: number;
  /** Largest index of the top table. @internal */ readonly topMask: number;
  /** Ends of the IOVAs and of the output addresses. @internal */ readonly endIova: number;
  /** @internal */ readonly endPaddr: number;
  /** Tables must lie below this. */
  readonly #endTable: number;
  /** Entries carry address bits 34:32 (MediaTek). @internal */ readonly wide: boolean;
  /** Attributes of a leaf by `leafIndex`. @internal */ readonly leaves: Int32Array;
  readonly #tableAttributes: number;
  /** Cleared leaves that nobody was told of yet: first IOVA, span, number. */
  #clearedAt = 0;
  #clearedSpan = 0;
  #cleared = 0;

  constructor(config: PageTableConfig, pgsizeBitmap: number, parts: V7sParts) {
    super(config);
    const quirks = config.quirks ?? {};
    this.pgsizeBitmap = pgsizeBitmap;
    this.base = parts.base;
    this.roots = [parts.base];
    this.baseLo = parts.base | 0;
    this.baseHi = (parts.base / TWO32) | 0;
    this.registers = parts.registers;
    this.#topBytes = parts.topBytes;
    // As an integer: a power gives a double, and the walk's index would be one.
    this.topMask = (2 ** (config.ias - 20) - 1) | 0;
    this.endIova = 2 ** config.ias;
    this.endPaddr = 2 ** config.oas;
    this.#endTable = tableLimit(config);
    this.wide = quirks.mtkExt === true;
    this.leaves = parts.leaves;
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
    return level === 1 ? this.topMask + 1 : TABLE_MASK + 1;
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
    return this.address(lo, SHORT_TABLE_ADDRESS);
  }

  leafAddress(level: number, lo: number, _hi: number): number {
    return this.address(lo, leafMask(level, lo));
  }

  leafSize(level: number, lo: number, _hi: number): number {
    return (~leafMask(level, lo) >>> 0) + 1;
  }

  iovaAt(offset: number): number {
    return offset;
  }

  offsetOf(iova: number): number {
    return iova % (SECTION * (this.topMask + 1));
  }

  iovaToPhys(iova: number): number {
    const memory = this.memory;
    const counters = this.counters;
    counters.walks++;
    counters.walkLevels++;
    let level = 1;
    let word = memory.load32(this.base + ((iova / SECTION) & this.topMask) * 4);
    if ((word & SHORT_TYPE_MASK) === SHORT_TYPE_TABLE) {
      counters.walkLevels++;
      level = 2;
      const table = this.address(word, SHORT_TABLE_ADDRESS);
      word = memory.load32(table + ((iova >>> 12) & TABLE_MASK) * 4);
    }
    if ((word & SHORT_TYPE_MASK) === 0) return 0;
    const mask = leafMask(level, word);
    return this.address(word, mask) + ((iova & ~mask) >>> 0);
  }

  iovaToPhys64(iova: U64): U64 {
    // No level looks at bits above 33, and without them the address is exact.
    return u64Of(this.iovaToPhys((iova.hi & 3) * TWO32 + (iova.lo >>> 0)));
  }

  free(): void {
    this.flushAll();
    const memory = this.memory;
    const entries = this.topMask + 1;
    for (let i = 0; i < entries; i++) {
      i += firstNot(memory, this.base + i * 4, entries - i, ALL_BITS, 0);
      if (i === entries) break;
      const word = memory.load32(this.base + i * 4);
      if ((word & SHORT_TYPE_MASK) === SHORT_TYPE_TABLE)
        this.releaseTable(this.address(word, SHORT_TABLE_ADDRESS));
    }
    this.frames.free(this.base, this.#topBytes);
  }

  /** Empties `n` entries. @internal */
  clearEntries(entry: number, n: number): void {
    storeRun(this.memory, entry, n, 0, 0);
    this.counters.stores += n;
    if (!this.coherent) this.clean(entry, n * 4);
  }

  /** Invalidates walks through a table that was unlinked, and frees it. @internal */
  dropTable(iova: number, word: number): void {
    this.counters.tlbFlushWalks++;
    this.flush.tlbFlushWalk(iova, SECTION, PAGE);
    this.releaseTable(this.address(word, SHORT_TABLE_ADDRESS));
  }

  /** Takes back a table that nothing points to. @internal */
  releaseTable(table: number): void {
    this.release(table, TABLE_BYTES);
  }

  /** Remembers cleared leaves, so that one call tells of neighbours. @internal */
  noteCleared(iova: number, span: number, n: number, gather: IotlbGather | null): void {
    const next = this.#clearedAt + this.#cleared * this.#clearedSpan;
    if (this.#cleared > 0 && (span !== this.#clearedSpan || iova !== next))
      this.tellCleared(gather);
    if (this.#cleared === 0) {
      this.#clearedAt = iova;
      this.#clearedSpan = span;
    }
    this.#cleared += n;
  }

  /** Tells a gather of what was noted. @internal */
  tellCleared(gather: IotlbGather | null): void {
    const n = this.#cleared;
    if (n === 0) return;
    this.#cleared = 0;
    this.addPages(gather, this.#clearedAt, this.#clearedSpan, n);
  }

  /** A zeroed second-level table; -1 without a frame, or for one that no entry can point to. @internal */
  allocTable(): number {
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

  /** Makes an empty entry point to a table; what another CPU wrote there first, otherwise 0. @internal */
  linkTable(entry: number, table: number): number {
    const old = claimWord(this.memory, entry, this.word(this.#tableAttributes, table));
    if (old === 0) this.counters.stores++;
    if (!this.coherent) this.clean(entry, 4);
    return old;
  }

  /** An entry; MediaTek's address bits 32, 33 and 34 stand in bits 9, 4 and 5. @internal */
  word(attributes: number, pa: number, mask: number = ALL_BITS): number {
    const word = attributes | (pa & mask);
    if (!this.wide) return word;
    const hi = (pa / TWO32) | 0;
    return word | ((hi & 1) << 9) | ((hi & 6) << 3);
  }

  /** The address under `mask` in an entry. @internal */
  address(word: number, mask: number): number {
    const lo = (word & mask) >>> 0;
    return this.wide ? wideHi(word) * TWO32 + lo : lo;
  }
}

/** MediaTek's address bits 34:32. @internal */
export function wideHi(word: number): number {
  return ((word >>> 9) & 1) | ((word >>> 3) & 6);
}

/** Address bits of a leaf, which tell its size too. */
function leafMask(level: number, word: number): number {
  if (level === 1)
    return (word & SHORT_SUPERSECTION) !== 0 ? SHORT_SUPERSECTION_ADDRESS : SHORT_SECTION_ADDRESS;
  return (word & SHORT_TYPE_MASK) === SHORT_TYPE_LARGE ? SHORT_LARGE_ADDRESS : SHORT_PAGE_ADDRESS;
}

/** Tables lie below this: table entries and TTBR hold 32 address bits, with `mtkTtbrExt` as many as leaves. @internal */
export function tableLimit({ oas, quirks = {} }: PageTableConfig): number {
  return quirks.mtkTtbrExt ? 2 ** oas : TWO32;
}

import { type U64, u64Of } from '@iommukit/bits';
import { ERRNO, type MemoryView } from '@iommukit/platform';
import type { IotlbGather } from '../iotlb-gather.ts';
import {
  countClean,
  countTable,
  type PageTableCounters,
  pageTableCounters,
} from '../page-table-counters.ts';
import type { EntryKind, TableShape } from '../table-shape.ts';
import { firstUsed, zeroWords } from '../table-words.lanes.ts';
import type {
  DmaTableFrames,
  GenericConfig,
  GenericDriver,
  GenericFeature,
} from './generic-config.ts';
import { GENERIC_FEATURES } from './generic-config.ts';
import type { GenericEntries, GenericGeometry, HasFeature } from './generic-entries.ts';
import { offeredSizes } from './generic-sizes.ts';

const TWO32 = 0x1_0000_0000;
const TWO64 = TWO32 * TWO32;
/** Bytes of every table, the top one included: a page of the CPU. */
export const TABLE_BYTES = 4096;
/** Values of `prot`: six flags. */
export const PROTS = 64;

/** What an entry is. */
export const EMPTY = 0;
export const TABLE = 1;
export const LEAF = 2;
const ZERO: U64 = { lo: 0, hi: 0 };
const KIND_NAMES: readonly EntryKind[] = ['empty', 'table', 'leaf'];
const KINDS: Readonly<Record<'empty' | 'table' | 'leaf', number>> = {
  empty: EMPTY,
  table: TABLE,
  leaf: LEAF,
};

/**
 * The tables of one generic page table: allocating, linking, growing and freeing them, and everything that is fixed at creation.
 * What stores and clears leaves builds on it (`GenericPageTable`).
 * @internal
 */
export class GenericTables<H> implements TableShape {
  /** Warnings raised so far; those that the kernel prints only once are counted every time. */
  warnings = 0;
  readonly counters: PageTableCounters = pageTableCounters();
  /** Page sizes in force: those that the format offers within the configured sizes, narrowed by `pgsizeMask`. */
  readonly pgsizeBitmap: number;
  /** Page sizes before the caller narrowed them. */
  readonly offeredPgsizes: number;
  readonly maxVaszLg2: number;
  readonly maxOaszLg2: number;
  /** Features that were asked for, in the order of their bits, and `FULL_VA` where the first top table translates all 64 bits. */
  readonly features: readonly GenericFeature[];
  /** IOVAs given to callers: [start, end). */
  readonly apertureStart = 0;
  readonly apertureEnd: number;

  readonly entryBytes = 8;
  readonly leafLevel = 0;
  topLevel: number;
  /** Address of the top table. */
  top = -1;
  /** The same in lanes. @internal */ topLo = -1;
  /** @internal */ topHi = -1;

  /** @internal */ readonly memory: MemoryView;
  /** @internal */ readonly driver: GenericDriver;
  /** @internal */ readonly incoherent: boolean;
  /** @internal */ readonly noGaps: boolean;
  /** @internal */ readonly detailed: boolean;
  /** @internal */ readonly dynamicTop: boolean;
  /** Smallest page, bytes. @internal */ readonly granule: number;
  /** Bytes that one entry of each level spans, and the largest index, by level. @internal */
  readonly spans: Float64Array;
  /** 1 / span: a multiplication costs a walk less than a division. @internal */
  readonly inverses: Float64Array;
  /** @internal */ readonly masks: Int32Array;
  /** Largest index of the top table, and the end of what it translates. @internal */ topMask = 0;
  /** @internal */ reach = 0;
  /** What entries are by level and bits 11:0. @internal */ readonly kinds: Uint8Array;
  /** The same, a part for each level. @internal */ readonly levelKinds: readonly Uint8Array[];
  /** @internal */ readonly notZero: boolean;
  /** Bits that mark a page of several entries; both 0: no such pages. @internal */
  readonly contLo: number;
  /** @internal */ readonly contHi: number;
  /** @internal */ readonly dirtyLo: number;
  /** @internal */ readonly flushedLo: number;
  /** Address field: where it is packed, and without the encryption bit where it is read. @internal */
  readonly fieldLo: number;
  /** @internal */ readonly fieldHi: number;
  /** @internal */ readonly scale: number;
  /** @internal */ readonly readLo: number;
  /** @internal */ readonly readHi: number;
  /** The inverse of the scale: a multiplication costs a walk less than a division. @internal */
  readonly unscale: number;
  /** It as a shift to the left; only where it is no fraction. @internal */
  readonly shift: number;

  readonly #lowestOne: boolean;
  readonly #frames: DmaTableFrames;
  readonly #dma: boolean;
  readonly #warn: ((text: string) => void) | undefined;
  readonly #entries: GenericEntries<H>;
  readonly #tableLo: readonly number[];
  readonly #tableHi: readonly number[];
  /** With a sign: the first address of the upper half, and the start of what its entries translate; else 0. */
  readonly #signHalf: number;
  readonly #signBase: number;

  constructor(
    entries: GenericEntries<H>,
    config: GenericConfig,
    geometry: GenericGeometry,
    has: HasFeature,
  ) {
    this.#entries = entries;
    this.memory = config.memory;
    this.driver = config.driver;
    this.#frames = config.frames;
    this.#warn = config.warn;
    this.maxVaszLg2 = geometry.maxVaszLg2;
    this.maxOaszLg2 = config.hwMaxOaszLg2;
    this.topLevel = geometry.topLevel;
    this.incoherent = has('DMA_INCOHERENT');
    this.noGaps = has('FLUSH_RANGE_NO_GAPS');
    this.detailed = has('DETAILED_GATHER');
    this.dynamicTop = has('DYNAMIC_TOP');
    this.#dma = this.incoherent && config.cacheMaintenance === 'dma';
    this.granule = 2 ** entries.granuleLg2;
    const levels = Array.from({ length: entries.maxTopLevel + 1 }, (_, level) => level);
    this.spans = Float64Array.from(levels, (level) => this.granule * 2 ** (9 * level));
    this.inverses = this.spans.map((span) => 1 / span);
    this.masks = Int32Array.from(levels, (level) => 2 ** entries.itemsLg2(level) - 1);
    this.kinds = kindTable(entries, levels.length);
    this.levelKinds = levels.map((level) => this.kinds.subarray(level * 4096, (level + 1) * 4096));
    this.notZero = entries.presentWhenNotZero;
    this.contLo = (entries.contiguous?.lo ?? 0) | 0;
    this.contHi = (entries.contiguous?.hi ?? 0) | 0;
    this.#lowestOne = entries.contiguous?.lowest === 'one';
    this.dirtyLo = entries.dirty;
    this.flushedLo = entries.flushed;
    const sme = u64OfMask(config.smeMeMask ?? 0);
    this.fieldLo = entries.address.lo | 0;
    this.fieldHi = entries.address.hi | 0;
    this.scale = entries.address.scale;
    this.unscale = 1 / this.scale;
    this.shift = 31 - Math.clz32(this.unscale);
    this.readLo = this.fieldLo & ~sme.lo;
    this.readHi = this.fieldHi & ~sme.hi;
    const words = levels.map((level) => entries.tableAttributes(level, has, sme));
    this.#tableLo = words.map(({ lo }) => lo | 0);
    this.#tableHi = words.map(({ hi }) => hi | 0);
    const signed = has('SIGN_EXTEND');
    const all = 2 ** this.maxVaszLg2;
    this.#signHalf = signed ? all / 2 : 0;
    this.#signBase = signed ? TWO64 - all : 0;
    this.#setReach();
    this.features = GENERIC_FEATURES.filter(
      (name) => config.features.includes(name) || (name === 'FULL_VA' && this.reach === TWO64),
    );
    this.apertureEnd = signed ? all / 2 : this.dynamicTop ? all : this.reach;
    this.offeredPgsizes = offeredSizes(entries, has, this);
    this.pgsizeBitmap = narrowed(this.offeredPgsizes, config.pgsizeMask);
  }

  /** How the tables look to a reader. */
  get shape(): TableShape {
    return this;
  }

  /** Top table, ready to be given to the device. */
  get hwInfo(): H {
    return this.#entries.hwInfo(this.top, this.topLevel);
  }

  get roots(): readonly number[] {
    return [this.top];
  }

  entryCount(level: number): number {
    return (level === this.topLevel ? this.topMask : (this.masks[level] as number)) + 1;
  }

  entrySpan(level: number): number {
    return this.spans[level] as number;
  }

  kind(level: number, lo: number, hi: number): EntryKind {
    return KIND_NAMES[this.kindOf(level, lo, hi)] as EntryKind;
  }

  tableAddress(_level: number, lo: number, hi: number): number {
    return this.address(lo, hi);
  }

  leafAddress(level: number, lo: number, hi: number): number {
    const address = this.address(lo, hi);
    return address - lowBits(address, this.leafSize(level, lo, hi));
  }

  leafSize(level: number, lo: number, hi: number): number {
    return this.spanItems(lo, hi, this.spans[level] as number) * (this.spans[level] as number);
  }

  iovaAt(offset: number): number {
    return this.#signHalf > 0 && offset >= this.#signHalf ? this.#signBase + offset : offset;
  }

  offsetOf(iova: number): number {
    return iova % (this.#signHalf > 0 ? this.#signHalf * 2 : this.reach);
  }

  /** Frees every table; the driver has let go of them before. No invalidation is asked for. */
  free(): void {
    const tables: number[] = [this.top];
    this.#listBelow(this.topLevel, this.top, tables);
    this.takeBack(tables);
    this.freeTables(tables);
  }

  /** Frees tables of a gather's freelist, after the invalidation of that gather. */
  freeTables(tables: readonly number[]): void {
    for (const table of tables) {
      this.counters.tablesFreed++;
      this.#frames.free(table, TABLE_BYTES);
    }
  }

  /** Invalidates what a gather holds, frees its tables and empties it (`iommu_iotlb_sync` and the driver's part of it). */
  syncGather(gather: IotlbGather): void {
    if (!gather.isEmpty) this.driver.iotlbSync(gather);
    if (gather.freelist.length > 0) this.freeTables(gather.freelist);
    gather.init();
  }

  /** Allocates the top table: 0 or a negative errno. @internal */
  allocTop(): number {
    const table = this.allocTable();
    if (table < 0) return table;
    this.#setTop(table);
    return 0;
  }

  /** A zeroed table that the device may walk, or a negative errno. @internal */
  allocTable(): number {
    const table = this.#frames.alloc(TABLE_BYTES);
    if (table < 0) return -ERRNO.ENOMEM;
    countTable(this.counters);
    zeroWords(this.memory, table, TABLE_BYTES);
    if (!this.incoherent) return table;
    if (!this.#dma || this.#frames.dmaMap === undefined) this.clean(table, TABLE_BYTES);
    else if (!this.#frames.dmaMap(table, TABLE_BYTES)) {
      this.freeTables([table]);
      return -ERRNO.EINVAL;
    }
    return table;
  }

  /** Takes tables that nothing points to any more back from the device. @internal */
  takeBack(tables: readonly number[]): void {
    if (!this.#dma) return;
    for (const table of tables) this.#frames.dmaUnmap?.(table, TABLE_BYTES);
  }

  /** The table below `entry`, made if there is none: its address or a negative errno. @internal */
  tableBelow(level: number, entry: number): number {
    const memory = this.memory;
    for (;;) {
      const lo = memory.load64(entry);
      const hi = memory.hi;
      const kind = this.kindOf(level, lo, hi);
      if (kind === TABLE) {
        // Whoever linked it may not have come to the cache maintenance yet, and the device must see it before what hangs below.
        if (this.incoherent && (lo & this.flushedLo) === 0) this.#flushLink(entry, lo, hi);
        return this.address(lo, hi);
      }
      if (kind === LEAF) return -EADDRINUSE;
      const fresh = this.allocTable();
      if (fresh < 0) return fresh;
      // What a foreign hand left here without the bit that makes it present is replaced.
      if (this.#link(level, entry, fresh, { lo, hi })) return fresh;
      this.takeBack([fresh]);
      this.freeTables([fresh]);
    }
  }

  /**
   * Puts tables above the top until [iova, end) and a page at `level` fit: 0 or a negative errno. A growth that fails frees what it
   * allocated and leaves the old top. @internal
   */
  grow(iova: number, end: number, level: number): number {
    if (this.translates(iova, end) && level <= this.topLevel) return 0;
    const entries = this.#entries;
    const fresh: number[] = [];
    let top = this.top;
    let topLevel = this.topLevel;
    let errno = 0;
    for (;;) {
      const reach = Math.min(
        (this.spans[topLevel] as number) * ((this.masks[topLevel] as number) + 1),
        2 ** this.maxVaszLg2,
      );
      if (end <= reach && level <= topLevel) break;
      topLevel++;
      if (
        topLevel > entries.maxTopLevel ||
        (this.spans[topLevel] as number) >= 2 ** this.maxVaszLg2
      )
        errno = -ERRNO.ERANGE;
      const table = errno === 0 ? this.allocTable() : errno;
      if (table < 0) {
        this.takeBack(fresh);
        this.freeTables(fresh);
        return table;
      }
      fresh.push(table);
      this.#link(topLevel, table, top, ZERO);
      top = table;
    }
    this.#setTop(top);
    this.topLevel = topLevel;
    this.#setReach();
    this.driver.changeTop?.(top, topLevel);
    return 0;
  }

  /** True when the top table translates [iova, end), `end` at most 2^64. @internal */
  translates(iova: number, end: number): boolean {
    const half = this.#signHalf;
    if (half === 0) return end <= this.reach;
    return iova < half ? end <= half * 2 : iova >= this.#signBase;
  }

  /** True when the top table translates an IOVA. @internal */
  covers(iova: number): boolean {
    const half = this.#signHalf;
    return half === 0 ? iova < this.reach : iova < half || iova >= this.#signBase;
  }

  /** @internal */
  kindOf(level: number, lo: number, hi: number): number {
    const kind = this.kinds[(level << 12) | (lo & 0xfff)] as number;
    if (kind !== EMPTY || !this.notZero || (lo | hi) === 0) return kind;
    return level === 0 ? LEAF : TABLE;
  }

  /** The address in an entry; of a page of several entries with the code of its size. @internal */
  address(lo: number, hi: number): number {
    return ((hi & this.readHi) * TWO32 + ((lo & this.readLo) >>> 0)) * this.unscale;
  }

  /** Entries that the page of a leaf takes, given the span of one. @internal */
  spanItems(lo: number, hi: number, span: number): number {
    const { contLo, contHi } = this;
    if ((contLo | contHi) === 0 || (lo & contLo) !== contLo || (hi & contHi) !== contHi) return 1;
    return this.#codedItems(lo, hi, span);
  }

  /** Entries of a page that says its size in the address field. */
  #codedItems(lo: number, hi: number, span: number): number {
    const field = this.address(lo, hi) / this.granule;
    let low = field >>> 0;
    let bits = 0;
    if (!this.#lowestOne) low = ~low;
    if (low === 0) {
      low = (field / TWO32) | 0;
      if (!this.#lowestOne) low = ~low;
      bits = 32;
    }
    bits += 31 - Math.clz32(low & -low);
    return Math.max(1, (this.granule * 2 ** (bits + 1)) / span);
  }

  /** @internal */
  clean(pa: number, bytes: number): void {
    countClean(this.counters, pa, bytes);
    this.memory.clean(pa, bytes);
  }

  /** @internal */
  raise(text: string): void {
    this.warnings++;
    this.#warn?.(text);
  }

  /** Makes an entry that still holds `old` point to a table; false when another CPU was faster. */
  #link(level: number, entry: number, table: number, old: U64): boolean {
    const word = table * this.scale;
    const lo = (word & this.fieldLo) | (this.#tableLo[level] as number);
    const hi = ((word / TWO32) & this.fieldHi) | (this.#tableHi[level] as number);
    if (!this.memory.cas64(entry, old.lo, old.hi, lo, hi)) return false;
    this.counters.stores++;
    if (this.incoherent) this.#flushLink(entry, lo, hi);
    return true;
  }

  #flushLink(entry: number, lo: number, hi: number): void {
    this.clean(entry, 8);
    // The mark itself needs no clean: a device ignores it, and a CPU that misses it only cleans once more.
    this.memory.store64(entry, lo | this.flushedLo, hi);
    this.counters.stores++;
  }

  #setReach(): void {
    const level = this.topLevel;
    const span = this.spans[level] as number;
    const all = 2 ** this.maxVaszLg2;
    this.reach = Math.min(span * ((this.masks[level] as number) + 1), all);
    // As an integer: a division gives a double, and the walk's index would be one.
    this.topMask = (Math.max(1, this.reach / span) - 1) | 0;
  }

  #setTop(table: number): void {
    this.top = table;
    this.topLo = table | 0;
    this.topHi = (table / TWO32) | 0;
  }

  #listBelow(level: number, table: number, tables: number[]): void {
    if (level === 0) return;
    const memory = this.memory;
    const entries = this.entryCount(level);
    for (let i = firstUsed(memory, table, entries); i < entries; ) {
      const lo = memory.load64(table + i * 8);
      if (this.kindOf(level, lo, memory.hi) === TABLE) {
        const below = this.address(lo, memory.hi);
        tables.push(below);
        this.#listBelow(level - 1, below, tables);
      }
      i++;
      i += firstUsed(memory, table + i * 8, entries - i);
    }
  }
}

/** What entries are by level and bits 11:0; whatever is present at the level of leaves is one. */
function kindTable(entries: GenericEntries<unknown>, levels: number): Uint8Array {
  const kinds = new Uint8Array(levels * 4096);
  for (let level = 0; level < levels; level++)
    for (let low = 0; low < 4096; low++) {
      const kind = KINDS[entries.kind(level, low)];
      kinds[level * 4096 + low] = level === 0 && kind !== EMPTY ? LEAF : kind;
    }
  return kinds;
}

/** Page sizes under a mask; without one, all of them. */
function narrowed(sizes: number, pgsizeMask: U64 | number | undefined): number {
  if (pgsizeMask === undefined) return sizes;
  const [offered, mask] = [u64Of(sizes), u64OfMask(pgsizeMask)];
  return ((offered.hi & mask.hi) >>> 0) * TWO32 + ((offered.lo & mask.lo) >>> 0);
}

/** EADDRINUSE, which the table of names in `platform` lacks. */
export const EADDRINUSE = 98;

/** value mod size for a power of two `size`, exact below 2^64. */
export function lowBits(value: number, size: number): number {
  return size < TWO32
    ? (value & (size - 1)) >>> 0
    : ((value / TWO32) & (size / TWO32 - 1)) * TWO32 + (value >>> 0);
}

function u64OfMask(mask: U64 | number): U64 {
  return typeof mask === 'number' ? u64Of(mask) : mask;
}

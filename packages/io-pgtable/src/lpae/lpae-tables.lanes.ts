import {
  PTE_HI_ADDRESS_MASK,
  PTE_HI_SW_SYNC,
  PTE_TYPE_MASK,
  PTE_TYPE_TABLE,
} from '@iommukit/arm-arch';
import type { MemoryView } from '@iommukit/platform';
import type { FlushOps } from '../flush-ops.ts';
import type { PageTableConfig, TableFrames } from '../page-table-config.ts';
import {
  countClean,
  countTable,
  type PageTableCounters,
  pageTableCounters,
} from '../page-table-counters.ts';
import type { IoPgtableProfile } from '../profile.ts';
import type { EntryKind, TableShape } from '../table-shape.ts';
import { addressHi, addressLo, firstUsed, zeroWords } from '../table-words.lanes.ts';
import type { LpaeEntries } from './lpae-format.ts';
import type { LpaeGeometry } from './lpae-geometry.ts';

const TWO32 = 0x1_0000_0000;
/** Values of `prot`: six flags. */
export const PROTS = 64;
/** The level of pages. */
export const LAST_LEVEL = 3;

/**
 * The tables of one long-descriptor page table: allocating, linking, unlinking and freeing them, and what is fixed at creation.
 * What stores and clears leaves builds on it (`LpaePageTable`, `mapRange`, `unmapRange`).
 * @internal
 */
export class LpaeTables<R> implements TableShape {
  /** Warnings raised so far; those that the kernel prints only once are counted every time. */
  warnings = 0;
  readonly counters: PageTableCounters = pageTableCounters();
  readonly pgsizeBitmap: number;
  /** Physical address of the top table. */
  readonly base: number;
  /** The same in lanes. @internal */ readonly baseLo: number;
  /** @internal */ readonly baseHi: number;
  /** Register values that point a device to the table. */
  readonly registers: R;
  /** Granule and levels. */
  readonly geometry: LpaeGeometry;
  /** Smallest page and size of every table but the top one, bytes: the granule of invalidations. */
  readonly granule: number;

  readonly entryBytes = 8;
  readonly topLevel: number;
  readonly leafLevel: number = LAST_LEVEL;
  readonly roots: readonly number[];

  /** @internal */ readonly memory: MemoryView;
  /** @internal */ readonly frames: TableFrames;
  /** @internal */ readonly flush: FlushOps;
  /** @internal */ readonly profile: IoPgtableProfile;
  /** @internal */ readonly coherent: boolean;
  /** What a table entry that a walk may rely on has in its high lane: the software mark, where walks are not coherent. @internal */
  readonly syncMark: number;
  /** Bytes that one entry of each level spans, by level. @internal */
  readonly spans: readonly number[];
  /** 1 / span by level: powers of two, so that a product is exact, and cheaper than a quotient. @internal */
  readonly inverses: readonly number[];
  /** Bits 1:0 of a leaf, by level. @internal */ readonly leafTypes: readonly number[];
  /** @internal */ readonly dirtyTracking: boolean;
  /** Largest index of the top table, of every other one. @internal */ readonly topMask: number;
  /** @internal */ readonly mask: number;
  /** The IOVAs that the table translates: [first, end). @internal */ readonly firstIova: number;
  /** @internal */ readonly endIova: number;
  /** @internal */ readonly endPaddr: number;
  /** Attributes of a leaf, by `prot`. @internal */ readonly attrLo: Int32Array = new Int32Array(
    PROTS,
  );
  /** @internal */ readonly attrHi: Int32Array = new Int32Array(PROTS);

  readonly #warn: ((text: string) => void) | undefined;
  readonly #noWarn: boolean;
  readonly #topBytes: number;
  /** Where an entry keeps address bits 31:12, and which low bits are address bits 51:48. @internal */
  readonly addressMask: number;
  /** @internal */ readonly wideMask: number;
  readonly #tableLo: number;
  readonly #tableHi: number;

  constructor(
    entries: LpaeEntries<R>,
    geometry: LpaeGeometry,
    config: PageTableConfig,
    top: { readonly base: number; readonly registers: R },
  ) {
    const quirks = config.quirks ?? {};
    this.pgsizeBitmap = geometry.pgsizeBitmap;
    this.geometry = geometry;
    this.base = top.base;
    this.baseLo = top.base | 0;
    this.baseHi = (top.base / TWO32) | 0;
    this.roots = [top.base];
    this.registers = top.registers;
    this.memory = config.memory;
    this.frames = config.frames;
    this.flush = config.flush;
    this.profile = config.profile;
    this.#warn = config.warn;
    this.coherent = config.coherentWalk;
    this.syncMark = config.coherentWalk ? 0 : PTE_HI_SW_SYNC;
    this.#noWarn = quirks.noWarn === true;
    this.granule = geometry.granule;
    this.topLevel = geometry.startLevel;
    this.spans = geometry.entrySizes;
    this.inverses = geometry.entrySizes.map((span) => 1 / span);
    this.leafTypes = entries.leafTypes;
    this.dirtyTracking = entries.dirtyTracking === true;
    this.#topBytes = topTableBytes(geometry);
    // As an integer: a power gives a double, and the walk's masks would all be doubles.
    this.topMask = (geometry.topEntries - 1) | 0;
    this.mask = (geometry.granule >>> 3) - 1;
    const span = 2 ** geometry.ias;
    this.firstIova = quirks.ttbr1 ? TWO32 * TWO32 - span : 0;
    this.endIova = this.firstIova + span;
    this.endPaddr = 2 ** geometry.oas;
    const wide = geometry.granule === 0x1_0000;
    // Signed: a small integer, where the unsigned value would be a double.
    this.addressMask = wide ? -0x1_0000 : -0x1000;
    this.wideMask = wide ? 0xf000 : 0;
    const table = entries.tableAttributes(quirks);
    this.#tableLo = table.lo | PTE_TYPE_TABLE;
    this.#tableHi = table.hi | 0;
    for (let prot = 0; prot < PROTS; prot++) {
      const leaf = entries.leafAttributes(prot, quirks);
      this.attrLo[prot] = leaf.lo;
      this.attrHi[prot] = leaf.hi;
    }
  }

  /** Empties a fresh top table. @internal */
  zeroTop(): void {
    zeroWords(this.memory, this.base, this.#topBytes);
    if (!this.coherent) this.clean(this.base, this.#topBytes);
  }

  entryCount(level: number): number {
    return level === this.topLevel ? this.topMask + 1 : this.mask + 1;
  }

  entrySpan(level: number): number {
    return this.spans[level] as number;
  }

  kind(level: number, lo: number, hi: number): EntryKind {
    if ((lo | hi) === 0) return 'empty';
    const type = lo & PTE_TYPE_MASK;
    if (type === this.leafTypes[level]) return 'leaf';
    return type === PTE_TYPE_TABLE && level < LAST_LEVEL ? 'table' : 'invalid';
  }

  tableAddress(_level: number, lo: number, hi: number): number {
    return this.address(lo, hi);
  }

  leafAddress(_level: number, lo: number, hi: number): number {
    return this.address(lo, hi);
  }

  leafSize(level: number): number {
    return this.spans[level] as number;
  }

  iovaAt(offset: number): number {
    return this.firstIova + offset;
  }

  offsetOf(iova: number): number {
    return iova % ((this.spans[this.topLevel] as number) * (this.topMask + 1));
  }

  /** A zeroed table below the top; -1 without a frame. Zeroed here, since frames come as their last user left them. @internal */
  allocTable(): number {
    const table = this.frames.alloc(this.granule);
    if (table < 0) return -1;
    countTable(this.counters);
    zeroWords(this.memory, table, this.granule);
    if (!this.coherent) this.clean(table, this.granule);
    return table;
  }

  /** Takes back a table that nothing points to. @internal */
  releaseTable(table: number): void {
    this.counters.tablesFreed++;
    this.frames.free(table, this.granule);
  }

  /** Makes `entry` point to a table if it still holds (oldLo, oldHi); false when another CPU was faster. @internal */
  linkTable(entry: number, table: number, oldLo: number, oldHi: number): boolean {
    const memory = this.memory;
    const lo = this.#tableLo | addressLo(table);
    const hi = this.#tableHi | addressHi(table);
    const done = memory.cas64(entry, oldLo, oldHi, lo, hi);
    if (done) this.counters.stores++;
    if (this.coherent) return done;
    if (done) {
      this.clean(entry, 8);
      // The mark itself needs no clean: a device ignores it, and a CPU that misses it only cleans once more.
      memory.store64(entry, lo, hi | PTE_HI_SW_SYNC);
      this.counters.stores++;
    } else {
      memory.load64(entry);
      if ((memory.hi & PTE_HI_SW_SYNC) === 0) this.clean(entry, 8);
    }
    return done;
  }

  /** Links a table from one that nothing points to yet: no race and no clean, and the mark of a clean in the same store. @internal */
  linkDetached(entry: number, table: number): void {
    const mark = this.coherent ? 0 : PTE_HI_SW_SYNC;
    this.memory.store64(
      entry,
      this.#tableLo | addressLo(table),
      this.#tableHi | addressHi(table) | mark,
    );
    this.counters.stores++;
  }

  /** Unlinks a table, invalidates walks through it, and frees it with all below. @internal */
  dropTable(level: number, entry: number, iova: number, table: number): void {
    this.memory.store64(entry, 0, 0);
    this.counters.stores++;
    if (!this.coherent) this.clean(entry, 8);
    this.counters.tlbFlushWalks++;
    this.flush.tlbFlushWalk(iova, this.spans[level] as number, this.granule);
    this.freeTable(level + 1, table);
  }

  /** Frees a table that nothing points to, and all below. @internal */
  freeTable(level: number, table: number): void {
    this.#freeBelow(level, table, this.mask + 1);
    this.releaseTable(table);
  }

  free(): void {
    this.counters.tlbFlushAlls++;
    this.flush.tlbFlushAll();
    this.#freeBelow(this.topLevel, this.base, this.topMask + 1);
    this.frames.free(this.base, this.#topBytes);
  }

  /** The address in an entry. @internal */
  address(lo: number, hi: number): number {
    return (
      ((hi & PTE_HI_ADDRESS_MASK) | ((lo & this.wideMask) << 4)) * TWO32 +
      ((lo & this.addressMask) >>> 0)
    );
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

  /** A warning that the `noWarn` quirk silences. @internal */
  raiseConflict(text: string): void {
    if (!this.#noWarn) this.raise(text);
  }

  #freeBelow(level: number, table: number, entries: number): void {
    if (level === LAST_LEVEL) return;
    const memory = this.memory;
    for (let i = firstUsed(memory, table, entries); i < entries; ) {
      const lo = memory.load64(table + i * 8);
      if ((lo & PTE_TYPE_MASK) === PTE_TYPE_TABLE && this.leafTypes[level] !== PTE_TYPE_TABLE)
        this.freeTable(level + 1, this.address(lo, memory.hi));
      i++;
      i += firstUsed(memory, table + i * 8, entries - i);
    }
  }
}

/** Bytes to allocate for the top table: 64 at least, the alignment that TTBR demands (`arm_lpae_alloc_pgtable`). */
export function topTableBytes(geometry: LpaeGeometry): number {
  return geometry.topEntries < 8 ? 64 : geometry.topEntries * 8;
}

import { hex, IommuError, type U64, u64Of } from '@iommukit/bits';
import { ERRNO } from '@iommukit/platform';
import type { IotlbGather } from '../iotlb-gather.ts';
import { requirePageCount } from '../page-count.ts';
import type { PageTable } from '../page-table.ts';
import { PageTableBase } from '../page-table-base.ts';
import type { PageTableConfig } from '../page-table-config.ts';
import { IOMMU_READ, IOMMU_WRITE } from '../prot.ts';
import type { EntryKind, TableShape } from '../table-shape.ts';
import { clearEntries, firstUsed, zeroWords } from '../table-words.lanes.ts';
import {
  WARN_CONFLICT,
  WARN_HOLE,
  WARN_RANGE_MAP,
  WARN_SIZE_MAP,
  WARN_SIZE_UNMAP,
} from '../warning.ts';
import { DART_HI_WHOLE_PAGE, DART_VALID, type DartEntries } from './dart-entries.ts';
import { type DartRun, firstEmpty, storeFields } from './dart-words.lanes.ts';

const TWO32 = 0x1_0000_0000;
const DIRECTIONS = IOMMU_READ + IOMMU_WRITE;
const PROTS = 64;
/** The level of pages; the levels above count up. */
const LAST_LEVEL = 1;

/**
 * What a device is told of a DART table.
 * @example const { ttbr, nLevels }: DartRegisters = table.registers;
 */
export interface DartRegisters {
  /** Physical addresses of the top tables, ascending by IOVA: one for each TTBR in use. */
  readonly ttbr: readonly number[];
  readonly nTtbrs: number;
  /** Levels, that of the TTBRs included. */
  readonly nLevels: number;
  /** Index bits of a table. */
  readonly bitsPerLevel: number;
}

/** Levels and top tables. @internal */
export interface DartGeometry {
  /** Size of a page, bytes. */
  readonly granule: number;
  /** Levels of tables. */
  readonly levels: number;
  readonly bitsPerLevel: number;
  readonly nTtbrs: number;
  /** Bytes that a table takes: whole CPU pages. */
  readonly tableBytes: number;
}

/**
 * A page table of an Apple DART (`drivers/iommu/io-pgtable-dart.c`): one page size, two or three levels of 64-bit entries below up
 * to four base registers, coherent walks only. Level 1 holds the pages. Made by `createPageTable(appleDart, config)`.
 *
 * The kernel compares IOVAs with what the top tables cover, not with `ias`: above that, a map is -ENOMEM.
 * @example table.mapPages(0x4000, 0x8_0000_0000, 0x4000, 1, IOMMU_READ); table.iovaToPhys(0x4010); // 0x8_0000_0010
 */
export class DartPageTable extends PageTableBase implements PageTable, TableShape {
  readonly pgsizeBitmap: number;
  /** What a device is told of the table. */
  readonly registers: DartRegisters;

  readonly entryBytes = 8;
  readonly topLevel: number;
  readonly leafLevel: number = LAST_LEVEL;
  readonly roots: readonly number[];

  readonly #tableBytes: number;
  /** Largest index of a table. */
  readonly #mask: number;
  /** Bytes that one entry of each level spans, by level, and at the end those of a top table. */
  readonly #spans: readonly number[];
  /** 1 / span: a multiplication costs a walk less than a division. */
  readonly #inverses: Float64Array;
  /** The addresses of the top tables in lanes. */
  readonly #rootLo: Int32Array;
  readonly #rootHi: Int32Array;
  readonly #endIova: number;
  readonly #endPaddr: number;
  readonly #divisor: number;
  /** The divisor as a shift. */
  readonly #shift: number;
  readonly #maskLo: number;
  readonly #maskHi: number;
  readonly #leaves: Int32Array = new Int32Array(PROTS);
  readonly #run: DartRun;
  #visited = 0;
  /** Where `#pageEntry` found the entry in its block. */
  #lane = 0;

  constructor(
    config: PageTableConfig,
    entries: DartEntries,
    geometry: DartGeometry,
    roots: readonly number[],
  ) {
    super(config);
    const { granule, levels, bitsPerLevel, nTtbrs } = geometry;
    this.pgsizeBitmap = granule;
    this.roots = roots;
    this.registers = { ttbr: roots, nTtbrs, nLevels: levels + 1, bitsPerLevel };
    this.topLevel = levels;
    this.#tableBytes = geometry.tableBytes;
    // As integers: powers and unsigned masks are doubles.
    this.#mask = (2 ** bitsPerLevel - 1) | 0;
    this.#spans = [0, 0, 1, 2, 3].map((rank) => granule * 2 ** (bitsPerLevel * rank));
    this.#inverses = Float64Array.from(this.#spans, (span) => 1 / span);
    this.#rootLo = Int32Array.from(roots, (root) => root | 0);
    this.#rootHi = Int32Array.from(roots, (root) => root / TWO32);
    this.#endIova = nTtbrs * (this.#spans[levels + 1] as number);
    this.#endPaddr = 2 ** config.oas;
    this.#divisor = entries.divisor;
    this.#shift = 31 - Math.clz32(entries.divisor);
    this.#maskLo = entries.maskLo | 0;
    this.#maskHi = entries.maskHi;
    for (let prot = 0; prot < PROTS; prot++) this.#leaves[prot] = entries.leafAttributes(prot);
    this.#run = {
      field: 0,
      step: granule / entries.divisor,
      maskLo: this.#maskLo,
      maskHi: entries.maskHi,
      lo: 0,
      hi: DART_HI_WHOLE_PAGE,
    };
  }

  /** How the tables look to a reader. */
  get shape(): TableShape {
    return this;
  }

  /** Empties the fresh top tables. @internal */
  zeroTop(): void {
    for (const root of this.roots) zeroWords(this.memory, root, this.#tableBytes);
  }

  entryCount(_level: number): number {
    return this.#mask + 1;
  }

  entrySpan(level: number): number {
    return this.#spans[level] as number;
  }

  kind(level: number, lo: number, hi: number): EntryKind {
    if ((lo | hi) === 0) return 'empty';
    if ((lo & DART_VALID) === 0) return 'invalid';
    return level === LAST_LEVEL ? 'leaf' : 'table';
  }

  tableAddress(_level: number, lo: number, hi: number): number {
    return this.#address(lo, hi);
  }

  leafAddress(_level: number, lo: number, hi: number): number {
    return this.#address(lo, hi);
  }

  leafSize(_level: number, _lo: number, _hi: number): number {
    return this.pgsizeBitmap;
  }

  iovaAt(offset: number): number {
    return offset;
  }

  offsetOf(iova: number): number {
    return iova;
  }

  mapPages(iova: number, paddr: number, pgsize: number, pgcount: number, prot: number): number {
    if (pgcount !== 1) requirePageCount(pgcount);
    this.mapped = 0;
    const counters = this.counters;
    counters.formatCalls++;
    if (pgsize !== this.pgsizeBitmap) {
      this.raise(WARN_SIZE_MAP);
      return -ERRNO.EINVAL;
    }
    if (paddr >= this.#endPaddr) {
      this.raise(WARN_RANGE_MAP);
      return -ERRNO.ERANGE;
    }
    if ((prot & DIRECTIONS) === 0) return -ERRNO.EINVAL;
    if (iova >= this.#endIova) return -ERRNO.ENOMEM;
    if (pgcount === 1 && this.#mapPage(iova, paddr, prot)) return 0;
    const memory = this.memory;
    let table = this.#rootOf(iova);
    for (let level = this.topLevel; level > LAST_LEVEL; level--) {
      counters.levels++;
      const entry = table + ((iova / (this.#spans[level] as number)) & this.#mask) * 8;
      let lo = memory.load64(entry);
      let hi = memory.hi;
      if ((lo | hi) === 0) {
        const fresh = this.#allocTable();
        if (fresh < 0) return -ERRNO.ENOMEM;
        if (this.#linkTable(entry, fresh)) {
          table = fresh;
          continue;
        }
        this.release(fresh, this.#tableBytes);
        lo = memory.load64(entry);
        hi = memory.hi;
      }
      table = this.#address(lo, hi);
    }
    counters.levels++;
    const index = (iova / pgsize) & this.#mask;
    const entry = table + index * 8;
    const n = Math.min(pgcount, this.#mask + 1 - index);
    if (firstUsed(memory, entry, n) < n && this.#holdsLeaf(entry, n)) {
      this.raise(WARN_CONFLICT);
      return -ERRNO.EEXIST;
    }
    const run = this.#run;
    run.field = paddr / this.#divisor;
    run.lo = this.#leaves[prot & (PROTS - 1)] as number;
    storeFields(memory, entry, n, run);
    counters.stores += n;
    this.mapped = n * pgsize;
    return 0;
  }

  unmapPages(iova: number, pgsize: number, pgcount: number, gather: IotlbGather | null): number {
    if (pgcount !== 1) requirePageCount(pgcount);
    const counters = this.counters;
    counters.formatCalls++;
    if (pgsize !== this.pgsizeBitmap || pgcount === 0) {
      this.raise(WARN_SIZE_UNMAP);
      return 0;
    }
    if (pgcount === 1 && iova < this.#endIova && this.#unmapPage(iova, gather)) return pgsize;
    const table = this.#leafTable(iova);
    counters.levels += this.#visited;
    if (table < 0) {
      this.raise(WARN_HOLE);
      return 0;
    }
    const index = (iova / pgsize) & this.#mask;
    const entry = table + index * 8;
    const n = Math.min(pgcount, this.#mask + 1 - index);
    const done = firstEmpty(this.memory, entry, n);
    if (done < n) this.raise(WARN_HOLE);
    clearEntries(this.memory, entry, done);
    counters.stores += done;
    this.addPages(gather, iova, pgsize, done);
    return done * pgsize;
  }

  iovaToPhys(iova: number): number {
    const counters = this.counters;
    counters.walks++;
    const table = this.#leafTable(iova);
    counters.walkLevels += this.#visited;
    if (table < 0) return 0;
    const granule = this.pgsizeBitmap;
    const lo = this.memory.load64(table + ((iova / granule) & this.#mask) * 8);
    const hi = this.memory.hi;
    return (lo | hi) === 0 ? 0 : this.#address(lo, hi) + (iova & (granule - 1));
  }

  iovaToPhys64(iova: U64): U64 {
    // What a double rounds here lies far above what the top tables cover.
    return u64Of(this.iovaToPhys((iova.hi >>> 0) * TWO32 + (iova.lo >>> 0)));
  }

  free(): void {
    this.flushAll();
    for (const root of this.roots) {
      this.#freeBelow(this.topLevel, root);
      this.frames.free(root, this.#tableBytes);
    }
  }

  /** Maps one page, the usual call; false, and nothing done, where the long way must see to it. */
  #mapPage(iova: number, paddr: number, prot: number): boolean {
    const block = this.#pageEntry(iova);
    const k = this.#lane;
    if (block === undefined || ((block[k] as number) | (block[k + 1] as number)) !== 0)
      return false;
    block[k] = (this.#leaves[prot & (PROTS - 1)] as number) | this.#lo(paddr);
    block[k + 1] = DART_HI_WHOLE_PAGE | this.#hi(paddr);
    const counters = this.counters;
    counters.levels += this.topLevel;
    counters.stores++;
    this.mapped = this.pgsizeBitmap;
    return true;
  }

  /** Unmaps one page; false, and nothing done, as above. */
  #unmapPage(iova: number, gather: IotlbGather | null): boolean {
    const block = this.#pageEntry(iova);
    const k = this.#lane;
    if (block === undefined || ((block[k] as number) | (block[k + 1] as number)) === 0)
      return false;
    block[k] = 0;
    block[k + 1] = 0;
    const counters = this.counters;
    counters.levels += this.topLevel;
    counters.stores++;
    this.addPages(gather, iova, this.pgsizeBitmap, 1);
    return true;
  }

  /**
   * The memory block with the page entry of an IOVA, at `#lane`; `undefined` without a table, or where memory lends no blocks.
   * Addresses stay in lanes, and one block serves for as many levels as it can: look-ups are most of the cost.
   */
  #pageEntry(iova: number): Uint32Array | undefined {
    const memory = this.memory;
    const inverses = this.#inverses;
    const mask = this.#mask;
    const maskLo = this.#maskLo;
    const maskHi = this.#maskHi;
    const shift = this.#shift;
    const inBlock = memory.blockBytes - 1;
    const root = (iova * (inverses[this.topLevel + 1] as number)) | 0;
    const rootLo = this.#rootLo[root];
    if (rootLo === undefined) return undefined;
    let atLo = rootLo | 0;
    let atHi = (this.#rootHi[root] as number) | 0;
    let block = memory.block(atLo, atHi);
    let heldLo = atLo & ~inBlock;
    let heldHi = atHi;
    for (let level = this.topLevel; ; level--) {
      atLo = (atLo + (((iova * (inverses[level] as number)) & mask) << 3)) | 0;
      if ((((atLo ^ heldLo) & ~inBlock) | (atHi ^ heldHi)) !== 0) {
        block = memory.block(atLo, atHi);
        heldLo = atLo & ~inBlock;
        heldHi = atHi;
      }
      if (block === undefined) return undefined;
      const k = (atLo & inBlock) >>> 2;
      if (level === LAST_LEVEL) {
        this.#lane = k;
        return block;
      }
      const lo = (block[k] as number) | 0;
      const hi = (block[k + 1] as number) | 0;
      if ((lo | hi) === 0) return undefined;
      atLo = (lo & maskLo) << shift;
      // In two steps: a shift by 32, for a shift of 0, would be none.
      atHi = ((hi & maskHi) << shift) | ((lo >>> 1) >>> (31 - shift));
    }
  }

  #rootOf(iova: number): number {
    const root = (iova / (this.#spans[this.topLevel + 1] as number)) | 0;
    return this.roots[root] as number;
  }

  /** The table of pages that translates an IOVA, -1 without one; leaves the number of levels visited in `#visited`. */
  #leafTable(iova: number): number {
    this.#visited = 0;
    if (iova >= this.#endIova) return -1;
    const memory = this.memory;
    let table = this.#rootOf(iova);
    for (let level = this.topLevel; level > LAST_LEVEL; level--) {
      this.#visited++;
      const entry = table + ((iova / (this.#spans[level] as number)) & this.#mask) * 8;
      const lo = memory.load64(entry);
      const hi = memory.hi;
      if ((lo | hi) === 0) return -1;
      table = this.#address(lo, hi);
    }
    this.#visited++;
    return table;
  }

  /** True when one of `n` entries is valid; what a foreign hand left there otherwise is overwritten, as the kernel does. */
  #holdsLeaf(entry: number, n: number): boolean {
    for (let i = 0; i < n; i++)
      if ((this.memory.load64(entry + i * 8) & DART_VALID) !== 0) return true;
    return false;
  }

  /** A zeroed table below the top; -1 without a frame. */
  #allocTable(): number {
    const table = this.frames.alloc(this.#tableBytes);
    if (table < 0) return -1;
    if (this.#address(this.#lo(table), this.#hi(table)) !== table) {
      this.frames.free(table, this.#tableBytes);
      throw new TableAddressError({ pa: table });
    }
    this.allocated();
    zeroWords(this.memory, table, this.#tableBytes);
    return table;
  }

  /** Makes an empty entry point to a table; false when another CPU was faster. */
  #linkTable(entry: number, table: number): boolean {
    const lo = this.#lo(table) | DART_VALID;
    if (!this.memory.cas64(entry, 0, 0, lo, this.#hi(table))) return false;
    this.counters.stores++;
    return true;
  }

  #freeBelow(level: number, table: number): void {
    if (level === LAST_LEVEL) return;
    const memory = this.memory;
    const entries = this.#mask + 1;
    for (let i = 0; i < entries; i++) {
      i += firstUsed(memory, table + i * 8, entries - i);
      if (i === entries) return;
      const lo = memory.load64(table + i * 8);
      const below = this.#address(lo, memory.hi);
      this.#freeBelow(level - 1, below);
      this.release(below, this.#tableBytes);
    }
  }

  #lo(pa: number): number {
    return (pa / this.#divisor) & this.#maskLo;
  }

  #hi(pa: number): number {
    return (pa / this.#divisor / TWO32) & this.#maskHi;
  }

  /** The address in an entry. */
  #address(lo: number, hi: number): number {
    return ((hi & this.#maskHi) * TWO32 + ((lo & this.#maskLo) >>> 0)) * this.#divisor;
  }
}

/**
 * A frame for a table whose address no entry can hold, where the kernel would write to other memory; code `TABLE_ADDRESS`. The frame
 * was given back.
 * @example try { table.mapPages(0, 0, 0x1000, 1, 3); } catch (e) { (e as TableAddressError).operands.pa; }
 */
export class TableAddressError extends IommuError<{ pa: number }> {
  override readonly name = 'TableAddressError';
  constructor(operands: { pa: number }) {
    super(
      'TABLE_ADDRESS',
      operands,
      `no entry can hold the address ${hex(operands.pa)} of a table`,
      'Let frames come from lower memory; appleDart2 needs them aligned to 16 KiB',
    );
  }
}

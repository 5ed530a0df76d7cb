import { SZ_2M } from '@iommukit/bits';
import { ERRNO, type MemoryView } from '@iommukit/platform';
import { expect, test } from 'vitest';
import {
  type ContractSubject,
  IO_PGTABLE_TRAITS,
  pageTableContract,
} from '../src/contract/index.ts';
import {
  createPageTable,
  type EntryKind,
  type FlushOps,
  IOMMU_READ,
  IOMMU_WRITE,
  type IotlbGather,
  PageCountError,
  type PageTable,
  type PageTableCounters,
  type PageTableFormat,
  type TableFrames,
  type TableShape,
} from '../src/index.ts';

// A format written from the text of `PageTableFormat`, `PageTable`, `TableShape` and `FlushOps` alone: pages of 32 KiB and 2 MiB in two
// levels of 32-bit entries, tables of 256 bytes, which go with their last page. What the text did not say was added to it.
const PAGE = 0x8000;
const BLOCK = SZ_2M;
const ENTRIES = BLOCK / PAGE;
const TOP_ENTRIES = 16;
const END = TOP_ENTRIES * BLOCK;
const END_PADDR = 2 ** 36;
const END_TABLE = 2 ** 32;

const TABLE = 1;
const READ = 2;
const WRITE = 4;
const ADDRESS = 0xffff_ff00;

interface OutsiderConfig {
  readonly coherentWalk: boolean;
  readonly memory: MemoryView;
  readonly frames: TableFrames;
  readonly flush: FlushOps;
  readonly warn: (text: string) => void;
}

class OutsiderTable implements PageTable, TableShape {
  readonly pgsizeBitmap = PAGE + BLOCK;
  mapped = 0;
  warnings = 0;
  readonly counters: PageTableCounters = {
    formatCalls: 0,
    levels: 0,
    walks: 0,
    walkLevels: 0,
    tablesAllocated: 0,
    tablesFreed: 0,
    tablesPeak: 0,
    stores: 0,
    cleanCalls: 0,
    cleanLines: 0,
    tlbAddPages: 0,
    tlbFlushWalks: 0,
    tlbFlushAlls: 0,
  };
  readonly entryBytes = 4;
  readonly topLevel = 0;
  readonly leafLevel = 1;
  readonly roots: readonly number[];
  readonly #config: OutsiderConfig;
  readonly #top: number;

  constructor(config: OutsiderConfig, top: number) {
    this.#config = config;
    this.#top = top;
    this.roots = [top];
    this.#empty(top, TOP_ENTRIES);
  }

  get shape(): TableShape {
    return this;
  }

  entryCount(level: number): number {
    return level === 0 ? TOP_ENTRIES : ENTRIES;
  }

  entrySpan(level: number): number {
    return level === 0 ? BLOCK : PAGE;
  }

  kind(level: number, lo: number, _hi: number): EntryKind {
    if (lo === 0) return 'empty';
    if ((lo & (READ | WRITE)) !== 0) return (lo & TABLE) === 0 ? 'leaf' : 'invalid';
    return level === 0 && (lo & TABLE) !== 0 ? 'table' : 'invalid';
  }

  tableAddress(_level: number, lo: number, _hi: number): number {
    return (lo & ADDRESS) >>> 0;
  }

  leafAddress(_level: number, lo: number, _hi: number): number {
    return (lo >>> 8) * PAGE;
  }

  leafSize(level: number, _lo: number, _hi: number): number {
    return this.entrySpan(level);
  }

  iovaAt(offset: number): number {
    return offset;
  }

  offsetOf(iova: number): number {
    return iova % END;
  }

  mapPages(iova: number, paddr: number, pgsize: number, pgcount: number, prot: number): number {
    checkCount(pgcount);
    this.mapped = 0;
    this.counters.formatCalls++;
    if (pgsize !== PAGE && pgsize !== BLOCK) return -ERRNO.EINVAL;
    if (iova >= END || paddr >= END_PADDR) return -ERRNO.ERANGE;
    const rights =
      ((prot & IOMMU_READ) !== 0 ? READ : 0) | ((prot & IOMMU_WRITE) !== 0 ? WRITE : 0);
    if (rights === 0) return -ERRNO.EINVAL;
    if (pgcount === 0) return 0;
    const level = pgsize === BLOCK ? 0 : 1;
    this.counters.levels += level + 1;
    let entry = this.#top + Math.floor(iova / BLOCK) * 4;
    if (level === 1) {
      const table = this.#tableBelow(entry);
      if (table < 0) return table;
      entry = table + this.#index(iova) * 4;
    }
    const room = level === 0 ? TOP_ENTRIES - Math.floor(iova / BLOCK) : ENTRIES - this.#index(iova);
    const n = Math.min(pgcount, room);
    for (let i = 0; i < n; i++)
      if (this.#config.memory.load32(entry + i * 4) !== 0) return this.#occupied();
    for (let i = 0; i < n; i++)
      this.#store(entry + i * 4, ((((paddr + i * pgsize) / PAGE) << 8) | rights) >>> 0);
    this.#clean(entry, n * 4);
    this.mapped = n * pgsize;
    return 0;
  }

  unmapPages(iova: number, pgsize: number, pgcount: number, gather: IotlbGather | null): number {
    checkCount(pgcount);
    this.counters.formatCalls++;
    if ((pgsize !== PAGE && pgsize !== BLOCK) || pgcount === 0 || iova >= END) return 0;
    const top = this.#top + Math.floor(iova / BLOCK) * 4;
    const old = this.#config.memory.load32(top);
    const kind = this.kind(0, old, 0);
    this.counters.levels += pgsize === BLOCK ? 1 : 2;
    if (kind === 'empty') return this.#hole();
    if (pgsize === BLOCK) return this.#unmapBlocks(iova, pgcount, gather);
    if (kind === 'leaf') return this.#hole();
    const table = this.tableAddress(0, old, 0);
    const first = table + this.#index(iova) * 4;
    const limit = Math.min(pgcount, ENTRIES - this.#index(iova));
    let n = 0;
    while (n < limit && this.#config.memory.load32(first + n * 4) !== 0) n++;
    if (n < limit) this.#hole();
    if (n === 0) return 0;
    for (let i = 0; i < n; i++) this.#store(first + i * 4, 0);
    this.#clean(first, n * 4);
    this.#cleared(gather, iova, PAGE, n);
    if (this.#isEmpty(table)) {
      this.#store(top, 0);
      this.#clean(top, 4);
      this.#drop(iova - (iova % BLOCK), table);
    }
    return n * PAGE;
  }

  iovaToPhys(iova: number): number {
    this.counters.walks++;
    if (iova >= END) return 0;
    let level = 0;
    let word = this.#config.memory.load32(this.#top + Math.floor(iova / BLOCK) * 4);
    if (this.kind(0, word, 0) === 'table') {
      level = 1;
      word = this.#config.memory.load32(this.tableAddress(0, word, 0) + this.#index(iova) * 4);
    }
    this.counters.walkLevels += level + 1;
    if (this.kind(level, word, 0) !== 'leaf') return 0;
    return this.leafAddress(level, word, 0) + (iova % this.entrySpan(level));
  }

  iovaToPhys64(iova: { lo: number; hi: number }): { lo: number; hi: number } {
    const pa = this.iovaToPhys(iova.hi * 2 ** 32 + iova.lo);
    return { lo: pa >>> 0, hi: Math.floor(pa / 2 ** 32) };
  }

  free(): void {
    const { memory, frames, flush } = this.#config;
    this.counters.tlbFlushAlls++;
    flush.tlbFlushAll();
    for (let i = 0; i < TOP_ENTRIES; i++) {
      const word = memory.load32(this.#top + i * 4);
      if (this.kind(0, word, 0) === 'table') this.#release(this.tableAddress(0, word, 0));
    }
    frames.free(this.#top, TOP_ENTRIES * 4);
  }

  #unmapBlocks(iova: number, pgcount: number, gather: IotlbGather | null): number {
    const at = Math.floor(iova / BLOCK);
    const limit = Math.min(pgcount, TOP_ENTRIES - at);
    let n = 0;
    for (; n < limit; n++) {
      const entry = this.#top + (at + n) * 4;
      const word = this.#config.memory.load32(entry);
      if (word === 0) {
        this.#hole();
        break;
      }
      this.#store(entry, 0);
      this.#clean(entry, 4);
      const start = (at + n) * BLOCK;
      if (this.kind(0, word, 0) === 'table') this.#drop(start, this.tableAddress(0, word, 0));
      else this.#cleared(gather, start, BLOCK, 1);
    }
    return n * BLOCK;
  }

  #index(iova: number): number {
    return Math.floor((iova % BLOCK) / PAGE);
  }

  #isEmpty(table: number): boolean {
    for (let i = 0; i < ENTRIES; i++)
      if (this.#config.memory.load32(table + i * 4) !== 0) return false;
    return true;
  }

  /** The table that an entry points to, made and linked where there is none; or a negative errno. */
  #tableBelow(entry: number): number {
    let word = this.#config.memory.load32(entry);
    if (word === 0) {
      const fresh = this.#newTable();
      if (fresh < 0) return -ERRNO.ENOMEM;
      word = this.#link(entry, (fresh | TABLE) >>> 0);
      if (word === 0) return fresh;
      this.#release(fresh);
    }
    // Whoever linked it may not have cleaned it yet.
    this.#clean(entry, 4);
    return this.kind(0, word, 0) === 'table' ? this.tableAddress(0, word, 0) : this.#occupied();
  }

  /** Stores a word to an entry that is still empty: 0, or what another CPU stored there first. */
  #link(entry: number, word: number): number {
    const { memory } = this.#config;
    const isHigh = entry % 8 !== 0;
    const pair = entry - (entry % 8);
    for (;;) {
      const lo = memory.load64(pair);
      const hi = memory.hi;
      const old = isHigh ? hi : lo;
      if (old !== 0) return old;
      if (memory.cas64(pair, lo, hi, isHigh ? lo : word, isHigh ? word : hi)) break;
    }
    this.counters.stores++;
    this.#clean(entry, 4);
    return 0;
  }

  #newTable(): number {
    const { frames } = this.#config;
    const table = frames.alloc(ENTRIES * 4);
    if (table < 0) return -1;
    if (table >= END_TABLE) {
      frames.free(table, ENTRIES * 4);
      return -1;
    }
    const { counters } = this;
    counters.tablesAllocated++;
    const live = counters.tablesAllocated - counters.tablesFreed;
    counters.tablesPeak = Math.max(counters.tablesPeak, live);
    this.#empty(table, ENTRIES);
    return table;
  }

  #empty(table: number, entries: number): void {
    for (let i = 0; i < entries; i++) this.#config.memory.store32(table + i * 4, 0);
    this.#clean(table, entries * 4);
  }

  #drop(iova: number, table: number): void {
    this.counters.tlbFlushWalks++;
    this.#config.flush.tlbFlushWalk(iova, BLOCK, PAGE);
    this.#release(table);
  }

  #release(table: number): void {
    this.counters.tablesFreed++;
    this.#config.frames.free(table, ENTRIES * 4);
  }

  #store(pa: number, word: number): void {
    this.counters.stores++;
    this.#config.memory.store32(pa, word);
  }

  #clean(pa: number, bytes: number): void {
    if (this.#config.coherentWalk) return;
    this.counters.cleanCalls++;
    this.counters.cleanLines += Math.ceil((pa + bytes) / 64) - Math.floor(pa / 64);
    this.#config.memory.clean(pa, bytes);
  }

  #cleared(gather: IotlbGather | null, iova: number, size: number, n: number): void {
    if (gather === null || gather.queued) return;
    this.counters.tlbAddPages += n;
    this.#config.flush.tlbAddPage(gather, iova, size, n);
  }

  #occupied(): number {
    this.#warn('map: something is mapped there');
    return -ERRNO.EEXIST;
  }

  #hole(): 0 {
    this.#warn('unmap: nothing is mapped');
    return 0;
  }

  #warn(text: string): void {
    this.warnings++;
    this.#config.warn(text);
  }
}

function checkCount(pgcount: number): void {
  if (!Number.isInteger(pgcount) || pgcount < 0) throw new PageCountError({ pgcount });
}

const outsiderFormat: PageTableFormat<OutsiderConfig, OutsiderTable> = {
  name: 'outsider',
  create(config) {
    const top = config.frames.alloc(TOP_ENTRIES * 4);
    return top < 0 ? -ERRNO.ENOMEM : new OutsiderTable(config, top);
  },
};

function subject(walk: 'coherent' | 'not coherent'): ContractSubject {
  const coherentWalk = walk === 'coherent';
  return {
    name: `outsider, ${walk}`,
    coherentWalk,
    spaces: [{ start: 0, end: END }],
    endPaddr: END_PADDR,
    prots: [IOMMU_READ + IOMMU_WRITE, IOMMU_READ, IOMMU_WRITE],
    traits: { ...IO_PGTABLE_TRAITS, overTable: 'refuses', emptyTables: 'freed' },
    create: (parts) => createPageTable(outsiderFormat, { ...parts, coherentWalk }),
  };
}

for (const walk of ['coherent', 'not coherent'] as const)
  test(`a format written from the text keeps every rule of the contract: ${walk}`, () => {
    const broken: string[] = [];
    const cases = pageTableContract(subject(walk));
    for (const { name, run } of cases)
      try {
        run();
      } catch (error) {
        broken.push(`${name}: ${String(error)}`);
      }
    expect(broken).toEqual([]);
    expect(cases.length).toBeGreaterThan(20);
  });

import type { U64 } from '@iommukit/bits';
import type { MemoryView } from '@iommukit/platform';
import type { FlushOps } from '../src/flush-ops.ts';
import type {
  EntryKind,
  IotlbGather,
  PageTable,
  PageTableCounters,
  PageTableFormat,
  TableFrames,
  TableShape,
} from '../src/index.ts';
import { requirePageCount } from '../src/page-count.ts';
import { countClean, countTable, pageTableCounters } from '../src/page-table-counters.ts';

/**
 * A format whose only job is to break assumptions: pages of 8 KiB, tables of 1 KiB (so that a table is not a page), levels that count
 * upward, a top of 32 entries, 32 KiB pages of four equal entries, the valid bit at the top of the word, output
 * addresses of 45 bits stored shifted, an address space that does not start at 0. Tables go as soon as they are empty.
 */
export const MOCK_START = 0x7_0000_0000;
const PAGE = 0x2000;
const GROUP = 4;
const BITS = 7;
const ENTRIES = 2 ** BITS;
const TOP_ENTRIES = 32;
const SPANS = [PAGE, PAGE * ENTRIES, PAGE * ENTRIES * ENTRIES] as const;
const TOP = 2;
const TABLE_BYTES = ENTRIES * 8;
export const MOCK_END: number = MOCK_START + TOP_ENTRIES * SPANS[TOP];
export const MOCK_END_PADDR: number = 2 ** 45;
export const MOCK_SIZES: readonly number[] = [PAGE, PAGE * GROUP, SPANS[1]];

const VALID = 0x8000_0000;
const LEAF = 0x4000_0000;
const GROUPED = 0x2000_0000;
/** The one flag of a leaf beside its address: writable. */
const WRITABLE = 0x1000_0000;

/** Ways to break the contract, one at a time. */
export type MockDefect =
  | 'none'
  | 'table not zeroed'
  | 'link before zero'
  | 'link before clean'
  | 'no clean of leaves'
  | 'flush before clean'
  | 'free before flush'
  | 'never flushes tables'
  | 'flushes too little'
  | 'leaks on failure'
  | 'leaks emptied tables'
  | 'forgets the last page of a table'
  | 'overwrites'
  | 'wrong errno'
  | 'changes on refusal'
  | 'counts one store too many'
  | 'counts no lines'
  | 'partial success not reported'
  | 'offset lost'
  | 'neighbour mapped'
  | 'unmaps past a hole'
  | 'gathers when queued'
  | 'tears an entry'
  | 'group of three'
  | 'no final flush'
  | 'leaks the top'
  | 'silent warning'
  | 'accepts any direction'
  | 'accepts any address';

export interface MockConfig {
  readonly memory: MemoryView;
  readonly frames: TableFrames;
  readonly flush: FlushOps;
  readonly warn: (text: string) => void;
  readonly coherentWalk: boolean;
  readonly defect: MockDefect;
}

class MockTable implements PageTable, TableShape {
  readonly pgsizeBitmap: number = MOCK_SIZES.reduce((sum, size) => sum + size, 0);
  mapped = 0;
  warnings = 0;
  readonly counters: PageTableCounters = pageTableCounters();
  readonly entryBytes = 8;
  readonly topLevel = TOP;
  readonly leafLevel = 0;
  readonly roots: readonly number[];
  readonly #config: MockConfig;
  readonly #top: number;

  constructor(config: MockConfig, top: number) {
    this.#config = config;
    this.#top = top;
    this.roots = [top];
    this.#zero(top, TOP_ENTRIES * 8);
  }

  get shape(): TableShape {
    return this;
  }

  mapPages(iova: number, paddr: number, pgsize: number, pgcount: number, prot: number): number {
    requirePageCount(pgcount);
    const { defect } = this.#config;
    this.mapped = 0;
    this.counters.formatCalls++;
    if (!MOCK_SIZES.includes(pgsize)) return this.#warn('size', -22);
    if (defect !== 'accepts any direction' && (prot & 3) === 0) return -22;
    if (defect !== 'accepts any address' && (!inside(iova) || paddr >= MOCK_END_PADDR))
      return this.#warn('range', -34);
    for (let i = 0; i < pgcount; i++) {
      const errno = this.#mapOne(iova + i * pgsize, paddr + i * pgsize, pgsize, prot);
      if (errno !== 0) {
        if (defect === 'partial success not reported') this.mapped = 0;
        return errno;
      }
      this.mapped += pgsize;
    }
    return 0;
  }

  #mapOne(iova: number, paddr: number, size: number, prot: number): number {
    const { defect, memory } = this.#config;
    const target = size === SPANS[1] ? 1 : 0;
    let table = this.#top;
    for (let level = TOP; level > target; level--) {
      this.counters.levels++;
      const at = this.#entry(table, level, iova);
      const lo = memory.load64(at);
      const { hi } = memory;
      const kind = this.kind(level, lo, hi);
      if (kind === 'leaf') return this.#conflict();
      if (kind === 'table') {
        table = this.tableAddress(level, lo, hi);
        continue;
      }
      const fresh = this.#table();
      if (fresh < 0) return this.#giveUp(iova, defect);
      this.#link(at, fresh);
      table = fresh;
    }
    this.counters.levels++;
    const at = this.#entry(table, target, iova);
    const copies = size === PAGE * GROUP ? GROUP : 1;
    for (let i = 0; i < copies; i++) {
      const lo = memory.load64(at + i * 8);
      const { hi } = memory;
      const kind = this.kind(target, lo, hi);
      if (kind === 'empty' || defect === 'overwrites') continue;
      if (defect === 'changes on refusal') this.#store(at, lo, (hi ^ WRITABLE) >>> 0);
      return this.#conflict();
    }
    const grouped = copies > 1 ? GROUPED : 0;
    const frame = paddr / PAGE;
    const hi = VALID + LEAF + grouped + ((prot & 2) !== 0 ? WRITABLE : 0);
    const written = defect === 'group of three' && copies > 1 ? 3 : copies;
    for (let i = 0; i < written; i++) this.#store(at + i * 8, frame, hi);
    if (defect === 'neighbour mapped' && (at + copies * 8) % TABLE_BYTES !== 0)
      this.#store(at + copies * 8, frame, hi);
    if (defect !== 'no clean of leaves') this.#clean(at, copies * 8);
    return 0;
  }

  #conflict(): number {
    this.#warn('conflict', 0);
    return this.#config.defect === 'wrong errno' ? -16 : -98;
  }

  /** Takes away empty tables on the way to an IOVA, after a map that had to give up. */
  #giveUp(iova: number, defect: MockDefect): number {
    if (defect === 'leaks on failure') this.#table();
    else this.#dropEmpty(iova);
    return -12;
  }

  unmapPages(iova: number, pgsize: number, pgcount: number, gather: IotlbGather | null): number {
    requirePageCount(pgcount);
    this.counters.formatCalls++;
    if (!MOCK_SIZES.includes(pgsize) || !inside(iova)) return this.#warn('unmap', 0);
    const end = iova + pgsize * pgcount;
    let done = 0;
    while (iova + done < end) {
      const bytes = this.#unmapOne(iova + done, gather);
      if (bytes < 0) {
        if (this.#config.defect !== 'unmaps past a hole' || iova + done + pgsize >= end) break;
        done += pgsize;
        continue;
      }
      done += bytes;
    }
    return done;
  }

  #unmapOne(iova: number, gather: IotlbGather | null): number {
    const { memory, defect, flush } = this.#config;
    let table = this.#top;
    for (let level = TOP; level >= 0; level--) {
      this.counters.levels++;
      const at = this.#entry(table, level, iova);
      const lo = memory.load64(at);
      const { hi } = memory;
      const kind = this.kind(level, lo, hi);
      if (kind === 'empty') return this.#warn('hole', -1);
      if (kind === 'table') {
        table = this.tableAddress(level, lo, hi);
        continue;
      }
      const size = this.leafSize(level, lo, hi);
      if (iova % size !== 0) return this.#warn('inside a page', -1);
      const copies = size / (SPANS[level] as number);
      const last =
        defect === 'forgets the last page of a table' && at % TABLE_BYTES === TABLE_BYTES - 8;
      if (!last) for (let i = 0; i < copies; i++) this.#store(at + i * 8, 0, 0);
      const add = (): void => {
        if (gather === null || (gather.queued && defect !== 'gathers when queued')) return;
        this.counters.tlbAddPages++;
        flush.tlbAddPage(gather, iova, size, 1);
      };
      if (defect === 'flush before clean') add();
      this.#clean(at, copies * 8);
      if (defect !== 'flush before clean') add();
      if (defect !== 'leaks emptied tables') this.#dropEmpty(iova);
      return size;
    }
    return -1;
  }

  /** Unlinks and frees the tables on the way to an IOVA that hold nothing. */
  #dropEmpty(iova: number): void {
    const { memory, flush, frames, defect } = this.#config;
    for (let lowest = 0; lowest < TOP; lowest++) {
      let table = this.#top;
      let parent = 0;
      let level = TOP;
      for (; level > lowest; level--) {
        parent = this.#entry(table, level, iova);
        const lo = memory.load64(parent);
        const { hi } = memory;
        if (this.kind(level, lo, hi) !== 'table') break;
        table = this.tableAddress(level, lo, hi);
      }
      if (level !== lowest || this.#used(table)) continue;
      const span = SPANS[lowest + 1] as number;
      this.#store(parent, 0, 0);
      this.#clean(parent, 8);
      const release = (): void => {
        this.counters.tablesFreed++;
        frames.free(table, TABLE_BYTES);
      };
      if (defect === 'free before flush') release();
      if (defect !== 'never flushes tables') {
        this.counters.tlbFlushWalks++;
        const start = iova - ((iova - MOCK_START) % span);
        flush.tlbFlushWalk(start, defect === 'flushes too little' ? span / 2 : span, PAGE);
      }
      if (defect !== 'free before flush') release();
    }
  }

  #used(table: number): boolean {
    const { memory } = this.#config;
    for (let at = table; at < table + TABLE_BYTES; at += 8)
      if (memory.load64(at) !== 0 || memory.hi !== 0) return true;
    return false;
  }

  iovaToPhys(iova: number): number {
    this.counters.walks++;
    if (!inside(iova)) return 0;
    const { memory, defect } = this.#config;
    let table = this.#top;
    for (let level = TOP; level >= 0; level--) {
      this.counters.walkLevels++;
      const lo = memory.load64(this.#entry(table, level, iova));
      const { hi } = memory;
      const kind = this.kind(level, lo, hi);
      if (kind === 'empty') return 0;
      if (kind === 'leaf') {
        const offset = iova % this.leafSize(level, lo, hi);
        return this.leafAddress(level, lo) + (defect === 'offset lost' ? iova % PAGE : offset);
      }
      table = this.tableAddress(level, lo, hi);
    }
    return 0;
  }

  iovaToPhys64(iova: U64): U64 {
    const phys = this.iovaToPhys(iova.hi * 2 ** 32 + iova.lo);
    return { lo: phys >>> 0, hi: Math.floor(phys / 2 ** 32) };
  }

  free(): void {
    const { flush, memory, frames, defect } = this.#config;
    if (defect !== 'no final flush') {
      this.counters.tlbFlushAlls++;
      flush.tlbFlushAll();
    }
    const below = (table: number, level: number, count: number): void => {
      for (let i = 0; level > 0 && i < count; i++) {
        const lo = memory.load64(table + i * 8);
        const { hi } = memory;
        if (this.kind(level, lo, hi) === 'table')
          below(this.tableAddress(level, lo, hi), level - 1, ENTRIES);
      }
      if (level < TOP) frames.free(table, TABLE_BYTES);
    };
    below(this.#top, TOP, TOP_ENTRIES);
    if (defect !== 'leaks the top') frames.free(this.#top, TOP_ENTRIES * 8);
  }

  entryCount(level: number): number {
    return level === TOP ? TOP_ENTRIES : ENTRIES;
  }

  entrySpan(level: number): number {
    return SPANS[level] as number;
  }

  kind(level: number, lo: number, hi: number): EntryKind {
    if (lo === 0 && hi === 0) return 'empty';
    if (hi < VALID) return 'invalid';
    if ((hi & LEAF) === 0) return level > 0 ? 'table' : 'invalid';
    return level < TOP ? 'leaf' : 'invalid';
  }

  tableAddress(_level: number, lo: number, hi: number): number {
    return ((hi & 0xff) * 2 ** 32 + lo) * 1024;
  }

  leafAddress(_level: number, lo: number): number {
    return lo * PAGE;
  }

  leafSize(level: number, _lo: number, hi: number): number {
    return (SPANS[level] as number) * ((hi & GROUPED) !== 0 ? GROUP : 1);
  }

  iovaAt(offset: number): number {
    return MOCK_START + offset;
  }

  offsetOf(iova: number): number {
    return iova - MOCK_START;
  }

  #entry(table: number, level: number, iova: number): number {
    const span = SPANS[level] as number;
    return table + (Math.floor((iova - MOCK_START) / span) % this.entryCount(level)) * 8;
  }

  #table(): number {
    const { frames, defect } = this.#config;
    const table = frames.alloc(TABLE_BYTES);
    if (table < 0) return -1;
    countTable(this.counters);
    if (defect === 'table not zeroed' || defect === 'link before zero') return table;
    this.#zero(table, TABLE_BYTES);
    return table;
  }

  #zero(table: number, bytes: number): void {
    const { memory, defect } = this.#config;
    for (let at = table; at < table + bytes; at += 8) memory.store64(at, 0, 0);
    if (defect !== 'link before clean' || table === this.#top) this.#clean(table, bytes);
  }

  #link(at: number, table: number): void {
    const { defect } = this.#config;
    this.#store(at, table / 1024, VALID);
    this.#clean(at, 8);
    if (defect === 'link before zero') this.#zero(table, TABLE_BYTES);
    if (defect === 'link before clean') this.#clean(table, TABLE_BYTES);
  }

  #store(at: number, lo: number, hi: number): void {
    const { memory, defect } = this.#config;
    if (defect === 'tears an entry') {
      memory.store32(at, lo);
      memory.store32(at + 4, hi);
    } else memory.store64(at, lo, hi);
    this.counters.stores += defect === 'counts one store too many' ? 2 : 1;
  }

  #clean(at: number, bytes: number): void {
    const { memory, coherentWalk, defect } = this.#config;
    if (coherentWalk) return;
    if (defect === 'counts no lines') this.counters.cleanCalls++;
    else countClean(this.counters, at, bytes);
    memory.clean(at, bytes);
  }

  #warn<R extends number>(text: string, result: R): R {
    this.warnings++;
    if (this.#config.defect !== 'silent warning') this.#config.warn(text);
    return result;
  }
}

function inside(iova: number): boolean {
  return iova >= MOCK_START && iova < MOCK_END;
}

/** Makes tables of the mock format. */
export const mockFormat: PageTableFormat<MockConfig, PageTable> = {
  name: 'mock',
  create(config) {
    const top = config.frames.alloc(TOP_ENTRIES * 8);
    return top < 0 ? -12 : new MockTable(config, top);
  },
};

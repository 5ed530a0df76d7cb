import { hex, hiOf, loOf } from '@iommukit/bits';
import {
  FrameAllocator,
  type MemoryView,
  NonCoherentView,
  observeView,
  PhysicalMemory,
} from '@iommukit/platform';
import type { FlushOps } from '../flush-ops.ts';
import { IotlbGather } from '../iotlb-gather.ts';
import type { PageTable } from '../page-table.ts';
import type { TableFrames } from '../page-table-config.ts';
import { forEachEntry, forEachLeaf, walkTable } from '../table-walk.ts';
import { ContractError } from './contract-error.ts';
import type { ContractSubject } from './contract-subject.ts';
import { GARBAGE, TableWatch } from './table-watch.ts';

const POOL = { base: 0x8000_0000, size: 0x400_0000 };
/** The unit of frames. */
const PAGE = 4096;
const TWO32 = 0x1_0000_0000;
/** Every 64-bit address is an exact number as long as the bits below this size are kept apart. */
const EXACT = 2048;

/** One mapped page. */
export interface Page {
  readonly iova: number;
  readonly paddr: number;
  readonly size: number;
}

/** How a rig is made. */
export interface RigOptions {
  /** Every store and clean is checked as it happens; otherwise the table may use the memory's bulk access. */
  readonly watched: boolean;
}

/**
 * A fresh table over memory and frames of its own, with what a driver does around it: loops over partial results, gathers, syncs,
 * frees deferred tables. Throws {@link ContractError} where a rule is broken.
 */
export class ContractRig {
  readonly subject: ContractSubject;
  readonly table: PageTable;
  readonly device: PhysicalMemory;
  readonly cpu: MemoryView;
  readonly watch: TableWatch;
  readonly warnings: string[] = [];
  /** Table pages handed out and not taken back, by address. */
  readonly live: Map<number, number> = new Map();
  /** Allocations so far, and the one that fails next (0: none). */
  allocs = 0;
  failAt = 0;
  readonly calls: { pages: number; walks: number; alls: number; syncs: number } = {
    pages: 0,
    walks: 0,
    alls: 0,
    syncs: 0,
  };
  /** Live tables of the empty page table. */
  readonly tops: number;
  readonly #topsCounted: number;
  /** The allocator underneath; what goes through it is not watched. */
  readonly frames: FrameAllocator;
  #ended = false;
  #allsBeforeEnd = 0;

  constructor(subject: ContractSubject, options: RigOptions) {
    this.subject = subject;
    const pool = subject.pool ?? POOL;
    this.frames = new FrameAllocator(pool);
    this.device = new PhysicalMemory([{ base: pool.base, size: pool.size }]);
    const cache = subject.coherentWalk ? undefined : new NonCoherentView(this.device);
    this.cpu = cache ?? this.device;
    this.watch = new TableWatch(this.cpu, this.device, (rule, expected, got) =>
      this.fail(rule, expected, got),
    );
    const watched = observeView(this.cpu, {
      onStore: (pa, lo, hi, bytes) =>
        this.watch.onStore(pa, bytes, lo === 0 && hi === 0 ? 'zero' : 'other'),
      onClean: (pa, bytes) => this.watch.onClean(pa, bytes),
    });
    const table = subject.create({
      memory: options.watched ? watched : this.cpu,
      frames: this.#watchedFrames(cache),
      flush: this.#watchedFlush(),
      invalidated: (gather) => this.watch.onFlush(gather.start, gather.end),
      warn: (text) => this.warnings.push(text),
    });
    if (typeof table === 'number') this.fail('the format makes a table', 'a table', String(table));
    this.table = table;
    this.tops = this.live.size;
    this.#topsCounted = table.counters.tablesAllocated - table.counters.tablesFreed;
    if (options.watched) this.watch.start(table.shape);
  }

  /** Frames that come as their last user left them, and run out when `failAt` says so. */
  #watchedFrames(cache: NonCoherentView | undefined): TableFrames {
    return {
      alloc: (bytes) => {
        this.allocs++;
        if (this.failAt > 0 && --this.failAt === 0) return -1;
        const pa = this.frames.alloc(bytes);
        if (pa < 0) return -1;
        this.#litter(pa, bytes);
        cache?.invalidate(pa, bytes);
        this.live.set(pa, bytes);
        return pa;
      },
      free: (pa, bytes) => {
        if (this.#ended && this.#flushesAtEnd && this.calls.alls === this.#allsBeforeEnd)
          this.fail('free flushes everything before it frees', 'tlbFlushAll', hex(pa));
        this.watch.onFree(pa);
        this.#release(pa, bytes);
      },
    };
  }

  /** Flush ops as a driver has them: a gather that something does not fit into is synced first. */
  #watchedFlush(): FlushOps {
    return {
      tlbFlushAll: () => {
        this.calls.alls++;
        this.watch.onFlush(0, TWO32 * TWO32);
      },
      tlbFlushWalk: (iova, size) => {
        this.calls.walks++;
        this.watch.onFlush(iova, iova + size);
      },
      tlbAddPage: (gather, iova, granule, count) => {
        this.calls.pages += count;
        this.watch.settle('an invalidation');
        if (gather.queued) this.fail('a queued gather is given no pages', 'no call', 'tlbAddPage');
        const isOther = gather.pgsize !== 0 && gather.pgsize !== granule;
        if (isOther || gather.isDisjoint(iova, granule * count)) this.sync(gather);
        gather.pgsize = granule;
        gather.addRange(iova, granule * count);
      },
    };
  }

  fail(rule: string, expected: string, got: string): never {
    throw new ContractError({ subject: this.subject.name, rule, expected, got });
  }

  /** Two values that should be the same; numbers are shown in hexadecimal. */
  same(rule: string, got: number | string | boolean, expected: number | string | boolean): void {
    if (got !== expected) this.fail(rule, text(expected), text(got));
  }

  /** A condition that should hold. */
  holdsThat(rule: string, condition: unknown): void {
    if (condition !== true) this.fail(rule, 'true', String(condition));
  }

  /** A call that returns `expected` and must change nothing. */
  unchanged(rule: string, call: () => number, expected: number): void {
    const before = this.snapshot();
    this.same(rule, call(), expected);
    this.holdsThat(`${rule}: the table is unchanged`, this.snapshot() === before);
  }

  /** One call of `mapPages`. */
  mapOnce(page: Page, count: number, prot: number = this.prot): number {
    const before = this.table.mapped;
    const errno = this.table.mapPages(page.iova, page.paddr, page.size, count, prot);
    this.watch.settle('the end of a call');
    const { mapped } = this.table;
    if (errno > 0) this.fail('mapPages returns 0 or a negative errno', '<= 0', String(errno));
    if (mapped > page.size * count || mapped % page.size !== 0 || mapped < 0)
      this.fail('mapped is whole pages of what was asked', hex(page.size * count), hex(mapped));
    if (errno === 0 && mapped === 0 && count > 0)
      this.fail('a map that succeeds makes progress', 'some bytes', `0 (before: ${hex(before)})`);
    return errno;
  }

  /** Maps `count` pages as the core does: goes on where a call stopped. Returns the first errno, and in `done` the bytes. */
  map(page: Page, count: number, prot: number = this.prot): { errno: number; done: number } {
    const total = page.size * count;
    let done = 0;
    while (done < total) {
      const rest = { iova: page.iova + done, paddr: page.paddr + done, size: page.size };
      const errno = this.mapOnce(rest, (total - done) / page.size, prot);
      done += this.table.mapped;
      if (errno !== 0) return { errno, done };
    }
    return { errno: 0, done };
  }

  /** As `map`, of pages that must fit. */
  put(page: Page, count = 1, prot: number = this.prot): void {
    const { errno, done } = this.map(page, count, prot);
    this.same(`map of ${count} pages of ${hex(page.size)} at ${hex(page.iova)}`, errno, 0);
    this.same('bytes mapped', done, page.size * count);
  }

  /** Unmaps as the core does, and invalidates. Returns the bytes. */
  unmap(iova: number, size: number, count = 1): number {
    const gather = new IotlbGather();
    let done = 0;
    while (done < size * count) {
      const bytes = this.table.unmapPages(
        iova + done,
        size,
        Math.ceil((size * count - done) / size),
        gather,
      );
      this.watch.settle('the end of a call');
      if (bytes < 0) this.fail('unmapPages returns bytes', '>= 0', String(bytes));
      if (bytes === 0) break;
      done += bytes;
    }
    this.sync(gather);
    return done;
  }

  /** Ends a gather: invalidates what it holds, and frees the tables that waited for it. */
  sync(gather: IotlbGather): void {
    this.calls.syncs++;
    if (this.subject.sync !== undefined) {
      this.subject.sync(this.table, gather);
      this.same('an ended gather is empty', gather.freelist.length, 0);
    } else {
      this.same('tables left in a gather', gather.freelist.length, 0);
      if (!gather.isEmpty) this.watch.onFlush(gather.start, gather.end);
    }
    gather.init();
  }

  get prot(): number {
    return this.subject.prots[0] ?? 0;
  }

  /** What the table says of the byte `offset` above a page-aligned IOVA: both queries must agree. */
  phys(iova: number, offset = 0): number {
    const low = offset % EXACT;
    const base = iova + (offset - low);
    const { lo, hi } = this.table.iovaToPhys64({ lo: loOf(base) + low, hi: hiOf(base) });
    const whole = hi * TWO32 + lo;
    if (low === 0 || base < 2 ** 52) {
      const short = this.table.iovaToPhys(base + low);
      if (short !== whole)
        this.fail(`iovaToPhys and iovaToPhys64 agree at ${hex(base)}`, hex(whole), hex(short));
    }
    return whole;
  }

  /** The first and the last byte of a page translate, and those beyond both ends of it do what they did. */
  translates({ iova, paddr, size }: Page): void {
    this.same(`first byte of the page at ${hex(iova)}`, this.phys(iova), paddr);
    const last = this.phys(iova, size - 1);
    this.same(`last byte of the page at ${hex(iova)}`, last, paddr + (size - 1));
    const middle = size / 2;
    this.same(`middle of the page at ${hex(iova)}`, this.phys(iova, middle), paddr + middle);
  }

  /** Nothing is mapped in the first and the last byte of [iova, iova + size). */
  isHole(iova: number, size: number): void {
    this.same(`hole at ${hex(iova)}`, this.phys(iova), 0);
    this.same(`end of the hole at ${hex(iova)}`, this.phys(iova, size - 1), 0);
  }

  /** The leaves are exactly these pages, seen from the CPU and, where it does not snoop, by the device. */
  holds(pages: readonly Page[]): void {
    const expected = this.#text(pages);
    this.same('mapped pages', this.#leaves(this.cpu), expected);
    if (this.device !== this.cpu)
      this.same('mapped pages as the device sees them', this.#leaves(this.device), expected);
    const last = pages.at(-1);
    if (last === undefined) return;
    const levels: number[] = [];
    const { shape } = this.table;
    const kind = walkTable(this.cpu, shape, last.iova, ({ level }) => levels.push(level));
    this.same(`the walk of ${hex(last.iova)} ends at`, kind, 'leaf');
    const step = shape.leafLevel > shape.topLevel ? 1 : -1;
    const want = levels.map((_, i) => shape.topLevel + i * step);
    this.same('levels of the walk', levels.join(), want.join());
  }

  /** All of the table's content: entries and live tables. */
  snapshot(): string {
    const words: string[] = [];
    forEachEntry(this.cpu, this.table.shape, ({ at, lo, hi }) => {
      words.push(`${at}:${lo}:${hi}`);
    });
    return `${[...this.live.keys()].sort().join()} ${words.join()}`;
  }

  /** Frees the table: everything that it allocated comes back, after a flush of everything. */
  finish(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.same('warnings are told', this.warnings.length, this.table.warnings);
    const { tablesAllocated, tablesFreed, tablesPeak } = this.table.counters;
    const live = this.live.size - this.tops;
    const counted = tablesAllocated - tablesFreed;
    this.same('live tables = allocated - freed', counted - this.#topsCounted, live);
    this.holdsThat('the peak is reached', tablesPeak >= counted);
    this.#allsBeforeEnd = this.calls.alls;
    this.watch.stop();
    this.table.free();
    const flushes = this.#flushesAtEnd ? 1 : 0;
    this.same('free flushes everything once', this.calls.alls - this.#allsBeforeEnd, flushes);
    this.same('tables left after free', this.live.size, 0);
    this.same('frames left after free', this.frames.used, 0);
  }

  /** Fills a frame with what its last owner may have left. */
  #litter(pa: number, bytes: number): void {
    for (let at = pa; at < pa + bytes; at += PAGE) {
      const page = this.device.lanes(at);
      page?.fill(GARBAGE, 0, Math.min(PAGE, pa + bytes - at) / 4);
    }
  }

  #release(pa: number, bytes: number): void {
    const had = this.live.get(pa);
    if (had !== bytes)
      this.fail(
        `free of the table at ${hex(pa)}`,
        had === undefined ? 'no free' : hex(had),
        hex(bytes),
      );
    this.live.delete(pa);
    this.frames.free(pa, bytes);
  }

  get #flushesAtEnd(): boolean {
    return this.subject.traits.freeFlushes;
  }

  /** Pages as text, ascending; where the format chooses sizes, runs of them. */
  #text(pages: readonly Page[]): string {
    const sorted = [...pages].sort((a, b) => a.iova - b.iova);
    if (!this.subject.traits.choosesSize) return sorted.map(pageText).join(' ');
    const runs: { iova: number; paddr: number; size: number }[] = [];
    for (const { iova, paddr, size } of sorted) {
      const run = runs.at(-1);
      if (run !== undefined && run.iova + run.size === iova && run.paddr + run.size === paddr)
        run.size += size;
      else runs.push({ iova, paddr, size });
    }
    return runs.map(pageText).join(' ');
  }

  #leaves(view: MemoryView): string {
    const leaves: Page[] = [];
    let last = -1;
    forEachLeaf(view, this.table.shape, (leaf) => {
      if (leaf.iova < last)
        this.fail('leaves come in ascending order', `above ${hex(last)}`, hex(leaf.iova));
      last = leaf.iova;
      leaves.push({ iova: leaf.iova, paddr: leaf.paddr, size: leaf.size });
    });
    return this.#text(leaves);
  }
}

function pageText({ iova, paddr, size }: Page): string {
  return `${hex(iova)}->${hex(paddr)}+${hex(size)}`;
}

function text(value: number | string | boolean): string {
  return typeof value === 'number' ? hex(value) : String(value);
}

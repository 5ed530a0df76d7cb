import type { MemoryView } from '@iommukit/platform';
import { PageRun } from '../page-run.ts';
import type { PhysRun } from '../range-page-table.ts';
import { addressHi, addressLo, type LeafRun, storeLeaves } from '../table-words.lanes.ts';
import { LAST_LEVEL, type LpaeTables } from './lpae-tables.lanes.ts';

/** No prefix: table numbers start at 0. */
const NONE = -1;
const PAGE = 4096;
const LANE_MASK = 1023;

/** Number, within its level, of the table that translates `iova`; tables of one level are numbered by IOVA. */
export function tableNumber(tables: LpaeTables<unknown>, iova: number, level: number): number {
  return level === tables.topLevel ? 0 : Math.floor(iova / (tables.spans[level - 1] as number));
}

/**
 * What one `mapRange` works with, reused by the next: a cursor over the list in pieces of one page size, and what was found out
 * about each span, a maximal row of pieces of one size in one table. Spans follow from the list alone, so that every pass over it
 * meets the same ones.
 * @internal
 */
export class LpaeMapPlan {
  /** Bytes that the last call mapped. */
  mapped = 0;
  /** First IOVA that was mapped already; -1 without one. */
  failedAt = -1;
  /** The next page of the cursor, and its level. */
  iova = 0;
  level = 0;
  /** Attributes of the leaves, and the piece that is being stored. */
  readonly leaves: LeafRun = { paddr: 0, step: 0, lo: 0, hi: 0 };

  // Lists below are never cut, only counted: a list that shrinks gives its memory back, and the next call would ask for it again.

  /** Spans found, and whether the table of any is linked. */
  spans = 0;
  live = false;
  /** Spans: the entry to store to, or, where a table is missing, the entry that is to point to the topmost missing table. */
  readonly entries: number[] = [];
  /** Spans: level of the topmost missing table, 0 when none is (there is nothing above level 0). */
  readonly missing: number[] = [];
  /** Spans: pages, negative when tables lie in their way. */
  readonly counts: number[] = [];

  /** Missing tables, and frames for them, in the order of use. */
  needed = 0;
  readonly frames: number[] = [];
  /** Links to make: entries that will point to topmost missing tables, their level, and the tables. */
  links = 0;
  readonly linkEntries: number[] = [];
  readonly linkLevels: number[] = [];
  readonly linkTables: number[] = [];

  // By level: the table that was looked up or made last, by its number, so that none is twice.
  readonly knownNumber: number[] = [NONE, NONE, NONE, NONE];
  readonly knownEntry: number[] = [0, 0, 0, 0];
  readonly knownMissing: number[] = [0, 0, 0, 0];
  readonly newNumber: number[] = [NONE, NONE, NONE, NONE];
  readonly newTable: number[] = [0, 0, 0, 0];

  readonly #tables: LpaeTables<unknown>;
  readonly #pages: PageRun = new PageRun();
  #runs: readonly PhysRun[] = [];
  #next = 0;
  #paddr = 0;
  /** Pages left of the piece, their size, and bytes left after it of what is joined. */
  #count = 0;
  #size = 0;
  #left = 0;

  constructor(tables: LpaeTables<unknown>) {
    this.#tables = tables;
  }

  /** Forgets the last call. */
  begin(): void {
    this.mapped = 0;
    this.failedAt = -1;
    this.spans = 0;
    this.live = false;
    this.needed = 0;
    this.links = 0;
    this.knownNumber.fill(NONE);
  }

  /** Puts the cursor at the start of a list. */
  rewind(iova: number, runs: readonly PhysRun[]): void {
    this.iova = iova;
    this.newNumber.fill(NONE);
    this.#runs = runs;
    this.#next = 0;
    this.#count = 0;
    this.#left = 0;
  }

  /** Lets go of the list. */
  end(): void {
    this.#runs = [];
  }

  /** False at the end of the list; otherwise `iova` and `level` are those of the next page. */
  more(): boolean {
    if (this.#count > 0) return true;
    const runs = this.#runs;
    if (this.#left === 0) {
      const first = runs[this.#next];
      if (first === undefined) return false;
      let end = first.paddr + first.length;
      let next = this.#next + 1;
      for (; next < runs.length; next++) {
        const run = runs[next] as PhysRun;
        if (run.paddr !== end) break;
        end += run.length;
      }
      this.#next = next;
      this.#paddr = first.paddr;
      this.#left = end - first.paddr;
    }
    const tables = this.#tables;
    const pages = this.#pages;
    pages.pick(tables.pgsizeBitmap, this.iova, this.#paddr, this.#left);
    this.#count = pages.count;
    this.#left -= pages.count * pages.pgsize;
    if (pages.pgsize !== this.#size || this.level === 0) {
      this.#size = pages.pgsize;
      let level = LAST_LEVEL;
      while (tables.spans[level] !== pages.pgsize) level--;
      this.level = level;
    }
    return true;
  }

  /** Entries from the cursor to the end of its table. */
  leftInTable(): number {
    const entries = this.#tables.entryCount(this.level);
    return entries - this.index();
  }

  /** Index of the cursor in its table. */
  index(): number {
    const tables = this.#tables;
    const mask = this.level === tables.topLevel ? tables.topMask : tables.mask;
    return (this.iova / (tables.spans[this.level] as number)) & mask;
  }

  /** Passes a span and returns its pages. */
  skipSpan(): number {
    const limit = this.leftInTable();
    const level = this.level;
    let n = 0;
    do {
      n += this.#take(limit - n);
      if (this.#count === 0 && this.#left === 0 && level === LAST_LEVEL)
        n += this.#single(limit - n);
    } while (n < limit && this.more() && this.level === level);
    return n;
  }

  /** Passes a span, storing its leaves from `entry` on, and returns its pages. */
  storeSpan(memory: MemoryView, entry: number): number {
    const limit = this.leftInTable();
    const level = this.level;
    const leaves = this.leaves;
    leaves.step = this.#size;
    let n = 0;
    do {
      leaves.paddr = this.#paddr;
      const count = this.#take(limit - n);
      storeLeaves(memory, entry + n * 8, count, leaves);
      n += count;
      if (this.#count === 0 && this.#left === 0 && level === LAST_LEVEL)
        n += this.#storeSingle(memory, entry + n * 8, limit - n);
    } while (n < limit && this.more() && this.level === level);
    return n;
  }

  /**
   * Passes at most `limit` runs of one granule that do not join with the next: only a page fits them, so that the rule for page
   * sizes need not be asked. Most of a scattered list is made of these.
   */
  #single(limit: number): number {
    const runs = this.#runs;
    const granule = this.#tables.granule;
    const first = this.#next;
    const end = Math.min(runs.length, first + limit);
    let next = first;
    let run = runs[next];
    while (next < end && run !== undefined && run.length === granule) {
      const following = runs[next + 1];
      if (following !== undefined && following.paddr === run.paddr + granule) break;
      next++;
      run = following;
    }
    this.#next = next;
    this.iova += (next - first) * granule;
    return next - first;
  }

  /** As `#single`, and stores their leaves, of one 4 KiB piece of a table at most. */
  #storeSingle(memory: MemoryView, entry: number, limit: number): number {
    const n = Math.min(limit, (PAGE - (entry & (PAGE - 1))) >>> 3);
    const first = this.#next;
    const count = this.#single(n);
    if (count === 0) return 0;
    const runs = this.#runs;
    const { lo, hi } = this.leaves;
    const page = memory.lanes(entry);
    let k = (entry / 4) & LANE_MASK;
    for (let i = 0; i < count; i++) {
      const { paddr } = runs[first + i] as PhysRun;
      if (page === undefined)
        memory.store64(entry + i * 8, lo | addressLo(paddr), hi | addressHi(paddr));
      else {
        page[k] = lo | addressLo(paddr);
        page[k + 1] = hi | addressHi(paddr);
        k += 2;
      }
    }
    return count;
  }

  #take(limit: number): number {
    const n = Math.min(this.#count, limit);
    const bytes = n * this.#size;
    this.#count -= n;
    this.iova += bytes;
    this.#paddr += bytes;
    return n;
  }
}

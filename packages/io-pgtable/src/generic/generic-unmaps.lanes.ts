import type { IotlbGather } from '../iotlb-gather.ts';
import { clearEntries } from '../table-words.lanes.ts';
import { endOfLeaves } from './generic-leaf-words.lanes.ts';
import { FIRST, GenericLookups, LAST } from './generic-lookups.lanes.ts';
import { EMPTY, LEAF, lowBits, TABLE } from './generic-tables.lanes.ts';

/**
 * What clears leaves of one generic page table, unlinks tables that a range covers, and tells a gather of both. The calls build on it
 * (`GenericPageTable`).
 * @internal
 */
export class GenericUnmaps<H> extends GenericLookups<H> {
  #unmapped = 0;
  /** Levels where the call that runs cleared leaves and unlinked tables, a bit each. @internal */ leafLevels = 0;
  /** @internal */ tableLevels = 0;
  /** Tables that it unlinked. @internal */ unlinked: number[] = [];

  /** Clears [iova, iova + length) up to a hole, tells the gather and returns the bytes. @internal */
  unmapRange(iova: number, length: number, gather: IotlbGather): number {
    if (!this.setRange(iova, length)) return 0;
    this.#unmapped = 0;
    this.leafLevels = 0;
    this.tableLevels = 0;
    this.#clearTable(this.topLevel, this.top, FIRST | LAST);
    const unlinked = this.unlinked;
    if (unlinked.length > 0) this.takeBack(unlinked);
    this.gatherRange(gather, iova, this.#unmapped);
    if (unlinked.length > 0) this.gatherTables(gather);
    return this.#unmapped;
  }

  /** Clears what the range covers of a table; false when it came to a hole. */
  #clearTable(level: number, table: number, part: number): boolean {
    const memory = this.memory;
    const span = this.spans[level] as number;
    const mask = level === this.topLevel ? this.topMask : (this.masks[level] as number);
    const first = (part & FIRST) !== 0 ? (this.start / span) & mask : 0;
    const last = (part & LAST) !== 0 ? (this.last / span) & mask : mask;
    let clearedFrom = -1;
    let clearedEnd = 0;
    let leaves = 0;
    let whole = true;
    this.counters.levels++;
    for (let i = first; i <= last; ) {
      const lo = memory.load64(table + i * 8);
      const hi = memory.hi;
      const kind = this.kindOf(level, lo, hi);
      if (kind === EMPTY) {
        whole = false;
        break;
      }
      const from = i;
      if (kind === TABLE) {
        const edge = (i === first ? part & FIRST : 0) | (i === last ? part & LAST : 0);
        const below = this.address(lo, hi);
        if (!this.#clearTable(level - 1, below, edge)) {
          whole = false;
          break;
        }
        i++;
        if (!this.#covers(span, edge)) continue;
        this.unlinked.push(below);
        this.tableLevels |= 1 << level;
        memory.store64(table + from * 8, 0, 0);
        this.counters.stores++;
      } else {
        // A range that starts inside a page clears nothing of it.
        if (i === first && (part & FIRST) !== 0 && this.#startsInside(lo, hi, span)) {
          whole = false;
          break;
        }
        i = this.#endOfLeaves(level, table, i, last);
        clearEntries(memory, table + from * 8, i - from);
        this.counters.stores += i - from;
        this.leafLevels |= 1 << level;
        leaves += i - from;
      }
      if (clearedFrom < 0) clearedFrom = from;
      clearedEnd = i;
    }
    this.#unmapped += leaves * span;
    if (this.incoherent && clearedFrom >= 0)
      this.clean(table + clearedFrom * 8, (clearedEnd - clearedFrom) * 8);
    return whole;
  }

  /** True when the range starts inside the page of a leaf. */
  #startsInside(lo: number, hi: number, span: number): boolean {
    return lowBits(this.start, this.spanItems(lo, hi, span) * span) !== 0;
  }

  /** Index after the last of the leaves that follow one another from index `from`, a leaf, on; `last` is the last that may go. */
  #endOfLeaves(level: number, table: number, from: number, last: number): number {
    const memory = this.memory;
    const span = this.spans[level] as number;
    const single = (this.contLo | this.contHi) === 0;
    const page = single && last - from >= 4 ? memory.lanes(table) : undefined;
    // The first is a leaf already, perhaps by its high bits only, which the run does not look at.
    if (page !== undefined)
      return endOfLeaves(page, this.levelKinds[level] as Uint8Array, LEAF, from + 1, last);
    let i = from;
    let lo = memory.load64(table + i * 8);
    let hi = memory.hi;
    do {
      i += this.spanItems(lo, hi, span);
      if (i > last) break;
      lo = memory.load64(table + i * 8);
      hi = memory.hi;
    } while (this.kindOf(level, lo, hi) === LEAF);
    return i;
  }

  /** True when the range holds all of an entry's span, `edge` telling which of its ends lie in it. */
  #covers(span: number, edge: number): boolean {
    if ((edge & FIRST) !== 0 && lowBits(this.start, span) !== 0) return false;
    return (edge & LAST) === 0 || lowBits(this.end, span) === 0;
  }

  /** Adds a cleared range to a gather, and the levels that it cleared at. @internal */
  gatherRange(gather: IotlbGather, iova: number, bytes: number): void {
    if (!gather.queued) {
      if (this.noGaps && gather.isDisjoint(iova, bytes)) this.syncGather(gather);
      gather.addRange(iova, bytes);
    }
    if (!this.detailed) return;
    gather.leafLevels |= this.leafLevels;
    gather.tableLevels |= this.tableLevels;
  }

  /** Hands the unlinked tables to a gather, before those that wait there. @internal */
  gatherTables(gather: IotlbGather): void {
    const waiting = gather.freelist;
    gather.freelist = waiting.length === 0 ? this.unlinked : this.unlinked.concat(waiting);
    this.unlinked = [];
  }
}

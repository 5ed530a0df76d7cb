import { VMSAV8_64_TABLE } from '@iommukit/arm-arch';
import type { MemoryView } from '@iommukit/platform';
import type { VaCommand } from './command-log.ts';

const PAGE = 4096;
/** Bytes that an entry of each level spans with a 4 KiB granule (DDI 0487 D8.2). */
const SPAN = [2 ** 39, 2 ** 30, 2 ** 21, PAGE] as const;
const LEAF = 3;

/**
 * A walker with few pointers to leaf tables, the least recently used of which goes first; leaves and upper levels are kept without limit. What
 * a `TLBI` without Leaf names loses all levels above it. (The model's caches have no limit.) Four levels, 4 KiB pages; it hears of invalidations
 * by reading the commands that the driver wrote.
 */
export class LimitedWalker {
  /** Descriptors read. */
  loads = 0;
  readonly #memory: MemoryView;
  readonly #root: number;
  readonly #capacity: number;
  readonly #leaves = new Map<number, number>();
  /** Next tables by level and first IOVA of what they span; a Map keeps the order of use. */
  readonly #tables: readonly Map<number, number>[] = [new Map(), new Map(), new Map()];

  constructor(memory: MemoryView, root: number, leafTables: number) {
    this.#memory = memory;
    this.#root = root;
    this.#capacity = leafTables;
  }

  /** Reads a page: where it is, or -1. */
  read(iova: number): number {
    const held = this.#leaves.get(iova);
    if (held !== undefined) return held;
    let { table, level } = this.#deepest(iova);
    for (; level <= LEAF; level++) {
      const next = this.#load(table, level, iova);
      if (next < 0) return -1;
      if (level === LEAF) {
        this.#leaves.set(iova, next);
        return next;
      }
      this.#keep(level, iova, next);
      table = next;
    }
    return -1;
  }

  /** Whether it would answer for a page without reading anything. */
  holds(iova: number): boolean {
    return this.#leaves.has(iova);
  }

  /** An invalidation that the driver sent. */
  invalidate({ start, granules, leaf }: VaCommand): void {
    for (let at = start; at < start + granules * PAGE; at += PAGE) {
      this.#leaves.delete(at);
      if (!leaf) for (const [level, held] of this.#tables.entries()) held.delete(base(at, level));
    }
  }

  #deepest(iova: number): { table: number; level: number } {
    for (let level = LEAF - 1; level >= 0; level--) {
      const held = this.#tables[level];
      const at = base(iova, level);
      const table = held?.get(at);
      if (held === undefined || table === undefined) continue;
      held.delete(at);
      held.set(at, table);
      return { table, level: level + 1 };
    }
    return { table: this.#root, level: 0 };
  }

  #keep(level: number, iova: number, table: number): void {
    const held = this.#tables[level];
    if (held === undefined) return;
    const oldest = held.keys().next();
    if (level === LEAF - 1 && held.size === this.#capacity && oldest.done !== true)
      held.delete(oldest.value);
    held.set(base(iova, level), table);
  }

  #load(table: number, level: number, iova: number): number {
    this.loads++;
    const size = SPAN[level] as number;
    const lo = this.#memory.load64(table + (Math.floor(iova / size) % 512) * 8);
    // Type 3 is a table above the last level, a page on it.
    return lo % 4 === 3 ? VMSAV8_64_TABLE.get.NextTable([lo, this.#memory.hi]) : -1;
  }
}

function base(iova: number, level: number): number {
  const size = SPAN[level] as number;
  return iova - (iova % size);
}

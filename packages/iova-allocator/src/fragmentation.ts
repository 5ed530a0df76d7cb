import { log2Floor } from '@iommukit/bits';
import { type GapSearch, newGapPass } from './gap-search.ts';
import type { IovaRange } from './iova-domain-options.ts';
import { ANCHOR, type IovaTree } from './iova-tree.ts';

/**
 * How a part of the space is used, pages of the granule. The four sums always agree: live + cached + free = space.
 * @example const used = 1 - report.freePages / report.spacePages;
 */
export interface IovaFragmentation {
  /** Pages from the first one a search may return to the limit asked for. */
  readonly spacePages: number;
  /** Pages of ranges that somebody holds, reservations included. */
  readonly livePages: number;
  /** Pages of ranges that wait in magazines or the depot. */
  readonly cachedPages: number;
  readonly freePages: number;
  /** Pages of the longest gap, however it lies. */
  readonly largestGap: number;
  /** Gaps by length, shortest first; lengths that do not occur are left out. */
  readonly histogram: readonly IovaGapClass[];
}

/**
 * Gaps of `2^order` to `2^(order + 1) - 1` pages.
 * @example const least = 2 ** gaps.order;
 */
export interface IovaGapClass {
  readonly order: number;
  readonly gaps: number;
  readonly pages: number;
}

/** Walks all ranges once; those that lie over each other (reservations with reversed ends) count once. */
export function fragmentation(
  tree: IovaTree,
  cached: ReadonlySet<number>,
  first: number,
  end: number,
): IovaFragmentation {
  const { lo, hi, next } = tree;
  const classes = new Map<number, { gaps: number; pages: number }>();
  let livePages = 0;
  let cachedPages = 0;
  let freePages = 0;
  let largestGap = 0;
  let from = first;
  const addGap = (to: number): void => {
    const pages = to - from;
    if (pages <= 0) return;
    freePages += pages;
    largestGap = Math.max(largestGap, pages);
    const order = log2Floor(pages);
    const entry = classes.get(order) ?? { gaps: 0, pages: 0 };
    entry.gaps++;
    entry.pages += pages;
    classes.set(order, entry);
  };
  for (let slot = next[ANCHOR] as number; slot !== ANCHOR; slot = next[slot] as number) {
    const start = lo[slot] as number;
    if (start >= end) break;
    const stop = Math.min((hi[slot] as number) + 1, end);
    if (stop <= from) continue;
    addGap(start);
    const pages = stop - Math.max(start, from);
    if (cached.has(start)) cachedPages += pages;
    else livePages += pages;
    from = stop;
  }
  addGap(end);
  return {
    spacePages: Math.max(0, end - first),
    livePages,
    cachedPages,
    freePages,
    largestGap,
    histogram: [...classes]
      .sort(([a], [b]) => a - b)
      .map(([order, { gaps, pages }]) => ({ order, gaps, pages })),
  };
}

/** The highest of the largest naturally aligned free blocks in `[first, end)`, found by the domain's own search. */
export function largestFreeBlock(
  tree: IovaTree,
  search: GapSearch,
  first: number,
  end: number,
): IovaRange | null {
  const pass = newGapPass();
  pass.low = first;
  pass.high = end;
  let best: IovaRange | null = null;
  // Half of a free block is a free block, so the order is found between one that is there and one that is not.
  let there = -1;
  let missing = 53;
  while (missing - there > 1) {
    const order = Math.floor((there + missing) / 2);
    pass.size = 2 ** order;
    pass.align = pass.size;
    pass.start = ANCHOR;
    if (search(tree, pass)) {
      there = order;
      best = { pfnLo: pass.pfn, pfnHi: pass.pfn + pass.size - 1 };
    } else {
      missing = order;
    }
  }
  return best;
}

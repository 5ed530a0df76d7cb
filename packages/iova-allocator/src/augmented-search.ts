import { log2Floor } from '@iommukit/bits';
import { type GapPass, linearSearch } from './gap-search.ts';
import { ANCHOR, type IovaTree } from './iova-tree.ts';

/**
 * The same answer as `linearSearch` from the summaries of the subtrees. The gap that the upper end cuts is tried by itself;
 * below it every gap is whole, and the highest fitting one is found by climbing from there and descending once.
 *
 * A summary is exact for a size that is its own alignment (rank) and for one without alignment (gap). A size between two powers of two
 * needs a long enough gap that holds at least a block of half its alignment; such a gap may still be misaligned, and the climb goes on.
 *
 * Every range whose bounds or summary are read counts as visited.
 */
export function augmentedSearch(tree: IovaTree, pass: GapPass): boolean {
  // Ranges that lie over each other have no order by address that a summary could speak of.
  if (tree.irregular) return linearSearch(tree, pass);
  const { lo, left, right, parent, gap, rank } = tree;
  const { size, align, high } = pass;
  const start = firstBelow(tree, pass);
  pass.visited++;
  const top = lo[start] as number;
  const verdict = tryGap(tree, pass, start, Math.min(top, high));
  if (verdict !== 'on') return verdict === 'found';

  // Rank is order + 1: a block of the alignment's own order, or of half of it.
  const wanted = align === 1 ? 1 : log2Floor(align) + (size === align ? 1 : 0);
  const { root } = tree;
  pass.visited++;
  if ((gap[root] as number) < size || (rank[root] as number) < wanted) return false;
  let visited = 0;
  let slot = start;
  let entry = start === ANCHOR ? root : (left[start] as number);
  for (;;) {
    if (entry !== 0) visited++;
    if (entry !== 0 && (gap[entry] as number) >= size && (rank[entry] as number) >= wanted) {
      slot = entry;
      for (;;) {
        entry = right[slot] as number;
        if (entry === 0) break;
        visited++;
        if ((gap[entry] as number) < size || (rank[entry] as number) < wanted) break;
        slot = entry;
      }
    } else {
      if (slot === ANCHOR) break;
      let child = slot;
      slot = parent[slot] as number;
      while (slot !== 0 && left[slot] === child) {
        visited++;
        child = slot;
        slot = parent[slot] as number;
      }
      if (slot === 0) break;
      visited++;
    }
    const next = tryGap(tree, pass, slot, lo[slot] as number);
    if (next !== 'on') {
      pass.visited += visited;
      return next === 'found';
    }
    entry = left[slot] as number;
  }
  pass.visited += visited;
  return false;
}

/** The range whose gap is the first to reach below the upper end: all ranges from `start` down to it leave no room under that end. */
function firstBelow(tree: IovaTree, pass: GapPass): number {
  const { lo, prev, left, right } = tree;
  const { start, high } = pass;
  if ((lo[start] as number) < high) return start;
  const below = prev[start] as number;
  if (below === ANCHOR || (lo[below] as number) < high) return start;
  let found = start;
  let slot = tree.root;
  while (slot !== 0) {
    pass.visited++;
    if ((lo[slot] as number) >= high) {
      found = slot;
      slot = left[slot] as number;
    } else {
      slot = right[slot] as number;
    }
  }
  return found;
}

/** Tries the gap below `slot` up to `end`. `none`: neither it nor any lower gap reaches the lowest pfn allowed. */
function tryGap(tree: IovaTree, pass: GapPass, slot: number, end: number): 'found' | 'none' | 'on' {
  const { size, align, low } = pass;
  if (end < size) return 'none';
  const free = end - size;
  const pfn = align === 1 ? free : Math.floor(free / align) * align;
  if (pfn < low) return 'none';
  const from = tree.gapStart(slot);
  if (pfn < from) {
    if (free >= from) pass.misaligned++;
    return 'on';
  }
  pass.pfn = pfn;
  pass.above = slot;
  return 'found';
}

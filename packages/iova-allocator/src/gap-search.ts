import { ANCHOR, type IovaTree } from './iova-tree.ts';

/**
 * How free space is looked for. Both find the same places: `linear` walks from range to range as the kernel does,
 * `augmented` descends a tree that knows the largest gap and the largest naturally aligned free block of every subtree.
 * @example const search: IovaSearch = 'augmented';
 */
export type IovaSearch = 'linear' | 'augmented';

/** One pass of a search, reused from call to call; the fields from `pfn` on are its answer. */
export interface GapPass {
  size: number;
  /** Power of two that the result is a multiple of. */
  align: number;
  /** Range (or ANCHOR) from which the pass descends. */
  start: number;
  /** Exclusive upper end. */
  high: number;
  /** Lowest pfn allowed. */
  low: number;
  pfn: number;
  /** Range directly above the gap that was found. */
  above: number;
  /** Added to by each pass. */
  visited: number;
  misaligned: number;
}

/** Finds the highest fitting gap below `start`; true when there is one. */
export type GapSearch = (tree: IovaTree, pass: GapPass) => boolean;

export function newGapPass(): GapPass {
  return {
    size: 0,
    align: 1,
    start: ANCHOR,
    high: 0,
    low: 0,
    pfn: 0,
    above: ANCHOR,
    visited: 0,
    misaligned: 0,
  };
}

/** The descent of `__alloc_and_insert_iova_range`: tries the gap below each range in turn, one step of the thread each. */
export function linearSearch(tree: IovaTree, pass: GapPass): boolean {
  const { lo, hi, prev } = tree;
  const { size, align, low } = pass;
  let { high, start: curr } = pass;
  let visited = 0;
  for (;;) {
    const above = curr;
    const top = lo[above] as number;
    if (top < high) high = top;
    curr = prev[above] as number;
    visited++;
    // In the kernel the difference wraps to a pfn above every range, which ends the descent and then counts as a failure.
    if (high < size) break;
    const free = high - size;
    const pfn = align === 1 ? free : Math.floor(free / align) * align;
    if (pfn < low) break;
    if (curr === ANCHOR || pfn > (hi[curr] as number)) {
      pass.pfn = pfn;
      pass.above = above;
      pass.visited += visited;
      return true;
    }
  }
  pass.visited += visited;
  return false;
}

/**
 * What an allocator has done so far. Plain numbers that only grow; reading them costs nothing.
 * @example if (iovad.counters.searchRetries > before) report();
 */
export interface IovaCounters {
  /** Fast allocations answered by a magazine. */
  cacheAllocs: number;
  /** Fast allocations of a cached size that no magazine could answer. */
  cacheMisses: number;
  /** Ranges that a search put into the tree. */
  treeAllocs: number;
  /** Searches that found nothing, the refused ones of the next field included. */
  failedAllocs: number;
  /** Searches refused unseen because that size failed before (`max32_alloc_size`). */
  refusedAllocs: number;
  /** Ranges (and the anchor) the search looked at. */
  nodesVisited: number;
  /** Gaps long enough for the request but without a place of its alignment that the augmented search met; 0 with the linear one, which does not look at lengths. */
  misalignedGaps: number;
  /** Second passes, from the limit instead of the cached node. */
  searchRetries: number;
  /** Fast frees kept in a magazine. */
  cacheFrees: number;
  /** Ranges taken out of the tree, one by one or by emptying magazines. */
  treeFrees: number;
  /** Full magazines moved to a depot. */
  depotPushes: number;
  /** Magazines fetched from a depot to allocate from. */
  depotPops: number;
  /** Full magazines that found the depot full and were emptied into the tree (6.1). */
  depotOverflows: number;
  /** Magazines that the depot work gave back. */
  depotReclaims: number;
  /** Times all caches were emptied because a fast allocation failed. */
  cacheFlushes: number;
  /** `WARN_ON`s the kernel would have raised. */
  warnings: number;
}

export function newCounters(): IovaCounters {
  return {
    cacheAllocs: 0,
    cacheMisses: 0,
    treeAllocs: 0,
    failedAllocs: 0,
    refusedAllocs: 0,
    nodesVisited: 0,
    misalignedGaps: 0,
    searchRetries: 0,
    cacheFrees: 0,
    treeFrees: 0,
    depotPushes: 0,
    depotPops: 0,
    depotOverflows: 0,
    depotReclaims: 0,
    cacheFlushes: 0,
    warnings: 0,
  };
}

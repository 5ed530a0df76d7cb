import type { IotlbGather } from './iotlb-gather.ts';

/**
 * Invalidation, as a page table asks for it: the one contract by which this layer calls back up (`struct iommu_flush_ops`). A driver
 * implements it, once for each domain, so no cookie is passed; the page table calls it. Addresses and sizes in bytes; ranges are
 * [iova, iova + size) and end at 2^64 at most, where sums of numbers are still exact for aligned addresses. Everything of the domain
 * is meant, whatever ids (ASID, VMID) the device tags it with.
 *
 * What the caller has done before any of these is called: the entries are cleared in memory, and cleaned to the point of coherency
 * where walks are not coherent. So an invalidation that is complete is final: nothing can be cached again from what was cleared.
 *
 * What may be put off: only what `tlbAddPage` is told, and only as long as the gather that it put it into is not synced. Whoever
 * called `unmapPages` owns the gather and syncs it before it uses the IOVAs or the memory again; how a gather is synced is between
 * that caller and the driver. The three calls are independent: a walk flush may come between two `tlbAddPage` of one gather and need
 * not empty that.
 *
 * Calls come from inside `unmapPages`, `free`, and `mapPages` where a large page replaces tables; they must not call the page table
 * that called. They return nothing and throw nothing: a device that does not answer is the driver's to report. No table memory
 * changes hands: the caller frees a table page after `tlbFlushWalk` has returned, and all of them after `tlbFlushAll`.
 * `GenericPageTable` does without: it collects tables and ranges in the gather, and its `GenericDriver` syncs that.
 * @example const none: FlushOps = { tlbFlushAll() {}, tlbFlushWalk() {}, tlbAddPage() {} };
 */
export interface FlushOps {
  /** Drops everything cached of the domain, leaves and table entries, and returns when that is complete. */
  tlbFlushAll(): void;
  /**
   * Drops cached table entries (of every level) and leaves of [iova, iova + size) and returns when that is complete. `size` is what an
   * entry that pointed to a table spanned, `granule` the smallest page of the table, whatever the leaves below were.
   */
  tlbFlushWalk(iova: number, size: number, granule: number): void;
  /**
   * Notes that `count` (at least 1) neighbouring entries of `granule` bytes each were cleared, from `iova` on; `granule` is the size
   * of this leaf, not the smallest. Cached table entries may stay. Either invalidates at once, or grows the gather: `addRange` and,
   * in `pgsize`, the granule, since one gather holds one page size and one range. What does not fit (another granule, or
   * `isDisjoint`) is synced first: invalidate what the gather holds, `gather.init()`, then add.
   *
   * Never called for a gather that is `queued`: a flush of everything is due then. A caller that unmapped without a gather promised to
   * invalidate by itself; some tables then make no call, others pass a gather of their own that nobody will sync.
   */
  tlbAddPage(gather: IotlbGather, iova: number, granule: number, count: number): void;
}

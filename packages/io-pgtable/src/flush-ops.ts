import type { IotlbGather } from './iotlb-gather.ts';

/**
 * Invalidation, as a page table asks for it: the one contract by which this layer calls back up (`struct iommu_flush_ops`). One
 * instance for each domain, so no cookie is passed. All sizes and addresses in bytes.
 *
 * Order: entries are cleared in memory, and cleaned to the point of coherency in non-coherent mode, *before* any of these is
 * called; a table page may be reused only after `tlbFlushWalk` for it has returned.
 * @example const none: FlushOps = { tlbFlushAll() {}, tlbFlushWalk() {}, tlbAddPage() {} };
 */
export interface FlushOps {
  /** Drops every cached translation of the domain, synchronously. */
  tlbFlushAll(): void;
  /** Drops cached table entries and leaves of [iova, iova + size), synchronously; `granule` is the table's smallest page. */
  tlbFlushWalk(iova: number, size: number, granule: number): void;
  /** Notes that `count` leaves of `granule` bytes from `iova` on were cleared; may sync what does not fit into the gather. */
  tlbAddPage(gather: IotlbGather, iova: number, granule: number, count: number): void;
}

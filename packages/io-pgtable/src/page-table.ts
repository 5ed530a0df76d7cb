import type { IotlbGather } from './iotlb-gather.ts';

/**
 * A page table of any format (`struct io_pgtable_ops`). Addresses and sizes in bytes; `iova`, `paddr` aligned to `pgsize`.
 * @example table.mapPages(0xffff_f000, 0x4000_0000, 4096, 1, IOMMU_READ + IOMMU_WRITE); // 0
 */
export interface PageTable {
  /** Page sizes that the configured table accepts: the sum of powers of two, bytes. */
  readonly pgsizeBitmap: number;
  /** Bytes that the last `mapPages` mapped, also when it failed; valid until the next call. */
  readonly mapped: number;
  /**
   * Maps up to `pgcount` pages and returns 0 or a negative errno. One call fills at most the rest of one table: the bytes done
   * stand in `mapped` and the caller goes on from there. -EEXIST: something is mapped there; -ENOMEM: no frame for a table;
   * -ERANGE: outside the configured sizes; -EINVAL: page size not configured, or neither READ nor WRITE.
   */
  mapPages(iova: number, paddr: number, pgsize: number, pgcount: number, prot: number): number;
  /** Unmaps up to `pgcount` pages and returns the bytes cleared; 0 for a hole. One call clears entries of at most one table. */
  unmapPages(iova: number, pgsize: number, pgcount: number, gather: IotlbGather | null): number;
  /** The physical address of an IOVA (any byte), 0 for a hole, as Linux. */
  iovaToPhys(iova: number): number;
  /** Frees every table page after one `tlbFlushAll`; the table must not be used afterwards. */
  free(): void;
}

import type { U64 } from '@iommukit/bits';
import type { IotlbGather } from './iotlb-gather.ts';
import type { PageTableCounters } from './page-table-counters.ts';
import type { TableShape } from './table-shape.ts';

/**
 * A page table of any format (`struct io_pgtable_ops`). Addresses and sizes in bytes; `iova`, `paddr` aligned to `pgsize`. All
 * entries live in physical memory; the object holds where the top is, and no copy of anything below. A count that is no whole number
 * throws `PageCountError`.
 * @example table.mapPages(0xffff_f000, 0x4000_0000, 4096, 1, IOMMU_READ + IOMMU_WRITE); // 0
 */
export interface PageTable {
  /** Page sizes that the configured table accepts: the sum of powers of two, bytes. */
  readonly pgsizeBitmap: number;
  /** Bytes that the last `mapPages` mapped, also when it failed; valid until the next call. */
  readonly mapped: number;
  /** Warnings (`WARN_ON`) so far; those that the kernel prints only once are counted every time. */
  readonly warnings: number;
  /** What was done so far. */
  readonly counters: PageTableCounters;
  /** How the tables look to a reader; current, also after the top table changed. */
  readonly shape: TableShape;
  /**
   * Maps up to `pgcount` pages and returns 0 or a negative errno. One call may stop at the end of a table: the bytes done
   * stand in `mapped` and the caller goes on from there. -EEXIST (generic formats: -EADDRINUSE): something is mapped there;
   * -ENOMEM: no frame for a table; -ERANGE: outside the configured sizes; -EINVAL: page size not configured, or neither READ nor
   * WRITE.
   */
  mapPages(iova: number, paddr: number, pgsize: number, pgcount: number, prot: number): number;
  /** Unmaps up to `pgcount` pages and returns the bytes cleared; 0 for a hole. One call may stop at the end of a table. */
  unmapPages(iova: number, pgsize: number, pgcount: number, gather: IotlbGather | null): number;
  /** The physical address of an IOVA (any byte), 0 for a hole, as Linux. Exact below 2^53 and for page-aligned IOVAs. */
  iovaToPhys(iova: number): number;
  /** As `iovaToPhys`, exact for every byte of a 64-bit space and every output address. */
  iovaToPhys64(iova: U64): U64;
  /**
   * Frees every table page; the table must not be used afterwards. The Arm formats ask for one `tlbFlushAll` first, as their kernel
   * code does; generic formats ask for nothing: their driver has detached and flushed before it frees.
   */
  free(): void;
}

/**
 * Notes the dirty pages of [iova, iova + bytes).
 * @example const record: DirtyRecord = (iova, bytes) => dirty.push([iova, bytes]);
 */
export type DirtyRecord = (iova: number, bytes: number) => void;

/**
 * A page table whose entries tell which pages the device wrote to.
 * @example table.readAndClearDirty(0, SZ_2M, { noClear: false }, (iova, bytes) => dirty.push([iova, bytes]));
 */
export interface DirtyTracking {
  /** Reports the dirty pages of [iova, iova + size) and makes them clean unless `noClear`; 0 or a negative errno. */
  readAndClearDirty(
    iova: number,
    size: number,
    options: { readonly noClear: boolean },
    record: DirtyRecord,
  ): number;
}

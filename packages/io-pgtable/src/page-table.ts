import type { U64 } from '@iommukit/bits';
import type { IotlbGather } from './iotlb-gather.ts';
import type { PageTableCounters } from './page-table-counters.ts';
import type { TableShape } from './table-shape.ts';

/**
 * A page table of any format (`struct io_pgtable_ops`). Addresses and sizes in bytes, plain numbers below 2^64; `iova` and `paddr` are
 * aligned to `pgsize`, which the caller sees to. All entries live in physical memory; the object holds where the top is, and no copy
 * of anything below: another CPU or worker may change other parts of the same table between and during calls.
 *
 * What an implementation must keep, and the contract suite checks:
 *
 * - Entries are read and written whole, as `TableShape.entryBytes` says, through the `MemoryView`: a device may walk at any moment.
 * - A table page from `frames.alloc` holds garbage. It is zeroed, filled as far as the format likes, and cleaned where walks are not
 *   coherent, before an entry points to it; two CPUs may want to link one there, so an empty entry is linked by compare-and-swap.
 * - Where walks are not coherent, every stored entry is cleaned (`MemoryView.clean`) before the call returns and before any
 *   invalidation; where they are, nothing is ever cleaned.
 * - A table page that goes is unlinked first, that is cleaned, then `tlbFlushWalk` covers all that its entry spanned, then
 *   `frames.free(pa, bytes)` with the size it was allocated with. Instead it may wait in `gather.freelist` for the sync.
 * - A map invalidates nothing, unless it replaces tables. An unmap tells `tlbAddPage` of cleared leaves, but not for a gather that is
 *   `queued`.
 * - A call that is refused changes nothing, and leaves no table page behind that its `free` would not find.
 * - What the kernel answers with an errno or a warning never throws; only misuse does, with an `IommuError`: `PageCountError` for a count
 *   that is no whole number, say.
 * @example table.mapPages(0xffff_f000, 0x4000_0000, 4096, 1, IOMMU_READ + IOMMU_WRITE); // 0
 */
export interface PageTable {
  /** Page sizes that the configured table accepts: the sum of powers of two, bytes. Constant. */
  readonly pgsizeBitmap: number;
  /** Bytes that the last `mapPages` mapped, also when it failed, 0 when it was refused; whole pages; valid until the next call. */
  readonly mapped: number;
  /**
   * Warnings (`WARN_ON`) so far; those that the kernel prints only once are counted every time. Each is also told to the
   * configuration's `warn`, once. Formats differ in what they warn of.
   */
  readonly warnings: number;
  /** What was done so far: one object for the life of the table, counted as it happens, refused calls too. Starts at zero. */
  readonly counters: PageTableCounters;
  /** How the tables look to a reader; current, also after the top table changed. */
  readonly shape: TableShape;
  /**
   * Maps up to `pgcount` pages and returns 0 or a negative errno. `prot` is a sum of `IOMMU_*` flags; those that the format has no
   * bit for are ignored. One call may stop at the end of a table: 0 is returned, the bytes done stand in `mapped`, at least one page,
   * and the caller goes on from there. No pages: 0 or an errno, and nothing done. -EEXIST (generic formats: -EADDRINUSE): something is
   * mapped there; -ENOMEM: no frame for a table; -ERANGE: outside the configured sizes; -EINVAL: page size not configured, or neither
   * READ nor WRITE. After a failure the pages in `mapped` stay mapped, those before the one that failed or none of the call; an
   * emptied table in the way of a large page is replaced.
   */
  mapPages(iova: number, paddr: number, pgsize: number, pgcount: number, prot: number): number;
  /**
   * Unmaps up to `pgcount` pages and returns the bytes cleared, up to the first hole; 0 for a hole, an IOVA out of range or no pages.
   * One call may stop at the end of a table. The caller owns `gather`, keeps it through as many calls as it likes, and syncs it before
   * the IOVAs are used again; null: the caller invalidates the range by other means (generic formats: it is invalidated at once).
   */
  unmapPages(iova: number, pgsize: number, pgcount: number, gather: IotlbGather | null): number;
  /** The physical address of an IOVA (any byte), 0 for a hole, as Linux. Exact below 2^53 and for page-aligned IOVAs. */
  iovaToPhys(iova: number): number;
  /** As `iovaToPhys`, exact for every byte of a 64-bit space and every output address. */
  iovaToPhys64(iova: U64): U64;
  /**
   * Frees every table page, also those with mapped pages; the table must not be used afterwards. The Arm formats ask for one
   * `tlbFlushAll` first, as their kernel code does; generic formats ask for nothing: their driver has detached and flushed before it
   * frees.
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

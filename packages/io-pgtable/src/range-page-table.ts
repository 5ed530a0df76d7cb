import type { PageTable } from './page-table.ts';
import type { RangeGather } from './range-gather.ts';

/**
 * One physically contiguous piece of what a range maps to; bytes, multiples of the granule.
 * @example const runs: PhysRun[] = [{ paddr: 0x8_8000_0000, length: 0x2000 }, { paddr: 0x8_9000_0000, length: 0x1000 }];
 */
export interface PhysRun {
  readonly paddr: number;
  readonly length: number;
}

/**
 * How a range is unmapped.
 * @example table.unmapRange(iova, size, pending, { reuseTables: true });
 */
export interface UnmapRangeOptions {
  /** Clears a wholly covered table of pages in place instead of detaching it: the next map of the range allocates nothing. */
  readonly reuseTables?: boolean;
}

/**
 * A page table that takes whole ranges: a list of pieces in one call, all or nothing on a map, and an unmap that leaves the
 * invalidation, and with it the release of tables, to whoever holds the {@link RangeGather}. No kernel format had this interface
 * before generic_pt; the result is what `mapPages` and `unmapPages` make of the same range, only the stores come in another order.
 * @example
 * const pending = new RangeGather();
 * table.unmapRange(0x1_0000_0000, SZ_2M, pending);
 * table.mapRange(0x1_0020_0000, [{ paddr: 0x8_8000_0000, length: SZ_2M }], IOMMU_READ + IOMMU_WRITE); // 0
 */
export interface RangePageTable extends PageTable {
  /** First IOVA of the last `mapRange` that was mapped already, when it returned -EEXIST; otherwise -1. */
  readonly failedAt: number;
  /**
   * Maps the pieces one after the other from `iova` on and returns 0 (`mapped` then holds their bytes) or a negative errno; then
   * nothing changed at all. Neighbours in memory count as one piece, and page sizes are those that `iommu_map_sg` would choose.
   *
   * New tables are filled, and cleaned, before anything points to them; then each topmost one is linked by one store. -EEXIST: a
   * page of the range is mapped, or a block would replace a table that still maps something (an empty table it does replace, with
   * a `tlbFlushWalk` first). -ENOMEM: no frame for a table. -ERANGE: outside the configured sizes. -EINVAL: no bytes, something
   * not aligned to the granule, or neither READ nor WRITE. The IOVAs are the caller's own; other ones may change meanwhile.
   */
  mapRange(iova: number, runs: readonly PhysRun[], prot: number): number;
  /**
   * Clears [iova, iova + size) at once and returns the bytes; what is to be invalidated, and tables that nothing points to any
   * more, go to `pending`. A hole ends it with a warning, and so does a block of which only a part is meant; a range that is empty,
   * misaligned or out of bounds returns 0 with a warning. No flush op is called.
   */
  unmapRange(iova: number, size: number, pending: RangeGather, options?: UnmapRangeOptions): number;
  /** Takes back a table that `unmapRange` detached, after the invalidation; called by {@link RangeGather.releaseDetached}. */
  releaseTable(table: number): void;
}

// What a page table says of a `WARN_ON` of the kernel; the texts are ours, but for the one that the kernel prints itself.

/** A map where something is mapped. */
export const WARN_CONFLICT = 'map: a leaf is in the way';
/** An unmap of what is not mapped. */
export const WARN_HOLE = 'unmap: nothing is mapped';
/** An unmap of a part of a block, in the kernel's words (`__arm_lpae_unmap`, `__arm_v7s_unmap`). */
export const WARN_PARTIAL = 'Unmap of a partial large IOPTE is not allowed';
/** A size that is not configured, or an unmap of no pages. */
export const WARN_SIZE_MAP = 'map: page size is not configured';
export const WARN_SIZE_UNMAP = 'unmap: page size is not configured, or no pages';
/** A size that passes the check of the bitmap, being a sum of sizes, but is that of no level. */
export const WARN_NO_LEVEL_MAP = 'map: no level has the page size';
export const WARN_NO_LEVEL_UNMAP = 'unmap: no level has the page size';
/** Addresses beyond the configured sizes. */
export const WARN_RANGE_MAP = 'map: address out of range';
export const WARN_RANGE_UNMAP = 'unmap: address out of range';

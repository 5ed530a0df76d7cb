/**
 * 4 KiB in bytes.
 * @example SZ_4K // 4096
 */
export const SZ_4K = 0x1000;
/**
 * 16 KiB in bytes.
 * @example SZ_16K // 16384
 */
export const SZ_16K = 0x4000;
/**
 * 64 KiB in bytes.
 * @example SZ_64K // 65536
 */
export const SZ_64K = 0x1_0000;
/**
 * 2 MiB in bytes.
 * @example SZ_2M // 2097152
 */
export const SZ_2M = 0x20_0000;
/**
 * 32 MiB in bytes.
 * @example SZ_32M // 33554432
 */
export const SZ_32M = 0x200_0000;
/**
 * 512 MiB in bytes.
 * @example SZ_512M // 536870912
 */
export const SZ_512M = 0x2000_0000;
/**
 * 1 GiB in bytes.
 * @example SZ_1G // 1073741824
 */
export const SZ_1G = 0x4000_0000;

/**
 * True when `pgsize` (a power of two, bytes) is a member of a page-size bitmap (the sum of its sizes).
 * @example hasPageSize(SZ_4K + SZ_2M, SZ_2M) // true
 */
export function hasPageSize(pgsizeBitmap: number, pgsize: number): boolean {
  return (pgsizeBitmap / pgsize) % 2 >= 1;
}

/**
 * The smallest size in a page-size bitmap, bytes; 0 for an empty one. Valid for an exact bitmap below 2^64.
 * @example minPageSize(SZ_4K + SZ_2M) // 4096
 */
export function minPageSize(pgsizeBitmap: number): number {
  if (pgsizeBitmap === 0) return 0;
  let size = 1;
  while (!hasPageSize(pgsizeBitmap, size)) size *= 2;
  return size;
}

/**
 * The sizes of a page-size bitmap, smallest first, bytes. Valid for an exact bitmap below 2^64.
 * @example pageSizes(SZ_4K + SZ_2M) // [4096, 2097152]
 */
export function pageSizes(pgsizeBitmap: number): number[] {
  const sizes: number[] = [];
  for (let size = 1; size <= pgsizeBitmap; size *= 2)
    if (hasPageSize(pgsizeBitmap, size)) sizes.push(size);
  return sizes;
}

import { hasPageSize } from '@iommukit/bits';
import type { SgRun } from '@iommukit/iommu-core';
import { ERRNO } from '@iommukit/platform';
import { type IoMm, privateErrno } from './io-mm.ts';

// Maps and unmaps ask `mappable` in place, and what is wrong only when something is: a handle then costs nearly nothing.

/**
 * Maps [iova, iova + size) of a private address space to [paddr, paddr + size) (`iommu_sva_map`); bytes, multiples of the smallest page;
 * `prot` a sum of `IOMMU_*`. 0, or a negative errno with nothing left mapped: -EINVAL: unaligned, no size, or neither read nor write; -ERANGE:
 * beyond what the tables reach; -EEXIST: mapped already; -ENODEV: a shared handle. Throws `IoMmError` for a freed one.
 * @example svaMap(ioMm, 0x1_0000, paddr, 4096, IOMMU_READ + IOMMU_WRITE) // 0
 */
export function svaMap(
  ioMm: IoMm,
  iova: number,
  paddr: number,
  size: number,
  prot: number,
): number {
  // The core maps nothing gladly; a caller of this has lost its size.
  if (ioMm?.mappable !== true || size === 0) return privateErrno(ioMm) || -ERRNO.EINVAL;
  return ioMm.core.map(ioMm.domain, iova, paddr, size, prot);
}

/**
 * Maps the pieces one after the other from `iova` on (`iommu_sva_map_sg`): bytes mapped, or a negative errno with nothing left mapped,
 * as for {@link svaMap}.
 * @example svaMapSg(ioMm, 0x1_0000, [{ paddr, length: 4096 }], IOMMU_READ) // 4096
 */
export function svaMapSg(ioMm: IoMm, iova: number, sg: readonly SgRun[], prot: number): number {
  return privateErrno(ioMm) || ioMm.core.mapSg(ioMm.domain, iova, sg, prot);
}

/**
 * Unmaps and invalidates (`iommu_sva_unmap`): when it returns, no DMA with the PASID reaches the memory. Bytes unmapped, fewer where a hole
 * ended it, or -ENODEV for a shared handle.
 * @example svaUnmap(ioMm, 0x1_0000, 4096) // 4096
 */
export function svaUnmap(ioMm: IoMm, iova: number, size: number): number {
  if (ioMm?.mappable !== true) return privateErrno(ioMm);
  return ioMm.core.unmap(ioMm.domain, iova, size);
}

/**
 * Unmaps, and leaves the invalidation for {@link svaTlbSync} (`iommu_sva_unmap_fast`): until then DMA may still reach the memory. What does not
 * fit to what waits already is invalidated at once. Results as for {@link svaUnmap}.
 * @example svaUnmapFast(ioMm, 0x1_0000, 4096); svaTlbSync(ioMm);
 */
export function svaUnmapFast(ioMm: IoMm, iova: number, size: number): number {
  if (ioMm?.mappable !== true) return privateErrno(ioMm);
  return ioMm.core.unmapFast(ioMm.domain, iova, size, ioMm.gather);
}

/**
 * Adds a range of smallest pages, or of pages of `pgsize` bytes, to what {@link svaTlbSync} invalidates (`iommu_sva_tlb_range_add`). Ranges
 * that {@link svaUnmapFast} unmapped are in already. A range that does not touch what waits, or has another page size, makes that be
 * invalidated at once. 0; -EINVAL: unaligned, no size, or no page size of the domain; -ENODEV: a shared handle.
 * @example svaTlbRangeAdd(ioMm, 0x1_0000, 8192); svaTlbSync(ioMm);
 */
export function svaTlbRangeAdd(ioMm: IoMm, iova: number, size: number, pgsize?: number): number {
  const errno = privateErrno(ioMm);
  if (errno !== 0) return errno;
  const { domain, core, gather } = ioMm;
  const page = pgsize ?? domain.minPage;
  if (!(size > 0 && iova >= 0 && iova % page === 0 && size % page === 0)) return -ERRNO.EINVAL;
  if (!hasPageSize(domain.pgsizeBitmap, page)) return -ERRNO.EINVAL;
  core.gatherAddPages(domain, gather, iova, page, size / page);
  return 0;
}

/**
 * Invalidates what waits, and waits itself (`iommu_tlb_sync` of 2018, `iommu_iotlb_sync`); no command when nothing waits. 0, or -ENODEV for a
 * shared handle.
 * @example svaTlbSync(ioMm) // 0
 */
export function svaTlbSync(ioMm: IoMm): number {
  const errno = privateErrno(ioMm);
  if (errno === 0) ioMm.core.iotlbSync(ioMm.domain, ioMm.gather);
  return errno;
}

/**
 * Invalidates everything of a private address space, and waits (`iommu_sva_flush_tlb_all`); what waited is done with it. 0, or -ENODEV for a
 * shared handle.
 * @example svaFlushTlbAll(ioMm) // 0
 */
export function svaFlushTlbAll(ioMm: IoMm): number {
  const errno = privateErrno(ioMm);
  if (errno !== 0) return errno;
  ioMm.core.flushIotlbAll(ioMm.domain);
  ioMm.gather.init();
  return 0;
}

/**
 * The physical address of any byte of a private address space (`iommu_sva_iova_to_phys`): 0 for a hole, -ENODEV for a shared handle.
 * @example svaIovaToPhys(ioMm, 0x1_0004) // paddr + 4
 */
export function svaIovaToPhys(ioMm: IoMm, iova: number): number {
  return privateErrno(ioMm) || ioMm.core.iovaToPhys(ioMm.domain, iova);
}

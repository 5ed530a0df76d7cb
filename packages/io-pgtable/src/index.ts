export { arm64LpaeS1 } from './arm-64-lpae-s1.lanes.ts';
export { createPageTable } from './create-page-table.ts';
export type { FlushOps } from './flush-ops.ts';
export { IotlbGather } from './iotlb-gather.ts';
export {
  GeometryError,
  type GeometryRequest,
  type LpaeGeometry,
  lpaeGeometry,
} from './lpae-geometry.ts';
export { type EntryVisitor, type LeafVisitor, LpaePageTable } from './lpae-page-table.lanes.ts';
export type { PageTable } from './page-table.ts';
export type {
  PageTableConfig,
  PageTableQuirks,
  QuirkName,
  TableFrames,
} from './page-table-config.ts';
export type { PageTableFormat, TableRegisters, TcrFields } from './page-table-format.ts';
export { IO_PGTABLE_PROFILES, type IoPgtableProfile } from './profile.ts';
export {
  IOMMU_CACHE,
  IOMMU_MMIO,
  IOMMU_NOEXEC,
  IOMMU_PRIV,
  IOMMU_READ,
  IOMMU_WRITE,
} from './prot.ts';

export { PageTableConfigError } from './check-config.ts';
export { createPageTable } from './create-page-table.ts';
export { appleDart, appleDart2, type DartFormat } from './dart/apple-dart.ts';
export {
  DartPageTable,
  type DartRegisters,
  TableAddressError,
} from './dart/dart-page-table.lanes.ts';
export type { FlushOps } from './flush-ops.ts';
export { type Amdv1HwInfo, amdv1, amdv1Mock } from './generic/amdv1.lanes.ts';
export {
  type DmaTableFrames,
  GENERIC_FEATURES,
  type GenericConfig,
  type GenericDriver,
  type GenericFeature,
  GenericTableError,
} from './generic/generic-config.ts';
export type { GenericEntries, GenericGeometry, HasFeature } from './generic/generic-entries.ts';
export { genericFormat } from './generic/generic-format.ts';
export { GenericPageTable, type ReadDirtyOptions } from './generic/generic-page-table.lanes.ts';
export { type Riscv64HwInfo, riscv64 } from './generic/riscv64.lanes.ts';
export { type VtdssHwInfo, vtdss } from './generic/vtdss.lanes.ts';
export { type X8664HwInfo, x8664 } from './generic/x86-64.lanes.ts';
export { GeometryError } from './geometry-error.ts';
export { IotlbGather } from './iotlb-gather.ts';
export { arm32LpaeS1, arm32LpaeS2 } from './lpae/arm-32-lpae.ts';
export {
  arm64LpaeS1,
  type StageOneRegisters,
  type TcrFields,
} from './lpae/arm-64-lpae-s1.lanes.ts';
export {
  arm64LpaeS2,
  type StageTwoRegisters,
  type VtcrFields,
} from './lpae/arm-64-lpae-s2.lanes.ts';
export { type LpaeEntries, type LpaeFormat, lpaeFormat } from './lpae/lpae-format.ts';
export {
  type GeometryRequest,
  type LpaeGeometry,
  lpaeGeometry,
} from './lpae/lpae-geometry.ts';
export { LpaePageTable } from './lpae/lpae-page-table.lanes.ts';
export { type MaliRegisters, maliLpae } from './lpae/mali-lpae.lanes.ts';
export type { WalkMemory } from './lpae/walk-memory.ts';
export { PageCountError } from './page-count.ts';
export { isMultiple, PageRun, PageSizeError } from './page-run.ts';
export type { DirtyRecord, DirtyTracking, PageTable } from './page-table.ts';
export type {
  PageTableConfig,
  PageTableQuirks,
  QuirkName,
  TableFrames,
} from './page-table-config.ts';
export type { PageTableCounters } from './page-table-counters.ts';
export type { PageTableFormat } from './page-table-format.ts';
export { IO_PGTABLE_PROFILES, type IoPgtableProfile } from './profile.ts';
export {
  IOMMU_CACHE,
  IOMMU_MMIO,
  IOMMU_NOEXEC,
  IOMMU_PRIV,
  IOMMU_READ,
  IOMMU_WRITE,
} from './prot.ts';
export { HAD_TABLES, RangeGather } from './range-gather.ts';
export type { PhysRun, RangePageTable, UnmapRangeOptions } from './range-page-table.ts';
export type { EntryKind, TableShape } from './table-shape.ts';
export {
  forEachEntry,
  forEachLeaf,
  type WalkEntry,
  type WalkLeaf,
  walkTable,
} from './table-walk.ts';
export { armV7s, type V7sFormat } from './v7s/arm-v7s.lanes.ts';
export { TableOverrunError } from './v7s/table-overrun-error.ts';
export { V7sPageTable } from './v7s/v7s-page-table.lanes.ts';
export type { V7sRegisters } from './v7s/v7s-tables.lanes.ts';

export type { ContextOps, MmOps } from './context-ops.ts';
export { IoMm, IoMmError, type IoMmErrorCode, type IoMmKind, type IoMmParts } from './io-mm.ts';
export { IopfGroup, type IopfGroupParts } from './iopf-group.ts';
export {
  type IopfCounts,
  IopfQueue,
  type IopfQueueParts,
  iopfQueueDiscardPartial,
} from './iopf-queue.ts';
export type { Mm, MmAccess, MmFaultResult, VmArea } from './mm.ts';
export { type ContextBank, PageTableSwitch } from './page-table-switch.ts';
export {
  IOMMU_FIRST_GLOBAL_PASID,
  IOMMU_NO_PASID,
  IOMMU_PASID_INVALID,
  PASID_MAX,
  PasidAllocator,
  PasidError,
  type PasidErrorCode,
  type PasidSpace,
} from './pasid-allocator.ts';
export {
  svaFlushTlbAll,
  svaIovaToPhys,
  svaMap,
  svaMapSg,
  svaTlbRangeAdd,
  svaTlbSync,
  svaUnmap,
  svaUnmapFast,
} from './private-map.ts';
export { svaAllocPasid, svaFreePasid } from './private-pasid.ts';
export { SharedIoMm } from './shared-io-mm.ts';
export { SvaBinder, svaBindDevice, svaUnbindDevice } from './sva-bind.ts';
export {
  IOMMU_SVA_FEAT_IOPF,
  IOMMU_SVA_FEAT_PRIVATE,
  SvaDevice,
  type SvaDeviceInit,
  svaDeviceInit,
  svaDeviceOf,
  svaDeviceShutdown,
  unbindDevAll,
} from './sva-device.ts';
export { handleMmFault, IOMMU_FAULT_PERM, svaPageRequestHandler } from './sva-fault.ts';

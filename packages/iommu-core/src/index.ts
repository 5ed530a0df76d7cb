export { AttachHandle } from './attach-handle.ts';
export {
  BatchDroppedError,
  BatchEndedError,
  type BatchRemains,
  type PendingRange,
} from './batch-error.ts';
export type { CoreEvent } from './core-event.ts';
export { CORE_PROFILES, type CoreProfile, type KernelVersion } from './core-profile.ts';
export { CoreStateError } from './core-state-error.ts';
export type { DefaultDomainType } from './default-domains.ts';
export { type DeviceInfo, IommuDevice } from './device.ts';
export type {
  DeviceFault,
  DomainFault,
  DomainFaultHandler,
  FaultHandler,
} from './device-fault.ts';
export { type DomainType, type GatherKind, IommuDomain } from './domain.ts';
export { DriverProgressError, type MapRequest, type SgRun } from './domain-mapper.ts';
export type { DomainOps } from './domain-ops.ts';
export { type GroupAttachment, IommuGroup } from './group.ts';
export type { PasidAttachment } from './group-pasids.ts';
export { IommuCore } from './iommu-core.ts';
export type { IommuOps } from './iommu-ops.ts';
export { ListGather } from './list-gather.ts';
export type {
  PageRequestGroup,
  PageRequestHandler,
  PageRequestQueue,
  PageResponse,
} from './page-request.ts';
export type { ProcessNotifier, ProcessSpace } from './process-space.ts';
export { type BatchFailure, type BatchOptions, RangeBatch } from './range-batch.ts';
export type { ReservedRegion } from './reserved-region.ts';
export { insertResvRegion, type RegionRange, resvRegionLine } from './resv-regions.ts';

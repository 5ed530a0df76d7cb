export {
  invalidateArray,
  invalidateEndpoint,
  invalidateTag,
  invalidateWholeArray,
} from './array-invalidation.ts';
export { ATC_ALL, type AtcSpan, atcSpan } from './atc-span.lanes.ts';
export type { CoherentMemory } from './coherent-memory.ts';
export {
  type AtcInvalidation,
  CommandBatch,
  type PriResponse,
  type TlbiAddress,
} from './command-batch.ts';
export {
  CommandQueue,
  type CommandQueueParts,
  CommandQueueStuck,
  type SyncSignal,
} from './command-queue.ts';
export { buildCommand, type CommandRecord } from './command-record.ts';
export { type CommandIssuer, CommandStream, type QueueQuirks } from './command-stream.ts';
export {
  cdUsedBits,
  type SharedCdFeatures,
  type SharedTables,
  type StageOneConfig,
  sharedCd,
  stageOneCd,
} from './context-descriptor.lanes.ts';
export { DeviceNotProbed } from './device-table.ts';
export type { GatherPages } from './domain-flush.ts';
export {
  type DomainUnit,
  type Endpoint,
  endpointSpan,
  invalidateDomain,
  invalidateDomainRange,
  invalidateDomainTag,
  invalidateEndpoints,
  invalidateTagRange,
  type TaggedDomain,
} from './domain-invalidation.ts';
export type { DriverEvent } from './driver-event.ts';
export type { LogLine, LogSink } from './driver-log.ts';
export type { DriverQuirks, SmmuDriverParts } from './driver-parts.ts';
export {
  DRIVER_PROFILES,
  type DriverKernel,
  type DriverProfile,
  driverProfile,
  type InvalidationRules,
  UnknownDriverKernel,
} from './driver-profile.ts';
export { type InstallSite, installCd, installSte, steHasAts } from './entry-install.ts';
export {
  type EntryTarget,
  readEntry,
  type UsedBits,
  writeEntry,
} from './entry-writer.lanes.ts';
export { eventLines } from './event-line.ts';
export { EventQueue, type EventQueueParts } from './event-queue.ts';
export { decodeEvent, type EventRecord, type TranslationFault } from './event-record.ts';
export type { FaultQueueControl } from './fault-queue-use.ts';
export {
  type GlobalErrorParts,
  handleGlobalErrors,
  type StoppedQueue,
  skipBadCommand,
} from './global-error.ts';
export type { HardwareFeatures } from './hardware-features.ts';
export { IdSpace } from './id-space.ts';
export {
  type Attachment,
  buildEntries,
  INVALIDATION_TYPE,
  InvalidationArray,
  type InvalidationEntry,
  type InvalidationKey,
  type InvalidationType,
  type InvalidationUnit,
  invalidationEntry,
} from './invalidation-array.ts';
export { type GuestEntry, type GuestSte, guestEntry, nestedSte } from './nested-entry.lanes.ts';
export {
  resumeResponse,
  type UnexpectedPageRequest,
  unexpectedPageRequest,
} from './page-request.ts';
export { PageRequestQueue, type PageRequestQueueParts } from './page-request-queue.ts';
export {
  type ProcessTables,
  ProcessTablesError,
  type SvaRefusal,
  svaRefusal,
} from './process-tables.ts';
export {
  type QueueWords,
  queueWordsBytes,
  SharedQueueWords,
} from './queue-words.lanes.ts';
export type { InvalidRange } from './range-invalidation.ts';
export type { RmrStreams } from './rmr-stream.ts';
export type { AtsControl, DeviceTraits } from './smmu-device.ts';
export { SmmuV3Driver } from './smmu-driver.ts';
export { type EventParties, handleEvent, stalledFault } from './stalled-event.ts';
export {
  abortSte,
  bypassSte,
  type CdTable,
  cdTableSte,
  type StageTwoConfig,
  type SteDevice,
  type SteFeatures,
  stageTwoSte,
  steUpdateSafe,
  steUsedBits,
  steUsedBitsMerged,
} from './stream-table-entry.lanes.ts';
export { type SyncSlot, syncCommand } from './sync-command.ts';
export { cdTableDescriptor, streamTableDescriptor } from './table-descriptor.ts';

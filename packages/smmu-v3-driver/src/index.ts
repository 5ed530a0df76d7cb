export type { CoherentMemory } from './coherent-memory.ts';
export { CommandQueue, CommandQueueStuck } from './command-queue.ts';
export { type StageOneConfig, stageOneCd } from './context-descriptor.lanes.ts';
export type { DriverEvent } from './driver-event.ts';
export type { LogLine, LogSink } from './driver-log.ts';
export { DRIVER_PROFILES, type DriverKernel, type DriverProfile } from './driver-profile.ts';
export { type EntryTarget, writeEntry } from './entry-writer.lanes.ts';
export { EventQueue } from './event-queue.ts';
export type { EventRecord, TranslationFault } from './event-record.ts';
export type { HardwareFeatures } from './hardware-features.ts';
export type { GatherPages } from './paging-domain.ts';
export {
  DeviceNotProbed,
  type SmmuDriverParts,
  SmmuV3Driver,
  UnmodelledFeature,
} from './smmu-driver.ts';
export { abortSte, bypassSte, cdTableSte } from './stream-table-entry.lanes.ts';

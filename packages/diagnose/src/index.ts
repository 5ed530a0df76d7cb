export { type AccessWalk, type WalkResult, type WalkStep, walkAccess } from './access-walk.ts';
export {
  type DomainGroup,
  type DomainReport,
  domainsOf,
  type TagConflict,
} from './domain-groups.ts';
export { type DumpImage, dumpFiles, openDump } from './dump-image.ts';
export { AbsentMemory, DumpMemory, type Watch } from './dump-memory.ts';
export {
  type CdReport,
  cdReports,
  type EntryVerdict,
  type SteReport,
  steReports,
} from './entry-reports.ts';
export type { EntryView, FieldView } from './field-view.ts';
export type { ScanNotes } from './leaves.ts';
export { type MapAttributes, type MapRange, mapsOf, type StreamMaps } from './map-ranges.ts';
export { Programming, type QueuePlace } from './programming.ts';
export {
  commandQueueOf,
  eventQueueOf,
  type QueueEntry,
  type QueueReport,
} from './queue-report.ts';
export type { StreamMode } from './stream-config.ts';
export { whyNoSte } from './stream-entries.ts';
export {
  type DumpVerification,
  type VerifyReport,
  verifyCapture,
} from './verify/verify-capture.ts';
export type { VerifyCheck, VerifyCounts, VerifyReason } from './verify/verify-tally.ts';

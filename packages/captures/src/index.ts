export {
  type Capture,
  type CapturePart,
  type DumpTag,
  type KernelVersion,
  openCapture,
} from './capture.ts';
export { type Dmesg, type PciBridge, parseDmesg } from './dmesg.ts';
export {
  type FtraceHeader,
  FtraceParser,
  type FtraceTrace,
  type LostEvents,
  parseFtrace,
  parseFtraceStream,
} from './ftrace.ts';
export {
  type AllocEvent,
  type AllocFastEvent,
  type AllocFastRetEvent,
  type AllocRetEvent,
  type AttachEvent,
  type CmdlistEvent,
  contextName,
  DMA_MAPPING_ERROR,
  type DmaAllocEvent,
  type DmaDirection,
  type DmaFreeEvent,
  type DmaMapEvent,
  type DmaMapSgErrEvent,
  type DmaMapSgEvent,
  type DmaSyncEvent,
  type DmaUnmapEvent,
  type DmaUnmapSgEvent,
  type EventHeader,
  type EvtqThreadEvent,
  type FqFlushEvent,
  type FqTimeoutEvent,
  type FreeEvent,
  type FreeFastEvent,
  type GroupEvent,
  type InitEvent,
  type IoPageFaultEvent,
  type IovaRangeEvent,
  type MapEvent,
  type MarkEvent,
  type TlbInvContextEvent,
  type TraceEvent,
  type UnmapEvent,
} from './ftrace-event.ts';
export { type GuestDigest, parseGuestOps } from './guest-ops.ts';
export { InputError, type InputOperands, inputText, type UnreadLine } from './input-error.ts';
export { type Iomem, type IomemRange, parseIomem } from './iomem.ts';
export type { Rows } from './json-record.ts';
export { type LeafRow, readLeaves } from './leaves.ts';
export {
  parseQemuOps,
  type QemuCommand,
  type QemuDigest,
  type QemuEvent,
  type QemuInvalidation,
  type QemuOp,
  type QemuRegisterWrite,
  type QemuTranslation,
  type QemuUntranslated,
} from './qemu-ops.ts';
export { type RegisterDump, readRegs } from './registers.ts';
export {
  readSnapshot,
  type Snapshot,
  type SnapshotQueue,
  type SnapshotSegment,
  type SnapshotSte,
  type SnapshotStreamTable,
} from './snapshot.ts';
export { openText, readBytes, readText } from './text-file.ts';
export { readTruth, type TruthRow } from './truth.ts';
export { readVerdicts, type VerdictRow } from './verdicts.ts';

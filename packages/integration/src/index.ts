export { type KernelProfile, kernelProfile, UnknownKernel } from './kernel-profile.ts';
export {
  Machine,
  MachineError,
  type MachineOptions,
  MEMORY_OF_CAPTURES,
  type MemoryMap,
} from './machine.ts';
export type { CheckName, CheckResult, Reason } from './replay/check-tally.ts';
export { type ReplayOptions, type ReplayReport, replayCapture } from './replay/replay.ts';
export { shippedCapture, shippedCaptures } from './shipped-capture.ts';
export { type StreamLeaf, type StreamTableLocation, streamLeaves } from './stream-leaves.ts';

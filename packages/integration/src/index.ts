export {
  iovaPathology,
  PATHOLOGY_SIZES,
  type PathologyCost,
  type PathologyReport,
  type PathologyRow,
  type PathologySize,
} from './iova/pathology.ts';
export {
  type MakeProbed,
  type ProbedAllocator,
  type ProbeReport,
  replayIovaProbes,
} from './iova/probe-replay.ts';
export { type KernelProfile, kernelProfile, UnknownKernel } from './kernel-profile.ts';
export {
  Machine,
  MachineError,
  type MachineOptions,
  MEMORY_OF_CAPTURES,
  type MemoryMap,
  type PageFaultOptions,
} from './machine.ts';
export type { MappedArea } from './mm/area-list.ts';
export {
  DemandPagedMm,
  type DemandPagedMmParts,
  type MmCounts,
} from './mm/demand-paged-mm.ts';
export { PageFrames, type SavedPage } from './mm/page-frames.ts';
export type { CheckName, CheckResult, Reason } from './replay/check-tally.ts';
export { FlushProbesNeeded } from './replay/flush-probes.ts';
export { type ReplayOptions, type ReplayReport, replayCapture } from './replay/replay.ts';
export {
  runScenarios,
  type ScenarioReport,
  scenariosOf,
  UnknownScenario,
} from './scenarios/run-scenarios.ts';
export type { Observed, ScenarioResult, ScenarioRun } from './scenarios/scenario.ts';
export { shippedCapture, shippedCaptures } from './shipped-capture.ts';
export { type StreamLeaf, type StreamTableLocation, streamLeaves } from './stream-leaves.ts';
export type {
  DeviationCount,
  ProgramFindings,
  ProgramMismatch,
  ProgramPlace,
} from './vectors/qemu-program-findings.ts';
export type { QtestFindings } from './vectors/qtest-files.ts';
export { runVectorFile, type VectorReport } from './vectors/run-vectors.ts';
export type { VectorMismatch } from './vectors/vector-tally.ts';
export { VectorError } from './vectors/vector-values.lanes.ts';
export { type WriteOptions, writableVectors, writeVectors } from './vectors/write-vectors.ts';

export {
  type GpuFrames,
  type GpuSummary,
  gpuTwoBanks,
} from './examples/gpu-two-banks/gpu-two-banks.ts';
export type { GuestOptions } from './examples/virtio-iommu/guest-machine.ts';
export type { ReservedMemory } from './examples/virtio-iommu/property.ts';
export type { MapUnit } from './examples/virtio-iommu/viommu-domain.ts';
export { type VirtioSummary, virtioIommu } from './examples/virtio-iommu/virtio-iommu.ts';
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
export { CloneNeeded } from './mutations/mutation-process.ts';
export type {
  CatchVerdict,
  MutationReport,
  MutationVerdict,
} from './mutations/mutation-report.ts';
export { runMutations, UnknownMutation } from './mutations/run-mutations.ts';
export type { CheckName, CheckResult, Reason } from './replay/check-tally.ts';
export { FlushProbesNeeded } from './replay/flush-probes.ts';
export type { ModeCounts, ModeLeaks } from './replay/mode-counts.ts';
export { parseModes, type ReplayMode, UnknownMode } from './replay/mode-policy.ts';
export {
  type ModeOptions,
  type ModeReport,
  type ModeResult,
  replayModes,
} from './replay/mode-replay.ts';
export { type ReplayOptions, type ReplayReport, replayCapture } from './replay/replay.ts';
export type { ExposureSeries } from './report/exposure-series.ts';
export type { LinkedCount, LinkedRun } from './report/linked-count.ts';
export {
  type ModelledFigures,
  type ModelledRun,
  type ModelledThroughput,
  modelledFigures,
  type PagePoint,
  type PageSection,
  type PageSummary,
  type PageTable,
  type SameTables,
  type ScenarioPage,
  scenarioPage,
  type TablePages,
} from './report/scenario-page.ts';
export {
  COSTED_COUNTS,
  defaultUnitCosts,
  type ModelledTime,
  modelThroughput,
  modelTime,
  readUnitCosts,
  type UnitCost,
  type UnitCosts,
} from './scenarios/cost-model.ts';
export {
  runScenarios,
  type ScenarioReport,
  scenariosOf,
  UnknownScenario,
} from './scenarios/run-scenarios.ts';
export type { Observed, ScenarioResult, ScenarioRun } from './scenarios/scenario.ts';
export type {
  CellSource,
  SummaryCell,
  SummaryRow,
  SummaryTable,
} from './scenarios/summary-tables.ts';
export { shippedCapture, shippedCaptures } from './shipped-capture.ts';
export {
  replaySoak,
  runSoak,
  type SoakOptions,
  type SoakReport,
} from './soak/soak.ts';
export { readSoakFile, type SoakFile, soakFileText } from './soak/soak-file.ts';
export type { SoakMachine } from './soak/soak-machine.ts';
export type { SoakOperation } from './soak/soak-operation.ts';
export type { SoakOutcome } from './soak/soak-run.ts';
export type { SoakRule, SoakViolation } from './soak/soak-violation.ts';
export {
  runWorkerSoak,
  type WorkerSoakOptions,
  type WorkerSoakReport,
} from './soak/worker-soak.ts';
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

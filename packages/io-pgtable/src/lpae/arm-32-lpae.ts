import { type StageOneRegisters, stageOneEntries } from './arm-64-lpae-s1.lanes.ts';
import { type StageTwoRegisters, stageTwoEntries } from './arm-64-lpae-s2.lanes.ts';
import { type LpaeEntries, type LpaeFormat, lpaeFormat } from './lpae-format.ts';
import { onlySmallGranule } from './lpae-geometry.ts';

const OUTPUT_BITS = 40;

/** The 64-bit format's entries, for the address sizes and the one granule of 32-bit Arm. */
function narrow<R>(entries: LpaeEntries<R>, name: string, inputBits: number): LpaeEntries<R> {
  return {
    ...entries,
    name,
    dirtyTracking: false,
    geometry: (request, warn) =>
      request.ias > inputBits || request.oas > OUTPUT_BITS
        ? undefined
        : entries.geometry(onlySmallGranule(request), warn),
  };
}

/**
 * Arm 32-bit long descriptors, stage 1 (`ARM_32_LPAE_S1`): granule 4 KiB, at most 32 input and 40 output address bits.
 * Entries and register fields are those of `arm64LpaeS1`; there is no dirty tracking.
 * @example const table = createPageTable(arm32LpaeS1, { ...config, ias: 32, oas: 40 });
 */
export const arm32LpaeS1: LpaeFormat<StageOneRegisters> = lpaeFormat(
  narrow(stageOneEntries, 'arm-32-lpae-s1', 32),
);

/**
 * Arm 32-bit long descriptors, stage 2 (`ARM_32_LPAE_S2`): granule 4 KiB, at most 40 input and 40 output address bits.
 * Entries and register fields are those of `arm64LpaeS2`.
 * @example const table = createPageTable(arm32LpaeS2, { ...config, ias: 40, oas: 40 });
 */
export const arm32LpaeS2: LpaeFormat<StageTwoRegisters> = lpaeFormat(
  narrow(stageTwoEntries, 'arm-32-lpae-s2', 40),
);

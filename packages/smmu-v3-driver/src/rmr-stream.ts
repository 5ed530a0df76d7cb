import type { ReservedRegion } from '@iommukit/iommu-core';
import type { MemoryView } from '@iommukit/platform';
import type { LogSink } from './driver-log.ts';
import type { DriverProfile } from './driver-profile.ts';
import type { HardwareFeatures } from './hardware-features.ts';
import type { StreamTable } from './stream-table.ts';
import { bypassSte } from './stream-table-entry.lanes.ts';

/**
 * Memory that firmware left devices using (an RMR node of IORT): their streams must pass from the first moment on, and their domains map
 * the regions one to one.
 * @example const rmr: RmrStreams = { streamIds: [8], regions: [{ type: 'direct', start: 0x8000_0000, end: 0x8100_0000, prot: 3 }] };
 */
export interface RmrStreams {
  readonly streamIds: readonly number[];
  readonly regions: readonly ReservedRegion[];
}

/**
 * Writes bypass STEs for the streams of all RMRs into a table that the hardware does not use yet
 * (`arm_smmu_rmr_install_bypass_ste`). A stream that has no entry is named and left out.
 */
export function bypassRmrStreams(
  rmrs: readonly RmrStreams[],
  parts: {
    readonly strtab: StreamTable;
    readonly memory: MemoryView;
    readonly log: LogSink;
    readonly features: HardwareFeatures;
    readonly profile: DriverProfile;
  },
): void {
  const { strtab, memory, log, features, profile } = parts;
  const ste = bypassSte(features, profile);
  for (const streamId of rmrs.flatMap(({ streamIds }) => streamIds)) {
    if (strtab.ensure(streamId) < 0) {
      log({ level: 'err', text: `RMR SID(0x${streamId.toString(16)}) bypass failed` });
      continue;
    }
    const pa = strtab.entry(streamId);
    for (let lane = 0; lane < ste.length; lane += 2)
      memory.store64(pa + lane * 4, ste[lane] as number, ste[lane + 1] as number);
    memory.clean(pa, ste.length * 4);
  }
}

/** The regions that a device with these streams must have mapped one to one. */
export function rmrRegions(
  rmrs: readonly RmrStreams[],
  streamIds: readonly number[],
): ReservedRegion[] {
  return rmrs
    .filter((rmr) => rmr.streamIds.some((id) => streamIds.includes(id)))
    .flatMap(({ regions }) => regions);
}

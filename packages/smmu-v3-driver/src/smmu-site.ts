import type { CoherentMemory } from './coherent-memory.ts';
import type { CommandStream } from './command-stream.ts';
import type { SmmuDriverParts } from './driver-parts.ts';
import type { DriverProfile } from './driver-profile.ts';
import type { InstallSite } from './entry-install.ts';
import type { FaultQueueControl } from './fault-queue-use.ts';
import type { HardwareFeatures } from './hardware-features.ts';
import type { InvalidationUnit } from './invalidation-array.ts';
import type { AtsControl } from './smmu-device.ts';
import type { StreamTable } from './stream-table.ts';

/** What the devices of one SMMU share. */
export interface SmmuSite extends InstallSite {
  readonly profile: DriverProfile;
  readonly coherent: CoherentMemory;
  readonly strtab: StreamTable;
  readonly features: HardwareFeatures;
  readonly unit: InvalidationUnit;
  readonly ats?: AtsControl;
  readonly faultQueue?: FaultQueueControl;
  /** Page requests go to the page-fault layer. */
  readonly routesRequests: boolean;
}

/** The site of a driver whose stream table and command stream stand. */
export function makeSite(
  parts: SmmuDriverParts,
  own: {
    readonly features: HardwareFeatures;
    readonly strtab: StreamTable;
    readonly stream: CommandStream;
  },
): SmmuSite {
  const { memory, coherent, profile, quirks, order = 0, ats, faultQueue } = parts;
  const { features, strtab, stream } = own;
  return {
    memory,
    coherent,
    stream,
    profile,
    skipPrefetch: quirks?.skipPrefetch === true,
    strtab,
    features,
    unit: { order, ranges: features.rangeInvalidation, e2h: false, rules: profile, stream },
    routesRequests: parts.pageRequests === 'route',
    ...(ats === undefined ? {} : { ats }),
    ...(faultQueue === undefined ? {} : { faultQueue }),
  };
}

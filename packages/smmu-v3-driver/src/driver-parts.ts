import type { IoPgtableProfile } from '@iommukit/io-pgtable';
import type { DeviceFault, IommuDevice } from '@iommukit/iommu-core';
import type { FrameAllocator, MemoryView, MmioFrame, Platform } from '@iommukit/platform';
import type { CoherentMemory } from './coherent-memory.ts';
import type { QueueQuirks } from './command-stream.ts';
import type { GatherPages } from './domain-flush.ts';
import type { LogSink } from './driver-log.ts';
import type { DriverProfile } from './driver-profile.ts';
import type { EventRecord } from './event-record.ts';
import type { FaultQueueControl } from './fault-queue-use.ts';
import type { IdSpace } from './id-space.ts';
import type { QueueWords } from './queue-words.lanes.ts';
import type { RmrStreams } from './rmr-stream.ts';
import type { AtsControl, DeviceTraits } from './smmu-device.ts';

/**
 * What the driver is composed of.
 * @example const driver = SmmuV3Driver.probe({ registers, memory, frames, coherent, platform, profile, pgtableProfile, gatherPages });
 */
export interface SmmuDriverParts {
  /** Both register pages of the SMMU. */
  readonly registers: MmioFrame;
  /** Memory as the CPU sees it. */
  readonly memory: MemoryView;
  /** Where page-table pages come from. */
  readonly frames: FrameAllocator;
  /** Where queues, stream tables and context descriptors come from. */
  readonly coherent: CoherentMemory;
  /** The clock that waits and rate limits count by. */
  readonly platform: Platform;
  /** The kernel that the driver behaves as. */
  readonly profile: DriverProfile;
  /** The same for page tables. */
  readonly pgtableProfile: IoPgtableProfile;
  /** Core's gather: `(domain, gather, iova, granule, count) => core.gatherAddPages(...)`. */
  readonly gatherPages: GatherPages;
  /** Where the kernel's lines go; absent: nowhere. */
  readonly log?: LogSink;
  /**
   * True when somebody answered the event, which is then not printed. It runs inside the event thread, perhaps while a command list
   * waits for room: it must not map, unmap or attach.
   */
  readonly onEvent?: (record: EventRecord) => boolean;
  /** Takes the fault of a stalled transaction (core's fault routing): 0, or a negative errno. Absent: stalls are printed like others. */
  readonly reportFault?: (device: IommuDevice, fault: DeviceFault) => number;
  /** Beyond Linux: page requests go to `reportFault` as stalls do. Default: they are denied, as Linux denies them. */
  readonly pageRequests?: 'deny' | 'route';
  /** Who collects the faults of devices in domains with a handler of page requests; absent: `device.pageRequests` is left to others. */
  readonly faultQueue?: FaultQueueControl;
  /**
   * Whose ASIDs processes have: the driver's own, as in Linux (the default); or, beyond Linux, those of their CPU, where the SMMU takes part in
   * broadcast TLB maintenance (IDR0.BTM): then the CPU's own TLBI reach it, and notices of a process only go to endpoints.
   */
  readonly processAsids?: 'own' | 'cpu';
  /** What a device and its firmware can do; absent: neither ATS nor stalls. */
  readonly traitsOf?: (device: IommuDevice) => DeviceTraits;
  /** Switches ATS in endpoints. */
  readonly ats?: AtsControl;
  /** What errata of this SMMU demand. */
  readonly quirks?: DriverQuirks;
  /** What firmware says of coherence; it counts more than IDR0. Absent: as IDR0 says. */
  readonly firmwareCoherent?: boolean;
  /** Memory that firmware left devices using: their streams pass from the first moment on. */
  readonly rmrs?: readonly RmrStreams[];
  /** What producers in several workers share of the command queue; each worker has a driver over the same memory and registers. */
  readonly queueWords?: QueueWords;
  /** Place of this SMMU among several; sorts invalidation arrays. */
  readonly order?: number;
  /** ASIDs, when several SMMUs share them as in Linux: `new IdSpace(1, 0xffff)`. */
  readonly asids?: IdSpace;
}

/**
 * What errata of an SMMU demand; absent is false.
 * @example const quirks: DriverQuirks = { skipPrefetch: true };
 */
export interface DriverQuirks extends QueueQuirks {
  /** CMD_PREFETCH_CONFIG is left out (`ARM_SMMU_OPT_SKIP_PREFETCH`). */
  readonly skipPrefetch?: boolean;
  /** SYNCs are waited for by CONS even where the SMMU could write an MSI (`disable_msipolling`). */
  readonly disableMsiPolling?: boolean;
}

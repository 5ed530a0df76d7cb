import { COMMAND_BYTES, EVENT_BYTES, PAGE_REQUEST_BYTES } from '@iommukit/arm-arch';
import { ERRNO, type MemoryView } from '@iommukit/platform';
import type { CoherentMemory } from './coherent-memory.ts';
import type { LogSink } from './driver-log.ts';
import type { DriverProfile } from './driver-profile.ts';
import type { HardwareFeatures } from './hardware-features.ts';
import { allocQueue, type QueueMemory } from './queue-memory.ts';
import { StreamTable } from './stream-table.ts';

/** Memory that one SMMU keeps for itself. */
export interface DeviceMemory {
  readonly cmdq: QueueMemory;
  readonly evtq: QueueMemory;
  /** Null without page requests. */
  readonly priq: QueueMemory | null;
  readonly strtab: StreamTable;
}

/** Allocates queues and stream table (`arm_smmu_init_structures`): all of it, or -ENOMEM and none. */
export function allocDeviceMemory(parts: {
  readonly memory: MemoryView;
  readonly source: CoherentMemory;
  readonly log: LogSink;
  readonly profile: DriverProfile;
  readonly features: HardwareFeatures;
}): DeviceMemory | number {
  const { memory, source, log, profile, features } = parts;
  const queues: QueueMemory[] = [];
  const fail = (errno: number): number => {
    for (const { base, bytes } of queues.toReversed()) source.free(base, bytes);
    return errno;
  };
  const take = (name: string, lg2: number, entryBytes: number): QueueMemory | null => {
    const queue = allocQueue(source, log, { name, lg2, entryBytes });
    if (queue !== null) queues.push(queue);
    return queue;
  };
  const cmdq = take('cmdq', features.cmdqLg2, COMMAND_BYTES);
  if (cmdq === null) return fail(-ERRNO.ENOMEM);
  const evtq = take('evtq', features.evtqLg2, EVENT_BYTES);
  if (evtq === null) return fail(-ERRNO.ENOMEM);
  const priq = features.priq ? take('priq', features.priqLg2, PAGE_REQUEST_BYTES) : null;
  if (features.priq && priq === null) return fail(-ERRNO.ENOMEM);
  const strtab = StreamTable.create({
    memory,
    source,
    log,
    sidBits: features.sidBits,
    twoLevel: features.twoLevelStreamTable,
    profile,
  });
  return typeof strtab === 'number' ? fail(strtab) : { cmdq, evtq, priq, strtab };
}

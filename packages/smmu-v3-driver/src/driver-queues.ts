import type { DeviceFault } from '@iommukit/iommu-core';
import type { TraceChannel } from '@iommukit/platform';
import type { PriResponse } from './command-batch.ts';
import { CommandQueue } from './command-queue.ts';
import { CommandStream } from './command-stream.ts';
import type { DeviceMemory } from './device-memory.ts';
import type { DeviceTable } from './device-table.ts';
import type { DriverEvent } from './driver-event.ts';
import { NO_LOG } from './driver-log.ts';
import type { SmmuDriverParts } from './driver-parts.ts';
import { EventQueue } from './event-queue.ts';
import type { FaultReports } from './fault-reports.ts';
import type { HardwareFeatures } from './hardware-features.ts';
import { PageRequestQueue } from './page-request-queue.ts';

/** The queues of one SMMU, and the stream that commands go through. */
export interface DriverQueues {
  readonly cmdq: CommandQueue;
  readonly stream: CommandStream;
  readonly evtq: EventQueue;
  /** Null without page requests in the hardware. */
  readonly priq: PageRequestQueue | null;
}

/** What queues are made over. */
export interface QueueGround {
  readonly features: HardwareFeatures;
  readonly memory: DeviceMemory;
  readonly trace: TraceChannel<DriverEvent>;
  readonly devices: DeviceTable;
  readonly reports: FaultReports;
}

/** Makes the queues in memory that was allocated for them; nothing is written yet. */
export function makeQueues(parts: SmmuDriverParts, ground: QueueGround): DriverQueues {
  const cmdq = makeCommandQueue(parts, ground);
  const { quirks = {}, profile } = parts;
  const stream = new CommandStream(cmdq, {
    forceSync: ground.features.forceSync || quirks.forceSync === true,
    repeat: quirks.repeat === true && profile.repeatErratum === 'known',
  });
  const evtq = makeEventQueue(parts, ground);
  return { cmdq, stream, evtq, priq: makePageRequestQueue(parts, ground, stream) };
}

/** What all of them work with. */
function shared(parts: SmmuDriverParts, { trace }: QueueGround) {
  const { memory, registers, platform, log = NO_LOG } = parts;
  return { memory, registers, platform, trace, log };
}

function makeCommandQueue(parts: SmmuDriverParts, ground: QueueGround): CommandQueue {
  const { features, memory } = ground;
  // Linux polls the SYNC itself where the SMMU writes MSIs that the CPU sees in its cache.
  const polls = features.msi && features.coherent && parts.quirks?.disableMsiPolling !== true;
  return new CommandQueue({
    ...shared(parts, ground),
    base: memory.cmdq.base,
    lg2: memory.cmdq.lg2,
    signal: polls ? 'msi' : 'sev',
    ...(parts.queueWords === undefined ? {} : { words: parts.queueWords }),
  });
}

function makeEventQueue(parts: SmmuDriverParts, ground: QueueGround): EventQueue {
  const { memory, devices, reports } = ground;
  return new EventQueue({
    ...shared(parts, ground),
    profile: parts.profile,
    base: memory.evtq.base,
    lg2: memory.evtq.lg2,
    handle: (record) => reports.handle(record),
    clientOf: (streamId) => devices.ofStream(streamId)?.device.name ?? null,
  });
}

function makePageRequestQueue(
  parts: SmmuDriverParts,
  ground: QueueGround,
  stream: CommandStream,
): PageRequestQueue | null {
  const { priq } = ground.memory;
  if (priq === null) return null;
  const { reports } = ground;
  const route = (streamId: number, fault: DeviceFault): number => reports.route(streamId, fault);
  return new PageRequestQueue({
    ...shared(parts, ground),
    base: priq.base,
    lg2: priq.lg2,
    respond(response: PriResponse) {
      stream.begin();
      stream.room().priResponse(response);
      stream.send();
    },
    ...(parts.pageRequests === 'route'
      ? { route, lost: () => parts.faultQueue?.discardPartial() }
      : {}),
  });
}

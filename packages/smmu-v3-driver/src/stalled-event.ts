import { EVENT_CODE, F_TRANSLATION } from '@iommukit/arm-arch';
import type { DeviceFault } from '@iommukit/iommu-core';
import { ERRNO } from '@iommukit/platform';
import type { DriverProfile } from './driver-profile.ts';
import type { EventRecord } from './event-record.ts';
import { FAULT_PERM } from './fault-permission.ts';

/** Events that may stall (IHI 0070 7.3.13 to 7.3.16). */
const TRANSLATION_FAULTS: readonly number[] = [
  EVENT_CODE.F_TRANSLATION,
  EVENT_CODE.F_ADDR_SIZE,
  EVENT_CODE.F_ACCESS,
  EVENT_CODE.F_PERMISSION,
];
/** Errors that 7.x looks up by stream as well (`arm_smmu_handle_event`). */
const CONFIGURATION_ERRORS: readonly number[] = [
  EVENT_CODE.C_BAD_STE,
  EVENT_CODE.F_STREAM_DISABLED,
  EVENT_CODE.C_BAD_SUBSTREAMID,
  EVENT_CODE.C_BAD_CD,
];
const { STALL, STAG, PnU, InD, RnW } = F_TRANSLATION.get;

/**
 * What the driver asks of others about an event.
 * @example const parties: EventParties<IommuDevice> = { deviceOf: (sid) => driver.deviceOfStream(sid), report: (device, fault) => 0 };
 */
export interface EventParties<Device> {
  /** The device that sends a stream, or undefined. */
  deviceOf(streamId: number): Device | undefined;
  /** Takes a fault whose transaction waits (`iommu_report_device_fault`): 0, or a negative errno. */
  report(device: Device, fault: DeviceFault): number;
  /** Passes an event of a guest's stream on to the guest; absent, or a negative errno: not taken. */
  toGuest?(device: Device, record: EventRecord): number;
}

/**
 * Handles one event (`arm_smmu_handle_event`): 0 when it needs no message, else the negative errno with which the kernel prints it.
 * Stalled transactions go to the page-fault layer.
 * @example if (handleEvent(record, parties, profile) < 0) print(record);
 */
export function handleEvent<Device>(
  record: EventRecord,
  parties: EventParties<Device>,
  profile: Pick<DriverProfile, 'stallEvents' | 'reportErrors'>,
): number {
  const { code, words, streamId } = record;
  const lanes = words.flatMap(({ lo, hi }) => [lo, hi]);
  const all = profile.stallEvents === 'all';
  const known = TRANSLATION_FAULTS.includes(code) || (all && CONFIGURATION_ERRORS.includes(code));
  if (!known) return -ERRNO.EOPNOTSUPP;
  const stalled = STALL(lanes) === 1;
  // Before 7.x a fault that does not stall is refused before anybody looks for its stream.
  if (!stalled && !all) return -ERRNO.EOPNOTSUPP;
  const device = parties.deviceOf(streamId);
  if (device === undefined) return -ERRNO.EINVAL;
  if (stalled) {
    const errno = parties.report(device, stalledFault(record));
    return profile.reportErrors === 'printed' ? errno : 0;
  }
  if (record.fault?.stage === 2 || parties.toGuest === undefined) return -ERRNO.EOPNOTSUPP;
  return parties.toGuest(device, record);
}

/**
 * A stalled event as the page-fault layer takes it: always the last of its group, whose number is the stall tag.
 * @example stalledFault(record).grpid // the STAG that CMD_RESUME names
 */
export function stalledFault({ words, substreamId }: EventRecord): DeviceFault {
  const lanes = words.flatMap(({ lo, hi }) => [lo, hi]);
  const perm =
    (RnW(lanes) === 1 ? FAULT_PERM.READ : FAULT_PERM.WRITE) +
    (InD(lanes) === 1 ? FAULT_PERM.EXEC : 0) +
    (PnU(lanes) === 1 ? FAULT_PERM.PRIV : 0);
  return { addr: words[2], pasid: substreamId, perm, grpid: STAG(lanes), lastPage: true };
}

import { PRI_RESPONSE } from '@iommukit/arm-arch';
import type { DeviceFault, PageResponse } from '@iommukit/iommu-core';
import { ERRNO } from '@iommukit/platform';
import type { CommandStream } from './command-stream.ts';
import type { DeviceTable } from './device-table.ts';
import type { SmmuDriverParts } from './driver-parts.ts';
import type { EventRecord } from './event-record.ts';
import { PAGE_RESPONSE_CODE, resumeResponse } from './page-request.ts';
import type { SmmuDevice } from './smmu-device.ts';
import { handleEvent } from './stalled-event.ts';

/** Answers of the page-fault layer in the words of CMD_RESUME's builder. */
const PAGE_RESPONSE: Readonly<Record<PageResponse, number>> = {
  success: PAGE_RESPONSE_CODE.SUCCESS,
  invalid: PAGE_RESPONSE_CODE.INVALID,
  failure: PAGE_RESPONSE_CODE.FAILURE,
};
/** The same in CMD_PRI_RESP. */
const PRI_ANSWER: Readonly<Record<PageResponse, number>> = {
  success: PRI_RESPONSE.SUCCESS,
  invalid: PRI_RESPONSE.INVALID,
  failure: PRI_RESPONSE.FAILURE,
};

/** What the page-fault layer hears of one SMMU, and its answers: stalled transactions, and page requests where they are routed. */
export class FaultReports {
  readonly #parts: Pick<SmmuDriverParts, 'onEvent' | 'reportFault' | 'profile'>;
  readonly #devices: DeviceTable;
  /** Page requests that the page-fault layer has, and the stream that each came from. */
  readonly #routed = new WeakMap<DeviceFault, number>();

  constructor(
    parts: Pick<SmmuDriverParts, 'onEvent' | 'reportFault' | 'profile'>,
    devices: DeviceTable,
  ) {
    this.#parts = parts;
    this.#devices = devices;
  }

  /** True when somebody answered the event. */
  handle(record: EventRecord): boolean {
    const { onEvent, reportFault, profile } = this.#parts;
    if (onEvent?.(record) === true) return true;
    if (reportFault === undefined) return false;
    const parties = {
      deviceOf: (streamId: number) => this.#devices.ofStream(streamId)?.device,
      report: reportFault,
    };
    return handleEvent(record, parties, profile) === 0;
  }

  /** Hands a page request to the page-fault layer: 0 when that answers it or has done so, or a negative errno when nobody will. */
  route(streamId: number, fault: DeviceFault): number {
    const known = this.#devices.ofStream(streamId);
    if (known === undefined) return -ERRNO.EINVAL;
    // Before the report: whoever takes it may answer at once.
    this.#routed.set(fault, streamId);
    const errno = this.#parts.reportFault?.(known.device, fault) ?? -ERRNO.ENODEV;
    // Core answers what it refuses: a denial besides would be a second answer.
    return errno !== 0 && this.#routed.delete(fault) ? errno : 0;
  }

  /** Answers a fault by the command of its kind, without SYNC (`arm_smmu_page_response`). */
  answer(
    stream: CommandStream,
    known: SmmuDevice,
    fault: DeviceFault,
    response: PageResponse,
  ): void {
    const routed = this.#routed.get(fault);
    this.#routed.delete(fault);
    // A group has one answer: its last request's.
    if (routed !== undefined && !fault.lastPage) return;
    stream.begin();
    if (routed !== undefined) {
      const { pasid, grpid: group } = fault;
      const target = { streamId: routed, substreamId: pasid ?? 0, ssv: pasid !== null, group };
      stream.room().priResponse({ ...target, response: PRI_ANSWER[response] });
    } else {
      const code = resumeResponse(PAGE_RESPONSE[response]);
      stream.room().resume(known.streamIds[0] ?? 0, fault.grpid, code);
    }
    stream.send();
  }
}

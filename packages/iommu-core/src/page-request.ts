import type { AttachHandle } from './attach-handle.ts';
import type { IommuDevice } from './device.ts';
import type { DeviceFault } from './device-fault.ts';

/**
 * How a page request ends (`enum iommu_page_response_code`): the device retries (0), or the request is refused because it asked for
 * something illegal (1) or because nobody could handle it (2).
 * @example ops.pageResponse?.(device, fault, 'invalid');
 */
export type PageResponse = 'success' | 'invalid' | 'failure';

/**
 * The requests that a device sent under one group id, in order of arrival, the one that ends the group last (`struct iopf_group`).
 * @example const last = group.requests.at(-1);
 */
export interface PageRequestGroup {
  readonly device: IommuDevice;
  /** What the requester was attached through; the domain in it names the handler (`pageRequestHandler`). */
  readonly handle: AttachHandle;
  readonly requests: readonly DeviceFault[];
}

/**
 * Handles a whole group and sees to its one response: 0 when it took it, or a negative errno (`iommu_domain.iopf_handler`).
 * @example domain.pageRequestHandler = (group) => { queue.push(group); return 0; };
 */
export type PageRequestHandler = (group: PageRequestGroup) => number;

/**
 * Collects the page requests of devices into groups, hands them to the handler of their domain and answers them (`struct
 * iopf_queue`). Installed in `device.pageRequests`; whoever implements it decides when handlers run.
 * @example device.pageRequests = { report: (device, fault, handle) => handle.domain.pageRequestHandler?.({ device, handle, requests: [fault] }) ?? -22 };
 */
export interface PageRequestQueue {
  /** Takes one request, from interrupt context: 0 when it will be answered in the end, or a negative errno that goes back to the driver. */
  report(device: IommuDevice, fault: DeviceFault, handle: AttachHandle): number;
}

import type {
  AttachHandle,
  DeviceFault,
  IommuDevice,
  PageRequestGroup,
  PageResponse,
} from '@iommukit/iommu-core';
import type { IopfQueue } from './iopf-queue.ts';

/**
 * What a group is made of.
 * @example const parts: IopfGroupParts = { queue, device, handle, requests, settle };
 */
export interface IopfGroupParts {
  readonly queue: IopfQueue;
  readonly device: IommuDevice;
  readonly handle: AttachHandle;
  readonly requests: readonly [...DeviceFault[], DeviceFault];
  /** Called for each response, before the driver hears it: what the queue says of it. */
  settle(group: IopfGroup): 'send' | 'drop';
}

/**
 * Page requests that are answered as one (`struct iopf_group`), in order of arrival, the one that ends the group last. Made by
 * {@link IopfQueue}; whoever handles it responds once.
 * @example group.respond('success');
 */
export class IopfGroup implements PageRequestGroup {
  readonly queue: IopfQueue;
  readonly device: IommuDevice;
  readonly handle: AttachHandle;
  readonly requests: readonly DeviceFault[];
  /** The request whose PASID and group id the response carries. */
  readonly last: DeviceFault;
  readonly #settle: IopfGroupParts['settle'];

  constructor(parts: IopfGroupParts) {
    this.queue = parts.queue;
    this.device = parts.device;
    this.handle = parts.handle;
    this.requests = parts.requests;
    this.last = parts.requests[parts.requests.length - 1] as DeviceFault;
    this.#settle = parts.settle;
  }

  /**
   * Answers all requests of the group at once (`iopf_group_response`). As in the kernel the driver hears of it even where the queue has
   * answered when it let the device go; only an answer after a timeout, which the kernel has not, is dropped.
   */
  respond(response: PageResponse): void {
    if (this.#settle(this) === 'send')
      this.device.ops?.pageResponse?.(this.device, this.last, response);
  }
}

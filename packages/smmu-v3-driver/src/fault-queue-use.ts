import type { IommuDevice } from '@iommukit/iommu-core';
import { ERRNO } from '@iommukit/platform';

/**
 * Where devices are told apart whose page faults somebody handles (`struct iopf_queue`); `IopfQueue` of `@iommukit/sva-pasid` is one.
 * @example const faultQueue: FaultQueueControl = new IopfQueue({ name: 'smmu3' });
 */
export interface FaultQueueControl {
  /** From now on faults of the device are taken: 0, or a negative errno (`iopf_queue_add_device`). */
  addDevice(device: IommuDevice): number;
  /** No more; what is still pending is answered (`iopf_queue_remove_device`). */
  removeDevice(device: IommuDevice): void;
  /** Requests were lost, so groups that wait for their last one may wait for ever (`iopf_queue_discard_partial`). */
  discardPartial(): void;
}

/** What decides whether faults of a device can be handled at all. */
export interface FaultTraits {
  /** It stalls. */
  readonly stall: boolean;
  /** It sends page requests, and the driver routes them. */
  readonly requests: boolean;
  readonly streams: number;
}

/** Counts the domains of one device whose faults are handled (`arm_smmu_enable_iopf`, `arm_smmu_disable_iopf`). */
export class FaultQueueUse {
  readonly #device: IommuDevice;
  readonly #control: FaultQueueControl | undefined;
  readonly #traits: FaultTraits;
  #users = 0;

  constructor(device: IommuDevice, control: FaultQueueControl | undefined, traits: FaultTraits) {
    this.#device = device;
    this.#control = control;
    this.#traits = traits;
  }

  /** One more: 0 also for a device that never faults recoverably; -EOPNOTSUPP: it stalls and has several streams; or what the queue said. */
  enable(): number {
    const { stall, requests, streams } = this.#traits;
    if (!stall && !requests) return 0;
    if (this.#users === 0) {
      // An event does not say which of the streams of a device CMD_RESUME has to name.
      if (stall && streams !== 1) return -ERRNO.EOPNOTSUPP;
      const errno = this.#control?.addDevice(this.#device) ?? 0;
      if (errno !== 0) return errno;
    }
    this.#users++;
    return 0;
  }

  /** One less. */
  disable(): void {
    if (this.#users === 0) return;
    this.#users--;
    if (this.#users === 0) this.#control?.removeDevice(this.#device);
  }
}

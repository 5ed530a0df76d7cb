import type {
  AttachHandle,
  DeviceFault,
  IommuDevice,
  PageRequestQueue,
} from '@iommukit/iommu-core';
import { type Clock, ERRNO } from '@iommukit/platform';
import { IopfGroup } from './iopf-group.ts';

/**
 * How a fault queue is set up.
 * @example const parts: IopfQueueParts = { name: 'smmu3.0x9050000', warn: (text) => log.push(text) };
 */
export interface IopfQueueParts {
  /** Of the IOMMU, as in the kernel's names of workqueues. */
  readonly name: string;
  /** Takes the kernel's messages; absent: nobody. */
  readonly warn?: (text: string) => void;
  /** Most requests that are kept at a time, waiting and under way: beyond them the kernel's allocations fail. Absent: no bound. */
  readonly maxRequests?: number;
  /** Beyond Linux: groups that nobody has answered after `afterUs` microseconds are answered `failure`. Absent: they wait for ever. */
  readonly timeout?: { readonly clock: Clock; readonly afterUs: number };
}

/**
 * What a fault queue has done.
 * @example queue.counts.responses // each group once
 */
export interface IopfCounts {
  /** Requests taken, those of groups that were aborted included. */
  requests: number;
  /** Groups that a handler took. */
  groups: number;
  /** Groups that were answered `failure` at once: no memory, or the handler refused. */
  aborted: number;
  /** Responses that the driver heard. */
  responses: number;
  /** Responses of groups that were not pending any more: heard by the driver as well, unless a timeout had answered. */
  late: number;
  /** Groups that nobody answered in time. */
  timeouts: number;
  /** Requests that were forgotten before their group was complete. */
  discarded: number;
}

/** A device in the queue (`struct iommu_fault_param`). */
interface Member {
  partial: DeviceFault[];
  /** Groups without a response, and the timer of each. */
  readonly pending: Map<IopfGroup, number | null>;
}

/**
 * Collects page requests and stalls of devices into groups, hands each group to the handler of its domain, and sees to the responses
 * (`struct iopf_queue`, io-pgfault.c). Nothing runs by itself: handlers put work into the queue, and `step` or `flush` does it.
 * @example
 * const queue = new IopfQueue({ name: 'smmu3' });
 * queue.addDevice(device); // from now on core.reportDeviceFault ends here
 * while (queue.step()) {}
 */
export class IopfQueue implements PageRequestQueue {
  /** `iopf_queue/` and the name of the IOMMU. */
  readonly name: string;
  readonly counts: IopfCounts = {
    requests: 0,
    groups: 0,
    aborted: 0,
    responses: 0,
    late: 0,
    timeouts: 0,
    discarded: 0,
  };
  readonly #parts: IopfQueueParts;
  readonly #members = new Map<IommuDevice, Member>();
  readonly #work: (() => void)[] = [];
  /** Groups that a timeout has answered. */
  readonly #expired = new WeakSet<IopfGroup>();

  constructor(parts: IopfQueueParts) {
    this.#parts = parts;
    this.name = `iopf_queue/${parts.name}`;
  }

  /** Work that waits for a step. */
  get queued(): number {
    return this.#work.length;
  }

  /** Requests whose group is not complete. */
  get partial(): number {
    let sum = 0;
    for (const { partial } of this.#members.values()) sum += partial.length;
    return sum;
  }

  /** Groups without a response. */
  get pending(): number {
    let sum = 0;
    for (const { pending } of this.#members.values()) sum += pending.size;
    return sum;
  }

  /**
   * Takes the faults of a device from now on (`iopf_queue_add_device`): 0; -ENODEV: its driver cannot respond; -EBUSY: it is in a queue
   * already.
   */
  addDevice(device: IommuDevice): number {
    if (device.ops?.pageResponse === undefined) return -ERRNO.ENODEV;
    if (device.pageRequests !== null) return -ERRNO.EBUSY;
    device.pageRequests = this;
    this.#members.set(device, { partial: [], pending: new Map() });
    return 0;
  }

  /**
   * Lets a device go (`iopf_queue_remove_device`): requests of incomplete groups are forgotten, groups without response are answered
   * `invalid`. Flush the queue first: work that is still in it would respond again. A device of another queue is left alone, with a warning.
   */
  removeDevice(device: IommuDevice): void {
    const member = this.#members.get(device);
    if (member === undefined) {
      this.#warn(`${device.name} is not in ${this.name}`);
      return;
    }
    this.#forgetPartial(member);
    for (const group of [...member.pending.keys()]) group.respond('invalid');
    this.#members.delete(device);
    device.pageRequests = null;
  }

  /**
   * One request of a device, as `core.reportDeviceFault` hands it on: 0, also for a group that was aborted and answered `failure`; -ENOMEM for
   * a request before the last when there is no room; -EINVAL for a device that is in another queue, whose request is answered `invalid`.
   */
  report(device: IommuDevice, fault: DeviceFault, handle: AttachHandle): number {
    const member = this.#members.get(device);
    if (member === undefined) {
      this.#warn(`${device.name} is not in ${this.name}`);
      device.ops?.pageResponse?.(device, fault, 'invalid');
      return -ERRNO.EINVAL;
    }
    const room = this.#hasRoom();
    if (!fault.lastPage) {
      if (!room) return -ERRNO.ENOMEM;
      this.counts.requests++;
      member.partial.push(fault);
      return 0;
    }
    this.counts.requests++;
    const group = this.#group(device, member, { fault, handle });
    // A group exists even without memory for it: somebody must be told what to abort.
    const handled = room
      ? (handle.domain.pageRequestHandler?.(group) ?? -ERRNO.EINVAL)
      : -ERRNO.ENOMEM;
    if (handled === 0) {
      this.counts.groups++;
      return 0;
    }
    this.counts.aborted++;
    this.#warn(`${device.name}: iopf with pasid ${fault.pasid ?? 0} aborted`);
    group.respond('failure');
    return 0;
  }

  /** Puts work at the end of the queue, for handlers of domains (`queue_work`). */
  queueWork(work: () => void): void {
    this.#work.push(work);
  }

  /**
   * Does one piece of work, the oldest or, since the kernel promises no order between groups, the one at `index`; false when there is none.
   */
  step(index = 0): boolean {
    const [work] = this.#work.splice(index, 1);
    work?.();
    return work !== undefined;
  }

  /** Does all work, what comes meanwhile included (`flush_workqueue`); returns how many pieces. */
  flush(): number {
    let done = 0;
    while (this.step()) done++;
    return done;
  }

  /** Does all work before a device or one of its PASIDs goes (`iopf_queue_flush_dev`): 0, or -ENODEV with a warning for a device of no queue. */
  flushDevice(device: IommuDevice): number {
    if (!this.#members.has(device)) {
      this.#warn(`${device.name} is not in ${this.name}`);
      return -ERRNO.ENODEV;
    }
    this.flush();
    return 0;
  }

  /**
   * Forgets the requests of all incomplete groups of all devices, without a response (`iopf_queue_discard_partial`): after an overflow their last
   * ones may never come. 0.
   */
  discardPartial(): number {
    for (const member of this.#members.values()) this.#forgetPartial(member);
    return 0;
  }

  #group(
    device: IommuDevice,
    member: Member,
    { fault, handle }: { readonly fault: DeviceFault; readonly handle: AttachHandle },
  ): IopfGroup {
    // By group id alone: requests of another PASID under the same id join.
    const before = member.partial.filter(({ grpid }) => grpid === fault.grpid);
    member.partial = member.partial.filter(({ grpid }) => grpid !== fault.grpid);
    const group = new IopfGroup({
      queue: this,
      device,
      handle,
      requests: [...before, fault],
      settle: (answered) => this.#settle(member, answered),
    });
    const { timeout } = this.#parts;
    const timer = timeout?.clock.schedule(timeout.afterUs, () => this.#expire(member, group));
    member.pending.set(group, timer ?? null);
    return group;
  }

  #settle(member: Member, group: IopfGroup): 'send' | 'drop' {
    const timer = member.pending.get(group);
    if (timer === undefined) this.counts.late++;
    else {
      member.pending.delete(group);
      if (timer !== null) this.#parts.timeout?.clock.cancel(timer);
    }
    if (this.#expired.has(group)) return 'drop';
    this.counts.responses++;
    return 'send';
  }

  #expire(member: Member, group: IopfGroup): void {
    if (!member.pending.has(group)) return;
    this.counts.timeouts++;
    this.#warn(`${group.device.name}: iopf with pasid ${group.last.pasid ?? 0} timed out`);
    group.respond('failure');
    this.#expired.add(group);
  }

  #forgetPartial(member: Member): void {
    this.counts.discarded += member.partial.length;
    member.partial = [];
  }

  #hasRoom(): boolean {
    const { maxRequests } = this.#parts;
    if (maxRequests === undefined) return true;
    let kept = 0;
    for (const { partial, pending } of this.#members.values()) {
      kept += partial.length;
      for (const { requests } of pending.keys()) kept += requests.length;
    }
    return kept < maxRequests;
  }

  #warn(text: string): void {
    this.#parts.warn?.(text);
  }
}

/**
 * As {@link IopfQueue.discardPartial} for a driver whose queue may not exist: -EINVAL without one (`iopf_queue_discard_partial`).
 * @example iopfQueueDiscardPartial(null) // -22
 */
export function iopfQueueDiscardPartial(queue: IopfQueue | null): number {
  return queue === null ? -ERRNO.EINVAL : queue.discardPartial();
}

import type { GroupEvent } from '@iommukit/captures';
import type { Member, Operation } from './operation.ts';

/**
 * Joins devices that get their groups together: before 7.2 a device is attached as soon as it has joined its group; 7.2 puts all devices
 * of the bus into groups first, and then sets up group by group. What tells them apart is the attach, in the same context.
 */
export class ProbeBatches {
  /** By context, while nothing of the batch is attached. */
  readonly #open = new Map<number, Member[]>();

  /** The operation that a device begins; null when it joins one that stands in the plan already. */
  join(event: GroupEvent): Operation | null {
    const { device, groupId, cpu, context, tsUs } = event;
    const member: Member = { device, group: groupId };
    const open = this.#open.get(context);
    if (open !== undefined) {
      open.push(member);
      return null;
    }
    const members = [member];
    this.#open.set(context, members);
    return { op: 'attach', members, cpu, context, tsUs };
  }

  /** A device was attached: the next one begins a new batch. */
  attached(context: number): void {
    this.#open.delete(context);
  }
}

import { AttachHandle, IommuDevice, type PageRequestGroup } from '@iommukit/iommu-core';
import { SimClock } from '@iommukit/platform';
import { describe, expect, test } from 'vitest';
import {
  type IopfGroup,
  IopfQueue,
  type IopfQueueParts,
  iopfQueueDiscardPartial,
} from '../src/index.ts';
import { SharedRig } from './shared-driver.ts';

const [ENODEV, EBUSY, EINVAL, ENOMEM] = [19, 16, 22, 12];

/** A device in the queue, whose PASIDs 1 and 2 have a domain that only collects groups. */
function collecting(parts: Partial<IopfQueueParts> = {}) {
  const rig = new SharedRig(parts);
  const device = rig.device('a');
  expect(rig.queue.addDevice(device)).toBe(0);
  const groups: IopfGroup[] = [];
  let answer = 0;
  for (const pasid of [1, 2]) {
    const domain = rig.driver.domainAlloc();
    domain.owner = rig.driver;
    domain.pageRequestHandler = (group: PageRequestGroup) => {
      if (answer === 0) groups.push(group as IopfGroup);
      return answer;
    };
    rig.core.attachDevicePasid({ domain, device, pasid, handle: new AttachHandle(domain) });
  }
  const refuse = (errno: number): void => {
    answer = errno;
  };
  const shape = (group: IopfGroup | undefined) =>
    group?.requests.map(({ addr, pasid }) => [addr.lo, pasid]);
  return { rig, device, groups, refuse, shape };
}

describe('devices', () => {
  test('a driver that cannot respond: -ENODEV', () => {
    const rig = new SharedRig();
    const device = rig.device('a');
    Object.assign(rig.driver, { pageResponse: undefined });
    expect([rig.queue.addDevice(device), device.pageRequests]).toEqual([-ENODEV, null]);
    const unprobed = new IommuDevice({ name: 'x', ids: [], groupKey: 'x' });
    expect(rig.queue.addDevice(unprobed)).toBe(-ENODEV);
  });

  test('twice, or in another queue: -EBUSY', () => {
    const { rig, device } = collecting();
    expect(rig.queue.addDevice(device)).toBe(-EBUSY);
    expect(new IopfQueue({ name: 'other' }).addDevice(device)).toBe(-EBUSY);
    expect(device.pageRequests).toBe(rig.queue);
  });

  test('of another queue are let alone, with a warning; flushing for them is -ENODEV', () => {
    const { rig, device } = collecting();
    const other = new IopfQueue({ name: 'b', warn: (text) => rig.warnings.push(text) });
    other.removeDevice(device);
    expect([device.pageRequests, other.flushDevice(device)]).toEqual([rig.queue, -ENODEV]);
    expect(rig.warnings).toEqual(['a is not in iopf_queue/b', 'a is not in iopf_queue/b']);
  });
});

describe('requests', () => {
  test('the last one of a group makes it, at once; it is answered by its own PASID and id', () => {
    const { rig, device, groups, shape } = collecting();
    expect(rig.report(device, { at: 0x5000, grpid: 3 })).toBe(0);
    expect([groups.length, shape(groups[0]), rig.queue.pending]).toEqual([1, [[0x5000, 1]], 1]);
    groups[0]?.respond('success');
    expect([rig.answered(), rig.queue.pending]).toEqual([[[3, 'success']], 0]);
  });

  test('before the last are kept without response, and come first, in order of arrival', () => {
    const { rig, device, groups, shape } = collecting();
    for (const at of [1, 2, 3]) rig.report(device, { at, grpid: 7, lastPage: false });
    expect([rig.queue.partial, groups.length, rig.driver.responses.length]).toEqual([3, 0, 0]);
    rig.report(device, { at: 4, grpid: 7 });
    expect(shape(groups[0])?.map(([at]) => at)).toEqual([1, 2, 3, 4]);
    expect(rig.queue.partial).toBe(0);
  });

  test('join by group id alone: those of another PASID too, those of another id do not', () => {
    const { rig, device, groups, shape } = collecting();
    rig.report(device, { at: 1, grpid: 7, pasid: 2, lastPage: false });
    rig.report(device, { at: 2, grpid: 8, lastPage: false });
    rig.report(device, { at: 3, grpid: 7, pasid: 1 });
    expect(shape(groups[0])).toEqual([
      [1, 2],
      [3, 1],
    ]);
    expect(rig.queue.partial).toBe(1);
    groups[0]?.respond('success');
    expect(rig.driver.responses.map(({ fault }) => fault.pasid)).toEqual([1]);
  });

  test('of two devices do not join', () => {
    const { rig, device, groups, shape } = collecting();
    const other = rig.device('b');
    rig.queue.addDevice(other);
    const domain = rig.driver.domainAlloc();
    domain.owner = rig.driver;
    domain.pageRequestHandler = () => 0;
    const handle = new AttachHandle(domain);
    rig.core.attachDevicePasid({ domain, device: other, pasid: 1, handle });
    rig.report(other, { at: 1, grpid: 7, lastPage: false });
    rig.report(device, { at: 2, grpid: 7 });
    expect([shape(groups[0])?.length, rig.queue.partial]).toEqual([1, 1]);
  });

  test.each([
    ['of a PASID without handle', { pasid: 5 }, 1],
    ['of none', { pasid: null }, 1],
    ['before the last, of a PASID without handle', { pasid: 5, lastPage: false }, 1],
  ])('%s: invalid, -EINVAL', (_name, fault, answers) => {
    const { rig, device } = collecting();
    expect(rig.report(device, fault)).toBe(-EINVAL);
    expect(rig.answered().map(([, response]) => response)).toEqual(Array(answers).fill('invalid'));
  });

  test('of a device that is in no queue: invalid, -EINVAL', () => {
    const { rig, device } = collecting();
    rig.queue.removeDevice(device);
    expect([rig.report(device, { grpid: 4 }), rig.answered()]).toEqual([-EINVAL, [[4, 'invalid']]]);
  });
});

describe('what cannot be handled', () => {
  test('is aborted: a message, failure, and 0 to the driver', () => {
    const { rig, device, refuse } = collecting();
    refuse(-EINVAL);
    rig.report(device, { at: 1, grpid: 9, lastPage: false });
    expect([rig.report(device, { grpid: 9 }), rig.answered()]).toEqual([0, [[9, 'failure']]]);
    expect(rig.warnings).toEqual(['a: iopf with pasid 1 aborted']);
    expect([rig.queue.pending, rig.queue.partial]).toEqual([0, 0]);
  });

  test('for want of memory: -ENOMEM before the last, aborted at the last', () => {
    const { rig, device, groups } = collecting({ maxRequests: 2 });
    rig.report(device, { at: 1, grpid: 1, lastPage: false });
    rig.report(device, { at: 2, grpid: 1, lastPage: false });
    expect(rig.report(device, { at: 3, grpid: 1, lastPage: false })).toBe(-ENOMEM);
    expect([rig.report(device, { at: 4, grpid: 1 }), rig.answered()]).toEqual([
      0,
      [[1, 'failure']],
    ]);
    expect([groups.length, rig.queue.counts.aborted]).toEqual([0, 1]);
    // The group is gone, and there is room again.
    expect(rig.report(device, { at: 5, grpid: 2, lastPage: false })).toBe(0);
  });
});

describe('letting go', () => {
  test('removing a device forgets partial requests and answers every pending group invalid', () => {
    const { rig, device, groups } = collecting();
    rig.report(device, { grpid: 1, lastPage: false });
    rig.report(device, { grpid: 2 });
    rig.report(device, { grpid: 3 });
    rig.queue.removeDevice(device);
    expect(rig.answered()).toEqual([
      [2, 'invalid'],
      [3, 'invalid'],
    ]);
    expect([rig.queue.partial, rig.queue.pending, device.pageRequests]).toEqual([0, 0, null]);
    expect(rig.queue.addDevice(device)).toBe(0);
    // Whoever still has a group responds once more, as the kernel does: flush first.
    groups[0]?.respond('success');
    expect([rig.answered(), rig.queue.counts.late]).toEqual([[[2, 'success']], 1]);
  });

  test('discarding forgets the partial requests of all devices, and answers none', () => {
    const { rig, device, groups, shape } = collecting();
    rig.report(device, { at: 1, grpid: 1, lastPage: false });
    rig.report(device, { at: 2, grpid: 2, lastPage: false });
    expect([iopfQueueDiscardPartial(rig.queue), rig.queue.partial]).toEqual([0, 0]);
    expect([rig.answered(), rig.queue.counts.discarded]).toEqual([[], 2]);
    rig.report(device, { at: 3, grpid: 1 });
    expect(shape(groups[0])).toEqual([[3, 1]]);
    expect(iopfQueueDiscardPartial(null)).toBe(-EINVAL);
  });
});

describe('work', () => {
  test('waits for a step; steps may take it in any order; a flush does all, new work too', () => {
    const { rig } = collecting();
    const { queue } = rig;
    const done: string[] = [];
    queue.queueWork(() => done.push('a'));
    queue.queueWork(() => done.push('b'));
    queue.queueWork(() => {
      done.push('c');
      queue.queueWork(() => done.push('d'));
    });
    expect([done, queue.queued, queue.name]).toEqual([[], 3, 'iopf_queue/toy']);
    expect([queue.step(1), done]).toEqual([true, ['b']]);
    expect([queue.flush(), done]).toEqual([3, ['b', 'a', 'c', 'd']]);
    expect(queue.step()).toBe(false);
  });
});

describe('timeouts, which Linux has not', () => {
  test('a group that nobody answers in time fails, once; a later answer is dropped', () => {
    const clock = new SimClock();
    const { rig, device, groups } = collecting({ timeout: { clock, afterUs: 1000 } });
    rig.report(device, { grpid: 1 });
    clock.advance(600);
    rig.report(device, { grpid: 2 });
    clock.advance(399);
    expect(rig.answered()).toEqual([]);
    clock.advance(1);
    expect([rig.answered(), rig.warnings]).toEqual([
      [[1, 'failure']],
      ['a: iopf with pasid 1 timed out'],
    ]);
    groups[0]?.respond('success');
    expect([rig.answered(), rig.queue.counts.late]).toEqual([[], 1]);
    groups[1]?.respond('success');
    clock.advance(10_000);
    expect([rig.answered(), rig.queue.counts.timeouts]).toEqual([[[2, 'success']], 1]);
  });
});

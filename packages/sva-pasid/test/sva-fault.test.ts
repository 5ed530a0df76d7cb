import { AttachHandle, type DeviceFault } from '@iommukit/iommu-core';
import { describe, expect, test } from 'vitest';
import {
  handleMmFault,
  IOMMU_FAULT_PERM,
  IopfQueue,
  type SharedIoMm,
  svaBindDevice,
  svaPageRequestHandler,
  svaUnbindDevice,
} from '../src/index.ts';
import { SharedRig, ToyMm } from './shared-driver.ts';

const { READ, WRITE, EXEC, PRIV } = IOMMU_FAULT_PERM;
const RO = { read: true, write: false, exec: false };

function fault(of: Partial<DeviceFault>): DeviceFault {
  return { addr: { lo: 0x1008, hi: 0 }, pasid: 1, perm: READ, grpid: 0, lastPage: true, ...of };
}

describe('one request', () => {
  const rows: {
    name: string;
    fault: Partial<DeviceFault>;
    mm?: Partial<ToyMm>;
    want: string;
    handled: string[];
  }[] = [
    { name: 'a read', fault: {}, want: 'success', handled: ['r 1008 user'] },
    { name: 'a write', fault: { perm: WRITE }, want: 'success', handled: ['w 1008 user'] },
    {
      name: 'a read and write',
      fault: { perm: READ + WRITE },
      want: 'success',
      handled: ['w 1008 user'],
    },
    {
      name: 'privileged',
      fault: { perm: READ + PRIV },
      want: 'success',
      handled: ['r 1008 kernel'],
    },
    {
      name: 'an instruction of an executable area',
      fault: { perm: READ + EXEC },
      mm: { area: { read: true, write: false, exec: true } },
      want: 'success',
      handled: ['x 1008 user'],
    },
    { name: 'an instruction of another area', fault: { perm: EXEC }, want: 'invalid', handled: [] },
    {
      name: 'a write of a read-only area',
      fault: { perm: READ + WRITE },
      mm: { area: RO },
      want: 'invalid',
      handled: [],
    },
    {
      name: 'a read of a write-only area',
      fault: {},
      mm: { area: { read: false, write: true, exec: false } },
      want: 'invalid',
      handled: [],
    },
    { name: 'outside all areas', fault: {}, mm: { end: 0x1000 }, want: 'invalid', handled: [] },
    {
      name: 'above what a process reaches',
      fault: { addr: { lo: 0, hi: 0xffff_0000 } },
      mm: { end: 2 ** 64 },
      want: 'invalid',
      handled: [],
    },
    { name: 'without PASID', fault: { pasid: null }, want: 'invalid', handled: [] },
    { name: 'after the exit', fault: {}, mm: { users: 0 }, want: 'invalid', handled: [] },
    {
      name: 'an error of the process',
      fault: {},
      mm: { result: 'error' },
      want: 'invalid',
      handled: ['r 1008 user'],
    },
    {
      name: 'a retry counts as success',
      fault: {},
      mm: { result: 'retry' },
      want: 'success',
      handled: ['r 1008 user'],
    },
  ];
  test.each(rows)('$name: $want', ({ fault: of, mm: state, want, handled }) => {
    const mm = Object.assign(new ToyMm(), state);
    expect([handleMmFault(mm, fault(of)), mm.handled]).toEqual([want, handled]);
  });
});

describe('a group', () => {
  function made() {
    const rig = new SharedRig();
    const device = rig.device('a');
    rig.queue.addDevice(device);
    const mm = new ToyMm();
    const handle = svaBindDevice(rig.binder, device, mm) as SharedIoMm;
    return { rig, device, mm, handle };
  }

  test('is handled at a step, in order, with one response', () => {
    const { rig, device, mm } = made();
    rig.report(device, { at: 0x1000, perm: WRITE, grpid: 5, lastPage: false });
    rig.report(device, { at: 0x2000, grpid: 5 });
    expect([mm.handled, rig.queue.queued]).toEqual([[], 1]);
    rig.queue.step();
    expect(mm.handled).toEqual(['w 1000 user', 'r 2000 user']);
    expect(rig.answered()).toEqual([[5, 'success']]);
  });

  test('ends at the first request that fails', () => {
    const { rig, device, mm } = made();
    mm.end = 0x3000;
    for (const at of [0x1000, 0x4000]) rig.report(device, { at, grpid: 5, lastPage: false });
    rig.report(device, { at: 0x2000, grpid: 5 });
    rig.queue.step();
    expect([mm.handled, rig.answered()]).toEqual([['r 1000 user'], [[5, 'invalid']]]);
  });

  test('of a process that exits before the step: invalid', () => {
    const { rig, device, mm } = made();
    rig.report(device, { grpid: 5 });
    mm.exit();
    rig.queue.step();
    expect([mm.handled, rig.answered()]).toEqual([[], [[5, 'invalid']]]);
  });

  test('that waits when its last bind is undone is handled before the PASID goes', () => {
    const { rig, device, mm, handle } = made();
    rig.report(device, { at: 0x1000, grpid: 5 });
    svaUnbindDevice(handle);
    expect([mm.handled, rig.answered(), rig.queue.queued]).toEqual([
      ['r 1000 user'],
      [[5, 'success']],
      0,
    ]);
    expect([rig.report(device, { grpid: 6 }), rig.answered()]).toEqual([-22, [[6, 'invalid']]]);
  });

  test('of another device of the group is handled then too', () => {
    const rig = new SharedRig();
    const mm = new ToyMm();
    const [a, b] = ['a', 'b'].map((name) => rig.device(name, { group: 'g' }));
    if (a === undefined || b === undefined) throw new Error('no devices');
    rig.queue.addDevice(a);
    const other = new IopfQueue({ name: 'other' });
    other.addDevice(b);
    const handle = svaBindDevice(rig.binder, a, mm) as SharedIoMm;
    rig.report(b, { at: 0x1000, grpid: 5 });
    svaUnbindDevice(handle);
    expect([mm.handled, rig.answered(), other.pending]).toEqual([
      ['r 1000 user'],
      [[5, 'success']],
      0,
    ]);
  });

  test('whose bind was undone behind the queue brings nothing in', () => {
    const { rig, device, mm, handle } = made();
    rig.report(device, { at: 0x1000, grpid: 5 });
    handle.retire();
    rig.queue.step();
    expect([mm.handled, rig.answered()]).toEqual([[], [[5, 'invalid']]]);
  });

  test('that no fault queue made is refused', () => {
    const { rig, device, handle } = made();
    expect(svaPageRequestHandler({ device, handle, requests: [fault({})] })).toBe(-22);
    expect([rig.queue.queued, new AttachHandle(handle.domain).domain]).toEqual([0, handle.domain]);
  });
});

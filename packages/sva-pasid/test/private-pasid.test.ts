import { IommuDevice } from '@iommukit/iommu-core';
import { describe, expect, test } from 'vitest';
import {
  IOMMU_SVA_FEAT_PRIVATE,
  type IoMm,
  PASID_MAX,
  PasidAllocator,
  svaAllocPasid,
  svaDeviceInit,
  svaDeviceOf,
  svaDeviceShutdown,
  svaFlushTlbAll,
  svaFreePasid,
  svaIovaToPhys,
  svaMap,
  svaMapSg,
  svaTlbRangeAdd,
  svaTlbSync,
  svaUnmap,
  svaUnmapFast,
} from '../src/index.ts';
import { PAGE, PROT, PrivateRig } from './private-driver.ts';

const [ENOMEM, EEXIST, ENODEV, EINVAL] = [-12, -17, -19, -22];
const IOVA = 0x1_0000;
const A = 0x4000_0000;

describe('svaDeviceInit', () => {
  const rows = [
    { name: 'an empty range', init: { minPasid: 8, maxPasid: 5 }, errno: EINVAL },
    { name: 'beyond the device', init: { maxPasid: 16 }, errno: EINVAL },
    { name: 'PASID 0', init: { minPasid: 0 }, errno: EINVAL },
    { name: 'a fraction', init: { minPasid: 1.5 }, errno: EINVAL },
    { name: 'an unknown feature', init: { features: 4 }, errno: EINVAL },
    { name: 'a negative feature', init: { features: -1 }, errno: EINVAL },
    {
      name: 'beyond a shared space',
      init: { maxPasid: 8, pasids: new PasidAllocator({ first: 1, last: 7, order: 'lowest' }) },
      errno: EINVAL,
    },
    {
      name: 'below a shared space',
      init: { minPasid: 5, pasids: new PasidAllocator({ first: 6, last: 9, order: 'lowest' }) },
      errno: EINVAL,
    },
    { name: 'all that the device takes', init: { minPasid: 1, maxPasid: 15 }, errno: 0 },
  ];
  test.each(rows)('$name: $errno', ({ init, errno }) => {
    const rig = new PrivateRig(null);
    expect(rig.init(init)).toBe(errno);
    expect(svaDeviceOf(rig.device) !== undefined).toBe(errno === 0);
  });

  test('the whole range where none is named', () => {
    const rig = new PrivateRig(null);
    const { core, device } = rig;
    expect(svaDeviceInit({ core, device, features: IOMMU_SVA_FEAT_PRIVATE })).toBe(0);
    const sva = svaDeviceOf(device);
    expect([sva?.minPasid, sva?.maxPasid]).toEqual([1, 15]);
  });

  test('twice: -EEXIST; after a shutdown: again', () => {
    const rig = new PrivateRig();
    expect(rig.init({})).toBe(EEXIST);
    expect(svaDeviceShutdown(rig.device)).toBe(0);
    expect(svaDeviceShutdown(rig.device)).toBe(ENODEV);
    expect(rig.init({})).toBe(0);
  });

  test('a device without a group, and one without PASIDs: -ENODEV', () => {
    const rig = new PrivateRig(null);
    const { core, driver } = rig;
    const features = IOMMU_SVA_FEAT_PRIVATE;
    const device = new IommuDevice({ name: 'nic', ids: [2], groupKey: 'nic' });
    expect(svaDeviceInit({ core, device, features })).toBe(ENODEV);
    core.probeDevice(device, driver);
    expect(svaDeviceInit({ core, device, features })).toBe(ENODEV);
  });

  test('a shutdown takes the address spaces away', () => {
    const rig = new PrivateRig();
    const handles = [rig.alloc(), rig.alloc()];
    rig.driver.noted();
    svaDeviceShutdown(rig.device);
    expect(rig.driver.noted()).toEqual(['detach 5', 'free 2', 'detach 6', 'free 3']);
    expect(handles.map(({ live }) => live)).toEqual([false, false]);
  });
});

describe('id spaces', () => {
  test('each device has its own unless they share one', () => {
    const rigs = [new PrivateRig(), new PrivateRig()];
    expect(rigs.map((rig) => rig.alloc().pasid)).toEqual([5, 5]);
    const pasids = new PasidAllocator({ first: 1, last: PASID_MAX, order: 'lowest' });
    const shared = [0, 1].map(() => new PrivateRig({ pasids, minPasid: 1, maxPasid: 15 }));
    expect(shared.map((rig) => rig.alloc().pasid)).toEqual([1, 2]);
  });

  test('a global space gives back the lowest', () => {
    const pasids = new PasidAllocator({ first: 1, last: PASID_MAX, order: 'lowest' });
    const rig = new PrivateRig({ pasids, minPasid: 1, maxPasid: 15 });
    const first = rig.alloc();
    rig.alloc();
    svaFreePasid(rig.domain, first);
    expect(rig.alloc().pasid).toBe(1);
  });

  test('a PASID that somebody attached behind our back: -EBUSY, and the id is free again', () => {
    const rig = new PrivateRig();
    const other = rig.core.domainAllocUnmanaged(rig.device);
    if (typeof other === 'number') throw new Error(`${other}`);
    rig.core.attachDevicePasid({ domain: other, device: rig.device, pasid: 5 });
    expect(svaAllocPasid(rig.domain, rig.device)).toBe(-16);
    expect(svaDeviceOf(rig.device)?.pasids.used).toBe(0);
    expect(rig.alloc().pasid).toBe(6);
  });
});

describe('what fails changes nothing', () => {
  const rows = [
    {
      name: 'no memory for the tables',
      set: ({ driver }: PrivateRig) => {
        driver.memory = 'gone';
      },
      errno: ENOMEM,
      log: [],
    },
    {
      name: 'the driver refuses',
      set: ({ driver }: PrivateRig) => {
        driver.attachErrno = -5;
      },
      errno: -5,
      log: ['attach 5 -5', 'free 2'],
    },
  ];
  test.each(rows)('$name', ({ set, errno, log }) => {
    const rig = new PrivateRig();
    set(rig);
    expect(svaAllocPasid(rig.domain, rig.device)).toBe(errno);
    expect(rig.driver.noted()).toEqual(log);
    const sva = svaDeviceOf(rig.device);
    expect([sva?.pasids.used, sva?.contexts, rig.device.group?.pasids.size]).toEqual([0, [], 0]);
  });

  test('the domain of another device: -EINVAL', () => {
    const [rig, other] = [new PrivateRig(), new PrivateRig()];
    expect(svaAllocPasid(other.domain, rig.device)).toBe(EINVAL);
    const ioMm = rig.alloc();
    rig.driver.noted();
    expect(svaFreePasid(other.domain, ioMm)).toBe(EINVAL);
    expect(ioMm.live).toBe(true);
    expect(rig.driver.noted()).toEqual([]);
  });

  const calls: readonly (readonly [string, (ioMm: IoMm) => number])[] = [
    ['svaMap', (ioMm) => svaMap(ioMm, IOVA, A, PAGE, PROT)],
    ['svaMapSg', (ioMm) => svaMapSg(ioMm, IOVA, [{ paddr: A, length: PAGE }], PROT)],
    ['svaUnmap', (ioMm) => svaUnmap(ioMm, IOVA, PAGE)],
    ['svaUnmapFast', (ioMm) => svaUnmapFast(ioMm, IOVA, PAGE)],
    ['svaIovaToPhys', (ioMm) => svaIovaToPhys(ioMm, IOVA)],
    ['svaFlushTlbAll', (ioMm) => svaFlushTlbAll(ioMm)],
    ['svaTlbRangeAdd', (ioMm) => svaTlbRangeAdd(ioMm, IOVA, PAGE)],
    ['svaTlbSync', (ioMm) => svaTlbSync(ioMm)],
    ['svaFreePasid', (ioMm) => svaFreePasid(ioMm.domain, ioMm)],
  ];

  test.each(calls)('%s of a freed handle throws', (_name, call) => {
    const rig = new PrivateRig();
    const ioMm = rig.alloc();
    svaFreePasid(rig.domain, ioMm);
    // Its PASID may be somebody else's by now.
    for (let i = 0; i < 4; i++) rig.alloc();
    rig.driver.noted();
    expect(() => call(ioMm)).toThrow(
      expect.objectContaining({ code: 'IO_MM_FREED', operands: { pasid: 5 } }),
    );
    expect(rig.driver.noted()).toEqual([]);
  });

  test.each(calls)('%s of a number throws', (_name, call) => {
    const rig = new PrivateRig();
    rig.alloc();
    rig.driver.noted();
    expect(() => call(5 as unknown as IoMm)).toThrow(expect.objectContaining({ code: 'NO_IO_MM' }));
    expect(rig.driver.noted()).toEqual([]);
  });

  const maps = [
    { name: 'no size', args: [IOVA, A, 0, PROT], errno: EINVAL },
    { name: 'an unaligned IOVA', args: [IOVA + 1, A, PAGE, PROT], errno: EINVAL },
    { name: 'an unaligned address', args: [IOVA, A + 512, PAGE, PROT], errno: EINVAL },
    { name: 'an unaligned size', args: [IOVA, A, PAGE + 1, PROT], errno: EINVAL },
    { name: 'neither read nor write', args: [IOVA, A, PAGE, 0], errno: EINVAL },
  ] as const;
  test.each(maps)('svaMap of $name', ({ args, errno }) => {
    const rig = new PrivateRig();
    const ioMm = rig.alloc();
    rig.driver.noted();
    const [iova, paddr, size, prot] = args;
    expect(svaMap(ioMm, iova, paddr, size, prot)).toBe(errno);
    expect(rig.driver.noted()).toEqual([]);
  });

  const adds = [
    { name: 'no size', args: [IOVA, 0], errno: EINVAL },
    { name: 'a negative size', args: [IOVA, -PAGE], errno: EINVAL },
    { name: 'a negative IOVA', args: [-PAGE, PAGE], errno: EINVAL },
    { name: 'an unaligned range', args: [IOVA, PAGE + 1], errno: EINVAL },
    { name: 'a page size that the domain has not', args: [0, 8192, 8192], errno: EINVAL },
  ] as const;
  test.each(adds)('svaTlbRangeAdd of $name', ({ args, errno }) => {
    const rig = new PrivateRig();
    const ioMm = rig.alloc();
    const [iova, size, pgsize] = args;
    expect(svaTlbRangeAdd(ioMm, iova, size, pgsize)).toBe(errno);
    expect(ioMm.gather.isEmpty).toBe(true);
  });
});

test('the offset in a page stays in svaIovaToPhys, and a hole is 0', () => {
  const rig = new PrivateRig();
  const ioMm = rig.alloc();
  svaMap(ioMm, IOVA, A, PAGE, PROT);
  expect([svaIovaToPhys(ioMm, IOVA + 5), svaIovaToPhys(ioMm, IOVA + PAGE)]).toEqual([A + 5, 0]);
});

test('a page request finds the handle by its PASID', () => {
  const rig = new PrivateRig();
  const ioMm = rig.alloc();
  const { group } = rig.device;
  expect(group === null ? null : rig.core.attachHandle(group, 5)).toBe(ioMm);
});

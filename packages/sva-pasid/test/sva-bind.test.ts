import { IommuDevice } from '@iommukit/iommu-core';
import { describe, expect, test } from 'vitest';
import {
  IOMMU_SVA_FEAT_PRIVATE,
  IoMm,
  IoMmError,
  type SharedIoMm,
  SvaBinder,
  svaBindDevice,
  svaDeviceInit,
  svaDeviceOf,
  svaFreePasid,
  svaMap,
  svaUnbindDevice,
  unbindDevAll,
} from '../src/index.ts';
import { SharedDriver, SharedRig, ToyMm, type ToySvaDomain } from './shared-driver.ts';

const [ENODEV, EBUSY, EINVAL, ENOSPC, EOVERFLOW, EOPNOTSUPP] = [19, 16, 22, 28, 75, 95];

function bound(rig: SharedRig, device: IommuDevice, mm: ToyMm): SharedIoMm {
  const handle = svaBindDevice(rig.binder, device, mm);
  if (typeof handle === 'number') throw new Error(`bind: ${handle}`);
  return handle;
}

describe('a bind', () => {
  test('attaches a domain over the process, under the lowest global PASID', () => {
    const rig = new SharedRig();
    const handle = bound(rig, rig.device('a'), new ToyMm());
    expect([handle.pasid, handle.kind, handle.live, handle.users]).toEqual([1, 'shared', true, 1]);
    expect(rig.driver.log).toEqual(['alloc', 'attach a 1']);
    expect(handle.domain.type).toBe('sva');
  });

  test('again gives the same handle, and the last unbind takes it back', () => {
    const rig = new SharedRig();
    const [device, mm] = [rig.device('a'), new ToyMm()];
    const first = bound(rig, device, mm);
    expect(bound(rig, device, mm)).toBe(first);
    svaUnbindDevice(first);
    expect([first.live, rig.driver.log.length]).toEqual([true, 2]);
    svaUnbindDevice(first);
    expect([first.live, rig.driver.log.slice(2)]).toEqual([false, ['detach a 1', 'free']]);
  });

  test('of another device of the group gives the same handle', () => {
    const rig = new SharedRig();
    const mm = new ToyMm();
    const a = rig.device('a', { group: 'g' });
    const b = rig.device('b', { group: 'g' });
    expect(bound(rig, a, mm)).toBe(bound(rig, b, mm));
    expect(rig.driver.log).toEqual(['alloc', 'attach a 1', 'attach b 1']);
  });

  test('of a second device shares domain and PASID; the domain goes with its last user', () => {
    const rig = new SharedRig();
    const mm = new ToyMm();
    const a = bound(rig, rig.device('a'), mm);
    const b = bound(rig, rig.device('b'), mm);
    expect([b === a, b.domain === a.domain, b.pasid]).toEqual([false, true, 1]);
    svaUnbindDevice(a);
    expect(rig.driver.log.at(-1)).toBe('detach a 1');
    svaUnbindDevice(b);
    expect(rig.driver.log.at(-1)).toBe('free');
    expect(rig.binder.domainsOf(mm)).toEqual([]);
  });

  test('tries the domains of the process newest first, whatever each says, and puts a new one first', () => {
    const rig = new SharedRig();
    const mm = new ToyMm();
    const a = bound(rig, rig.device('a'), mm);
    rig.driver.refuses.add(a.domain.ops);
    const b = bound(rig, rig.device('b'), mm);
    expect(rig.binder.domainsOf(mm)).toEqual([b.domain, a.domain]);
    const c = bound(rig, rig.device('c'), mm);
    expect(c.domain).toBe(b.domain);
    rig.driver.refuses.add(b.domain.ops);
    rig.driver.refuses.delete(a.domain.ops);
    expect(bound(rig, rig.device('d'), mm).domain).toBe(a.domain);
  });
});

test('a device of another driver gets a domain of its own, under the same PASID', () => {
  const rig = new SharedRig();
  const mm = new ToyMm();
  const first = bound(rig, rig.device('a'), mm);
  const foreign = new SharedDriver();
  const device = new IommuDevice({ name: 'f', ids: [1], groupKey: 'f', maxPasids: 8 });
  rig.core.probeDevice(device, foreign);
  const second = bound(rig, device, mm);
  expect([second.pasid, second.domain === first.domain, foreign.log]).toEqual([
    1,
    false,
    ['alloc', 'attach f 1'],
  ]);
  expect(rig.binder.domainsOf(mm)).toEqual([second.domain, first.domain]);
});

describe('errors of a bind', () => {
  const rows: {
    name: string;
    errno: number;
    bind: (rig: SharedRig, mm: ToyMm) => SharedIoMm | number;
    pasid: number;
  }[] = [
    {
      name: 'no group',
      errno: -ENODEV,
      pasid: -1,
      bind: (rig, mm) => {
        const device = rig.device('a');
        rig.core.releaseDevice(device);
        return svaBindDevice(rig.binder, device, mm);
      },
    },
    {
      name: 'tables that cannot be shared',
      errno: -EBUSY,
      pasid: -1,
      bind: (rig, mm) => {
        mm.sharesTables = false;
        return svaBindDevice(rig.binder, rig.device('a'), mm);
      },
    },
    {
      name: 'the PASID of the process is beyond the device',
      errno: -EOVERFLOW,
      pasid: 2,
      bind: (rig, mm) => {
        const big = rig.device('big');
        bound(rig, big, new ToyMm());
        bound(rig, big, mm);
        // PASIDs 0 and 1.
        return svaBindDevice(rig.binder, rig.device('small', { maxPasids: 2 }), mm);
      },
    },
    {
      name: 'no PASID is free below those of the device',
      errno: -ENOSPC,
      pasid: -1,
      bind: (rig, mm) => {
        const device = rig.device('small', { maxPasids: 2 });
        bound(rig, device, new ToyMm());
        return svaBindDevice(rig.binder, device, mm);
      },
    },
    {
      name: 'a device without PASIDs',
      errno: -ENOSPC,
      pasid: -1,
      bind: (rig, mm) => svaBindDevice(rig.binder, rig.device('none', { maxPasids: 0 }), mm),
    },
    {
      name: 'the driver has no domain for it',
      errno: -EOPNOTSUPP,
      pasid: 1,
      bind: (rig, mm) => {
        rig.driver.allocErrno = -EOPNOTSUPP;
        return svaBindDevice(rig.binder, rig.device('a'), mm);
      },
    },
    {
      name: 'the attach of the new domain fails',
      errno: -EINVAL,
      pasid: 1,
      bind: (rig, mm) => {
        rig.driver.attachErrno = -EINVAL;
        return svaBindDevice(rig.binder, rig.device('a'), mm);
      },
    },
    {
      name: 'the PASID has a domain of another type there',
      errno: -EBUSY,
      pasid: 1,
      bind: (rig, mm) => {
        const device = rig.device('a');
        const domain = rig.driver.domainAlloc();
        domain.owner = rig.driver;
        const handle = new IoMm({ kind: 'private', core: rig.core, device, domain, pasid: 1 });
        rig.core.attachDevicePasid({ domain, device, pasid: 1, handle });
        return svaBindDevice(rig.binder, device, mm);
      },
    },
    {
      name: 'the PASID is attached without a handle there',
      errno: -EBUSY,
      pasid: 1,
      bind: (rig, mm) => {
        const device = rig.device('a');
        const domain = rig.driver.domainAlloc();
        domain.owner = rig.driver;
        rig.core.attachDevicePasid({ domain, device, pasid: 1 });
        return svaBindDevice(rig.binder, device, mm);
      },
    },
    {
      name: 'the process has exited',
      errno: -EINVAL,
      pasid: -1,
      bind: (rig, mm) => {
        mm.exit();
        return svaBindDevice(rig.binder, rig.device('a'), mm);
      },
    },
  ];

  test.each(rows)('$name: $errno, nothing attached', ({ bind, errno, pasid }) => {
    const rig = new SharedRig();
    const mm = new ToyMm();
    expect(bind(rig, mm)).toBe(errno);
    // A PASID that was given stays the process's.
    expect(rig.binder.pasidOf(mm)).toBe(pasid);
    // Only domains of binds that worked are left.
    const notFreed = rig.driver.log.filter((line) => line === 'alloc').length;
    const freed = rig.driver.log.filter((line) => line === 'free').length;
    expect(rig.binder.domainsOf(mm).length).toBeLessThanOrEqual(notFreed - freed);
  });

  test('another process under the same PASID: -EBUSY', () => {
    const rig = new SharedRig();
    const device = rig.device('a');
    const first = bound(rig, device, new ToyMm());
    // Two PASID spaces, which one kernel does not have.
    const other = new SharedRig();
    const stranger = new SvaBinder(rig.core, other.pasids);
    expect(svaBindDevice(stranger, device, new ToyMm())).toBe(-EBUSY);
    expect(first.users).toBe(1);
  });
});

describe('the PASID of a process', () => {
  test('outlives its binds', () => {
    const rig = new SharedRig();
    const [device, mm] = [rig.device('a'), new ToyMm()];
    svaUnbindDevice(bound(rig, device, mm));
    expect([rig.binder.pasidOf(mm), rig.pasids.used]).toEqual([1, 1]);
    expect(bound(rig, device, new ToyMm()).pasid).toBe(2);
    expect(bound(rig, device, mm).pasid).toBe(1);
  });

  test('goes when the process exits, and is the next one given', () => {
    const rig = new SharedRig();
    const [device, mm] = [rig.device('a'), new ToyMm()];
    svaUnbindDevice(bound(rig, device, mm));
    mm.exit();
    expect([rig.binder.pasidOf(mm), rig.pasids.used, mm.notifiers.size]).toEqual([-1, 0, 0]);
    expect(bound(rig, device, new ToyMm()).pasid).toBe(1);
  });

  test('of a process that exits while bound goes with the last bind', () => {
    const rig = new SharedRig();
    const [device, mm] = [rig.device('a'), new ToyMm()];
    const handle = bound(rig, device, mm);
    mm.exit();
    expect([rig.pasids.used, handle.live]).toEqual([1, true]);
    expect(bound(rig, device, new ToyMm()).pasid).toBe(2);
    svaUnbindDevice(handle);
    expect([rig.pasids.isAllocated(1), mm.notifiers.size]).toEqual([false, 0]);
  });
});

describe('notices of the process', () => {
  test('a page that goes is not reached by a device, nor anything after the exit', () => {
    const rig = new SharedRig();
    const mm = new ToyMm();
    const handle = bound(rig, rig.device('a'), mm);
    const domain = handle.domain.ops as ToySvaDomain;
    mm.tables.set(0x1000, { write: true });
    mm.tables.set(0x2000, { write: true });
    expect([domain.reaches(0x1008), domain.reaches(0x2008)]).toEqual([true, true]);
    mm.drop(0x1000);
    expect([domain.reaches(0x1008), domain.reaches(0x2008)]).toEqual([false, true]);
    mm.exit();
    expect(domain.reaches(0x2008)).toBe(false);
    expect(rig.driver.log.at(-1)).toBe('release');
  });
});

describe('handles that are none', () => {
  test.each([
    ['a number', () => 1 as unknown as SharedIoMm, 'NO_IO_MM'],
    ['nothing', () => undefined as unknown as SharedIoMm, 'NO_IO_MM'],
    [
      'a private one',
      (rig: SharedRig) => {
        const device = rig.device('p');
        const domain = rig.driver.domainAlloc();
        return new IoMm({
          kind: 'private',
          core: rig.core,
          device,
          domain,
          pasid: 9,
        }) as SharedIoMm;
      },
      'NO_IO_MM',
    ],
    [
      'one that was given back',
      (rig: SharedRig) => {
        const handle = bound(rig, rig.device('p'), new ToyMm());
        svaUnbindDevice(handle);
        return handle;
      },
      'IO_MM_FREED',
    ],
  ])('%s', (_name, make, code) => {
    const rig = new SharedRig();
    const handle = make(rig);
    const before = rig.driver.log.length;
    let thrown: unknown;
    try {
      svaUnbindDevice(handle);
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toBeInstanceOf(IoMmError);
    expect([(thrown as IoMmError).code, rig.driver.log.length]).toEqual([code, before]);
  });

  test('a shared handle given to calls of private ones: -ENODEV, nothing changed', () => {
    const rig = new SharedRig();
    const device = rig.device('a');
    svaDeviceInit({ core: rig.core, device, features: IOMMU_SVA_FEAT_PRIVATE });
    const handle = bound(rig, device, new ToyMm());
    const before = [...rig.driver.log];
    expect(svaMap(handle, 0x1000, 0x1000, 0x1000, 3)).toBe(-ENODEV);
    expect(svaFreePasid(device.group?.domain as never, handle)).toBe(-ENODEV);
    expect([rig.driver.log, handle.live]).toEqual([before, true]);
  });

  test('unbindDevAll undoes all binds of a device that was prepared', () => {
    const rig = new SharedRig();
    const device = rig.device('a');
    svaDeviceInit({ core: rig.core, device, features: IOMMU_SVA_FEAT_PRIVATE });
    const [mm, other] = [new ToyMm(), new ToyMm()];
    const handles = [bound(rig, device, mm), bound(rig, device, mm), bound(rig, device, other)];
    expect(svaDeviceOf(device)?.contexts.length).toBe(2);
    expect(unbindDevAll(device)).toBe(2);
    expect(handles.map(({ live }) => live)).toEqual([false, false, false]);
    expect(rig.driver.log.filter((line) => line === 'free').length).toBe(2);
  });
});

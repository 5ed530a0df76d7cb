// Each remark of the review of 2018 that is about behaviour, in its order; what they cost on SMMUv3 is in the scenarios S2.
import { IommuDomain } from '@iommukit/iommu-core';
import { describe, expect, test } from 'vitest';
import {
  type ContextBank,
  IOMMU_SVA_FEAT_IOPF,
  IOMMU_SVA_FEAT_PRIVATE,
  IoMm,
  IoMmError,
  PageTableSwitch,
  svaAllocPasid,
  svaDeviceOf,
  svaFreePasid,
  svaMap,
  svaMapSg,
  svaTlbSync,
  svaUnmap,
  svaUnmapFast,
  unbindDevAll,
} from '../src/index.ts';
import { PAGE, PagedDomain, PROT, PrivateDriver, PrivateRig } from './private-driver.ts';

const [ENODEV, ENOSPC, EEXIST] = [-19, -28, -17];
const IOVA = 0x1_0000;
const [A, B] = [0x4000_0000, 0x5000_0000];

describe('"return a structure representing the PASID instead of the value alone"', () => {
  test('the handle has the PASID, and failure is an errno', () => {
    const rig = new PrivateRig({ minPasid: 5, maxPasid: 5 });
    const ioMm = rig.alloc();
    expect(ioMm).toBeInstanceOf(IoMm);
    expect([ioMm.pasid, ioMm.kind, ioMm.live]).toEqual([5, 'private', true]);
    expect(svaAllocPasid(rig.domain, rig.device)).toBe(ENOSPC);
  });

  test('a number is an error of types', () => {
    const rig = new PrivateRig();
    // @ts-expect-error a PASID is no handle
    expect(() => svaMap(rig.alloc().pasid, IOVA, A, PAGE, PROT)).toThrow(IoMmError);
  });

  test.each([5, 0, null, undefined, {}])('%j is no handle', (value) => {
    const rig = new PrivateRig();
    rig.alloc();
    rig.driver.noted();
    const wrong = value as unknown as IoMm;
    expect(() => svaMap(wrong, IOVA, A, PAGE, PROT)).toThrow(
      expect.objectContaining({ code: 'NO_IO_MM' }),
    );
    expect(rig.driver.noted()).toEqual([]);
  });
});

test('"having to look up pasid-to-io_mm on every map/unmap call is cumbersome"', () => {
  const rig = new PrivateRig();
  const ioMm = rig.alloc();
  let lookups = 0;
  const pasids = rig.device.group?.pasids as Map<number, never>;
  for (const name of ['get', 'has'] as const) {
    const real = pasids[name].bind(pasids) as (pasid: number) => never;
    pasids[name] = (pasid: number) => {
      lookups++;
      return real(pasid);
    };
  }
  for (let i = 0; i < 1000; i++) {
    svaMap(ioMm, IOVA, A, PAGE, PROT);
    svaUnmap(ioMm, IOVA, PAGE);
  }
  expect(lookups).toBe(0);
});

test('"sva_map/sva_unmap is also useful for PASID-capable IOMMUs": one code for both kinds of hardware', () => {
  const loaded: (IommuDomain | null)[] = [];
  const bank: ContextBank = { most: 8, load: (domain) => loaded.push(domain) * 0 };
  const logs = [{}, { contexts: new PageTableSwitch(bank) }].map((init) => {
    const rig = new PrivateRig(init);
    const ioMm = rig.alloc();
    rig.driver.noted();
    svaMap(ioMm, IOVA, A, PAGE, PROT);
    svaMapSg(ioMm, IOVA + PAGE, [{ paddr: B, length: 2 * PAGE }], PROT);
    svaUnmap(ioMm, IOVA, 3 * PAGE);
    return rig.driver.noted();
  });
  expect(logs[0]).toEqual(['map 2', 'map 2', 'unmap 2', 'sync 2 3 x 4096']);
  expect(logs[1]).toEqual(logs[0]);
});

describe('"we need a NULL check on the param, to ensure that the driver called sva_device_init first"', () => {
  test('not prepared: -ENODEV, and nothing is allocated', () => {
    const rig = new PrivateRig(null);
    expect(svaAllocPasid(rig.domain, rig.device)).toBe(ENODEV);
    expect(unbindDevAll(rig.device)).toBe(ENODEV);
    expect(rig.driver.noted()).toEqual([]);
  });
});

test('"if (!mm_attach || !mm_detach) return -ENODEV"', () => {
  const rig = new PrivateRig({}, new PrivateDriver('never'));
  expect(svaAllocPasid(rig.domain, rig.device)).toBe(ENODEV);
  expect(rig.driver.noted()).toEqual([]);
  expect(svaDeviceOf(rig.device)?.pasids.used).toBe(0);
});

describe('"check that both mm_alloc and mm_free are present, or both absent"', () => {
  const rows = [
    { has: ['mmAlloc', 'mmFree'], works: true, calls: [1, 1] },
    { has: [], works: true, calls: [0, 0] },
    { has: ['mmAlloc'], works: false, calls: [0, 0] },
    { has: ['mmFree'], works: false, calls: [0, 0] },
  ];
  test.each(rows)('$has', ({ has, works, calls }) => {
    const rig = new PrivateRig(null);
    const seen = [0, 0];
    const [alloc, free] = ['mmAlloc', 'mmFree'].map((name) => has.includes(name));
    const mmAlloc = () => {
      seen[0] = (seen[0] ?? 0) + 1;
      return rig.core.domainAllocUnmanaged(rig.device);
    };
    const mmFree = (domain: IommuDomain) => {
      seen[1] = (seen[1] ?? 0) + 1;
      domain.ops.free();
    };
    rig.init({ mm: { ...(alloc ? { mmAlloc } : {}), ...(free ? { mmFree } : {}) } });
    const made = svaAllocPasid(rig.domain, rig.device);
    if (typeof made === 'number') expect([made, works]).toEqual([ENODEV, false]);
    else expect([svaFreePasid(rig.domain, made), works]).toEqual([0, true]);
    expect(seen).toEqual(calls);
  });
});

describe('"this could be a IOMMU_SVA_FEAT_PRIVATE flag"', () => {
  const rows = [
    { features: 0, result: ENODEV },
    { features: IOMMU_SVA_FEAT_IOPF, result: ENODEV },
    { features: IOMMU_SVA_FEAT_PRIVATE, result: 5 },
    { features: IOMMU_SVA_FEAT_PRIVATE + IOMMU_SVA_FEAT_IOPF, result: 5 },
  ];
  test.each(rows)('features $features', ({ features, result }) => {
    const rig = new PrivateRig({ features });
    const made = svaAllocPasid(rig.domain, rig.device);
    expect(typeof made === 'number' ? made : made.pasid).toBe(result);
  });
});

describe('"idr_alloc_cyclic(min_pasid, max_pasid + 1)"', () => {
  test('the range is inclusive at both ends', () => {
    const rig = new PrivateRig();
    const made = Array.from({ length: 5 }, () => svaAllocPasid(rig.domain, rig.device));
    expect(made.map((one) => (typeof one === 'number' ? one : one.pasid))).toEqual([
      5,
      6,
      7,
      8,
      ENOSPC,
    ]);
  });

  test('a PASID just freed is not the next one, and after the highest comes the lowest free', () => {
    const rig = new PrivateRig();
    const first = rig.alloc();
    svaFreePasid(rig.domain, first);
    expect([rig.alloc(), rig.alloc(), rig.alloc(), rig.alloc()].map(({ pasid }) => pasid)).toEqual([
      6, 7, 8, 5,
    ]);
  });
});

test('"attach_domain should be true": the driver is told, and DMA works', () => {
  const rig = new PrivateRig();
  const ioMm = rig.alloc();
  expect(rig.driver.noted()).toEqual(['attach 5']);
  svaMap(ioMm, IOVA, A, PAGE, PROT);
  expect(rig.read(5, IOVA)).toBe(A);
});

test('"PASID contexts are added to the mm list and cleaned up by unbind_dev_all()"', () => {
  const rig = new PrivateRig();
  const handles = [rig.alloc(), rig.alloc(), rig.alloc()];
  expect(svaDeviceOf(rig.device)?.contexts).toEqual(handles);
  rig.driver.noted();
  expect(unbindDevAll(rig.device)).toBe(3);
  expect(rig.driver.noted()).toEqual(
    [5, 6, 7].flatMap((pasid) => [`detach ${pasid}`, `free ${pasid - 3}`]),
  );
  expect(svaDeviceOf(rig.device)?.contexts).toEqual([]);
  expect(svaDeviceOf(rig.device)?.pasids.used).toBe(0);
  expect(handles.map(({ live }) => live)).toEqual([false, false, false]);
});

describe('"sync must be true here, and false in the unmap_fast() variant"', () => {
  test('unmap: the page is gone when it returns', () => {
    const rig = new PrivateRig();
    const ioMm = rig.alloc();
    svaMap(ioMm, IOVA, A, PAGE, PROT);
    expect(rig.read(5, IOVA)).toBe(A);
    expect(svaUnmap(ioMm, IOVA, PAGE)).toBe(PAGE);
    expect(rig.read(5, IOVA)).toBe(-1);
  });

  test('unmap_fast: it may be read until the sync', () => {
    const rig = new PrivateRig();
    const ioMm = rig.alloc();
    svaMap(ioMm, IOVA, A, 2 * PAGE, PROT);
    for (const page of [IOVA, IOVA + PAGE]) rig.read(5, page);
    rig.driver.noted();
    expect(svaUnmapFast(ioMm, IOVA, PAGE) + svaUnmapFast(ioMm, IOVA + PAGE, PAGE)).toBe(2 * PAGE);
    expect(rig.read(5, IOVA)).toBe(A);
    expect(rig.driver.noted()).toEqual(['unmap 2', 'unmap 2']);
    expect(svaTlbSync(ioMm)).toBe(0);
    expect(rig.driver.noted()).toEqual(['sync 2 2 x 4096']);
    expect(rig.read(5, IOVA)).toBe(-1);
  });
});

test('"here too detach_domain should be true": the driver is told before tables and PASID go', () => {
  const rig = new PrivateRig();
  const ioMm = rig.alloc();
  svaMap(ioMm, IOVA, A, PAGE, PROT);
  rig.driver.noted();
  const pasids = svaDeviceOf(rig.device)?.pasids;
  const free = pasids?.free.bind(pasids);
  if (pasids !== undefined)
    pasids.free = (pasid) => {
      rig.driver.note(`id ${pasid}`);
      free?.(pasid);
    };
  expect(svaFreePasid(rig.domain, ioMm)).toBe(0);
  expect(rig.driver.noted()).toEqual(['detach 5', 'free 2', 'id 5']);
  expect(rig.read(5, IOVA)).toBe(-1);
});

test('"sync should be true": what map unwinds is invalidated', () => {
  const rig = new PrivateRig();
  const ioMm = rig.alloc();
  svaMap(ioMm, IOVA + 2 * PAGE, B, PAGE, PROT);
  rig.driver.noted();
  const sg = [A, A + 4 * PAGE, A + 8 * PAGE].map((paddr) => ({ paddr, length: PAGE }));
  expect(svaMapSg(ioMm, IOVA, sg, PROT)).toBe(EEXIST);
  expect(rig.driver.noted()).toEqual(['map 2', 'map 2', 'unmap 2', 'sync 2 2 x 4096']);
  expect([0, 1, 2].map((i) => rig.read(5, IOVA + i * PAGE))).toEqual([-1, -1, B]);
});

test('"spurious \'-\'": a domain without page sizes unmaps 0, and not -0', () => {
  const rig = new PrivateRig();
  const { core, device, driver } = rig;
  const ops = new PagedDomain(driver, 9);
  const aperture = { apertureStart: 0, apertureEnd: 2 ** 48 };
  const domain = new IommuDomain({ ...aperture, type: 'unmanaged', ops, pgsizeBitmap: 0 });
  const ioMm = new IoMm({ kind: 'private', core, device, domain, pasid: 5 });
  expect(svaUnmap(ioMm, IOVA, PAGE)).toBe(0);
});

import { IOMMU_READ } from '@iommukit/io-pgtable';
import type { IommuDevice } from '@iommukit/iommu-core';
import { ERRNO, FrameAllocator } from '@iommukit/platform';
import { describe, expect, test } from 'vitest';
import { DeviceNotProbed, DRIVER_PROFILES, type SmmuV3Driver } from '../src/index.ts';
import {
  capturedIds,
  capturedLists,
  capturedMemory,
  dumpedStream,
  kernelLines,
} from './capture.ts';
import { idsWith } from './fake-smmu.lanes.ts';
import { device, domainOf, probed, Rig } from './rig.ts';

const ABORT = [1n, 0n, 0n, 0n, 0n, 0n, 0n, 0n];
const ZERO = [0n, 0n, 0n, 0n, 0n, 0n, 0n, 0n];

/** Attaches as core of 6.12 does: the domain is flushed for the device's direct mappings first. */
function attach(driver: SmmuV3Driver, dev: IommuDevice, domain = domainOf(driver, dev)): number {
  domain.ops.flushIotlbAll();
  return domain.ops.attachDev(dev, null);
}

function cdAddress(rig: Rig, driver: SmmuV3Driver, id: number): number {
  const [ste0 = 0n] = rig.words(driver.strtab.entry(id), 1);
  return Number(ste0 & 0xf_ffff_ffff_ffc0n);
}

describe('attach of the capture', () => {
  test('0000:00:04.0: the same lists, STE and CD', () => {
    const { ttb0 } = dumpedStream(0x20);
    const rig = new Rig({
      ids: capturedIds(),
      coherent: capturedMemory(),
      frames: new FrameAllocator({ base: Number(ttb0), size: 0x10_0000 }),
    });
    const driver = rig.create() as SmmuV3Driver;
    driver.reset();
    const dev = probed(driver, '0000:00:04.0', [0x20]);
    expect(attach(driver, dev)).toBe(0);
    const want = capturedLists('first');
    expect(want).toHaveLength(8);
    expect(rig.listLines()).toEqual(want);

    const dump = dumpedStream(0x20);
    expect(rig.words(driver.strtab.entry(0x20), 4)).toEqual(dump.d.map(BigInt));
    expect(rig.words(0x4638_5000, 8)).toEqual([
      BigInt(dump.cd0),
      BigInt(dump.ttb0),
      0n,
      BigInt(dump.mair),
      0n,
      0n,
      0n,
      0n,
    ]);
    // The descriptor of the first level: 2^8 entries at the address that the kernel got.
    expect(rig.words(0x4633_b000, 2)).toEqual([0x6b06_0009n, 0n]);
    expect(rig.events.filter((e) => e.name === 'tlb_inv_context')).toEqual([
      { name: 'tlb_inv_context', asid: 1 },
    ]);
  });

  test('a bridged function: CFGI_CD for both streams, STEs in firmware order', () => {
    const rig = new Rig();
    const driver = rig.up();
    const dev = probed(driver, '0000:03:01.0', [0x308, 0x300]);
    domainOf(driver, dev);
    domainOf(driver, dev);
    const third = domainOf(driver, dev);
    rig.forget();
    expect(attach(driver, dev, third)).toBe(0);
    expect(rig.listLines()).toEqual(capturedLists('bridged'));
    expect(rig.words(driver.strtab.entry(0x300), 8)).toEqual(
      rig.words(driver.strtab.entry(0x308), 8),
    );
    const [cd0] = rig.words(cdAddress(rig, driver, 0x300), 1);
    expect(cd0).toBe(BigInt(dumpedStream(0x300).cd0));
  });

  test('ascending order, for a kernel that sorts', () => {
    const rig = new Rig({ profile: { streamOrder: 'ascending' } });
    const driver = rig.up();
    attach(driver, probed(driver, 'a', [0x308, 0x300]));
    const sids = rig.lists.filter((l) => (l.first[0] & 0xff) === 1).map((l) => l.first[1]);
    expect(sids).toEqual([0x300, 0x308]);
  });

  test('a stream of another device is refused with the line of the kernel', () => {
    const rig = new Rig();
    const driver = rig.up();
    probed(driver, '0000:03:01.0', [0x308, 0x300]);
    expect(driver.probeDevice(device('0000:03:02.0', [0x310, 0x300]))).toBe(-ERRNO.EINVAL);
    const line = kernelLines().find((text) => text.startsWith('pci-stub 0000:03:02.0: '));
    expect(rig.log).toEqual([
      { level: 'warn', text: line?.slice('pci-stub 0000:03:02.0: '.length) },
    ]);
    expect(driver.deviceOfStream(0x310)).toBeUndefined();
    expect(driver.deviceOfStream(0x300)?.name).toBe('0000:03:01.0');
  });
});

test('7.2: an attach issues the lists of its capture, streams ascending, and no TLBI', () => {
  const rig = new Rig({ profile: DRIVER_PROFILES['7.2'] });
  const driver = rig.up();
  const dev = probed(driver, '0000:03:01.0', [0x308, 0x300]);
  expect(attach(driver, dev)).toBe(0);
  const list = (n: number, sync: number, q0: string, q1: number): string =>
    `n=${n} sync=${sync} c0d0=${q0} c0d1=0x${q1}`;
  expect(rig.listLines()).toEqual([
    list(2, 1, '0x30000000005', 1),
    list(2, 1, '0x30000000005', 1),
    list(1, 1, '0x30000000003', 1),
    list(1, 1, '0x30000000003', 1),
    list(1, 0, '0x30000000001', 0),
    list(1, 1, '0x30800000003', 1),
    list(1, 1, '0x30800000003', 1),
    list(1, 0, '0x30800000001', 0),
  ]);
});

describe('streams', () => {
  test('duplicate ids: CFGI_CD for each, the STE once', () => {
    const rig = new Rig();
    const driver = rig.up();
    attach(driver, probed(driver, 'a', [0x20, 0x20]));
    expect(rig.lists.map((l) => [l.n, l.first[0] & 0xff])).toEqual([
      [1, 0x11],
      [2, 5],
      [2, 5],
      [1, 3],
      [1, 3],
      [1, 1],
    ]);
  });

  test('more streams than a batch holds: the full list goes without SYNC', () => {
    const rig = new Rig();
    const driver = rig.up();
    const ids = Array.from({ length: 65 }, (_, i) => 0x100 + i);
    attach(driver, probed(driver, 'a', ids));
    expect(rig.lists.slice(1, 5).map((l) => [l.n, l.sync])).toEqual([
      [64, 0],
      [1, 1],
      [64, 0],
      [1, 1],
    ]);
  });

  test('an id that the table cannot hold', () => {
    const driver = new Rig().up();
    const dev = device('a', [0x1_0000]);
    expect(driver.probeDevice(dev)).toBe(-ERRNO.ERANGE);
    expect(dev.priv).toBeNull();
  });

  test('no memory for a second level', () => {
    const rig = new Rig();
    const driver = rig.up();
    rig.coherentPool.failIn = 1;
    expect(driver.probeDevice(device('a', [0x20]))).toBe(-ERRNO.ENOMEM);
    expect(rig.log).toEqual([
      { level: 'err', text: 'failed to allocate l2 stream table for SID 32' },
    ]);
  });

  test('one second-level table for 256 streams, all abort', () => {
    const rig = new Rig();
    const driver = rig.up();
    const before = rig.coherentPool.used;
    probed(driver, 'a', [0x20]);
    probed(driver, 'b', [0xff]);
    expect(rig.coherentPool.used - before).toBe(4);
    probed(driver, 'c', [0x100]);
    expect(rig.coherentPool.used - before).toBe(8);
    expect(rig.words(driver.strtab.entry(0x80), 8)).toEqual(ABORT);
    expect(rig.lists).toEqual([]);
  });

  test('a device that was never probed', () => {
    const driver = new Rig().up();
    expect(() => driver.releaseDevice(device('a', [1]))).toThrow(DeviceNotProbed);
  });
});

describe('changes of domain', () => {
  function attached(): { rig: Rig; driver: SmmuV3Driver; dev: IommuDevice } {
    const rig = new Rig();
    const driver = rig.up();
    const dev = probed(driver, 'a', [0x20]);
    attach(driver, dev);
    rig.forget();
    return { rig, driver, dev };
  }

  test('to another stage-1 domain: the CD goes through V = 0, the STE stays', () => {
    const { rig, driver, dev } = attached();
    const second = domainOf(driver, dev);
    const before = rig.words(driver.strtab.entry(0x20), 8);
    expect(second.ops.attachDev(dev, null)).toBe(0);
    expect(rig.listLines()).toEqual([
      'n=1 sync=1 c0d0=0x2000000005 c0d1=0x1',
      'n=1 sync=1 c0d0=0x2000000005 c0d1=0x1',
      'n=1 sync=1 c0d0=0x2000000005 c0d1=0x1',
      'n=1 sync=0 c0d0=0x2000000001 c0d1=0x0',
    ]);
    expect(rig.words(driver.strtab.entry(0x20), 8)).toEqual(before);
    expect(rig.words(cdAddress(rig, driver, 0x20), 1)).toEqual([0x2e204c0003510n]);
  });

  test('to the same domain again: only the prefetch', () => {
    const rig = new Rig();
    const driver = rig.up();
    const dev = probed(driver, 'a', [0x20]);
    const domain = domainOf(driver, dev);
    domain.ops.attachDev(dev, null);
    rig.forget();
    domain.ops.attachDev(dev, domain);
    expect(rig.listLines()).toEqual(['n=1 sync=0 c0d0=0x2000000001 c0d1=0x0']);
  });

  test('identity: bypass STE, then the CD is cleared', () => {
    const { rig, driver, dev } = attached();
    const cd = cdAddress(rig, driver, 0x20);
    const identity = domainOf(driver, dev, 'identity');
    expect(identity.ops.attachDev(dev, null)).toBe(0);
    expect(rig.words(driver.strtab.entry(0x20), 8)).toEqual([9n, ...ZERO.slice(1)]);
    expect(rig.words(cd, 8)).toEqual(ZERO);
    // STE: one doubleword decides, then the rest; CD: V first, then the rest.
    expect(rig.lists.map((l) => l.first[0] & 0xff)).toEqual([3, 3, 1, 5, 5]);
    expect(identity.ops.iovaToPhys(0x1234)).toBe(0x1234);
    expect(identity.ops.mapPages(0, 0, 4096, 1, IOMMU_READ)).toBe(-ERRNO.ENODEV);
  });

  test('identity with attribute override says incoming shareability', () => {
    const rig = new Rig({ ids: idsWith({ idr1: { ATTR_TYPES_OVR: 1 } }) });
    const driver = rig.up();
    const dev = probed(driver, 'a', [0x20]);
    domainOf(driver, dev, 'identity').ops.attachDev(dev, null);
    expect(rig.words(driver.strtab.entry(0x20), 2)).toEqual([9n, 0x1000_0000_0000n]);
  });

  test('stalls offered and not used: S1STALLD', () => {
    const rig = new Rig({ ids: idsWith({ idr0: { STALL_MODEL: 0 } }) });
    const driver = rig.up();
    attach(driver, probed(driver, 'a', [0x20]));
    expect(rig.words(driver.strtab.entry(0x20), 2)[1]).toBe(0x80000d6n);
  });

  test('blocked: abort STE', () => {
    const { rig, driver, dev } = attached();
    const blocked = domainOf(driver, dev, 'blocked');
    blocked.ops.attachDev(dev, null);
    expect(rig.words(driver.strtab.entry(0x20), 8)).toEqual(ABORT);
    expect(blocked.ops.iovaToPhys(0x1234)).toBe(0);
  });

  test('release: abort STE, the CD cleared and freed, the stream free for another', () => {
    const { rig, driver, dev } = attached();
    const cd = cdAddress(rig, driver, 0x20);
    const used = rig.coherentPool.used;
    driver.releaseDevice(dev);
    expect(rig.words(driver.strtab.entry(0x20), 8)).toEqual(ABORT);
    expect(rig.words(cd, 8)).toEqual(ZERO);
    expect(rig.lists.map((l) => l.first[0] & 0xff)).toEqual([3, 3, 1, 5, 5]);
    expect(rig.coherentPool.used).toBe(used - 1);
    expect(dev.priv).toBeNull();
    expect(driver.probeDevice(device('b', [0x20]))).toBe(0);
  });

  test('release of a device that was never attached', () => {
    const rig = new Rig();
    const driver = rig.up();
    driver.releaseDevice(probed(driver, 'a', [0x20]));
    expect(rig.listLines()).toEqual(['n=1 sync=0 c0d0=0x2000000001 c0d1=0x0']);
  });

  test('no memory for the CD: nothing changes, a retry works', () => {
    const rig = new Rig();
    const driver = rig.up();
    const dev = probed(driver, 'a', [0x20]);
    const domain = domainOf(driver, dev);
    rig.coherentPool.failIn = 1;
    expect(domain.ops.attachDev(dev, null)).toBe(-ERRNO.ENOMEM);
    expect(rig.words(driver.strtab.entry(0x20), 8)).toEqual(ABORT);
    expect(rig.lists).toEqual([]);
    expect(domain.ops.attachDev(dev, null)).toBe(0);
  });

  test('a device behind another SMMU', () => {
    const { driver, dev } = attached();
    const other = new Rig();
    const otherDriver = other.up();
    const domain = domainOf(otherDriver, dev);
    expect(domain.ops.attachDev(dev, null)).toBe(-ERRNO.EINVAL);
    expect(other.lists).toEqual([]);
    expect(driver.deviceOfStream(0x20)).toBe(dev);
  });
});

describe('domains', () => {
  test('ASIDs: lowest free, from 1', () => {
    const rig = new Rig();
    const driver = rig.up();
    const dev = probed(driver, 'a', [0x20]);
    const asidOf = (): number => {
      const domain = domainOf(driver, dev);
      rig.forget();
      domain.ops.flushIotlbAll();
      expect(rig.lists[0]?.first[0]).toBe(0x11);
      return (rig.lists[0]?.first[1] ?? 0) >>> 16;
    };
    const first = domainOf(driver, dev);
    const second = domainOf(driver, dev);
    expect(asidOf()).toBe(3);
    first.ops.free();
    second.ops.free();
    expect([asidOf(), asidOf(), asidOf()]).toEqual([1, 2, 4]);
  });

  test('ASIDs run out at 2^8 - 1 when the SMMU has 8 bits', () => {
    const rig = new Rig({ ids: idsWith({ idr0: { ASID16: 0 } }) });
    const driver = rig.up();
    const dev = probed(driver, 'a', [0x20]);
    for (let i = 0; i < 255; i++) domainOf(driver, dev);
    const used = rig.frames.used;
    expect(driver.domainAlloc('dma', dev)).toBe(-ERRNO.EBUSY);
    expect(rig.frames.used).toBe(used);
  });

  test('free: TLBI_NH_ASID, and the table pages come back', () => {
    const rig = new Rig();
    const driver = rig.up();
    const dev = probed(driver, 'a', [0x20]);
    const domain = domainOf(driver, dev);
    domain.ops.mapPages(0x10000, 0x4000_0000, 0x1000, 1, IOMMU_READ);
    domain.ops.free();
    expect(rig.listLines()).toEqual(['n=1 sync=1 c0d0=0x1000000000011 c0d1=0x0']);
    expect(rig.frames.used).toBe(0);
  });

  test('no page for the top table', () => {
    const rig = new Rig();
    const driver = rig.up();
    const dev = probed(driver, 'a', [0x20]);
    rig.frames.failIn = 1;
    expect(driver.domainAlloc('dma', dev)).toBe(-ERRNO.ENOMEM);
    domainOf(driver, dev).ops.flushIotlbAll();
    expect(rig.listLines()).toEqual(['n=1 sync=1 c0d0=0x1000000000011 c0d1=0x0']);
  });

  test('aperture, page sizes and the doorbell window', () => {
    const driver = new Rig().up();
    const dev = probed(driver, 'a', [0x20]);
    const domain = domainOf(driver, dev);
    expect([domain.apertureStart, domain.apertureEnd]).toEqual([0, 2 ** 48]);
    expect(domain.pgsizeBitmap).toBe(0x4020_1000);
    expect(driver.getResvRegions(dev)).toEqual([
      // WRITE 2, NOEXEC 8, MMIO 16.
      { type: 'msi-software', start: 0x800_0000, end: 0x810_0000, prot: 26 },
    ]);
  });
});

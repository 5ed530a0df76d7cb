import { STE } from '@iommukit/arm-arch';
import { IOMMU_READ, IOMMU_WRITE, IotlbGather, RangeGather } from '@iommukit/io-pgtable';
import { IommuDevice, type IommuDomain } from '@iommukit/iommu-core';
import { ERRNO } from '@iommukit/platform';
import { describe, expect, test } from 'vitest';
import { DRIVER_PROFILES, type DriverKernel, type SmmuV3Driver } from '../src/index.ts';
import type { PagingDomainOps } from '../src/paging-domain.ts';
import { idsWith } from './fake-smmu.lanes.ts';
import { domainOf, probed, Rig, type RigOptions } from './rig.ts';

const RW = IOMMU_READ + IOMMU_WRITE;

function made(kernel: DriverKernel, options: RigOptions = {}): { rig: Rig; driver: SmmuV3Driver } {
  const rig = new Rig({
    ids: idsWith({ idr0: { S2P: 1, ATS: 1, CD2L: 1 }, idr1: { SSIDSIZE: 16 } }),
    profile: DRIVER_PROFILES[kernel],
    ...options,
  });
  return { rig, driver: rig.up() };
}

/** Opcodes of the commands since the last `forget`, SYNCs as 0x46. */
const opcodes = (rig: Rig): number[] => rig.smmu.commands.map(([q0]) => Number(q0 & 0xffn));
const ste = (rig: Rig, driver: SmmuV3Driver, id: number): Uint32Array => {
  const lanes = new Uint32Array(16);
  rig.words(driver.strtab.entry(id), 8).forEach((word, q) => {
    lanes[q * 2] = Number(word & 0xffff_ffffn);
    lanes[q * 2 + 1] = Number(word >> 32n);
  });
  return lanes;
};
const config = (rig: Rig, driver: SmmuV3Driver, id: number): number =>
  STE.get.Config(ste(rig, driver, id));
const idOf = (domain: IommuDomain): number => (domain.ops as PagingDomainOps).id;
const ofPaging = (domain: IommuDomain | number): IommuDomain => {
  if (typeof domain === 'number') throw new Error(`domain: ${domain}`);
  return domain;
};
const withPasids = (driver: SmmuV3Driver, id: number, maxPasids = 2 ** 16): IommuDevice => {
  const dev = new IommuDevice({ name: `dev${id}`, ids: [id], groupKey: `dev${id}`, maxPasids });
  expect(driver.probeDevice(dev)).toBe(0);
  return dev;
};

describe('stage 2', () => {
  test('an SMMU with nothing else: STE with VMID, range invalidation by IPA', () => {
    const { rig, driver } = made('6.12', { ids: idsWith({ idr0: { S1P: 0, S2P: 1 } }) });
    const dev = probed(driver, 'a', [8]);
    const domain = domainOf(driver, dev);
    expect(domain.ops.attachDev(dev, null)).toBe(0);
    const { get } = STE;
    const entry = ste(rig, driver, 8);
    expect([get.Config(entry), get.S2VMID(entry), get.S2AA64(entry), get.S2R(entry)]).toEqual([
      6, 1, 1, 1,
    ]);
    rig.forget();
    expect(domain.ops.mapPages(0x10_0000, 0x8000_0000, 0x1000, 4, RW)).toBe(0);
    const gather = new IotlbGather();
    domain.ops.unmapPages(0x10_0000, 0x1000, 4, gather);
    domain.ops.iotlbSync(gather);
    // VMID 1, 1 x 2^2 pages; TG 1, TTL 3, leaf.
    expect(rig.smmu.commands).toEqual([
      [0x1_0020_002an, 0x10_0701n],
      [0xfc02046n, 0n],
    ]);
    domain.ops.flushIotlbAll();
    expect(opcodes(rig)).toEqual([0x2a, 0x46, 0x28, 0x46]);
  });

  test('VMIDs are the lowest free, from 1, and run out', () => {
    const { driver } = made('6.12', { ids: idsWith({ idr0: { S1P: 0, S2P: 1, VMID16: 0 } }) });
    const dev = probed(driver, 'a', [8]);
    const first = domainOf(driver, dev);
    const second = domainOf(driver, dev);
    expect([idOf(first), idOf(second)]).toEqual([1, 2]);
    first.ops.free();
    expect(idOf(domainOf(driver, dev))).toBe(1);
    for (let i = 3; i < 256; i++) domainOf(driver, dev);
    expect(driver.domainAlloc('dma', dev)).toBe(-ERRNO.ENOSPC);
  });
});

describe('nested', () => {
  const S1 = [
    { lo: 0x4638_500b, hi: 0 },
    { lo: 0xd6, hi: 0 },
  ] as const;

  test('a guest’s stage 1 over the parent: guest entries are cleared with it', () => {
    const { rig, driver } = made('7.3');
    const dev = probed(driver, 'a', [8]);
    const parent = ofPaging(driver.allocNestParent());
    const nested = ofPaging(driver.allocNested(parent, S1));
    expect(nested.ops.attachDev(dev, null)).toBe(0);
    const { get } = STE;
    const entry = ste(rig, driver, 8);
    expect([get.Config(entry), get.MEV(entry), get.S2VMID(entry)]).toEqual([7, 1, 1]);
    expect(get.S1ContextPtr(entry)).toBe(0x4638_5000);
    parent.ops.mapPages(0x10_0000, 0x8000_0000, 0x1000, 1, RW);
    const gather = new IotlbGather();
    parent.ops.unmapPages(0x10_0000, 0x1000, 1, gather);
    rig.forget();
    parent.ops.iotlbSync(gather);
    expect(opcodes(rig)).toEqual([0x2a, 0x46, 0x10, 0x46]);
  });

  test('refusals', () => {
    const { driver } = made('7.3');
    const dev = probed(driver, 'a', [8]);
    const parent = ofPaging(driver.allocNestParent());
    expect(driver.allocNested(parent, [{ lo: 0xd, hi: 0 }, S1[1]])).toBe(-ERRNO.EIO);
    expect(driver.allocNested(domainOf(driver, dev), S1)).toBe(-ERRNO.EINVAL);
    expect(made('6.12').driver.allocNestParent()).toBe(-ERRNO.EOPNOTSUPP);
    const one = new Rig({ ids: idsWith({}), profile: DRIVER_PROFILES['7.3'] }).up();
    expect(one.features.nesting ? 0 : one.allocNestParent()).toBe(
      one.features.nesting ? 0 : -ERRNO.EOPNOTSUPP,
    );
  });
});

describe('invalidation arrays (7.3)', () => {
  test('nobody attached: no command, not even at the end', () => {
    const { rig, driver } = made('7.3');
    const dev = probed(driver, 'a', [8]);
    const domain = domainOf(driver, dev);
    domain.ops.flushIotlbAll();
    domain.ops.free();
    expect(opcodes(rig)).toEqual([]);
  });

  test('the last device of an ASID leaves: TLBI_NH_ASID then; the first does not flush', () => {
    const { rig, driver } = made('7.3');
    const [a, b] = [probed(driver, 'a', [8]), probed(driver, 'b', [16])];
    const domain = domainOf(driver, a);
    domain.ops.attachDev(a, null);
    domain.ops.attachDev(b, null);
    rig.forget();
    driver.blockedDomain.ops.attachDev(a, domain);
    expect(opcodes(rig)).not.toContain(0x11);
    rig.forget();
    driver.blockedDomain.ops.attachDev(b, domain);
    // STE to abort in two steps, hint, CD cleared in two, then the tag.
    expect(opcodes(rig)).toEqual([3, 0x46, 3, 0x46, 1, 5, 0x46, 5, 0x46, 0x11, 0x46]);
    expect((domain.ops as PagingDomainOps).invs.entries).toEqual([]);
  });

  test('without range commands 512 pages are the whole ASID; in 6.12 they are 512 commands', () => {
    const counts = (['7.3', '6.12'] as const).map((kernel) => {
      const { rig, driver } = made(kernel, { ids: idsWith({ idr3: { RIL: 0 } }) });
      const dev = probed(driver, 'a', [8]);
      const domain = domainOf(driver, dev);
      domain.ops.attachDev(dev, null);
      rig.forget();
      const gather = new IotlbGather();
      gather.start = 0;
      gather.end = 0x20_0000;
      gather.pgsize = 0x1000;
      domain.ops.iotlbSync(gather);
      return opcodes(rig).filter((opcode) => opcode !== 0x46);
    });
    expect(counts[0]).toEqual([0x11]);
    expect(counts[1]).toHaveLength(512);
  });
});

describe('ATS', () => {
  const order: string[] = [];
  const parts = {
    traitsOf: () => ({ ats: true }),
    ats: {
      enable: (device: IommuDevice, lg2: number) => void order.push(`on ${device.name} ${lg2}`),
      disable: (device: IommuDevice) => void order.push(`off ${device.name}`),
    },
  };

  test.each(['6.12', '7.3'] as const)(
    '%s: attach invalidates the endpoint, then enables',
    (kernel) => {
      order.length = 0;
      const { rig, driver } = made(kernel, { parts });
      const dev = probed(driver, 'a', [8]);
      const domain = domainOf(driver, dev);
      domain.ops.attachDev(dev, null);
      expect(STE.get.EATS(ste(rig, driver, 8))).toBe(1);
      expect(opcodes(rig).slice(-2)).toEqual([0x40, 0x46]);
      expect(order).toEqual(['on a 12']);
      domain.ops.mapPages(0x7000, 0x8000_0000, 0x1000, 4, RW);
      const gather = new IotlbGather();
      domain.ops.unmapPages(0x7000, 0x1000, 4, gather);
      rig.forget();
      domain.ops.iotlbSync(gather);
      // Pages 7 to 10: the endpoint drops 0 to 15, after the SMMU has dropped them.
      expect(opcodes(rig)).toEqual([0x12, 0x46, 0x40, 0x46]);
      expect(rig.smmu.commands[2]).toEqual([0x8_0000_0040n, 4n]);
      rig.forget();
      driver.blockedDomain.ops.attachDev(dev, domain);
      expect(order).toEqual(['on a 12', 'off a']);
      expect(opcodes(rig)).toContain(0x40);
      expect(STE.get.EATS(ste(rig, driver, 8))).toBe(0);
    },
  );
});

describe('PASIDs', () => {
  test.each(['6.12', '7.3'] as const)('%s: two levels, S1DSS by what the device does', (kernel) => {
    const { rig, driver } = made(kernel);
    const dev = withPasids(driver, 8);
    const { get } = STE;
    driver.blockedDomain.ops.attachDev(dev, null);
    const domain = domainOf(driver, dev);
    rig.forget();
    expect(domain.ops.setDevPasid?.(dev, 0x1005, null)).toBe(0);
    // A new second-level table: its level-1 descriptor is dropped from caches too (leaf 0).
    expect(rig.smmu.commands[0]).toEqual([0x8_0100_5005n, 0n]);
    const entry = ste(rig, driver, 8);
    expect([get.Config(entry), get.S1Fmt(entry), get.S1CDMax(entry), get.S1DSS(entry)]).toEqual([
      5, 2, 16, 0,
    ]);
    const cds = get.S1ContextPtr(entry);
    const [l1 = 0n] = rig.words(cds + 4 * 8, 1);
    expect(l1 & 1n).toBe(1n);
    const [cd0 = 0n] = rig.words(Number(l1 & 0xf_ffff_ffff_f000n) + 5 * 64, 1);
    expect(Number(cd0 >> 48n)).toBe(idOf(domain));
    // The device may pass meanwhile: then requests without PASID bypass.
    domainOf(driver, dev, 'identity').ops.attachDev(dev, null);
    expect(get.S1DSS(ste(rig, driver, 8))).toBe(1);
    // A stage-1 domain makes them use CD 0, with the same table.
    const own = domainOf(driver, dev);
    own.ops.attachDev(dev, null);
    expect(get.S1DSS(ste(rig, driver, 8))).toBe(2);
    expect(get.S1ContextPtr(ste(rig, driver, 8))).toBe(cds);
    driver.blockedDomain.ops.attachDev(dev, own);
    expect(get.S1DSS(ste(rig, driver, 8))).toBe(0);
    // The last PASID goes, and with it the need for a table.
    expect(driver.blockedDomain.ops.setDevPasid?.(dev, 0x1005, domain)).toBe(0);
    expect(config(rig, driver, 8)).toBe(0);
  });

  test('few PASIDs: a linear table; invalidations name them', () => {
    const { rig, driver } = made('7.3', { parts: { traitsOf: () => ({ ats: true }) } });
    const dev = withPasids(driver, 8, 16);
    const domain = domainOf(driver, dev);
    expect(domain.ops.setDevPasid?.(dev, 5, null)).toBe(0);
    const { get } = STE;
    expect([get.S1Fmt(ste(rig, driver, 8)), get.S1CDMax(ste(rig, driver, 8))]).toEqual([0, 4]);
    rig.forget();
    domain.ops.flushIotlbAll();
    expect(rig.smmu.commands.at(-2)).toEqual([0x8_0000_5840n, 52n]);
  });

  test('refusals', () => {
    const { driver } = made('7.3');
    const dev = withPasids(driver, 8, 16);
    const domain = domainOf(driver, dev);
    expect(domain.ops.setDevPasid?.(dev, 16, null)).toBe(-ERRNO.EINVAL);
    const parent = ofPaging(driver.allocNestParent());
    expect(parent.ops.setDevPasid?.(dev, 3, null)).toBe(-ERRNO.EINVAL);
    expect(domain.ops.setDevPasid?.(dev, 3, null)).toBe(0);
    expect(parent.ops.attachDev(dev, null)).toBe(-ERRNO.EBUSY);
  });
});

describe('6.1', () => {
  test('one CD for the domain, two bare SYNCs; a second device writes none', () => {
    const { rig, driver } = made('6.1');
    const [a, b] = [probed(driver, 'a', [8]), probed(driver, 'b', [16])];
    const domain = domainOf(driver, a);
    domain.ops.flushIotlbAll();
    expect(rig.lists).toEqual([]);
    domain.ops.attachDev(a, null);
    expect(rig.lists.map(({ n, sync, first }) => [n, sync, first[0]])).toEqual([
      [0, 1, 0],
      [0, 1, 0],
      [1, 1, 3],
      [1, 1, 3],
      [1, 0, 1],
    ]);
    expect(idOf(domain)).toBe(1);
    rig.forget();
    domain.ops.attachDev(b, null);
    expect(rig.lists.map(({ n, first }) => [n, first[0]])).toEqual([
      [1, 3],
      [1, 3],
      [1, 1],
    ]);
  });

  test('another domain: abort in between; abort says incoming shareability', () => {
    const { rig, driver } = made('6.1');
    const dev = probed(driver, 'a', [8]);
    domainOf(driver, dev).ops.attachDev(dev, null);
    const second = domainOf(driver, dev);
    rig.forget();
    second.ops.attachDev(dev, null);
    // The second domain’s own CD comes first, then abort, then the STE in its two steps.
    expect(opcodes(rig)).toEqual([0x46, 0x46, 3, 0x46, 3, 0x46, 3, 0x46, 1]);
    expect(rig.words(driver.strtab.entry(9), 2)).toEqual([1n, 0x1000_0000_0000n]);
    driver.blockedDomain.ops.attachDev(dev, second);
    expect(rig.words(driver.strtab.entry(8), 2)).toEqual([1n, 0x1000_0000_0000n]);
  });
});

describe('batches', () => {
  test.each(['6.12', '7.3'] as const)('%s: all ranges of a batch share one SYNC', (kernel) => {
    const { rig, driver } = made(kernel);
    const dev = probed(driver, 'a', [8]);
    const { ops } = domainOf(driver, dev);
    ops.attachDev(dev, null);
    expect(ops.mapRange?.(0x10_0000, [{ paddr: 0x8000_0000, length: 0x3000 }], RW)).toBe(0);
    expect(ops.mapRange?.(0x4000_0000, [{ paddr: 0x8100_0000, length: 0x1000 }], RW)).toBe(0);
    expect(ops.mapRange?.(0x10_2000, [{ paddr: 0x9000_0000, length: 0x1000 }], RW)).toBe(
      -ERRNO.EEXIST,
    );
    expect(ops.failedAt).toBe(0x10_2000);
    rig.forget();
    const pending = new RangeGather();
    expect(ops.unmapRange?.(0x10_0000, 0x3000, pending)).toBe(0x3000);
    expect(ops.unmapRange?.(0x4000_0000, 0x1000, pending)).toBe(0x1000);
    expect(opcodes(rig)).toEqual([]);
    expect(ops.flushRanges?.(pending)).toBe(0);
    expect(opcodes(rig)).toEqual([0x12, 0x12, 0x46]);
    pending.releaseDetached({ releaseTable: (table) => ops.releaseTable?.(table) });
  });
});

describe('dirty pages', () => {
  const tracking = (kernel: DriverKernel, httu: number, coherent = 1) =>
    made(kernel, { ids: idsWith({ idr0: { HTTU: httu, COHACC: coherent } }) });

  test('HA and HD in the CD, DBM in writable leaves; read and cleared, and gathered', () => {
    const { rig, driver } = tracking('7.3', 2);
    const dev = probed(driver, 'a', [8]);
    const domain = ofPaging(driver.allocDirtyTracking());
    const ops = domain.ops as PagingDomainOps;
    expect(ops.attachDev(dev, null)).toBe(0);
    const [word] = rig.words(STE.get.S1ContextPtr(ste(rig, driver, 8)), 1);
    // HD 42, HA 43.
    expect(((word ?? 0n) >> 42n) & 3n).toBe(3n);
    ops.mapPages(0x1000, 0x4000_0000, 4096, 2, RW);
    const dirty: number[][] = [];
    const gather = new IotlbGather();
    const record = (iova: number, bytes: number): void => {
      dirty.push([iova, bytes]);
    };
    // Writable pages start as dirty, as Linux writes them.
    expect(ops.readAndClearDirty(0x1000, 0x2000, { noClear: false, gather }, record)).toBe(0);
    expect(dirty).toEqual([
      [0x1000, 4096],
      [0x2000, 4096],
    ]);
    expect([gather.start, gather.end]).toEqual([0x1000, 0x3000]);
    expect(ops.readAndClearDirty(0x1000, 0x2000, { noClear: true, gather: null }, record)).toBe(0);
    expect(dirty).toHaveLength(2);
    expect([ops.setDirtyTracking('on'), ops.setDirtyTracking('off')]).toEqual([0, 0]);
  });

  test('refused without HTTU, without coherent walks, before 6.11; other domains do not track', () => {
    for (const { driver } of [tracking('7.3', 1), tracking('7.3', 2, 0), tracking('6.1', 2)])
      expect(driver.allocDirtyTracking()).toBe(-ERRNO.EOPNOTSUPP);
    const { driver } = tracking('7.3', 2);
    const ops = domainOf(driver, probed(driver, 'a', [8])).ops as PagingDomainOps;
    expect(ops.setDirtyTracking('on')).toBe(-ERRNO.EOPNOTSUPP);
    const options = { noClear: false, gather: null };
    expect(ops.readAndClearDirty(0, 4096, options, () => {})).toBe(-ERRNO.EOPNOTSUPP);
  });
});

import { describe, expect, it } from 'vitest';
import { AttachHandle, IommuDevice, type IommuDomain, type ReservedRegion } from '../src/index.ts';
import { GroupRig } from './rig.ts';
import { ToyDriver } from './toy-driver.ts';

const ENOMEM = -12;
const all = (type: string): string[] => [type, type, type];

describe('a group moves as a whole', () => {
  it('when device k refuses, those before it go back', () => {
    for (const k of [0, 1, 2]) {
      const rig = new GroupRig();
      const { domain, ops } = rig.make();
      ops.attachErrno = (device) => (device === rig.device(k) ? ENOMEM : 0);
      const attaches = rig.driver.count('attach');
      expect(rig.core.attachGroup(domain, rig.group)).toBe(ENOMEM);
      expect(rig.where).toEqual(all('dma'));
      expect(rig.group.domain).toBe(rig.fallback.domain);
      expect(rig.driver.count('attach') - attaches).toBe(2 * k);
      expect(rig.warnings).toEqual([]);
      ops.attachErrno = () => 0;
      expect(rig.core.attachGroup(domain, rig.group)).toBe(0);
      expect(rig.where).toEqual(all('unmanaged'));
    }
  });

  it('one that cannot go back is told, and blocked once there is a blocking domain', () => {
    const rig = new GroupRig();
    const { domain, ops } = rig.make();
    ops.attachErrno = (device) => (device.name === 'c' ? ENOMEM : 0);
    rig.fallback.ops.attachErrno = (device) => (device.name === 'a' ? -5 : 0);
    expect(rig.core.attachGroup(domain, rig.group)).toBe(ENOMEM);
    expect(rig.warnings).toEqual(['a could not return to its old domain']);
    expect(rig.where).toEqual(['unmanaged', 'dma', 'dma']);
    expect(rig.group.domain).toBe(rig.fallback.domain);
  });

  it('a detach happens whatever the driver says; who refuses is blocked', () => {
    const rig = new GroupRig();
    const owner = {};
    expect(rig.core.claimGroup(rig.group, owner)).toBe(0);
    const { domain } = rig.make();
    expect(rig.core.attachGroup(domain, rig.group)).toBe(0);
    rig.core.detachGroup(domain, rig.group);
    expect(rig.where).toEqual(all('blocked'));
    expect(rig.core.attachGroup(domain, rig.group)).toBe(0);
    expect(rig.where).toEqual(all('unmanaged'));
    rig.fallback.ops.attachErrno = (device) => (device.name === 'b' ? -5 : 0);
    rig.core.releaseGroup(rig.group);
    expect(rig.where).toEqual(['dma', 'blocked', 'dma']);
    expect(rig.warnings).toEqual(['b could not return to its default domain']);
    expect(rig.group.domain).toBe(rig.fallback.domain);
  });

  it('replace goes from any domain to any other in one step, or not at all', () => {
    const rig = new GroupRig();
    const [first, second] = [rig.make(), rig.make()];
    expect(rig.core.attachGroup(first.domain, rig.group)).toBe(0);
    expect(rig.core.attachGroup(second.domain, rig.group)).toBe(-16);
    second.ops.attachErrno = (device) => (device.name === 'b' ? ENOMEM : 0);
    expect(rig.core.replaceGroup(second.domain, rig.group)).toBe(ENOMEM);
    expect(rig.devices.map((device) => rig.driver.streams.get(device))).toEqual([
      first.ops,
      first.ops,
      first.ops,
    ]);
    second.ops.attachErrno = () => 0;
    expect(rig.core.replaceGroup(second.domain, rig.group)).toBe(0);
    expect(rig.group.domain).toBe(second.domain);
    // Into itself: nothing to do.
    const attaches = rig.driver.count('attach');
    expect(rig.core.replaceGroup(second.domain, rig.group)).toBe(0);
    expect(rig.driver.count('attach')).toBe(attaches);
    const foreign = new ToyDriver().domainAlloc('unmanaged') as IommuDomain;
    foreign.owner = new ToyDriver();
    expect(rig.core.replaceGroup(foreign, rig.group)).toBe(-22);
    expect(rig.core.attachGroup(foreign, rig.group)).toBe(-16);
  });

  it('a handle is found again', () => {
    const rig = new GroupRig();
    const [first, second] = [rig.make(), rig.make()];
    const handle = new AttachHandle(first.domain);
    expect(rig.core.attachHandle(rig.group, 0)).toBe(-2);
    expect(rig.core.attachGroup(first.domain, rig.group, handle)).toBe(0);
    expect(rig.core.attachHandle(rig.group, 0)).toBe(handle);
    expect(rig.core.attachHandle(rig.group, 0, 'unmanaged')).toBe(handle);
    expect(rig.core.attachHandle(rig.group, 0, 'sva')).toBe(-16);
    expect(rig.core.attachGroup(first.domain, rig.group, handle)).toBe(-16);
    const next = new AttachHandle(first.domain);
    expect(rig.core.replaceGroup(second.domain, rig.group, next)).toBe(0);
    expect(next.domain).toBe(second.domain);
    expect(rig.core.attachHandle(rig.group, 0)).toBe(next);
    rig.core.detachGroup(second.domain, rig.group);
    expect(rig.core.attachHandle(rig.group, 0)).toBe(-2);
  });
});

describe('ownership', () => {
  it('a claim blocks the group until something is attached, and gives it back', () => {
    const rig = new GroupRig();
    const owner = {};
    expect(rig.core.claimGroup(rig.group, owner)).toBe(0);
    expect([rig.group.owner, rig.group.ownerCount]).toEqual([owner, 1]);
    expect(rig.where).toEqual(all('blocked'));
    expect(rig.core.claimGroup(rig.group, owner)).toBe(-1);
    const { domain } = rig.make();
    expect(rig.core.attachGroup(domain, rig.group)).toBe(0);
    rig.core.detachGroup(domain, rig.group);
    expect(rig.where).toEqual(all('blocked'));
    rig.core.releaseGroup(rig.group);
    expect(rig.where).toEqual(all('dma'));
    expect([rig.group.owner, rig.group.ownerCount]).toEqual([null, 0]);
    rig.core.releaseGroup(rig.group);
    expect(rig.warnings).toEqual(['group 0: its DMA is not owned, or still attached']);
  });

  it('of devices: the same owner may claim each', () => {
    const rig = new GroupRig();
    const [owner, other] = [{}, {}];
    expect(rig.core.claimDevice(rig.device(0), null)).toBe(-22);
    expect(rig.core.claimDevice(rig.device(0), owner)).toBe(0);
    expect(rig.core.claimDevice(rig.device(1), owner)).toBe(0);
    expect(rig.core.claimDevice(rig.device(2), other)).toBe(-1);
    rig.core.releaseClaim(rig.device(0));
    expect(rig.where).toEqual(all('blocked'));
    rig.core.releaseClaim(rig.device(1));
    expect(rig.where).toEqual(all('dma'));
    const alone = new IommuDevice({ name: 'x', ids: [9], groupKey: 'x' });
    expect(rig.core.claimDevice(alone, owner)).toBe(-19);
    rig.core.releaseClaim(alone);
  });

  it('and drivers that are bound exclude each other', () => {
    const rig = new GroupRig();
    expect(rig.core.useDefaultDomain(rig.device(0))).toBe(0);
    expect(rig.core.useDefaultDomain(rig.device(1))).toBe(0);
    expect(rig.core.claimGroup(rig.group, {})).toBe(-1);
    rig.core.unuseDefaultDomain(rig.device(0));
    rig.core.unuseDefaultDomain(rig.device(1));
    expect(rig.core.claimGroup(rig.group, {})).toBe(0);
    expect(rig.core.useDefaultDomain(rig.device(0))).toBe(-16);
    rig.core.releaseGroup(rig.group);
    rig.core.unuseDefaultDomain(rig.device(0));
    expect(rig.warnings).toHaveLength(1);
    rig.group.defaultDomain = null;
    expect(rig.core.useDefaultDomain(rig.device(0))).toBe(-517);
    const alone = new IommuDevice({ name: 'x', ids: [9], groupKey: 'x' });
    expect(rig.core.useDefaultDomain(alone)).toBe(0);
  });

  it('is refused while something is attached', () => {
    const rig = new GroupRig();
    const { domain } = rig.make();
    rig.core.attachGroup(domain, rig.group);
    expect(rig.core.claimGroup(rig.group, {})).toBe(-16);
    rig.core.detachGroup(domain, rig.group);
    rig.core.attachDevicePasid({ domain, device: rig.device(0), pasid: 1 });
    expect(rig.core.claimGroup(rig.group, {})).toBe(-16);
  });

  it('without a blocked domain of the driver an empty one blocks, and is freed with the group', () => {
    const rig = new GroupRig({ noBlocked: true });
    expect(rig.core.claimGroup(rig.group, {})).toBe(0);
    const blocking = rig.group.blockingDomain as IommuDomain;
    expect([blocking.type, blocking.owner]).toEqual(['unmanaged', rig.driver]);
    expect(rig.driver.access(rig.device(0), 0x1000)).toBeUndefined();
    expect(() => rig.core.domainFree(blocking)).toThrow('CORE_STATE');
    rig.core.releaseGroup(rig.group);
    for (const device of rig.devices) rig.core.releaseDevice(device);
    expect(rig.driver.domains.map(({ freed }) => freed)).toEqual([true, true]);
  });

  it('a direct region forbids it', () => {
    const rig = new GroupRig({
      regions: [{ type: 'direct', start: 0x1000, end: 0x3000, prot: 3 }],
    });
    expect(rig.core.claimGroup(rig.group, {})).toBe(-22);
    expect(rig.warnings[0]).toContain('1:1 IOMMU mapping');
    expect([rig.group.ownerCount, rig.where]).toEqual([0, all('dma')]);
    // The default domain has the region.
    expect(rig.core.iovaToPhys(rig.fallback.domain, 0x2345)).toBe(0x2345);
  });

  it('a relaxable one does not, and is mapped all the same', () => {
    const region = { type: 'direct-relaxable', start: 0x1000, end: 0x3000, prot: 3 } as const;
    const rig = new GroupRig({
      regions: [region, { ...region, type: 'msi', start: 0x8000, end: 0x9000 }],
    });
    expect(rig.core.iovaToPhys(rig.fallback.domain, 0x2345)).toBe(0x2345);
    expect(rig.core.iovaToPhys(rig.fallback.domain, 0x8000)).toBe(0);
    expect(rig.core.claimGroup(rig.group, {})).toBe(0);
  });
});

describe('the type of a group', () => {
  it('changes between dma, identity and what the system wants', () => {
    const rig = new GroupRig();
    const { ops } = rig.fallback;
    expect(rig.core.setGroupType(rig.group, 'identity')).toBe(0);
    expect([rig.where, ops.freed]).toEqual([all('identity'), true]);
    expect(rig.core.setGroupType(rig.group, 'auto')).toBe(0);
    expect(rig.where).toEqual(all('dma'));
  });

  it('from dma to dma-fq in place, even in use', () => {
    const rig = new GroupRig();
    const { domain } = rig.fallback;
    rig.core.useDefaultDomain(rig.device(0));
    expect(rig.core.setGroupType(rig.group, 'dma-fq', () => -12)).toBe(-12);
    expect(domain.type).toBe('dma');
    expect(rig.core.setGroupType(rig.group, 'dma-fq', (given) => (given === domain ? 0 : -1))).toBe(
      0,
    );
    expect([rig.group.defaultDomain?.type, rig.group.domain]).toEqual(['dma-fq', domain]);
    expect(rig.core.setGroupType(rig.group, 'dma')).toBe(-1);
    expect(rig.core.setGroupType(rig.group, 'identity')).toBe(-1);
  });

  it('stays when the driver wants another, or an attach fails at device k', () => {
    const fixed = new GroupRig({ defType: 'dma' });
    expect(fixed.core.setGroupType(fixed.group, 'identity')).toBe(-22);
    for (const k of [0, 1, 2]) {
      const rig = new GroupRig();
      const { domain, ops } = rig.fallback;
      const alloc = rig.driver.domainAlloc.bind(rig.driver);
      rig.driver.domainAlloc = (type) => {
        const made = alloc(type);
        const last = rig.driver.domains.at(-1);
        if (last !== undefined)
          last.attachErrno = (device) => (device === rig.device(k) ? ENOMEM : 0);
        return made;
      };
      expect(rig.core.setGroupType(rig.group, 'identity')).toBe(ENOMEM);
      expect([rig.group.defaultDomain, rig.group.domain, ops.freed]).toEqual([
        domain,
        domain,
        false,
      ]);
      expect(rig.where).toEqual(all('dma'));
      expect(rig.driver.domains.at(-1)?.freed).toBe(true);
    }
  });
});

describe('deferred attach', () => {
  it('leaves a device as it was found until its first use', () => {
    const rig = new GroupRig({ deferred: true });
    const { domain } = rig.fallback;
    expect(rig.where).toEqual([undefined, undefined, undefined]);
    expect(rig.core.deferredAttach(rig.device(1), domain)).toBe(0);
    expect(rig.where).toEqual([undefined, 'dma', undefined]);
    expect(rig.core.deferredAttach(rig.device(1), domain)).toBe(0);
    expect(rig.driver.count('attach')).toBe(1);
  });

  it('a failure leaves it deferred', () => {
    const rig = new GroupRig({ deferred: true });
    const { domain, ops } = rig.fallback;
    ops.attachErrno = () => ENOMEM;
    expect(rig.core.deferredAttach(rig.device(0), domain)).toBe(ENOMEM);
    expect(rig.device(0).attachDeferred).toBe(true);
    ops.attachErrno = () => 0;
    expect(rig.core.deferredAttach(rig.device(0), domain)).toBe(0);
  });

  it('another domain is attached at once', () => {
    const rig = new GroupRig({ deferred: true });
    const { domain } = rig.make();
    expect(rig.core.attachGroup(domain, rig.group)).toBe(0);
    expect(rig.where).toEqual(all('unmanaged'));
    rig.core.detachGroup(domain, rig.group);
    expect(rig.where).toEqual(all('dma'));
  });
});

it('an sva domain is not for core to map', () => {
  const rig = new GroupRig();
  const mm = { users: 1, tables: null, addNotifier: () => 0, removeNotifier: () => {} };
  const domain = rig.core.domainAllocSva(rig.device(0), mm) as IommuDomain;
  expect([domain.type, domain.owner]).toEqual(['sva', rig.driver]);
  expect(rig.core.map(domain, 0x1000, 0x1000, 0x1000, 3)).toBe(-22);
  expect(rig.core.unmap(domain, 0x1000, 0x1000)).toBe(0);
  expect(rig.core.domainAllocSva(rig.device(0), { ...mm, users: 0 })).toBe(-22);
  expect(rig.core.domainAllocSva(new IommuDevice({ name: 'x', ids: [], groupKey: 'x' }), mm)).toBe(
    -19,
  );
});

describe('direct regions that cannot be mapped', () => {
  it('fail the first device of a group, after a second try; others join all the same', () => {
    const region = { type: 'direct', start: 0x1000, end: 0x3000, prot: 0 } as const;
    // Without protection the toy refuses every map.
    expect(() => new GroupRig({ regions: [region] })).toThrow('no probe');
    const regions: ReservedRegion[] = [];
    const rig = new GroupRig({ regions });
    regions.push(region);
    const late = new IommuDevice({ name: 'd', ids: [4], groupKey: 'g' });
    expect(rig.core.probeDevice(late, rig.driver)).toBe(0);
    expect(rig.group.devices).toHaveLength(4);
    expect(rig.warnings).toEqual([
      'IOMMU driver was not able to establish FW requested direct mapping.',
    ]);
  });
});

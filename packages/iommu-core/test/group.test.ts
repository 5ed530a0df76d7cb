import { TraceChannel } from '@iommukit/platform';
import { describe, expect, it } from 'vitest';
import {
  CORE_PROFILES,
  type CoreEvent,
  type DefaultDomainType,
  IommuCore,
  IommuDevice,
  type IommuDomain,
  type KernelVersion,
  type ReservedRegion,
} from '../src/index.ts';
import { FakeDriver, type FakeDriverOptions } from './fake-driver.ts';

const MSI: ReservedRegion = { type: 'msi-software', start: 0x800_0000, end: 0x810_0000, prot: 26 };

function machine(
  version: KernelVersion = '6.12',
  options: FakeDriverOptions = {},
  defaultDomainType: DefaultDomainType = 'dma',
) {
  const trace = new TraceChannel<CoreEvent>();
  const core = new IommuCore({ trace, profile: CORE_PROFILES[version], defaultDomainType });
  const driver = new FakeDriver(options);
  driver.core = core;
  // Events stand in the same list as the driver's calls, so that their order is checked too.
  trace.listen((event) => {
    if (event.name === 'warn') driver.calls.push(['warn', event.text]);
    else if ('device' in event) driver.calls.push([event.name, event.device]);
    else driver.calls.push([event.name]);
  });
  return { core, driver };
}

function device(name: string, groupKey: string = name, untrusted = false): IommuDevice {
  return new IommuDevice({ name, ids: [1], groupKey, isPci: true, untrusted });
}

const PROBE = [
  ['probe', 'a'],
  ['add_device_to_group', 'a'],
  ['alloc', 'dma'],
];
const ATTACH = [
  ['attach', 'a', 'none'],
  ['attach_device_to_domain', 'a'],
];

describe('probing', () => {
  const rows: [KernelVersion, readonly ReservedRegion[], unknown[]][] = [
    ['6.12', [MSI], [...PROBE, ['flush_all'], ...ATTACH]],
    ['6.12', [], [...PROBE, ...ATTACH]],
    ['6.1', [MSI], [...PROBE, ...ATTACH, ['flush_all']]],
    ['7.2', [MSI], [...PROBE, ...ATTACH]],
    ['7.3', [MSI], [...PROBE, ...ATTACH]],
  ];
  for (const [version, regions, expected] of rows)
    it(`${version}, ${regions.length} reserved regions`, () => {
      const { core, driver } = machine(version, { regions });
      expect(core.probeDevice(device('a'), driver)).toBe(0);
      expect(driver.calls).toEqual(expected);
    });

  it('a second device of a group joins its domain, with its own flush', () => {
    const { core, driver } = machine('6.12', { regions: [MSI] });
    core.probeDevice(device('a', 'g'), driver);
    driver.calls.length = 0;
    const b = device('b', 'g');
    core.probeDevice(b, driver);
    expect(driver.calls).toEqual([
      ['probe', 'b'],
      ['add_device_to_group', 'b'],
      ['flush_all'],
      ['attach', 'b', 'none'],
      ['attach_device_to_domain', 'b'],
    ]);
    expect(b.group?.devices.map(({ name }) => name)).toEqual(['a', 'b']);
    expect(b.group?.id).toBe(0);
  });

  it('a driver that registers late: all groups first, then attaches in group order', () => {
    const { core, driver } = machine('7.2', { regions: [MSI] });
    core.probeDevices([device('a', 'g'), device('b'), device('c', 'g')], driver);
    expect(driver.calls.filter(([what]) => String(what).includes('_'))).toEqual([
      ['add_device_to_group', 'a'],
      ['add_device_to_group', 'b'],
      ['add_device_to_group', 'c'],
      ['attach_device_to_domain', 'a'],
      ['attach_device_to_domain', 'c'],
      ['attach_device_to_domain', 'b'],
    ]);
    expect(core.groups.map(({ id, key }) => [id, key])).toEqual([
      [0, 'g'],
      [1, 'b'],
    ]);
  });

  it('group ids are given lowest first and used again', () => {
    const { core, driver } = machine();
    const [a, b, c] = [device('a'), device('b'), device('c')];
    for (const d of [a, b, c]) core.probeDevice(d, driver);
    core.releaseDevice(a);
    const d = device('d');
    core.probeDevice(d, driver);
    expect([b, c, d].map(({ group }) => group?.id)).toEqual([1, 2, 0]);
  });

  it('the last device frees the default domain', () => {
    const { core, driver } = machine();
    const [a, b] = [device('a', 'g'), device('b', 'g')];
    core.probeDevice(a, driver);
    core.probeDevice(b, driver);
    driver.calls.length = 0;
    core.releaseDevice(a);
    expect(driver.domains[0]?.freed).toBe(false);
    core.releaseDevice(b);
    expect(driver.calls).toEqual([
      ['remove_device_from_group', 'a'],
      ['release', 'a'],
      ['remove_device_from_group', 'b'],
      ['release', 'b'],
      ['free'],
    ]);
    expect(core.groups).toEqual([]);
  });

  it('a driver that refuses a device leaves no trace of it', () => {
    const { core, driver } = machine('6.12', { probeErrno: -19 });
    const a = device('a');
    expect(core.probeDevice(a, driver)).toBe(-19);
    expect([a.group, a.ops, core.groups.length]).toEqual([null, null, 0]);
  });

  it('a device that cannot be attached is released again', () => {
    const { core, driver } = machine();
    const a = device('a', 'g');
    core.probeDevice(a, driver);
    const fake = driver.domains[0];
    if (fake !== undefined) fake.attachErrno = (d) => (d.name === 'b' ? -12 : 0);
    const b = device('b', 'g');
    expect(core.probeDevice(b, driver)).toBe(-12);
    expect([b.group, b.ops, a.group?.devices]).toEqual([null, null, [a]]);
    expect(driver.calls.slice(-2)).toEqual([
      ['remove_device_from_group', 'b'],
      ['release', 'b'],
    ]);
    const alone = machine('7.3', { refuse: ['dma'] });
    expect(alone.core.probeDevice(device('c'), alone.driver)).toBe(-95);
    expect(alone.core.groups).toEqual([]);
  });

  it('misuse throws', () => {
    const { core, driver } = machine();
    const a = device('a');
    expect(() => core.releaseDevice(a)).toThrow('CORE_STATE');
    core.probeDevice(a, driver);
    expect(() => core.probeDevice(a, driver)).toThrow('CORE_STATE');
    expect(() => core.domainFree(a.group?.domain as IommuDomain)).toThrow('CORE_STATE');
  });
});

describe('the default domain', () => {
  it('follows the configured type, and later changes of it', () => {
    const { core, driver } = machine('6.12', {}, 'identity');
    core.probeDevice(device('a'), driver);
    core.setDefaultDomainType('dma-fq');
    core.probeDevice(device('b'), driver);
    expect(core.groups.map((g) => g.domain?.type)).toEqual(['identity', 'dma-fq']);
  });

  it('follows the driver', () => {
    const { core, driver } = machine('6.12', { defType: 'identity' });
    core.probeDevice(device('a'), driver);
    expect(core.groups[0]?.domain?.type).toBe('identity');
  });

  it('falls back to dma', () => {
    const { core, driver } = machine('6.12', { refuse: ['identity'] }, 'identity');
    expect(core.probeDevice(device('a'), driver)).toBe(0);
    expect(core.groups[0]?.domain?.type).toBe('dma');
    expect(driver.calls.some(([what]) => what === 'warn')).toBe(true);
  });

  it('of an untrusted device is a dma domain, or none', () => {
    const { core, driver } = machine('6.12', {}, 'identity');
    core.probeDevice(device('a', 'a', true), driver);
    expect(core.groups[0]?.domain?.type).toBe('dma');
    const other = machine('6.12', { defType: 'identity' });
    expect(other.core.probeDevice(device('a', 'a', true), other.driver)).toBeLessThan(0);
  });

  it('maps direct regions before the attach', () => {
    const direct: ReservedRegion = { type: 'direct', start: 0x1000, end: 0x3000, prot: 3 };
    const { core, driver } = machine('7.3', { regions: [direct] });
    core.probeDevice(device('a'), driver);
    expect(driver.calls).toEqual([
      ...PROBE,
      ['map', '0x1000', '0x1000', '0x1000', 2, 3],
      ['map'],
      ['sync_map', '0x1000', '0x2000'],
      ...ATTACH,
    ]);
  });
});

describe('attach and detach', () => {
  it('errors of attachDevice', () => {
    const { core, driver } = machine();
    const [a, b, lone] = [device('a', 'g'), device('b', 'g'), device('x')];
    core.probeDevice(a, driver);
    core.probeDevice(b, driver);
    const domain = core.domainAllocUnmanaged(a) as IommuDomain;
    expect(core.attachDevice(domain, lone)).toBe(-19);
    expect(core.attachDevice(domain, a)).toBe(-22);
    const other = new FakeDriver();
    const foreign = device('f');
    core.probeDevice(foreign, other);
    expect(core.attachDevice(domain, foreign)).toBe(-22);
  });

  it('an owner attaches, is alone, and detaches to the default domain', () => {
    const { core, driver } = machine();
    const a = device('a');
    core.probeDevice(a, driver);
    const domain = core.domainAllocUnmanaged(a) as IommuDomain;
    const second = core.domainAllocUnmanaged(a) as IommuDomain;
    driver.calls.length = 0;
    expect(core.attachDevice(domain, a)).toBe(0);
    expect(core.attachDevice(second, a)).toBe(-16);
    core.detachDevice(second, a);
    expect(a.group?.domain).toBe(domain);
    core.detachDevice(domain, a);
    expect(a.group?.domain).toBe(a.group?.defaultDomain);
    expect(driver.calls.filter(([what]) => what === 'attach')).toEqual([
      ['attach', 'a', 'dma'],
      ['attach', 'a', 'unmanaged'],
    ]);
    core.domainFree(domain);
    expect(driver.calls.at(-1)).toEqual(['free']);
  });

  it('a group moves as a whole or not at all', () => {
    const { core, driver } = machine();
    const members = [device('a', 'g'), device('b', 'g'), device('c', 'g')];
    for (const d of members) core.probeDevice(d, driver);
    const group = core.groups[0];
    if (group === undefined) throw new Error('no group');
    const domain = core.domainAllocUnmanaged(members[0] as IommuDevice) as IommuDomain;
    const fake = driver.domains.at(-1);
    if (fake !== undefined) fake.attachErrno = (d) => (d.name === 'c' ? -12 : 0);
    driver.calls.length = 0;
    expect(core.attachGroup(domain, group)).toBe(-12);
    expect(group.domain).toBe(group.defaultDomain);
    expect(driver.calls.filter(([what]) => what === 'attach')).toEqual([
      ['attach', 'a', 'dma'],
      ['attach', 'b', 'dma'],
      ['attach', 'c', 'dma', -12],
      ['attach', 'a', 'unmanaged'],
      ['attach', 'b', 'unmanaged'],
    ]);
  });

  it('a direct region forbids a blocked domain', () => {
    const direct: ReservedRegion = { type: 'direct', start: 0x1000, end: 0x3000, prot: 3 };
    const { core, driver } = machine('7.3', { regions: [direct] });
    const a = device('a');
    core.probeDevice(a, driver);
    const blocked = driver.domainAlloc('blocked') as IommuDomain;
    expect(core.attachDevice(blocked, a)).toBe(-22);
    expect(core.requiresDirect(a)).toBe(true);
  });
});

describe('faults', () => {
  it('go to the handler of the device', () => {
    const { core, driver } = machine();
    const a = device('a');
    core.probeDevice(a, driver);
    const fault = { addr: { lo: 0x1234, hi: 0 }, pasid: null, perm: 1, grpid: 3, lastPage: true };
    expect(core.reportDeviceFault(a, fault)).toBe(-22);
    const seen: number[] = [];
    core.setFaultHandler(a, ({ grpid }) => {
      seen.push(grpid);
      return -95;
    });
    expect(core.reportDeviceFault(a, fault)).toBe(-95);
    core.setFaultHandler(a, null);
    expect(core.reportDeviceFault(a, fault)).toBe(-22);
    expect(seen).toEqual([3]);
  });
});

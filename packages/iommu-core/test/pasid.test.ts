import { describe, expect, it } from 'vitest';
import {
  AttachHandle,
  type DeviceFault,
  IommuDevice,
  type IommuDomain,
  type PageRequestGroup,
} from '../src/index.ts';
import { GroupRig } from './rig.ts';
import { ToyDriver } from './toy-driver.ts';

describe('attach to a PASID', () => {
  it('reaches every device that has PASIDs', () => {
    const rig = new GroupRig();
    const { domain, ops } = rig.make();
    const device = rig.device(0);
    expect(rig.core.attachDevicePasid({ domain, device, pasid: 1 })).toBe(0);
    expect(rig.on(1)).toEqual([ops, ops, undefined]);
    expect(rig.group.pasids.get(1)).toEqual({ domain, handle: null });
    expect(rig.core.attachHandle(rig.group, 1)).toBe(-2);
    expect(rig.core.attachDevicePasid({ domain, device, pasid: 1 })).toBe(-16);
    expect(() => rig.core.domainFree(domain)).toThrow('CORE_STATE');
    rig.core.detachDevicePasid(domain, device, 1);
    expect(rig.on(1)).toEqual([undefined, undefined, undefined]);
    expect(rig.group.pasids.size).toBe(0);
    rig.core.domainFree(domain);
  });

  it('when device k refuses, no device has it', () => {
    for (const k of [0, 1]) {
      const rig = new GroupRig();
      const { domain, ops } = rig.make();
      ops.pasidErrno = (device) => (device === rig.device(k) ? -12 : 0);
      const handle = new AttachHandle(domain);
      const attachment = { domain, device: rig.device(0), pasid: 3, handle };
      expect(rig.core.attachDevicePasid(attachment)).toBe(-12);
      expect(rig.on(3)).toEqual([undefined, undefined, undefined]);
      expect(rig.group.pasids.size).toBe(0);
      ops.pasidErrno = () => 0;
      expect(rig.core.attachDevicePasid(attachment)).toBe(0);
      expect(rig.core.attachHandle(rig.group, 3)).toBe(handle);
    }
  });

  it('errors', () => {
    const rig = new GroupRig();
    const { domain } = rig.make();
    const device = rig.device(0);
    const attach = (pasid: number, to: IommuDomain = domain): number =>
      rig.core.attachDevicePasid({ domain: to, device, pasid });
    expect([attach(0), attach(8), attach(-1)]).toEqual([-22, -22, -22]);
    expect(attach(7)).toBe(0);
    const foreign = new ToyDriver().domainAlloc('unmanaged') as IommuDomain;
    foreign.owner = new ToyDriver();
    expect(attach(2, foreign)).toBe(-22);
    const alone = new IommuDevice({ name: 'x', ids: [9], groupKey: 'x' });
    expect(rig.core.attachDevicePasid({ domain, device: alone, pasid: 1 })).toBe(-19);
    expect(rig.core.replaceDevicePasid({ domain, device: alone, pasid: 1 })).toBe(-19);
    const bare = new GroupRig({ noBlocked: true });
    const other = bare.make().domain;
    expect(bare.core.attachDevicePasid({ domain: other, device: bare.device(0), pasid: 1 })).toBe(
      -95,
    );
    const without = rig.make();
    Object.assign(without.ops, { setDevPasid: undefined });
    expect(attach(3, without.domain)).toBe(-95);
  });

  it('the most PASIDs are those that the device and its IOMMU both have', () => {
    expect(new GroupRig({ maxPasids: 4 }).devices.map(({ maxPasids }) => maxPasids)).toEqual([
      4, 4, 0,
    ]);
    expect(new GroupRig({ maxPasids: 100 }).devices.map(({ maxPasids }) => maxPasids)).toEqual([
      8, 8, 0,
    ]);
  });
});

describe('replace', () => {
  function attached() {
    const rig = new GroupRig();
    const [first, second] = [rig.make(), rig.make()];
    const device = rig.device(0);
    const handle = new AttachHandle(first.domain);
    rig.core.attachDevicePasid({ domain: first.domain, device, pasid: 1, handle });
    return { rig, first, second, device, handle };
  }

  it('moves the PASID in one step', () => {
    const { rig, second, device } = attached();
    const handle = new AttachHandle(second.domain);
    const calls = rig.driver.count('pasid');
    expect(rig.core.replaceDevicePasid({ domain: second.domain, device, pasid: 1, handle })).toBe(
      0,
    );
    expect(rig.on(1)).toEqual([second.ops, second.ops, undefined]);
    expect(rig.core.attachHandle(rig.group, 1)).toBe(handle);
    expect(rig.driver.count('pasid') - calls).toBe(2);
  });

  it('of the same domain swaps the handle alone', () => {
    const { rig, first, device } = attached();
    const handle = new AttachHandle(first.domain);
    const calls = rig.driver.count('pasid');
    expect(rig.core.replaceDevicePasid({ domain: first.domain, device, pasid: 1, handle })).toBe(0);
    expect(rig.core.attachHandle(rig.group, 1)).toBe(handle);
    expect(rig.driver.count('pasid')).toBe(calls);
  });

  it('when device k refuses, all keep the old domain', () => {
    for (const k of [0, 1]) {
      const { rig, first, second, device, handle } = attached();
      second.ops.pasidErrno = (one) => (one === rig.device(k) ? -12 : 0);
      const next = new AttachHandle(second.domain);
      const replacement = { domain: second.domain, device, pasid: 1, handle: next };
      expect(rig.core.replaceDevicePasid(replacement)).toBe(-12);
      expect(rig.on(1)).toEqual([first.ops, first.ops, undefined]);
      expect(rig.core.attachHandle(rig.group, 1)).toBe(handle);
      expect(rig.group.pasids.get(1)?.domain).toBe(first.domain);
    }
  });

  it('one that cannot go back is blocked and told', () => {
    const { rig, first, second, device } = attached();
    second.ops.pasidErrno = (one) => (one.name === 'b' ? -12 : 0);
    first.ops.pasidErrno = () => -5;
    const handle = new AttachHandle(second.domain);
    expect(rig.core.replaceDevicePasid({ domain: second.domain, device, pasid: 1, handle })).toBe(
      -12,
    );
    expect(rig.on(1)).toEqual([undefined, first.ops, undefined]);
    expect(rig.warnings).toEqual(['a: PASID 1 could not return to its old domain']);
  });

  it('errors', () => {
    const { rig, first, second, device, handle } = attached();
    const { domain } = second;
    expect(rig.core.replaceDevicePasid({ domain, device, pasid: 1 })).toBe(-22);
    const next = new AttachHandle(domain);
    expect(rig.core.replaceDevicePasid({ domain, device, pasid: 2, handle: next })).toBe(-22);
    expect(rig.core.replaceDevicePasid({ domain: first.domain, device, pasid: 1, handle })).toBe(
      -22,
    );
    expect(rig.warnings).toHaveLength(1);
  });

  it('a device that leaves with a PASID is told', () => {
    const { rig } = attached();
    for (const device of rig.devices) rig.core.releaseDevice(device);
    expect(rig.warnings).toContain('a leaves with PASIDs attached');
  });
});

describe('page requests', () => {
  const fault = (pasid: number | null, grpid = 7): DeviceFault => ({
    addr: { lo: 0x1234, hi: 0 },
    pasid,
    perm: 1,
    grpid,
    lastPage: true,
  });

  function routed() {
    const rig = new GroupRig();
    const { domain } = rig.make();
    const device = rig.device(0);
    const handle = new AttachHandle(domain);
    rig.core.attachDevicePasid({ domain, device, pasid: 1, handle });
    const groups: PageRequestGroup[] = [];
    domain.pageRequestHandler = (group) => {
      groups.push(group);
      return 0;
    };
    // The simplest queue: every request is a group.
    device.pageRequests = {
      report: (from, request, found) =>
        found.domain.pageRequestHandler?.({ device: from, handle: found, requests: [request] }) ??
        -22,
    };
    return { rig, domain, device, handle, groups };
  }

  it('go to the handler of the domain that the PASID is attached to', () => {
    const { rig, device, handle, groups } = routed();
    expect(rig.core.reportDeviceFault(device, fault(1))).toBe(0);
    expect(groups).toEqual([{ device, handle, requests: [fault(1)] }]);
    expect(rig.driver.responses).toEqual([]);
  });

  it('without PASID only where the group is attached with a handle', () => {
    const { rig, domain, device, groups } = routed();
    expect(rig.core.reportDeviceFault(device, fault(null))).toBe(-22);
    const handle = new AttachHandle(domain);
    expect(rig.core.attachGroup(domain, rig.group, handle)).toBe(0);
    expect(rig.core.reportDeviceFault(device, fault(null))).toBe(0);
    expect(groups.map((group) => group.handle)).toEqual([handle]);
  });

  it('are answered invalid where nobody handles them', () => {
    const { rig, domain, device } = routed();
    expect(rig.core.reportDeviceFault(device, fault(2))).toBe(-22);
    domain.pageRequestHandler = null;
    expect(rig.core.reportDeviceFault(device, fault(1))).toBe(-22);
    domain.pageRequestHandler = () => 0;
    device.pageRequests = null;
    expect(rig.core.reportDeviceFault(device, fault(1))).toBe(-22);
    expect(rig.driver.responses).toEqual([
      ['a', fault(2), 'invalid'],
      ['a', fault(1), 'invalid'],
      ['a', fault(1), 'invalid'],
    ]);
  });

  it('go first to a handler of the device, by PASID', () => {
    const { rig, device, groups } = routed();
    const seen: string[] = [];
    const handler = (name: string) => () => {
      seen.push(name);
      return 0;
    };
    rig.core.setFaultHandler(device, handler('any'));
    rig.core.setFaultHandler(device, handler('one'), 1);
    for (const pasid of [1, 2, null]) rig.core.reportDeviceFault(device, fault(pasid));
    expect(seen).toEqual(['one', 'any', 'any']);
    rig.core.setFaultHandler(device, null);
    rig.core.setFaultHandler(device, null, 1);
    expect(rig.core.reportDeviceFault(device, fault(1))).toBe(0);
    expect(groups).toHaveLength(1);
    rig.core.setFaultHandler(device, handler('late'));
    rig.core.detachDevicePasid(rig.group.pasids.get(1)?.domain as IommuDomain, device, 1);
    rig.core.releaseDevice(device);
    expect(rig.core.reportDeviceFault(device, fault(1))).toBe(-22);
  });
});

describe('faults that nobody can repair', () => {
  it('go to the handler of the domain, and are traced', () => {
    const rig = new GroupRig();
    const { domain } = rig.make();
    const device = rig.device(0);
    const events: string[] = [];
    rig.core.trace.listen((event) => {
      if (event.name === 'io_page_fault')
        events.push(`${event.device} ${event.iova} ${event.write}`);
    });
    const fault = { domain, device, iova: 0x1234, write: true };
    expect(rig.core.reportDomainFault(fault)).toBe(-38);
    domain.faultHandler = ({ iova }) => -iova;
    expect(rig.core.reportDomainFault(fault)).toBe(-0x1234);
    expect(events).toEqual(['a 4660 true', 'a 4660 true']);
  });
});

import { AttachHandle } from '../attach-handle.ts';
import type { IommuDomain } from '../domain.ts';
import type { DriverRig } from './driver-rig.ts';
import type { DriverRule } from './driver-rule.ts';

const EOPNOTSUPP = -95;

/** Two domains that map one IOVA to different pages, and where. */
function twoDomains(rig: DriverRig) {
  const [first, second] = [rig.domain(rig.device(0)), rig.domain(rig.device(0))];
  const size = first.minPage;
  const iova = rig.inside(first, size);
  const a = { iova, paddr: rig.memory, size };
  const b = { iova, paddr: rig.memory + 4 * size, size };
  rig.map(first, a);
  rig.map(second, b);
  return { first, second, iova, a, b };
}

/** The driver's domain that does not translate, or undefined when it has none of the kind. */
function fixed(rig: DriverRig, type: 'identity' | 'blocked'): IommuDomain | undefined {
  const { driver } = rig.parts;
  if (type === 'blocked' && driver.blockedDomain !== undefined) return driver.blockedDomain;
  const domain = driver.domainAlloc(type, rig.device(0));
  if (typeof domain !== 'number') return domain;
  rig.same(`a refused domain of type ${type}`, domain, EOPNOTSUPP);
  return undefined;
}

export const deviceRules: readonly DriverRule[] = [
  {
    name: 'a released device can be probed again, and leaves nothing',
    run(rig) {
      const device = rig.device(0);
      rig.core.releaseDevice(device);
      if (device.priv !== null)
        rig.fail('state of the driver in a released device', 'null', 'something');
      rig.same('DMA of a released device', rig.parts.access(device, 0, 0), -1);
      rig.probe(device);
    },
  },
  {
    name: 'reserved regions are ranges',
    run(rig) {
      for (const device of rig.devices)
        for (const { type, start, end } of rig.parts.driver.getResvRegions(device))
          if (!(start < end))
            rig.fail(`a region of type ${type}`, `an end above ${start}`, `${end}`);
    },
  },
  {
    name: 'a paging domain has page sizes and an aperture',
    run(rig) {
      const { group } = rig.device(0);
      for (const domain of [rig.domain(rig.device(0)), group?.defaultDomain]) {
        if (domain?.isPaging !== true) continue;
        const { pgsizeBitmap, apertureStart, apertureEnd } = domain;
        if (!(pgsizeBitmap > 0)) rig.fail('page sizes', 'at least one', `${pgsizeBitmap}`);
        if (!(apertureStart < apertureEnd))
          rig.fail('an aperture', `an end above ${apertureStart}`, `${apertureEnd}`);
        const ends = [apertureStart, apertureEnd];
        for (const end of ends) rig.same('an aperture of pages', end % domain.minPage, 0);
      }
    },
  },
  {
    name: 'domains are apart, and a device is in the one that it was attached to last',
    run(rig) {
      const { first, second, iova, a, b } = twoDomains(rig);
      const [one, two] = [rig.device(0), rig.device(1)];
      rig.same('attach', rig.core.attachDevice(first, one), 0);
      rig.same('attach of a second device', rig.core.attachDevice(second, two), 0);
      rig.translates(first, one, a);
      rig.translates(second, two, b);
      rig.core.detachDevice(first, one);
      rig.same('DMA after the detach', rig.parts.access(one, iova, 0), -1);
      rig.same('attach to the other domain', rig.core.attachDevice(second, one), 0);
      rig.translates(second, one, b);
      rig.unmap(second, iova, second.minPage);
      rig.isHole(second, one, iova);
      rig.isHole(second, two, iova);
    },
  },
  {
    name: 'a replaced domain is gone at once',
    run(rig) {
      const { first, second, a, b } = twoDomains(rig);
      const device = rig.device(0);
      const { group } = device;
      if (group === null) return;
      rig.same('attach', rig.core.attachGroup(first, group), 0);
      rig.translates(first, device, a);
      rig.same('replace', rig.core.replaceGroup(second, group), 0);
      rig.translates(second, device, b);
    },
  },
  {
    name: 'identity reaches every address as it is',
    run(rig) {
      const domain = fixed(rig, 'identity');
      const device = rig.device(0);
      if (domain === undefined) return;
      rig.same('attach', domain.ops.attachDev(device, device.group?.domain ?? null), 0);
      for (const address of [rig.memory, rig.memory + 0x1234])
        rig.same('DMA in an identity domain', rig.parts.access(device, address, 0), address);
      const back = device.group?.domain;
      if (back != null) rig.same('attach back', back.ops.attachDev(device, domain), 0);
      domain.ops.free();
    },
  },
  {
    name: 'blocked refuses every address',
    run(rig) {
      const domain = fixed(rig, 'blocked');
      const { device, domain: before } = rig.attached();
      if (domain === undefined) return;
      const iova = rig.inside(before, before.minPage);
      rig.map(before, { iova, paddr: rig.memory, size: before.minPage });
      rig.parts.access(device, iova, 0);
      rig.same('attach', domain.ops.attachDev(device, before), 0);
      rig.same('DMA in a blocked domain', rig.parts.access(device, iova, 0), -1);
      rig.same('attach back', before.ops.attachDev(device, domain), 0);
      rig.same('DMA after it', rig.parts.access(device, iova, 0), rig.memory);
    },
  },
  {
    name: 'PASIDs have domains of their own',
    run(rig) {
      const device = rig.device(0);
      const { first, second, iova, a, b } = twoDomains(rig);
      if (device.maxPasids < 3 || first.ops.setDevPasid === undefined) return;
      if (rig.parts.driver.blockedDomain?.ops.setDevPasid === undefined)
        rig.fail('a driver with PASIDs can undo them', 'setDevPasid of blockedDomain', 'none');
      const { parts, core } = rig;
      const at = (pasid: number): number => parts.access(device, iova, pasid);
      rig.same('DMA of a PASID without domain', at(1), -1);
      const handle = new AttachHandle(first);
      rig.same('attach 1', core.attachDevicePasid({ domain: first, device, pasid: 1, handle }), 0);
      rig.same('attach 2', core.attachDevicePasid({ domain: second, device, pasid: 2 }), 0);
      rig.same('DMA of PASID 1', at(1), a.paddr);
      rig.same('DMA of PASID 2', at(2), b.paddr);
      rig.same('DMA without PASID', at(0), -1);
      const next = new AttachHandle(second);
      const replaced = core.replaceDevicePasid({ domain: second, device, pasid: 1, handle: next });
      rig.same('replace 1', replaced, 0);
      rig.same('DMA of PASID 1, replaced', at(1), b.paddr);
      rig.unmap(second, iova, second.minPage);
      rig.same('DMA of PASID 1 after an unmap', at(1), -1);
      rig.same('DMA of PASID 2 after an unmap', at(2), -1);
      rig.map(second, b);
      core.detachDevicePasid(second, device, 1);
      rig.same('DMA of a detached PASID', at(1), -1);
      rig.same('DMA of the other PASID', at(2), b.paddr);
    },
  },
];

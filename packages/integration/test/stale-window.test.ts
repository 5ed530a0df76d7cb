import { u64Of } from '@iommukit/bits';
import { IOMMU_READ, IOMMU_WRITE, IotlbGather } from '@iommukit/io-pgtable';
import { IommuDevice, type IommuDomain } from '@iommukit/iommu-core';
import { expect, test } from 'vitest';
import { kernelProfile, Machine, MEMORY_OF_CAPTURES } from '../src/index.ts';

// ID words of the captures' SMMU (DUMP-IDLE.regs.json).
const idr = { IDR0: 0x0d44101b, IDR1: 0x02730010, IDR3: 0x1414, IDR5: 0x74, AIDR: 1 };

function booted(): { machine: Machine; domain: IommuDomain } {
  const profile = kernelProfile('6.12');
  const machine = new Machine({ idr, profile, cpus: 1, memory: MEMORY_OF_CAPTURES });
  machine.boot();
  const device = new IommuDevice({ name: '0000:00:01.0', ids: [8], groupKey: 'a', isPci: true });
  expect(machine.core.probeDevice(device, machine.driver)).toBe(0);
  const domain = device.group?.domain;
  if (domain === null || domain === undefined) throw new Error('no default domain');
  return { machine, domain };
}

test('between the clear and the sync an access still hits, and the model names the command that is missing', () => {
  const { machine, domain } = booted();
  const { core, model } = machine;
  expect(core.map(domain, 0x1000, 0x4000_0000, 4096, IOMMU_READ + IOMMU_WRITE)).toBe(0);
  const access = { streamId: 8, address: u64Of(0x1234), rw: 'write' as const };
  expect(model.translate(access)).toMatchObject({ outcome: 'ok', paddr: 0x4000_0234 });
  expect(model.staleUses).toEqual([]);

  const gather = new IotlbGather();
  expect(core.unmapFast(domain, 0x1000, 4096, gather)).toBe(4096);
  expect(model.translate(access)).toMatchObject({ outcome: 'ok', paddr: 0x4000_0234 });
  expect(model.staleUses).toHaveLength(1);
  expect(JSON.stringify(model.staleUses[0])).toContain('TLBI_NH_VA');

  core.iotlbSync(domain, gather);
  const after = model.translate({ ...access, rw: 'read' });
  expect(after).toMatchObject({
    outcome: 'fault',
    event: { event: 'F_TRANSLATION', streamId: 8 },
  });
  if (after.outcome !== 'fault') return;
  expect(after.event).toMatchObject({ address: { lo: 0x1234, hi: 0 }, rw: 'read', class: 'IN' });
  expect(model.staleUses).toHaveLength(1);
});

test('no frame leaks when a device is released', () => {
  const { machine, domain } = booted();
  expect(machine.core.map(domain, 0x20_0000, 0x4000_0000, 0x40_0000, IOMMU_READ)).toBe(0);
  expect(machine.frames.used).toBeGreaterThan(0);
  const [device] = machine.core.groups[0]?.devices ?? [];
  if (device === undefined) throw new Error('no device');
  machine.core.releaseDevice(device);
  expect(machine.frames.leakReport()).toEqual({ frames: 0, first: [] });
});

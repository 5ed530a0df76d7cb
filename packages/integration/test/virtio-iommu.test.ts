import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { sgElement } from '@iommukit/dma-api';
import { IOMMU_READ, IOMMU_WRITE } from '@iommukit/io-pgtable';
import { type DriverSubject, driverContract } from '@iommukit/iommu-core/contract';
import { errnoName } from '@iommukit/platform';
import { describe, expect, test } from 'vitest';
import { GuestMachine } from '../src/examples/virtio-iommu/guest-machine.ts';
import { ViommuDriver } from '../src/examples/virtio-iommu/viommu-driver.ts';
import { virtioIommu } from '../src/examples/virtio-iommu/virtio-iommu.ts';
import { ENDPOINT, GUEST_PAGE } from './virtio-iommu-rig.ts';

describe('the DMA layer of the guest, unchanged', () => {
  // Two probes, attaches and detaches; a buffer, a list of 12 and 12 linked pieces; each of the three goes by one unmap.
  const requests = { attach: 2, detach: 2, map: 25, unmap: 3, probe: 2, unreadable: 0 };
  const bytes = 512 + 2 * 12 * 4096;

  test.each(['run', 'page'] as const)('every byte by DMA is right, a MAP for each %s', (unit) => {
    expect(virtioIommu({ unit })).toMatchObject({
      requests,
      bytes,
      wrongBytes: 0,
      reachable: 0,
      leaked: 0,
      fullWaits: 0,
      // One for each call that waits: 2 + 2 + 2, and a map and an unmap of each of the three.
      notifications: 12,
    });
  });

  test('a queue of four requests: the fifth and the ninth of twelve wait for room', () => {
    expect(virtioIommu({ queueSize: 8 })).toMatchObject({
      requests,
      bytes,
      wrongBytes: 0,
      reachable: 0,
      leaked: 0,
      fullWaits: 4,
      notifications: 16,
    });
  });

  test.each([
    // A two-step range waits for the flush queue on 7.2, and for its invalidation on 7.3.
    ['7.2', 1 + 12 + 12],
    ['7.3', 1 + 12],
  ] as const)(
    'lazy, %s: right bytes, and pages that are reached until the flush',
    (kernel, reachable) => {
      const summary = virtioIommu({ kernel, invalidation: 'lazy' });
      expect(summary).toMatchObject({ requests, bytes, wrongBytes: 0, reachable, leaked: 0 });
    },
  );

  test('the summary is three lines', () => {
    const { lines, smmuCommands } = virtioIommu();
    expect(lines).toEqual([
      'requests: attach 2, detach 2, map 25, unmap 3, probe 2, unreadable 0',
      `notifications 12, waits for room 0, SMMU commands ${smmuCommands}`,
      'bytes by DMA 98816, wrong 0; pages reachable after unmap 0; frames of tables left 0',
    ]);
  });

  test('neighbouring pages are one MAP request, or one for each', () => {
    for (const [unit, maps] of [['run', 1] as const, ['page', 16] as const]) {
      const machine = new GuestMachine({ unit });
      const dev = machine.probe(ENDPOINT);
      const address = machine.dma.mapPage(dev, GUEST_PAGE, 0x1_0000, 'TO_DEVICE');
      expect(machine.device.counts.map).toBe(maps);
      machine.dma.unmapPage(dev, address, 0x1_0000, 'TO_DEVICE');
      expect(machine.device.counts.unmap).toBe(1);
      expect(machine.host.access(ENDPOINT, address, 'read')).toBe(-1);
    }
  });

  test('a read-only buffer cannot be written', () => {
    const machine = new GuestMachine();
    const dev = machine.probe(ENDPOINT);
    const address = machine.dma.mapPage(dev, GUEST_PAGE, 0x1000, 'TO_DEVICE');
    expect(machine.host.access(ENDPOINT, address, 'read')).toBe(GUEST_PAGE + 0x10_0000_0000);
    expect(machine.host.access(ENDPOINT, address, 'write')).toBe(-1);
  });

  test('a host that forgets its invalidation is noticed', () => {
    const machine = new GuestMachine();
    const dev = machine.probe(ENDPOINT);
    const address = machine.dma.mapPage(dev, GUEST_PAGE, 0x1000, 'TO_DEVICE');
    expect(machine.host.access(ENDPOINT, address, 'read')).toBe(GUEST_PAGE + 0x10_0000_0000);
    machine.host.core.iotlbSync = () => {};
    machine.dma.unmapPage(dev, address, 0x1000, 'TO_DEVICE');
    expect(machine.host.access(ENDPOINT, address, 'read')).toBe(GUEST_PAGE + 0x10_0000_0000);
  });

  test('in a lazy domain the unmaps of many buffers are one wait', () => {
    const machine = new GuestMachine({ invalidation: 'lazy' });
    const dev = machine.probe(ENDPOINT);
    expect(dev.domain.type).toBe('dma-fq');
    const list = Array.from({ length: 8 }, (_, i) =>
      machine.dma.mapPage(dev, GUEST_PAGE + i * 0x2000, 0x1000, 'TO_DEVICE'),
    );
    const before = machine.driver.queue.notifications;
    for (const address of list) machine.dma.unmapPage(dev, address, 0x1000, 'TO_DEVICE');
    expect(machine.driver.queue.notifications - before).toBe(0);
    machine.platform.clock.advance(10_000);
    expect(machine.driver.queue.notifications - before).toBe(1);
    for (const address of list) expect(machine.host.access(ENDPOINT, address, 'read')).toBe(-1);
  });

  test('no IOVA lies in what PROBE reserves', () => {
    const reserved = [
      { kind: 'reserved', start: 0xf000_0000, end: 0x1_0000_0000 } as const,
      { kind: 'msi', start: 0x800_0000, end: 0x810_0000 } as const,
    ];
    const machine = new GuestMachine({ reserved });
    const dev = machine.probe(ENDPOINT);
    // Ascending, as core has them.
    expect(machine.core.getResvRegions(dev.device)).toMatchObject([
      { type: 'msi', start: 0x800_0000, end: 0x810_0000 },
      { type: 'reserved', start: 0xf000_0000, end: 0x1_0000_0000 },
    ]);
    const sg = [sgElement(GUEST_PAGE, 0x1000), sgElement(GUEST_PAGE + 0x4000, 0x1000)];
    expect(machine.dma.mapSg(dev, sg, 'TO_DEVICE')).toBe(1);
    // The highest two pages of 32 bits below the window.
    expect(sg[0]?.dmaAddress).toBe(0xefff_e000);
  });

  test('without a window for doorbells the driver has one of its own', () => {
    const machine = new GuestMachine({ reserved: [] });
    const dev = machine.probe(ENDPOINT);
    expect(machine.core.getResvRegions(dev.device)).toMatchObject([
      { type: 'msi-software', start: 0x800_0000, end: 0x810_0000 },
    ]);
  });
});

test('a device without map and unmap requests has no driver', () => {
  const { device, driver } = new GuestMachine();
  const { configuration, features } = device;
  const parts = { configuration, unit: 'run', queue: () => driver.queue } as const;
  expect(ViommuDriver.create({ ...parts, features })).toBeInstanceOf(ViommuDriver);
  const refused = ViommuDriver.create({ ...parts, features: features - 4 });
  expect(typeof refused === 'number' && errnoName(refused)).toBe('ENODEV');
});

test('a map that the device refuses is told when it is synced, and leaves nothing', () => {
  const machine = new GuestMachine();
  const { core, host } = machine;
  const { domain } = machine.probe(ENDPOINT);
  // Beyond the memory of the guest: EFAULT of the host.
  expect(core.map(domain, 0x10_0000, 0x20_0000_0000, 0x4000, IOMMU_READ)).toBe(-14);
  expect(core.iovaToPhys(domain, 0x10_0000)).toBe(0);
  expect(core.map(domain, 0x10_0000, GUEST_PAGE, 0x4000, IOMMU_READ + IOMMU_WRITE)).toBe(0);
  expect(host.access(ENDPOINT, 0x10_0000, 'read')).toBe(GUEST_PAGE + 0x10_0000_0000);
  expect(core.map(domain, 0x10_3000, GUEST_PAGE, 0x4000, IOMMU_READ)).toBe(-17);
});

function subject(unit: 'run' | 'page'): DriverSubject {
  return {
    name: `virtio-iommu, a MAP for each ${unit}`,
    create() {
      const { host, driver, endpoints } = new GuestMachine({ unit });
      const { guest, host: base } = host.guestMemory.ram;
      return {
        driver,
        devices: endpoints.map((id) => ({ name: `${id}`, ids: [id], groupKey: `${id}` })),
        access(device, iova) {
          const paddr = host.access(device.info.ids[0] ?? 0, iova, 'write');
          return paddr < 0 ? -1 : paddr - base + guest;
        },
        commands: () => driver.queue.sent,
        frames: () => host.frames.used + host.coherent.used,
        failAllocation: (k) => {
          host.frames.failIn = k;
        },
      };
    },
  };
}

describe.each(['run', 'page'] as const)('the contract of drivers, a MAP for each %s', (unit) => {
  /** A mapping goes as a whole (5.13.6.6): with one MAP for neighbours, an unmap from their middle on cannot be. */
  const partial = 'what a gather holds is gone after its sync';
  test.each(driverContract(subject(unit)))('$name', ({ name, run }) => {
    if (unit === 'run' && name === partial) expect(run).toThrow('DRIVER_CONTRACT');
    else run();
  });
});

test('both examples import nothing but packages by name, and only the host knows of an SMMU', () => {
  const root = fileURLToPath(new URL('../src/examples/', import.meta.url));
  const files = readdirSync(root, { recursive: true, encoding: 'utf8' }).filter((file) =>
    file.endsWith('.ts'),
  );
  expect(files.length).toBeGreaterThan(10);
  const knows = files.filter((file) => {
    const text = readFileSync(`${root}${file}`, 'utf8');
    const from = [...text.matchAll(/ from '([^']+)'/g)].map(([, name = '']) => name);
    for (const name of from)
      expect(name, file).toMatch(/^(?:@iommukit\/[a-z0-9-]+|\.\/[a-z0-9.-]+\.ts)$/);
    return from.some((name) => /smmu|arm-arch/.test(name));
  });
  expect(knows).toEqual(['virtio-iommu/host-machine.ts']);
  for (const layer of ['iommu-core', 'dma-api', 'sva-pasid']) {
    const manifest = new URL(`../../${layer}/package.json`, import.meta.url);
    const { dependencies }: { dependencies: Record<string, string> } = JSON.parse(
      readFileSync(manifest, 'utf8'),
    );
    expect(Object.keys(dependencies).filter((name) => /smmu|arm-arch/.test(name))).toEqual([]);
  }
});

import { createPageTable, x8664 } from '@iommukit/io-pgtable';
import { IommuDevice, IommuDomain } from '@iommukit/iommu-core';
import { describe, expect, it } from 'vitest';
import {
  DMA_PROFILES,
  DmaDomain,
  ExposureMeter,
  type FlushQueue,
  sgElement,
} from '../src/index.ts';
import { AccessFault, LAYOUT, pattern, RealMachine } from './real-machine.lanes.ts';

function queueOf(cookie: unknown): FlushQueue | null {
  return cookie instanceof DmaDomain ? cookie.flushQueue : null;
}

describe('a lazy domain', () => {
  it('unmaps without a sync; the IOVA comes back after the flush of the timer', () => {
    const machine = new RealMachine({ type: 'dma-fq' });
    const dev = machine.device();
    const address = machine.dma.mapPhys(dev, LAYOUT.ram, 4096, 'TO_DEVICE');
    machine.dma.unmapPhys(dev, address, 4096, 'TO_DEVICE');
    expect([machine.syncs, machine.flushes, machine.live.size]).toEqual([0, 0, 1]);
    expect(machine.dma.mapPhys(dev, LAYOUT.ram, 4096, 'TO_DEVICE')).not.toBe(address);
    machine.platform.clock.advance(10_000);
    expect([machine.syncs, machine.flushes, machine.live.size]).toEqual([0, 1, 1]);
    expect(machine.dma.mapPhys(dev, LAYOUT.ram, 4096, 'TO_DEVICE')).toBe(address);
  });

  it('a page that the device knows stays reachable until the flush, and not longer', () => {
    const exposure = new ExposureMeter();
    const machine = new RealMachine({ type: 'dma-fq', flushQueue: { exposure } });
    const dev = machine.device();
    machine.cpuWrite(LAYOUT.ram, pattern(1, 64));
    const address = machine.dma.mapPhys(dev, LAYOUT.ram, 64, 'TO_DEVICE');
    expect(machine.deviceRead(dev, address, 64)).toEqual(pattern(1, 64));
    machine.dma.unmapPhys(dev, address, 64, 'TO_DEVICE');
    machine.platform.clock.advance(9_999);
    expect(machine.deviceRead(dev, address, 64)).toEqual(pattern(1, 64));
    expect(exposure.report()).toMatchObject({ openPages: 1, openBytes: 4096, longestUs: 0 });
    machine.platform.clock.advance(1);
    expect(() => machine.deviceRead(dev, address, 64)).toThrow(AccessFault);
    expect(exposure.report()).toMatchObject({ openPages: 0, longestUs: 10_000, pages: 1 });
  });

  it('a strict domain leaves nothing reachable and has no meter to feed', () => {
    const exposure = new ExposureMeter();
    const machine = new RealMachine({ flushQueue: { exposure } });
    const dev = machine.device();
    const address = machine.dma.mapPhys(dev, LAYOUT.ram, 64, 'TO_DEVICE');
    machine.deviceRead(dev, address, 64);
    machine.dma.unmapPhys(dev, address, 64, 'TO_DEVICE');
    expect(() => machine.deviceRead(dev, address, 64)).toThrow(AccessFault);
    expect([machine.syncs, exposure.report().pages]).toEqual([1, 0]);
  });

  it('1024 lists of 32 pages on one CPU: 4 flushes, no sync, 4 ranges still held (S1-9)', () => {
    const machine = new RealMachine({ type: 'dma-fq', flushQueue: { timer: 'external' } });
    const dev = machine.device({ maxSegSize: 0x2_0000 });
    const sg = Array.from({ length: 32 }, (_, i) => sgElement(LAYOUT.ram + i * 0x2000, 4096));
    const at: number[] = [];
    for (let request = 1; request <= 1024; request++) {
      const before = machine.flushes;
      machine.dma.mapSg(dev, sg, 'TO_DEVICE');
      machine.dma.unmapSg(dev, sg, 'TO_DEVICE');
      if (machine.flushes !== before) at.push(request);
    }
    expect(at).toEqual([256, 511, 766, 1021]);
    expect([machine.syncs, machine.live.size, queueOf(dev.domain.dmaCookie)?.pending]).toEqual([
      0, 4, 4,
    ]);
  });

  it('tables that an unmap takes out are freed after the flush, before the IOVA', () => {
    const machine = new RealMachine({ type: 'dma-fq' });
    const dev = machine.device();
    const order: string[] = [];
    const { ops } = dev.domain;
    const unmapPages = ops.unmapPages.bind(ops);
    ops.unmapPages = (iova, pgsize, pgcount, gather) => {
      gather.freelist.push(0x9000);
      return unmapPages(iova, pgsize, pgcount, gather);
    };
    ops.freeTables = (tables) => {
      order.push(`tables ${tables.join(' ')}`, `flushes ${machine.flushes}`);
      order.push(`live ${machine.live.size}`);
    };
    for (const paddr of [LAYOUT.ram, LAYOUT.ram + 4096])
      machine.dma.unmapPhys(
        dev,
        machine.dma.mapPhys(dev, paddr, 4096, 'TO_DEVICE'),
        4096,
        'TO_DEVICE',
      );
    expect(order).toEqual([]);
    machine.platform.clock.advance(10_000);
    expect(order).toEqual([
      ...['tables 36864', 'flushes 1', 'live 2'],
      ...['tables 36864', 'flushes 1', 'live 1'],
    ]);
  });

  it('a table of a generic format stays a frame until the flush: a device may still walk it', () => {
    const machine = new RealMachine({ type: 'dma-fq' });
    const { frames, memory } = machine;
    machine.domainAlloc = (type) => {
      const table = createPageTable(x8664, {
        ...{ features: [], hwMaxVaszLg2: 48, hwMaxOaszLg2: 48, topLevel: 3 },
        ...{ memory, frames, driver: { iotlbSync() {} } },
      });
      if (typeof table === 'number') return expect.fail(`no table: ${table}`);
      return new IommuDomain({
        type,
        ops: {
          attachDev: () => 0,
          mapped: 0,
          mapPages(iova, paddr, pgsize, pgcount, prot) {
            const errno = table.mapPages(iova, paddr, pgsize, pgcount, prot);
            (this as { mapped: number }).mapped = table.mapped;
            return errno;
          },
          unmapPages: (iova, pgsize, pgcount, gather) =>
            table.unmapPages(iova, pgsize, pgcount, gather),
          iovaToPhys: (iova) => table.iovaToPhys(iova),
          flushIotlbAll: () => machine.flushes++,
          iotlbSync() {},
          freeTables: (tables) => table.freeTables(tables),
          free: () => table.free(),
        },
        pgsizeBitmap: 0x20_1000,
        apertureStart: 0,
        apertureEnd: 2 ** 47,
      });
    };
    const dev = machine.device();
    // 512 small pages fill a table of their own.
    const address = machine.dma.mapPhys(dev, LAYOUT.ram + 4096, 0x20_0000, 'TO_DEVICE');
    const used = frames.used;
    machine.dma.unmapPhys(dev, address, 0x20_0000, 'TO_DEVICE');
    expect([frames.used, machine.flushes]).toEqual([used, 0]);
    machine.platform.clock.advance(10_000);
    expect([frames.used, machine.flushes]).toEqual([used - 1, 1]);
    expect(machine.teardown([dev])).toEqual({ live: 0, frames: 0, slots: 0 });
  });

  it('the first device of a domain decides: one ring where flushes are costly', () => {
    for (const [shadow, mode] of [
      [false, 'per-cpu'],
      [true, 'single'],
    ] as const) {
      const machine = new RealMachine({ type: 'dma-fq' });
      machine.probeDevice = (device?: IommuDevice) => {
        if (device !== undefined) device.shadowOnFlush = shadow;
        return 0;
      };
      const dev = machine.device();
      expect(queueOf(dev.domain.dmaCookie)?.mode).toBe(mode);
    }
  });

  it('Linux 6.1 knows no single ring and asks no driver', () => {
    const machine = new RealMachine({ type: 'dma-fq', api: { profile: DMA_PROFILES['6.1'] } });
    machine.capabilities.deferredFlush = false;
    machine.probeDevice = (device?: IommuDevice) => {
      if (device !== undefined) device.shadowOnFlush = true;
      return 0;
    };
    const dev = machine.device();
    expect(queueOf(dev.domain.dmaCookie)?.mode).toBe('per-cpu');
  });

  it.each([
    {
      why: 'no memory for the queue',
      capable: true,
      warnings: ['iova flush queue initialization failed'],
    },
    { why: 'a driver that cannot defer', capable: false, warnings: [] },
  ])('$why: the domain becomes strict', ({ capable, warnings }) => {
    const machine = new RealMachine({
      type: 'dma-fq',
      flushQueue: { memoryFails: () => true },
    });
    machine.capabilities.deferredFlush = capable;
    const dev = machine.device();
    expect([dev.domain.type, machine.warnings]).toEqual(['dma', warnings]);
    const address = machine.dma.mapPhys(dev, LAYOUT.ram, 64, 'TO_DEVICE');
    machine.dma.unmapPhys(dev, address, 64, 'TO_DEVICE');
    expect([machine.syncs, machine.live.size]).toEqual([1, 0]);
  });
});

describe('from strict to lazy at run time', () => {
  it('the next unmap is queued; mappings that are live stay', () => {
    const machine = new RealMachine();
    const dev = machine.device();
    const group = dev.device.group ?? expect.fail('no group');
    const [one, two] = [0, 1].map((i) =>
      machine.dma.mapPhys(dev, LAYOUT.ram + i * 4096, 4096, 'TO_DEVICE'),
    ) as [number, number];
    machine.dma.unmapPhys(dev, one, 4096, 'TO_DEVICE');
    expect([machine.syncs, dev.domain.type]).toEqual([1, 'dma']);
    const init = () =>
      machine.core.setGroupType(group, 'dma-fq', (domain) => machine.dma.initFlushQueue(domain));
    expect(init()).toBe(0);
    machine.dma.unmapPhys(dev, two, 4096, 'TO_DEVICE');
    expect([machine.syncs, dev.domain.type, machine.live.size]).toEqual([1, 'dma-fq', 1]);
    // The queue is made once.
    const queue = queueOf(dev.domain.dmaCookie);
    expect(machine.dma.initFlushQueue(dev.domain)).toBe(0);
    expect(queueOf(dev.domain.dmaCookie)).toBe(queue);
    machine.platform.clock.advance(10_000);
    expect(machine.teardown([dev])).toEqual({ live: 0, frames: 0, slots: 0 });
  });

  it('without memory it stays strict, and may be asked again', () => {
    let fails = true;
    const machine = new RealMachine({ flushQueue: { memoryFails: () => fails } });
    const dev = machine.device();
    const group = dev.device.group ?? expect.fail('no group');
    const ask = () =>
      machine.core.setGroupType(group, 'dma-fq', (domain) => machine.dma.initFlushQueue(domain));
    expect([ask(), dev.domain.type]).toEqual([-12, 'dma']);
    fails = false;
    expect([ask(), dev.domain.type]).toEqual([0, 'dma-fq']);
  });

  it('not back while it is in use', () => {
    const machine = new RealMachine({ type: 'dma-fq' });
    const dev = machine.device();
    const group = dev.device.group ?? expect.fail('no group');
    group.ownerCount = 1;
    expect([machine.core.setGroupType(group, 'dma'), dev.domain.type]).toEqual([-1, 'dma-fq']);
  });

  it('a domain whose IOVA space comes later is lazy from the start', () => {
    const machine = new RealMachine();
    const device = new IommuDevice({ name: 'late', ids: [2], groupKey: 'late' });
    machine.core.probeDevice(device, machine);
    const group = device.group ?? expect.fail('no group');
    expect(
      machine.core.setGroupType(group, 'dma-fq', (domain) => machine.dma.initFlushQueue(domain)),
    ).toBe(0);
    const dev = machine.dma.setupDevice(device, {
      dmaBits: 48,
      coherentDmaBits: 48,
      coherent: true,
    });
    expect(queueOf(dev.domain.dmaCookie)).not.toBeNull();
  });
});

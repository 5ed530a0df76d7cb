import { IOMMU_READ, IOMMU_WRITE } from '@iommukit/io-pgtable';
import { CORE_PROFILES, type CoreEvent, IommuCore, IommuDevice } from '@iommukit/iommu-core';
import { type DriverSubject, driverContract } from '@iommukit/iommu-core/contract';
import { FrameAllocator, PhysicalMemory, TraceChannel } from '@iommukit/platform';
import { describe, expect, test } from 'vitest';
import { GpuDriver } from '../src/examples/gpu-two-banks/gpu-driver.ts';
import { BANK, BANK_BYTES } from '../src/examples/gpu-two-banks/gpu-registers.ts';
import { gpuTwoBanks } from '../src/examples/gpu-two-banks/gpu-two-banks.ts';
import { GpuUnit } from '../src/examples/gpu-two-banks/gpu-unit.ts';

const RAM = { base: 0x4000_0000, size: 0x1000_0000 };

test('two clients at the same IOVAs: one invalidation and one wait a frame, no lookup, every word right', () => {
  const summary = gpuTwoBanks({ clients: 2, frames: 4 });
  expect(summary).toMatchObject({
    frames: 8,
    // Two maps for each client to begin with; each frame, two unmaps and two maps.
    operations: 2 * 2 + 8 * 4,
    flushes: 8,
    waits: 8,
    lookups: 0,
    // A record for the texture, and one for the target.
    peakBytes: 48,
    words: 8 * 16 * 1024,
    wrongWords: 0,
    leaked: 0,
  });
});

test('without the flush the GPU reads and writes the pages of the frame before', () => {
  const { words, wrongWords, flushes } = gpuTwoBanks({ clients: 1, frames: 2, flush: 'forgotten' });
  expect(words).toBe(2 * 16 * 1024);
  expect(flushes).toBe(0);
  expect(wrongWords).toBe(16 * 1024);
});

test('the summary is three lines', () => {
  expect(gpuTwoBanks({ clients: 1, frames: 2 }).lines).toEqual([
    'frames 2: 10 ranges, 96 pages mapped',
    'invalidations 2, waits 2, lookups 0, most bytes remembered 48',
    'words copied by the GPU 32768, wrong 0; frames of tables left 0',
  ]);
});

function rig(): {
  readonly gpu: GpuUnit;
  readonly core: IommuCore;
  readonly memory: PhysicalMemory;
  readonly device: IommuDevice;
} {
  const memory = new PhysicalMemory([RAM]);
  const gpu = new GpuUnit(memory);
  const core = new IommuCore({
    trace: new TraceChannel<CoreEvent>(),
    profile: CORE_PROFILES['7.3'],
    defaultDomainType: 'dma',
  });
  const frames = new FrameAllocator({ base: RAM.base, size: 0x10_0000 });
  const driver = new GpuDriver({ core, units: [gpu], memory, frames });
  const device = new IommuDevice({ name: 'gpu', ids: [0], groupKey: 'gpu' });
  expect(core.probeDevice(device, driver)).toBe(0);
  return { gpu, core, memory, device };
}

test('a read-only page can be read and not written, and the first fault stands in the registers of its bank', () => {
  const { gpu, core, device } = rig();
  const domain = device.group?.domain;
  if (domain == null) throw new Error('no domain');
  core.map(domain, 0x5000, 0x4800_0000, 0x1000, IOMMU_READ);
  core.map(domain, 0x8000, 0x4900_0000, 0x1000, IOMMU_READ + IOMMU_WRITE);
  expect(gpu.translate(1, 0x5123, 'read')).toBe(0x4800_0123);
  expect(gpu.translate(1, 0x5004, 'write')).toBe(-1);
  expect(gpu.translate(1, 0x6000, 'read')).toBe(-1);
  expect(gpu.translate(1, 0x8ffc, 'write')).toBe(0x4900_0ffc);
  expect(gpu.read32(BANK_BYTES + BANK.faultStatus)).toBe(1);
  expect(gpu.read32(BANK_BYTES + BANK.faultAddress)).toBe(0x5004);
  expect(gpu.read32(BANK.faultStatus)).toBe(0);
  gpu.write32(BANK_BYTES + BANK.faultStatus, 0);
  expect(gpu.read32(BANK_BYTES + BANK.faultStatus)).toBe(0);
});

test('an invalidation takes effect at the wait', () => {
  const { gpu, core, device } = rig();
  const domain = device.group?.domain;
  if (domain == null) throw new Error('no domain');
  core.map(domain, 0x5000, 0x4800_0000, 0x1000, IOMMU_READ);
  expect(gpu.translate(0, 0x5000, 'read')).toBe(0x4800_0000);
  const batch = core.beginBatch(domain);
  if (typeof batch === 'number') throw new Error('no batch');
  batch.unmapRange(0x5000, 0x1000);
  expect(gpu.translate(0, 0x5000, 'read')).toBe(0x4800_0000);
  batch.flush();
  expect(gpu.translate(0, 0x5000, 'read')).toBe(-1);
});

const subject: DriverSubject = {
  name: 'GPU',
  create(core) {
    const memory = new PhysicalMemory([RAM]);
    const units = [new GpuUnit(memory), new GpuUnit(memory)];
    const frames = new FrameAllocator({ base: RAM.base, size: 0x100_0000 });
    const driver = new GpuDriver({ core, units, memory, frames });
    return {
      driver,
      devices: ['a', 'b'].map((name, id) => ({ name, ids: [id], groupKey: name })),
      access: (device, iova) => units[device.info.ids[0] ?? 0]?.translate(1, iova, 'write') ?? -1,
      commands: () =>
        units.reduce((sum, { invalidations, syncs }) => sum + invalidations + syncs, 0),
      frames: () => frames.used,
      failAllocation: (k) => {
        frames.failIn = k;
      },
      memory: 0x8000_0000,
    };
  },
};

describe('the contract of drivers', () => {
  test.each(driverContract(subject))('$name', ({ run }) => run());
});

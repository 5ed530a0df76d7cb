import { REGISTER_OFFSET } from '@iommukit/arm-arch';
import { IO_PGTABLE_PROFILES } from '@iommukit/io-pgtable';
import type { DomainOps } from '@iommukit/iommu-core';
import { IommuDevice } from '@iommukit/iommu-core';
import {
  FrameAllocator,
  type MmioFrame,
  PhysicalMemory,
  SimPlatform,
  TraceChannel,
} from '@iommukit/platform';
import {
  type CommandQueueParts,
  DRIVER_PROFILES,
  type DriverEvent,
  SmmuV3Driver,
} from '../src/index.ts';

const at = REGISTER_OFFSET;

const words = new Map<number, number>([
  [at.IDR0, 0x0d44_101b],
  [at.IDR1, 0x0273_0010],
  [at.IDR3, 0x1414],
  [at.IDR5, 0x74],
]);
const echo = new Map<number, number>([
  [at.CR0, at.CR0ACK],
  [at.IRQ_CTRL, at.IRQ_CTRLACK],
]);
let prod = 0;
/** Consumes at once; the queue registers are a variable so that the frame costs next to nothing. */
const registers: MmioFrame = {
  hi: 0,
  read32: (offset) => (offset === at.CMDQ_CONS ? prod : (words.get(offset) ?? 0)),
  write32(offset, value) {
    if (offset === at.CMDQ_PROD) {
      prod = value;
      return;
    }
    words.set(offset, value);
    words.set(echo.get(offset) ?? offset, value);
  },
  read64: (offset) => words.get(offset) ?? 0,
  write64: (offset, lo, hi) => void words.set(offset, lo).set(offset + 4, hi),
};

export const memory: PhysicalMemory = new PhysicalMemory([
  { base: 0x4000_0000, size: 0x1000_0000 },
]);
export const frames: FrameAllocator = new FrameAllocator({ base: 0x4000_0000, size: 0x100_0000 });
export const coherent: FrameAllocator = new FrameAllocator({ base: 0x4800_0000, size: 0x100_0000 });
const made = SmmuV3Driver.probe({
  registers,
  memory,
  frames,
  coherent,
  platform: new SimPlatform(),
  profile: DRIVER_PROFILES['6.12'],
  pgtableProfile: IO_PGTABLE_PROFILES['6.12'],
  gatherPages: (_domain, gather, iova, granule, count) => {
    gather.pgsize = granule;
    gather.addRange(iova, granule * count);
  },
});
if (typeof made === 'number') throw new Error(`probe: ${made}`);
/** A driver that is up over registers which consume at once. */
export const driver: SmmuV3Driver = made;
const device = new IommuDevice({ name: 'a', ids: [8], groupKey: 'a' });
if (driver.probeDevice(device) !== 0) throw new Error('device');
const allocated = driver.domainAlloc('dma', device);
if (typeof allocated === 'number') throw new Error(`domain: ${allocated}`);
/** A stage-1 domain with one device. */
export const ops: DomainOps = allocated.ops;
ops.attachDev(device, null);

/** What another command queue over the same registers needs. */
export const queueParts: Omit<CommandQueueParts, 'base' | 'lg2'> = {
  memory,
  registers,
  platform: new SimPlatform(),
  trace: new TraceChannel<DriverEvent>(),
  log: () => {},
};

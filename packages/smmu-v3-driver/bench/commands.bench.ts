import { REGISTER_OFFSET } from '@iommukit/arm-arch';
import { SZ_4K } from '@iommukit/bits';
import {
  arm64LpaeS1,
  createPageTable,
  IO_PGTABLE_PROFILES,
  IOMMU_READ,
  IOMMU_WRITE,
  IotlbGather,
} from '@iommukit/io-pgtable';
import { IommuDevice } from '@iommukit/iommu-core';
import { FrameAllocator, type MmioFrame, PhysicalMemory, SimPlatform } from '@iommukit/platform';
import { CommandBatch, SYNC_WORDS } from '../src/command-batch.ts';
import { DRIVER_PROFILES, SmmuV3Driver } from '../src/index.ts';

const ROUNDS = 256;
const IOVA = 0xffe0_0000;
const PA = 0x4c00_0000;
const PROT = IOMMU_READ + IOMMU_WRITE;
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

const memory = new PhysicalMemory([{ base: 0x4000_0000, size: 0x1000_0000 }]);
const frames = new FrameAllocator({ base: 0x4000_0000, size: 0x100_0000 });
const coherent = new FrameAllocator({ base: 0x4800_0000, size: 0x100_0000 });
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
const driver = made;
const device = new IommuDevice({ name: 'a', ids: [8], groupKey: 'a' });
if (driver.probeDevice(device) !== 0) throw new Error('device');
const allocated = driver.domainAlloc('dma', device);
if (typeof allocated === 'number') throw new Error(`domain: ${allocated}`);
const { ops } = allocated;
ops.attachDev(device, null);

const alone = createPageTable(arm64LpaeS1, {
  pgsizeBitmap: SZ_4K,
  ias: 48,
  oas: 44,
  coherentWalk: true,
  memory,
  frames,
  flush: {
    tlbFlushAll() {},
    tlbFlushWalk() {},
    tlbAddPage: (gather, iova, granule, count) => {
      gather.pgsize = granule;
      gather.addRange(iova, granule * count);
    },
  },
  profile: IO_PGTABLE_PROFILES['6.12'],
});
if (typeof alone === 'number') throw new Error(`table: ${alone}`);
const table = alone;

const gather = new IotlbGather();
const batch = new CommandBatch();
batch.tlbiNhAsid(1);
const RING = coherent.alloc(0x10_0000);
let slot = 0;

function store(source: Uint32Array): void {
  const pa = RING + slot * 16;
  memory.store64(pa, source[0] as number, source[1] as number);
  memory.store64(pa + 8, source[2] as number, source[3] as number);
  slot = (slot + 1) % 0x1_0000;
}

export const cases: { name: string; reference?: true; ops: number; run(): number }[] = [
  {
    name: 'plain ring store: one command and SYNC',
    reference: true,
    ops: ROUNDS,
    run() {
      for (let i = 0; i < ROUNDS; i++) {
        store(batch.words);
        store(SYNC_WORDS);
      }
      return slot;
    },
  },
  {
    name: 'issue a list of one command with SYNC',
    ops: ROUNDS,
    run() {
      let errnos = 0;
      for (let i = 0; i < ROUNDS; i++) errnos += driver.cmdq.issueSync(batch);
      return errnos;
    },
  },
  {
    name: 'page table alone: map and unmap one page',
    reference: true,
    ops: ROUNDS,
    run() {
      let bytes = 0;
      for (let i = 0; i < ROUNDS; i++) {
        table.mapPages(IOVA, PA, SZ_4K, 1, PROT);
        gather.init();
        bytes += table.unmapPages(IOVA, SZ_4K, 1, gather);
      }
      return bytes;
    },
  },
  {
    name: 'driver, strict: map, unmap and invalidate one page',
    ops: ROUNDS,
    run() {
      let bytes = 0;
      for (let i = 0; i < ROUNDS; i++) {
        ops.mapPages(IOVA, PA, SZ_4K, 1, PROT);
        gather.init();
        bytes += ops.unmapPages(IOVA, SZ_4K, 1, gather);
        ops.iotlbSync(gather);
      }
      return bytes;
    },
  },
];

import { SZ_4K } from '@iommukit/bits';
import {
  arm64LpaeS1,
  createPageTable,
  IO_PGTABLE_PROFILES,
  IOMMU_READ,
  IOMMU_WRITE,
  IotlbGather,
} from '@iommukit/io-pgtable';
import { frames, memory, ops } from './driver-rig.ts';

const ROUNDS = 256;
const IOVA = 0xffe0_0000;
const PA = 0x4c00_0000;
const PROT = IOMMU_READ + IOMMU_WRITE;
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

export const cases: { name: string; reference?: true; ops: number; run(): number }[] = [
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

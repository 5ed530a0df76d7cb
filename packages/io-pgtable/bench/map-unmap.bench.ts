import { SZ_4K } from '@iommukit/bits';
import { FrameAllocator, PhysicalMemory } from '@iommukit/platform';
import {
  arm64LpaeS1,
  createPageTable,
  IO_PGTABLE_PROFILES,
  IOMMU_CACHE,
  IOMMU_READ,
  IOMMU_WRITE,
  IotlbGather,
} from '../src/index.ts';

const BASE = 0x1_0000_0000;
const PA = 0x2_0000_0000;
const IOVA = 0xffe0_0000;
const PAGES = 512;
const PROT = IOMMU_READ + IOMMU_WRITE + IOMMU_CACHE;
const memory = new PhysicalMemory([{ base: BASE, size: 0x10_0000 }]);
const frames = new FrameAllocator({ base: BASE, size: 0x10_0000 });
const gather = new IotlbGather();
const made = createPageTable(arm64LpaeS1, {
  pgsizeBitmap: SZ_4K,
  ias: 48,
  oas: 48,
  coherentWalk: true,
  memory,
  frames,
  flush: {
    tlbFlushAll() {},
    tlbFlushWalk() {},
    tlbAddPage: (g, iova, granule, count) => g.addRange(iova, granule * count),
  },
  profile: IO_PGTABLE_PROFILES['7.3'],
});
if (typeof made === 'number') throw new Error(`refused: ${made}`);
const table = made;
const plain = new Uint32Array(PAGES * 2);

export const cases: { name: string; reference?: true; ops: number; run(): number }[] = [
  {
    name: 'plain loop, same words',
    reference: true,
    ops: PAGES,
    run() {
      for (let i = 0, lo = 0xf47; i < PAGES; i++, lo += SZ_4K) {
        plain[i * 2] = lo;
        plain[i * 2 + 1] = 2;
      }
      const last = plain[PAGES * 2 - 2] as number;
      plain.fill(0);
      return last;
    },
  },
  {
    name: 'map + unmap, 512 pages a call',
    ops: PAGES,
    run() {
      table.mapPages(IOVA, PA, SZ_4K, PAGES, PROT);
      gather.init();
      return table.unmapPages(IOVA, SZ_4K, PAGES, gather) + table.warnings;
    },
  },
  {
    name: 'map + unmap, one page a call',
    ops: PAGES,
    run() {
      let bytes = 0;
      for (let at = 0; at < PAGES * SZ_4K; at += SZ_4K)
        table.mapPages(IOVA + at, PA + at, SZ_4K, 1, PROT);
      gather.init();
      for (let at = 0; at < PAGES * SZ_4K; at += SZ_4K)
        bytes += table.unmapPages(IOVA + at, SZ_4K, 1, gather);
      return bytes + table.warnings;
    },
  },
];

import { SZ_1G, SZ_2M, SZ_4K } from '@iommukit/bits';
import { FrameAllocator, PhysicalMemory } from '@iommukit/platform';
import type { PhysRun } from '../src/index.ts';
import {
  arm64LpaeS1,
  createPageTable,
  IO_PGTABLE_PROFILES,
  IOMMU_CACHE,
  IOMMU_READ,
  IOMMU_WRITE,
  IotlbGather,
  PageRun,
  RangeGather,
} from '../src/index.ts';

const BASE = 0x1_0000_0000;
const IOVA = 0x1_0000_0000;
const PAGES = 512;
const SIZE = PAGES * SZ_4K;
const PROT = IOMMU_READ + IOMMU_WRITE + IOMMU_CACHE;
const runs: readonly PhysRun[] = Array.from({ length: PAGES }, (_, i) => ({
  paddr: 0x8_8000_0000 + i * 2 * SZ_4K,
  length: SZ_4K,
}));
const memory = new PhysicalMemory([{ base: BASE, size: 0x10_0000 }]);
const made = createPageTable(arm64LpaeS1, {
  pgsizeBitmap: SZ_4K + SZ_2M + SZ_1G,
  ias: 48,
  oas: 48,
  coherentWalk: true,
  memory,
  frames: new FrameAllocator({ base: BASE, size: 0x10_0000 }),
  flush: {
    tlbFlushAll() {},
    tlbFlushWalk() {},
    tlbAddPage: (gather, iova, granule, count) => gather.addRange(iova, granule * count),
  },
  profile: IO_PGTABLE_PROFILES['7.3'],
});
if (typeof made === 'number') throw new Error(`refused: ${made}`);
const table = made;
// The upper tables stay: every case takes and gives back the leaf table only.
table.mapPages(IOVA + SZ_2M, 0, SZ_4K, 1, PROT);
const gather = new IotlbGather();
const pending = new RangeGather();
const pick = new PageRun();
const plain = new Uint32Array(PAGES * 2);

function unmapAsKernel(): number {
  gather.init();
  return table.unmapPages(IOVA, SZ_2M, 1, gather);
}

export const cases: { name: string; reference?: true; ops: number; run(): number }[] = [
  {
    name: 'plain loop over the list, same words, two clears',
    reference: true,
    ops: PAGES,
    run() {
      plain.fill(0);
      for (let i = 0; i < PAGES; i++) {
        const { paddr } = runs[i] as PhysRun;
        const hi = Math.floor(paddr / 0x1_0000_0000);
        plain[i * 2] = paddr - hi * 0x1_0000_0000 + 0xf47;
        plain[i * 2 + 1] = hi;
      }
      const last = plain[PAGES * 2 - 2] as number;
      plain.fill(0);
      return last;
    },
  },
  {
    name: 'R: mapRange of 512 scattered pages, unmapRange',
    ops: PAGES,
    run() {
      table.mapRange(IOVA, runs, PROT);
      const bytes = table.unmapRange(IOVA, SIZE, pending);
      pending.releaseDetached(table);
      return bytes + table.warnings;
    },
  },
  {
    name: 'R with reuseTables',
    ops: PAGES,
    run() {
      table.mapRange(IOVA, runs, PROT);
      const bytes = table.unmapRange(IOVA, SIZE, pending, { reuseTables: true });
      pending.releaseDetached(table);
      return bytes + table.warnings;
    },
  },
  {
    name: 'K: pieces by page size, one call each, one unmap',
    ops: PAGES,
    run() {
      for (let i = 0, at = IOVA; i < PAGES; at += (runs[i++] as PhysRun).length) {
        const { paddr, length } = runs[i] as PhysRun;
        pick.pick(table.pgsizeBitmap, at, paddr, length);
        table.mapPages(at, paddr, pick.pgsize, pick.count, PROT);
      }
      return unmapAsKernel() + table.warnings;
    },
  },
  {
    name: 'P: a page a call, both ways',
    ops: PAGES,
    run() {
      for (let i = 0; i < PAGES; i++) {
        const { paddr } = runs[i] as PhysRun;
        pick.pick(table.pgsizeBitmap, IOVA + i * SZ_4K, paddr, SZ_4K);
        table.mapPages(IOVA + i * SZ_4K, paddr, pick.pgsize, pick.count, PROT);
      }
      let bytes = 0;
      gather.init();
      for (let i = 0; i < PAGES; i++) bytes += table.unmapPages(IOVA + i * SZ_4K, SZ_4K, 1, gather);
      return bytes + table.warnings;
    },
  },
];

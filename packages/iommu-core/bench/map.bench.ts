import { IOMMU_READ, IOMMU_WRITE, IotlbGather, PageRun } from '@iommukit/io-pgtable';
import type { DomainOps } from '../src/index.ts';
import { benchCore } from './bench-core.ts';

const PAGES = 4096;
const SIZE = 4096;
// The least that any driver does: one word for a page, written and cleared.
const words = new Uint32Array(2 * PAGES);
const slotOf = (iova: number, at: number): number => (iova / SIZE + at) % (2 * PAGES);
const ops: DomainOps & { mapped: number } = {
  mapped: 0,
  attachDev: () => 0,
  mapPages(iova, paddr, pgsize, pgcount, prot) {
    for (let i = 0; i < pgcount; i++) words[slotOf(iova, i)] = paddr + i * pgsize + prot;
    this.mapped = pgsize * pgcount;
    return 0;
  },
  unmapPages(iova, pgsize, pgcount) {
    for (let i = 0; i < pgcount; i++) words[slotOf(iova, i)] = 0;
    return pgsize * pgcount;
  },
  iovaToPhys: () => 0,
  flushIotlbAll() {},
  iotlbSync() {},
  free() {},
};
const { core, domain } = benchCore('6.12', ops);
const prot = IOMMU_READ + IOMMU_WRITE;
const gather = new IotlbGather();
const run = new PageRun();
const BASE = 0xf000_0000;

export const cases: { name: string; reference?: true; ops: number; run(): number }[] = [
  {
    name: 'plain loop over the driver, one page',
    reference: true,
    ops: PAGES,
    run() {
      let sum = 0;
      for (let i = 0; i < PAGES; i++) {
        ops.mapPages(BASE + i * SIZE, BASE + i * SIZE, SIZE, 1, prot);
        sum += ops.mapped + (words[slotOf(BASE + i * SIZE, 0)] as number);
        sum += ops.unmapPages(BASE + i * SIZE, SIZE, 1, gather);
      }
      return sum;
    },
  },
  {
    name: 'core.map + core.unmap, one page',
    ops: PAGES,
    run() {
      let sum = 0;
      for (let i = 0; i < PAGES; i++) {
        core.map(domain, BASE + i * SIZE, BASE + i * SIZE, SIZE, prot);
        sum += core.unmap(domain, BASE + i * SIZE, SIZE);
      }
      return sum;
    },
  },
  {
    name: 'core.map + core.unmap, 16 MiB and 8 KiB',
    ops: 256,
    run() {
      let sum = 0;
      for (let i = 0; i < 256; i++) {
        core.map(domain, BASE - SIZE, BASE - SIZE, 0x100_2000, prot);
        sum += core.unmap(domain, BASE - SIZE, 0x100_2000);
      }
      return sum;
    },
  },
  {
    name: 'page-size choice alone',
    ops: PAGES,
    run() {
      let sum = 0;
      for (let i = 1; i <= PAGES; i++) sum += run.pick(0x4020_1000, BASE, BASE, i * SIZE);
      return sum;
    },
  },
];

import { IOMMU_READ, IOMMU_WRITE } from '@iommukit/io-pgtable';
import type { DomainOps, SgRun } from '../src/index.ts';
import { benchCore } from './bench-core.ts';

// The core's own share of a batch: the driver writes one word for a page, and an invalidation costs it nothing.
const LISTS = 64;
const PAGES = 32;
const SIZE = 4096;
const SLOT = 0x20_0000;
const BASE = 0x1_0000_0000;
const words = new Float64Array((LISTS * SLOT) / SIZE);
const at = (iova: number): number => (iova - BASE) / SIZE;
let syncs = 0;

const ops: DomainOps & { mapped: number } = {
  mapped: 0,
  attachDev: () => 0,
  mapPages(iova, paddr, pgsize, pgcount) {
    for (let i = 0; i < pgcount; i++) words[at(iova) + i] = paddr + i * pgsize;
    this.mapped = pgsize * pgcount;
    return 0;
  },
  unmapPages(iova, pgsize, pgcount, gather) {
    words.fill(0, at(iova), at(iova) + pgcount);
    core.gatherAddPages(domain, gather, iova, pgsize, pgcount);
    return pgsize * pgcount;
  },
  iovaToPhys: () => 0,
  flushIotlbAll() {},
  iotlbSync() {
    syncs++;
  },
  mapRange(iova, runs) {
    let slot = at(iova);
    for (const { paddr, length } of runs)
      for (let done = 0; done < length; done += SIZE) words[slot++] = paddr + done;
    return 0;
  },
  unmapRange(iova, size, pending) {
    words.fill(0, at(iova), at(iova) + size / SIZE);
    pending.add(iova, iova + size, SIZE);
    return size;
  },
  flushRanges() {
    syncs++;
    return 0;
  },
  releaseTable() {},
  free() {},
};
const { core, domain } = benchCore('7.3', ops);
const prot = IOMMU_READ + IOMMU_WRITE;
const lists: SgRun[][] = Array.from({ length: LISTS }, (_, list) =>
  Array.from({ length: PAGES }, (_, i) => ({
    paddr: 0x8_8000_0000 + (list * PAGES + i) * 2 * SIZE,
    length: SIZE,
  })),
);
const long: SgRun[] = lists.flat();
const begun = core.beginBatch(domain);
if (typeof begun === 'number') throw new Error(`beginBatch: ${begun}`);
const batch = begun;

export const cases: { name: string; reference?: true; ops: number; run(): number }[] = [
  {
    name: '64 lists of 32 pages, one at a time',
    reference: true,
    ops: LISTS * PAGES,
    run() {
      let sum = 0;
      for (let i = 0; i < LISTS; i++)
        sum += core.mapSg(domain, BASE + i * SLOT, lists[i] as SgRun[], prot);
      for (let i = 0; i < LISTS; i++) sum += core.unmap(domain, BASE + i * SLOT, PAGES * SIZE);
      return sum + syncs;
    },
  },
  {
    name: '64 lists of 32 pages, in a batch',
    ops: LISTS * PAGES,
    run() {
      let sum = 0;
      for (let i = 0; i < LISTS; i++)
        sum += batch.mapSg(BASE + i * SLOT, lists[i] as SgRun[], prot);
      for (let i = 0; i < LISTS; i++) sum += batch.unmapRange(BASE + i * SLOT, PAGES * SIZE);
      return sum + batch.flush() + syncs;
    },
  },
  {
    name: 'one list of 2048 pages, in a batch',
    ops: LISTS * PAGES,
    run() {
      let sum = batch.mapSg(BASE, long, prot);
      sum += batch.unmapRange(BASE, LISTS * PAGES * SIZE);
      return sum + batch.flush() + syncs;
    },
  },
];

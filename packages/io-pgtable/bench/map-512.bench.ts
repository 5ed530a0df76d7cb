import { SZ_4K } from '@iommukit/bits';
import { benchTable, type Case, LEAF_LO, leafPage, PROT } from './bench-table.ts';

// Mapping 512 pages of one leaf table. Every case clears the page with `fill` first, the same small cost for all.
const PA = 0x2_0000_0000;
const IOVA = 0xffe0_0000;
const PAGES = 512;
const rig = benchTable(0x10_0000);
const { table } = rig;
const page = leafPage(rig, IOVA);

export const cases: Case[] = [
  {
    name: 'indexed loop, same words',
    reference: true,
    ops: PAGES,
    run() {
      page.fill(0);
      for (let i = 0, lo = LEAF_LO; i < PAGES * 2; i += 2, lo += SZ_4K) {
        page[i] = lo;
        page[i + 1] = 2;
      }
      return page[PAGES * 2 - 2] as number;
    },
  },
  {
    name: 'mapPages, 512 pages a call',
    ops: PAGES,
    run() {
      page.fill(0);
      return table.mapPages(IOVA, PA, SZ_4K, PAGES, PROT) + table.warnings;
    },
  },
  {
    name: 'mapPages, one page a call',
    ops: PAGES,
    run() {
      page.fill(0);
      let errno = 0;
      for (let at = 0; at < PAGES * SZ_4K; at += SZ_4K)
        errno += table.mapPages(IOVA + at, PA + at, SZ_4K, 1, PROT);
      return errno + table.warnings;
    },
  },
];

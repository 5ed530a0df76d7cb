import { SZ_4K } from '@iommukit/bits';
import { IotlbGather } from '../src/index.ts';
import { benchTable, type Case, leafPage, PROT } from './bench-table.ts';

// Unmapping 512 pages of one leaf table. Every case restores the page from a copy first, the same small cost for all.
const IOVA = 0xffe0_0000;
const PAGES = 512;
const rig = benchTable(0x10_0000);
const { table } = rig;
const page = leafPage(rig, IOVA);
table.mapPages(IOVA, 0x2_0000_0000, SZ_4K, PAGES, PROT);
const full = page.slice();
const gather = new IotlbGather();

export const cases: Case[] = [
  {
    name: 'indexed loop, same words',
    reference: true,
    ops: PAGES,
    run() {
      page.set(full);
      for (let i = 0; i < PAGES * 2; i += 2) {
        page[i] = 0;
        page[i + 1] = 0;
      }
      return page[PAGES * 2 - 2] as number;
    },
  },
  {
    name: 'unmapPages, 512 pages, no gather',
    ops: PAGES,
    run() {
      page.set(full);
      return table.unmapPages(IOVA, SZ_4K, PAGES, null) + table.warnings;
    },
  },
  {
    name: 'unmapPages, 512 pages, gather',
    ops: PAGES,
    run() {
      page.set(full);
      gather.init();
      return table.unmapPages(IOVA, SZ_4K, PAGES, gather) + table.warnings;
    },
  },
  {
    name: 'unmapPages, one page a call',
    ops: PAGES,
    run() {
      page.set(full);
      gather.init();
      let bytes = 0;
      for (let at = 0; at < PAGES * SZ_4K; at += SZ_4K)
        bytes += table.unmapPages(IOVA + at, SZ_4K, 1, gather);
      return bytes + table.warnings;
    },
  },
];

import { SZ_4K } from '@iommukit/bits';
import { benchTable, type Case, PROT } from './bench-table.ts';
import { handWrittenRounds } from './hand-descent.ts';

// Pages one at a time, in 64 leaf tables in turn: map all, then unmap all.
const PAGES = 4096;
const BYTES = 0x10_0000;
const IOVA = 0x8000_0000;
const STRIDE = 0x20_1000;
const PA = 0x2_0000_0000;
const rig = benchTable(BYTES);
const { table } = rig;
const iovas = Float64Array.from(
  { length: PAGES },
  (_, i) => IOVA + (i & 63) * STRIDE + (i >>> 6) * SZ_4K,
);

export const cases: Case[] = [
  {
    name: 'hand-written descent and store',
    reference: true,
    ops: PAGES * 2,
    run: handWrittenRounds(rig, BYTES, iovas),
  },
  {
    name: 'mapPages + unmapPages, one page',
    ops: PAGES * 2,
    run() {
      let done = 0;
      for (let k = 0; k < PAGES; k++)
        done += table.mapPages(iovas[k] as number, PA + k * SZ_4K, SZ_4K, 1, PROT);
      for (let k = 0; k < PAGES; k++) done += table.unmapPages(iovas[k] as number, SZ_4K, 1, null);
      return done + table.warnings;
    },
  },
];

import { SZ_1G, SZ_2M, SZ_4K } from '@iommukit/bits';
import { BASE, benchTable, type Case, flatCopy, LEAF_LO, PROT } from './bench-table.ts';

// Pages one at a time, in 64 leaf tables in turn: map all, then unmap all.
const PAGES = 4096;
const BYTES = 0x10_0000;
const IOVA = 0x8000_0000;
const STRIDE = 0x20_1000;
const PA = 0x2_0000_0000;
const ROOT_SPAN = 2 ** 39;
const rig = benchTable(BYTES);
const { table } = rig;
const iovas = Float64Array.from(
  { length: PAGES },
  (_, i) => IOVA + (i & 63) * STRIDE + (i >>> 6) * SZ_4K,
);
for (const iova of iovas) table.mapPages(iova, PA, SZ_4K, 1, PROT);
for (const iova of iovas) table.unmapPages(iova, SZ_4K, 1, null);
const flat = flatCopy(rig, BYTES);
const root = (table.base - BASE) / 4;

/** Where the leaf of an IOVA stands in the flat array; 0 when a table on the way is missing. */
function leafIndex(iova: number): number {
  let i = root + ((iova / ROOT_SPAN) & 511) * 2;
  let lo = flat[i] as number;
  if ((lo & 3) !== 3) return 0;
  i = base(lo, flat[i + 1] as number) + ((iova / SZ_1G) & 511) * 2;
  lo = flat[i] as number;
  if ((lo & 3) !== 3) return 0;
  i = base(lo, flat[i + 1] as number) + ((iova / SZ_2M) & 511) * 2;
  lo = flat[i] as number;
  if ((lo & 3) !== 3) return 0;
  return base(lo, flat[i + 1] as number) + ((iova / SZ_4K) & 511) * 2;
}

/** First lane of the table that an entry points to; tables may lie anywhere in 48 bits, the array holds those from BASE on. */
function base(lo: number, hi: number): number {
  return (((hi & 0xffff) * 0x1_0000_0000 + ((lo & 0xffff_f000) >>> 0) - BASE) / 4) | 0;
}

export const cases: Case[] = [
  {
    name: 'hand-written descent and store',
    reference: true,
    ops: PAGES * 2,
    run() {
      let stored = 0;
      for (let k = 0; k < PAGES; k++) {
        const i = leafIndex(iovas[k] as number);
        if (flat[i] !== 0) return -1;
        const paddr = PA + k * SZ_4K;
        flat[i] = LEAF_LO | paddr;
        flat[i + 1] = (paddr / 0x1_0000_0000) & 0xffff;
        stored++;
      }
      for (let k = 0; k < PAGES; k++) {
        const i = leafIndex(iovas[k] as number);
        if (flat[i] === 0) return -1;
        flat[i] = 0;
        flat[i + 1] = 0;
        stored++;
      }
      return stored;
    },
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

import { SZ_1G, SZ_2M, SZ_4K } from '@iommukit/bits';
import { createPrng } from '@iommukit/platform';
import { BASE, benchTable, type Case, flatCopy, PROT } from './bench-table.ts';

// Random look-ups over 65,536 mappings, each in one of 128 leaf tables.
const MAPPINGS = 65_536;
const BYTES = 0x20_0000;
const IOVA = 0x8000_0000;
const ROOT_SPAN = 2 ** 39;
const rig = benchTable(BYTES);
const { table } = rig;
for (let at = 0; at < MAPPINGS * SZ_4K; at += 512 * SZ_4K)
  table.mapPages(IOVA + at, 0x2_0000_0000 + at, SZ_4K, 512, PROT);
const flat = flatCopy(rig, BYTES);
const root = (table.base - BASE) / 4;
const prng = createPrng(1);
const asked = Float64Array.from(
  { length: 4096 },
  () => IOVA + (prng.u32() % MAPPINGS) * SZ_4K + (prng.u32() % SZ_4K),
);

/** First lane of the table that an entry points to; tables may lie anywhere in 48 bits, the array holds those from BASE on. */
function base(lo: number, hi: number): number {
  return (((hi & 0xffff) * 0x1_0000_0000 + ((lo & 0xffff_f000) >>> 0) - BASE) / 4) | 0;
}

export const cases: Case[] = [
  {
    name: 'hand-inlined walk of one flat array',
    reference: true,
    ops: asked.length,
    run() {
      let sum = 0;
      for (let k = 0; k < asked.length; k++) {
        const iova = asked[k] as number;
        let i = root + ((iova / ROOT_SPAN) & 511) * 2;
        let lo = flat[i] as number;
        i = base(lo, flat[i + 1] as number) + ((iova / SZ_1G) & 511) * 2;
        lo = flat[i] as number;
        i = base(lo, flat[i + 1] as number) + ((iova / SZ_2M) & 511) * 2;
        lo = flat[i] as number;
        i = base(lo, flat[i + 1] as number) + ((iova / SZ_4K) & 511) * 2;
        lo = flat[i] as number;
        sum +=
          ((flat[i + 1] as number) & 0xffff) * 0x1_0000_0000 +
          ((lo & 0xffff_f000) >>> 0) +
          (iova & 0xfff);
      }
      return sum;
    },
  },
  {
    name: 'iovaToPhys',
    ops: asked.length,
    run() {
      let sum = 0;
      for (let k = 0; k < asked.length; k++) sum += table.iovaToPhys(asked[k] as number);
      return sum;
    },
  },
];

import { SZ_4K } from '@iommukit/bits';
import { FrameAllocator, PhysicalMemory } from '@iommukit/platform';
import { x8664 } from '../src/generic/x86-64.lanes.ts';
import { createPageTable, IOMMU_READ, IOMMU_WRITE, IotlbGather } from '../src/index.ts';
import { BASE, type Case } from './bench-table.ts';

// The generic family by its x86-64 format: 512 pages of one leaf table, and lookups spread over 65,536 pages. The output is not
// congruent to the input, so that no page is larger than 4 KiB. Every map case clears the leaf table with `fill` first.
const PROT = IOMMU_READ + IOMMU_WRITE;
const PAGES = 512;
const IOVA = 0xffe0_0000;
const PA = 0x2_0000_1000;
const LEAF_LO = 0x67;
const SPREAD = 65_536;
const SPREAD_IOVA = 0x40_0000_0000;
const POOL = 0x100_0000;
const memory = new PhysicalMemory([{ base: BASE, size: POOL }]);
const made = createPageTable(x8664, {
  features: ['SIGN_EXTEND', 'FLUSH_RANGE'],
  hwMaxVaszLg2: 48,
  hwMaxOaszLg2: 52,
  topLevel: 3,
  memory,
  frames: new FrameAllocator({ base: BASE, size: POOL }),
  driver: { iotlbSync() {} },
});
if (typeof made === 'number') throw new Error(`refused: ${made}`);
const table = made;
const gather = new IotlbGather();
table.map(IOVA - SZ_4K, 0, SZ_4K * 2, PROT);
table.map(SPREAD_IOVA, PA, SPREAD * SZ_4K, PROT);

function leafLanes(iova: number): Uint32Array {
  let at = table.top;
  for (const shift of [39, 30, 21]) {
    const lo = memory.load64(at + (Math.floor(iova / 2 ** shift) % 512) * 8);
    at = memory.hi * 2 ** 32 + ((lo & 0xffff_f000) >>> 0);
  }
  const lanes = memory.lanes(at);
  if (lanes === undefined) throw new Error('the leaf table is not in memory');
  return lanes;
}

const page = leafLanes(IOVA);
// All table memory as one array, for a walk that knows where everything is.
const flat = new Uint32Array(POOL / 4);
for (const pa of memory.touchedPages()) flat.set(memory.lanes(pa) ?? [], (pa - BASE) / 4);
const top = (table.top - BASE) / 4;
const order = Uint32Array.from({ length: SPREAD }, (_, i) => (i * 40_503) & (SPREAD - 1));

/** The walk by hand: four levels, no checks of the format, low lanes only (all of table memory lies in one 4 GiB). */
function handWalk(iova: number): number {
  const high = iova / 0x8000_0000;
  const low = iova >>> 0;
  let at = top + (((high / 256) & 511) << 1);
  at = (((flat[at] as number) & 0xff_f000) >>> 2) + (((high * 2) & 511) << 1);
  at = (((flat[at] as number) & 0xff_f000) >>> 2) + (((low >>> 21) & 511) << 1);
  at = (((flat[at] as number) & 0xff_f000) >>> 2) + (((low >>> 12) & 511) << 1);
  return (
    (flat[at + 1] as number) * 0x1_0000_0000 +
    (((flat[at] as number) & 0xffff_f000) >>> 0) +
    (low & 0xfff)
  );
}

if (handWalk(SPREAD_IOVA + 5) !== table.iovaToPhys(SPREAD_IOVA + 5))
  throw new Error('the walk by hand is wrong');

export const cases: Case[] = [
  {
    name: 'indexed loop, same words',
    reference: true,
    ops: PAGES,
    run() {
      page.fill(0);
      for (let i = 0, lo = (PA | LEAF_LO) >>> 0; i < PAGES * 2; i += 2, lo += SZ_4K) {
        page[i] = lo;
        page[i + 1] = 2;
      }
      return page[PAGES * 2 - 2] as number;
    },
  },
  {
    name: 'x86-64: map, 512 pages a call',
    ops: PAGES,
    run() {
      page.fill(0);
      return table.map(IOVA, PA, PAGES * SZ_4K, PROT) + table.mapped;
    },
  },
  {
    name: 'x86-64: map and unmap, 512 pages less one a call',
    ops: PAGES - 1,
    run() {
      page.fill(0);
      table.map(IOVA, PA, (PAGES - 1) * SZ_4K, PROT);
      gather.init();
      return table.unmap(IOVA, (PAGES - 1) * SZ_4K, gather);
    },
  },
  {
    name: 'x86-64: map, one page a call',
    ops: PAGES,
    run() {
      page.fill(0);
      let errno = 0;
      for (let at = 0; at < PAGES * SZ_4K; at += SZ_4K)
        errno += table.map(IOVA + at, PA + at, SZ_4K, PROT);
      return errno;
    },
  },
  {
    name: 'walk by hand, 65,536 pages',
    ops: SPREAD,
    run() {
      let sum = 0;
      for (let i = 0; i < SPREAD; i++)
        sum += handWalk(SPREAD_IOVA + (order[i] as number) * SZ_4K) & 0xff_ffff;
      return sum;
    },
  },
  {
    name: 'x86-64: iovaToPhys, 65,536 pages',
    ops: SPREAD,
    run() {
      let sum = 0;
      for (let i = 0; i < SPREAD; i++)
        sum += table.iovaToPhys(SPREAD_IOVA + (order[i] as number) * SZ_4K) & 0xff_ffff;
      return sum;
    },
  },
];

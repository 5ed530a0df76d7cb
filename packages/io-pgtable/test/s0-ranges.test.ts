import { SZ_4K } from '@iommukit/bits';
import { describe, expect, test } from 'vitest';
import type { PhysRun } from '../src/index.ts';
import {
  cont,
  type GranuleName,
  leak,
  MIB,
  maps,
  PA,
  pagesOf,
  pagesOfRuns,
  rangeRig,
  SIZES,
  scat,
  tally,
  treeOf,
  X,
} from './range-rig.lanes.ts';

// Expected numbers are those of the scenario descriptions: counted by rules, by a model that shares no code with this package.

interface MapRow {
  name: string;
  granule?: GranuleName;
  iova: number;
  runs: PhysRun[];
  /** fmt, lvl, alloc, st; the last is coherent. */
  expected: { P?: number[]; K: number[]; R: number[] };
  /** st, cmc, cml, not coherent. */
  nc: { P?: number[]; K: number[]; R: number[] };
}

const block4K = (bytes: number): PhysRun[] => [{ paddr: PA, length: bytes }];
const cut = (bytes: number): PhysRun[] =>
  Array.from({ length: bytes / SZ_4K }, (_, i) => ({ paddr: PA + i * SZ_4K, length: SZ_4K }));
const scattered1M = {
  expected: { P: [256, 1024, 3, 259], K: [256, 1024, 3, 259], R: [1, 4, 3, 259] },
  nc: { P: [262, 262, 451], K: [262, 262, 451], R: [260, 4, 193] },
};
const s0_3a = {
  expected: { P: [1027, 4108, 5, 1032], K: [2, 7, 3, 8], R: [1, 7, 3, 8] },
  nc: { P: [1037, 1037, 1352], K: [11, 8, 197], R: [9, 4, 193] },
};

const twoBlocks = (block: number, granule: number): PhysRun[] => [
  { paddr: PA, length: 2 * block + granule },
];

const rows: MapRow[] = [
  { name: 'S0-1 scattered 1 MiB', iova: X, runs: scat(256), ...scattered1M },
  {
    name: 'S0-2 contiguous 1 MiB',
    iova: X,
    runs: cont(MIB),
    expected: { P: [256, 1024, 3, 259], K: [1, 4, 3, 259], R: [1, 4, 3, 259] },
    nc: { P: [262, 262, 451], K: [262, 7, 227], R: [260, 4, 193] },
  },
  { name: 'S0-3 (a) 4 MiB + 12 KiB', iova: X, runs: block4K(4 * MIB + 0x3000), ...s0_3a },
  { name: 'S0-3 (a) cut into 1027 entries', iova: X, runs: cut(4 * MIB + 0x3000), ...s0_3a },
  {
    name: 'S0-3 (b) congruent',
    iova: X + 0x1f_f000,
    runs: [{ paddr: 0x8_801f_f000, length: 4 * MIB + 0x2000 }],
    expected: { K: [3, 11, 4, 8], R: [1, 11, 4, 8] },
    nc: { K: [12, 11, 263], R: [9, 5, 257] },
  },
  {
    name: 'S0-3 (c) not congruent',
    iova: X + 0x1f_f000,
    runs: block4K(4 * MIB + 0x2000),
    expected: { K: [4, 16, 6, 1032], R: [1, 16, 6, 1032] },
    nc: { K: [1038, 16, 520], R: [1033, 7, 385] },
  },
  {
    name: 'S0-4 crossing a table',
    iova: X + MIB,
    runs: cont(3 * MIB),
    expected: { P: [768, 3072, 4, 772], K: [2, 8, 4, 772], R: [1, 8, 4, 772] },
    nc: { P: [776, 776, 1028], K: [776, 10, 356], R: [773, 5, 257] },
  },
  {
    name: 'S0-15 4K granule',
    iova: X,
    runs: scat(1024),
    expected: { P: [1024, 4096, 4, 1028], K: [1024, 4096, 4, 1028], R: [1, 8, 4, 1028] },
    nc: { P: [1032, 1032, 1284], K: [1032, 1032, 1284], R: [1029, 5, 257] },
  },
  {
    name: 'S0-15 16K granule',
    granule: '16K',
    iova: X,
    runs: scat(256, 0x4000),
    expected: { P: [256, 1024, 3, 259], K: [256, 1024, 3, 259], R: [1, 4, 3, 259] },
    nc: { P: [262, 262, 1027], K: [262, 262, 1027], R: [260, 4, 769] },
  },
  {
    name: 'S0-16 64K granule',
    granule: '64K',
    iova: X,
    runs: scat(64, 0x1_0000),
    expected: { P: [64, 192, 2, 66], K: [64, 192, 2, 66], R: [1, 3, 2, 66] },
    nc: { P: [68, 68, 2114], K: [68, 68, 2114], R: [67, 3, 2049] },
  },
  ...(['4K', '16K', '64K'] as const).map((granule): MapRow => {
    const { block, granule: page } = SIZES[granule];
    const [alloc, lvl] = granule === '64K' ? [2, 5] : [3, 7];
    const lines = page / 64;
    return {
      name: `S0-15, S0-16 two blocks and a page, ${granule}`,
      granule,
      iova: X,
      runs: twoBlocks(block, page),
      expected: { K: [2, lvl, alloc, alloc + 3], R: [1, lvl, alloc, alloc + 3] },
      // K: a clean and a mark for each table, a clean for each call. R: a clean for each table, one link.
      nc: {
        K: [alloc * 2 + 3, alloc * 2 + 2, alloc * (lines + 1) + 2],
        R: [alloc + 4, alloc + 1, alloc * lines + 1],
      },
    };
  }),
];

for (const { name, granule = '4K', iova, runs, expected, nc } of rows)
  describe(name, () => {
    for (const way of ['P', 'K', 'R'] as const) {
      const [coherent, other] = [expected[way], nc[way]];
      if (coherent === undefined || other === undefined) continue;
      test(way, () => {
        for (const mode of ['coh', 'nc'] as const) {
          const rig = rangeRig(mode, granule);
          const t = tally(rig, () => expect(maps[way](rig, iova, runs)).toBe(0));
          if (mode === 'coh') expect([t.fmt, t.lvl, t.alloc, t.st]).toEqual(coherent);
          else {
            expect([t.fmt, t.lvl, t.alloc]).toEqual(coherent.slice(0, 3));
            expect([t.st, t.cmc, t.cml]).toEqual(other);
          }
          expect([t.free, t.warn, t.walkFlushes]).toEqual([0, 0, 0]);
          expect(pagesOf(rig)).toEqual(pagesOfRuns(iova, runs, SIZES[granule].granule));
          expect(leak(rig)).toBe(0);
        }
      });
    }

    test('K and R end bit-identical, and so do the device and the CPU', () => {
      for (const mode of ['coh', 'nc'] as const) {
        const [k, r] = [rangeRig(mode, granule), rangeRig(mode, granule)];
        maps.K(k, iova, runs);
        maps.R(r, iova, runs);
        expect(treeOf(r)).toEqual(treeOf(k));
        // The device's side of memory.
        const device = pagesOf({ ...r, config: { ...r.config, memory: r.memory } });
        expect(device).toEqual(pagesOfRuns(iova, runs, SIZES[granule].granule));
      }
    });
  });

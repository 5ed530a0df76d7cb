import { SZ_1G, SZ_2M, SZ_4K } from '@iommukit/bits';
import { expect, test } from 'vitest';
import { coreMap, type GranuleName, leak, MIB, PA, tally, treeOf, X } from './range-rig.lanes.ts';
import type { Rig } from './rig.lanes.ts';
import {
  blocks,
  core,
  formatUnmap,
  type Gathered,
  gathering,
  pages,
  WAYS,
  type Way,
} from './unmap-rig.ts';

// L: a page a call in a loop with one gather (2020); U: the whole count. Expected numbers are those of the scenario descriptions.

interface Row {
  id: string;
  granule?: GranuleName;
  map(rig: Rig): void;
  unmap(on: Gathered, way: Way): number;
  bytes: number;
  /** fmt, lvl. */
  L: [number, number];
  U: [number, number];
  st: number;
  /** cmc, cml. */
  cleanL: [number, number];
  cleanU: [number, number];
  syncs: number;
  free?: number;
}

const rows: Row[] = [
  {
    id: 'S4-1 512 x 4K',
    map: pages(X, 512),
    unmap: (on, way) => formatUnmap(on, way, X, SZ_4K, 512),
    bytes: SZ_2M,
    L: [512, 2048],
    U: [1, 4],
    st: 512,
    cleanL: [512, 512],
    cleanU: [1, 64],
    syncs: 1,
  },
  {
    id: 'S4-2 1 GiB as 4K leaves',
    map: pages(X, 262144),
    unmap: (on, way) => formatUnmap(on, way, X, SZ_4K, 262144),
    bytes: SZ_1G,
    L: [262144, 1048576],
    U: [512, 2048],
    st: 262144,
    cleanL: [262144, 262144],
    cleanU: [512, 32768],
    syncs: 1,
  },
  {
    id: 'S4-3 1 GiB as 2M blocks',
    // At PA + 2 MiB, so that no 1G block fits.
    map: (rig) => void coreMap(rig, X, { paddr: PA + SZ_2M, length: SZ_1G }),
    unmap: (on, way) => formatUnmap(on, way, X, SZ_2M, 512),
    bytes: SZ_1G,
    L: [512, 1536],
    U: [1, 3],
    st: 512,
    cleanL: [512, 512],
    cleanU: [1, 64],
    syncs: 1,
  },
  {
    id: 'S4-4 1 GiB through the core, 4K leaves',
    map: pages(X, 262144),
    unmap: (on, way) => core(on, way, X, SZ_1G),
    bytes: SZ_1G,
    L: [1, 2],
    U: [1, 2],
    st: 2,
    cleanL: [2, 2],
    cleanU: [2, 2],
    syncs: 2,
    free: 513,
  },
  {
    id: 'S4-4 1 GiB through the core, 2M blocks',
    map: (rig) => void coreMap(rig, X, { paddr: PA + SZ_2M, length: SZ_1G }),
    unmap: (on, way) => core(on, way, X, SZ_1G),
    bytes: SZ_1G,
    L: [1, 2],
    U: [1, 2],
    st: 2,
    cleanL: [2, 2],
    cleanU: [2, 2],
    syncs: 2,
    free: 1,
  },
  {
    id: 'S4-5 510 x 2M',
    map: blocks(X + SZ_2M, 510),
    unmap: (on, way) => core(on, way, X + SZ_2M, 510 * SZ_2M),
    bytes: 510 * SZ_2M,
    L: [510, 1530],
    U: [1, 3],
    st: 510,
    cleanL: [510, 510],
    cleanU: [1, 64],
    syncs: 1,
  },
  {
    id: 'S4-6 512 pages at X + 4 KiB',
    map: pages(X + SZ_4K, 512),
    unmap: (on, way) => core(on, way, X + SZ_4K, SZ_2M),
    bytes: SZ_2M,
    L: [512, 2048],
    U: [2, 8],
    st: 512,
    cleanL: [512, 512],
    cleanU: [2, 65],
    syncs: 1,
  },
  {
    id: 'S4-7 3 MiB at X + 1 MiB',
    map: pages(X + MIB, 768),
    unmap: (on, way) => core(on, way, X + MIB, 3 * MIB),
    bytes: 3 * MIB,
    L: [257, 1027],
    U: [2, 7],
    st: 258,
    cleanL: [258, 258],
    cleanU: [3, 34],
    syncs: 3,
    free: 1,
  },
  {
    id: 'S4-8 block, table, block',
    map: (rig) => {
      blocks(X, 1)(rig);
      pages(X + SZ_2M, 512)(rig);
      blocks(X + 2 * SZ_2M, 1)(rig);
    },
    unmap: (on, way) => core(on, way, X, 3 * SZ_2M),
    bytes: 3 * SZ_2M,
    L: [3, 9],
    U: [1, 3],
    st: 4,
    cleanL: [4, 4],
    cleanU: [2, 2],
    syncs: 2,
    free: 1,
  },
  {
    id: 'S4-9 four full leaf tables',
    map: pages(X, 2048),
    unmap: (on, way) => core(on, way, X, 4 * SZ_2M),
    bytes: 4 * SZ_2M,
    L: [4, 12],
    U: [1, 3],
    st: 8,
    cleanL: [8, 8],
    cleanU: [5, 5],
    syncs: 5,
    free: 4,
  },
  {
    id: 'S4-10 1 GiB, 16K pages',
    granule: '16K',
    map: pages(X, 65536, 0x4000),
    unmap: (on, way) => formatUnmap(on, way, X, 0x4000, 65536),
    bytes: SZ_1G,
    L: [65536, 262144],
    U: [32, 128],
    st: 65536,
    cleanL: [65536, 65536],
    cleanU: [32, 8192],
    syncs: 1,
  },
  {
    id: 'S4-11 1 GiB, 64K pages',
    granule: '64K',
    map: pages(X, 16384, 0x1_0000),
    unmap: (on, way) => formatUnmap(on, way, X, 0x1_0000, 16384),
    bytes: SZ_1G,
    L: [16384, 49152],
    U: [2, 6],
    st: 16384,
    cleanL: [16384, 16384],
    cleanU: [2, 2048],
    syncs: 1,
  },
];

for (const row of rows)
  test(row.id, () => {
    for (const mode of ['coh', 'nc'] as const) {
      const results = WAYS.map((way) => {
        const on = gathering(mode, row.granule);
        row.map(on.rig);
        on.issued.length = 0;
        const t = tally(on.rig, () => expect(row.unmap(on, way)).toBe(row.bytes));
        on.drain();
        expect([t.fmt, t.lvl]).toEqual(row[way]);
        expect([t.st, t.free, t.alloc, t.warn]).toEqual([row.st, row.free ?? 0, 0, 0]);
        if (mode === 'nc') expect([t.cmc, t.cml]).toEqual(way === 'L' ? row.cleanL : row.cleanU);
        expect(on.issued).toHaveLength(row.syncs);
        const tree = treeOf(on.rig);
        expect(leak(on.rig)).toBe(0);
        return { issued: on.issued, tree };
      });
      expect(results[1]).toEqual(results[0]);
    }
  });

test('S4-8 last invalidation: three blocks', () => {
  const on = gathering();
  rows.find(({ id }) => id.startsWith('S4-8'))?.map(on.rig);
  core(on, 'U', X, 3 * SZ_2M);
  on.drain();
  expect(on.issued).toEqual([
    ['walk', X + SZ_2M, X + 2 * SZ_2M, SZ_4K],
    ['leaf', X, X + 3 * SZ_2M, SZ_2M],
  ]);
});

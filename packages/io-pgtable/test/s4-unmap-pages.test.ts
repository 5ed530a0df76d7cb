import { SZ_1G, SZ_2M, SZ_4K } from '@iommukit/bits';
import { createPrng, type Prng } from '@iommukit/platform';
import { describe, expect, test } from 'vitest';
import { IotlbGather } from '../src/index.ts';
import {
  coreMap,
  coreUnmap,
  type GranuleName,
  leak,
  MIB,
  type Mode,
  mapR,
  PA,
  PROT,
  pagesOf,
  rangeRig,
  SIZES,
  scat,
  tally,
  treeOf,
  X,
} from './range-rig.lanes.ts';
import type { Rig } from './rig.lanes.ts';

// L: a page a call in a loop with one gather (2020); U: the whole count. Expected numbers are those of the scenario descriptions.

/** An invalidation as it would be issued: `walk` at once, `leaf` when the gather is drained. */
type Issued = [kind: 'walk' | 'leaf', start: number, end: number, pgsize: number];

interface Gathered {
  rig: Rig;
  issued: Issued[];
  gather: IotlbGather;
  drain(): void;
}

/** A rig whose flush ops gather as core does (`iommu_iotlb_gather_add_page`): a piece that does not fit drains first. */
function gathering(mode: Mode = 'coh', granule: GranuleName = '4K'): Gathered {
  const rig = rangeRig(mode, granule);
  const issued: Issued[] = [];
  const gather = new IotlbGather();
  const drain = (): void => {
    if (!gather.isEmpty) issued.push(['leaf', gather.start, gather.end, gather.pgsize]);
    gather.init();
  };
  rig.config.flush.tlbFlushWalk = (iova, size, page) =>
    void issued.push(['walk', iova, iova + size, page]);
  rig.config.flush.tlbAddPage = (into, iova, pgsize, count) => {
    if ((into.pgsize !== 0 && into.pgsize !== pgsize) || into.isDisjoint(iova, pgsize)) drain();
    into.pgsize = pgsize;
    into.addRange(iova, pgsize * count);
  };
  return { rig, issued, gather, drain };
}

const WAYS = ['L', 'U'] as const;
type Way = (typeof WAYS)[number];

/** Format level: calls with one page size until the count is done or nothing was cleared. */
function formatUnmap(on: Gathered, way: Way, iova: number, pgsize: number, pages: number): number {
  let done = 0;
  while (done < pages * pgsize) {
    const left = pages - done / pgsize;
    const n = on.rig.table.unmapPages(iova + done, pgsize, way === 'L' ? 1 : left, on.gather);
    if (n === 0) break;
    done += n;
  }
  return done;
}

function core(on: Gathered, way: Way, iova: number, size: number): number {
  return coreUnmap(on.rig, iova, size, { one: way === 'L', gather: on.gather });
}

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

const blocks =
  (iova: number, n: number, size = SZ_2M) =>
  (rig: Rig): void => {
    expect(coreMap(rig, iova, { paddr: PA, length: n * size })).toBe(0);
  };
const pages =
  (iova: number, n: number, granule: number = SZ_4K) =>
  (rig: Rig): void => {
    expect(mapR(rig, iova, scat(n, granule))).toBe(0);
  };

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

describe('S4-10, S4-11 through the core', () => {
  for (const [granule, n, page, expected] of [
    ['16K', 65536, 0x4000, [1, 3, 64, 32, 33]],
    ['64K', 16384, 0x1_0000, [1, 2, 4, 2, 3]],
  ] as const)
    test(granule, () => {
      const on = gathering('coh', granule);
      pages(X, n, page)(on.rig);
      const t = tally(on.rig, () => expect(core(on, 'U', X, SZ_1G)).toBe(SZ_1G));
      on.drain();
      expect([t.fmt, t.lvl, t.st, t.free, on.issued.length]).toEqual(expected);
      expect(leak(on.rig)).toBe(0);
    });
});

describe('S4-12 holes', () => {
  for (const [way, fmt, lvl, warn] of [
    ['U', 2, 8, 2],
    ['L', 101, 404, 1],
  ] as const)
    test(`(a) ${way}`, () => {
      const on = gathering();
      mapR(on.rig, X + SZ_4K, scat(100));
      mapR(on.rig, X + 102 * SZ_4K, scat(300));
      const t = tally(on.rig, () =>
        expect(core(on, way, X + SZ_4K, 300 * SZ_4K)).toBe(100 * SZ_4K),
      );
      on.drain();
      expect([t.fmt, t.lvl, t.st, t.warn]).toEqual([fmt, lvl, 100, warn]);
      expect(on.issued).toEqual([['leaf', X + SZ_4K, X + 101 * SZ_4K, SZ_4K]]);
      expect(on.rig.table.iovaToPhys(X + 102 * SZ_4K)).toBe(PA);
      expect(pagesOf(on.rig).size).toBe(300);
    });

  test('(b) in a full table that goes as a whole: not seen', () => {
    const on = gathering();
    pages(X, 512)(on.rig);
    formatUnmap(on, 'U', X + 100 * SZ_4K, SZ_4K, 1);
    on.drain();
    on.issued.length = 0;
    const t = tally(on.rig, () => expect(core(on, 'U', X, SZ_2M)).toBe(SZ_2M));
    on.drain();
    expect([t.fmt, t.warn, t.free, on.issued.length]).toEqual([1, 0, 1, 2]);
  });

  test('(c) at an upper level', () => {
    const on = gathering();
    coreMap(on.rig, X, { paddr: PA, length: SZ_4K });
    for (const [iova, lvl] of [
      [X + SZ_2M, 3],
      [X + SZ_1G, 2],
      [2 ** 40, 1],
    ] as const) {
      const t = tally(on.rig, () => expect(core(on, 'U', iova, SZ_4K)).toBe(0));
      expect([t.fmt, t.lvl, t.warn, t.st]).toEqual([1, lvl, 1, 0]);
    }
    on.drain();
    expect(on.issued).toEqual([]);
  });
});

test('S4-13 part of a block', () => {
  const on = gathering();
  blocks(X, 1)(on.rig);
  for (const [iova, size] of [
    [X, SZ_4K],
    [X + MIB, MIB],
  ] as const) {
    const t = tally(on.rig, () => expect(core(on, 'U', iova, size)).toBe(0));
    expect([t.fmt, t.lvl, t.st, t.warn]).toEqual([1, 3, 0, 1]);
  }
  on.drain();
  expect(on.issued).toEqual([]);
  expect(on.rig.table.iovaToPhys(X + MIB)).toBe(PA + MIB);
});

describe('S4-14 gather', () => {
  for (const way of WAYS) {
    test(`page sizes: ${way}`, () => {
      const on = gathering();
      pages(X, 3)(on.rig);
      blocks(X + SZ_2M, 1)(on.rig);
      pages(X + 2 * SZ_2M, 2)(on.rig);
      formatUnmap(on, way, X, SZ_4K, 3);
      formatUnmap(on, way, X + SZ_2M, SZ_2M, 1);
      formatUnmap(on, way, X + 2 * SZ_2M, SZ_4K, 2);
      on.drain();
      expect(on.issued).toEqual([
        ['leaf', X, X + 3 * SZ_4K, SZ_4K],
        ['leaf', X + SZ_2M, X + 2 * SZ_2M, SZ_2M],
        ['leaf', X + 2 * SZ_2M, X + 2 * SZ_2M + 2 * SZ_4K, SZ_4K],
      ]);
    });

    test(`64 pages descending, and every second of 64: ${way}`, () => {
      const on = gathering();
      pages(X, 64)(on.rig);
      for (let i = 63; i >= 0; i--) formatUnmap(on, way, X + i * SZ_4K, SZ_4K, 1);
      on.drain();
      expect(on.issued).toEqual([['leaf', X, X + 64 * SZ_4K, SZ_4K]]);
      pages(X, 64)(on.rig);
      for (let i = 0; i < 64; i += 2) formatUnmap(on, way, X + i * SZ_4K, SZ_4K, 1);
      on.drain();
      expect(on.issued).toHaveLength(1 + 32);
    });
  }
});

describe('S4-17 count overrun', () => {
  test('past the end of a table', () => {
    const { table } = rangeRig();
    for (const page of [510, 511, 512, 513])
      table.mapPages(X + page * SZ_4K, PA + page * SZ_4K, SZ_4K, 1, PROT);
    expect(table.unmapPages(X + 510 * SZ_4K, SZ_4K, 1000, null)).toBe(2 * SZ_4K);
    for (const page of [512, 513])
      expect(table.iovaToPhys(X + page * SZ_4K)).toBe(PA + page * SZ_4K);
  });

  test('past the end of the space', () => {
    const { table } = rangeRig();
    const last = 2 ** 48 - SZ_4K;
    table.mapPages(last, PA, SZ_4K, 1, PROT);
    expect(table.unmapPages(last, SZ_4K, 2, null)).toBe(SZ_4K);
    expect(table.warnings).toBe(0);
    expect(table.unmapPages(2 ** 48, SZ_4K, 1, null)).toBe(0);
    expect(table.warnings).toBe(1);
  });

  for (const [pgsize, count] of [
    [SZ_4K, 0],
    [0x4000, 1],
  ] as const)
    test(`size ${pgsize}, count ${count}`, () => {
      const { table } = rangeRig();
      table.mapPages(X, PA, SZ_4K, 1, PROT);
      expect(table.unmapPages(X, pgsize, count, null)).toBe(0);
      expect(table.warnings).toBe(1);
    });
});

test('S4-18 queued gather: no pages added, a freed table is flushed at once', () => {
  const on = gathering();
  pages(X, 512)(on.rig);
  on.gather.queued = true;
  formatUnmap(on, 'U', X, SZ_4K, 512);
  expect(on.rig.table.counters.tlbAddPages).toBe(0);
  expect(on.issued).toEqual([]);
  pages(X, 512)(on.rig);
  formatUnmap(on, 'U', X, SZ_2M, 1);
  expect(on.rig.table.counters.tlbAddPages).toBe(0);
  expect(on.issued).toEqual([['walk', X, X + SZ_2M, SZ_4K]]);
});

test('S4-19 tables', () => {
  const on = gathering();
  pages(X, 512)(on.rig);
  const pagewise = tally(on.rig, () => formatUnmap(on, 'U', X, SZ_4K, 512));
  expect([pagewise.alloc, pagewise.free]).toEqual([0, 0]);
  on.drain();
  on.issued.length = 0;
  const block = tally(on.rig, () => blocks(X, 1)(on.rig));
  expect([block.alloc, block.free, block.st]).toEqual([0, 1, 3]);
  expect(on.issued).toEqual([['walk', X, X + SZ_2M, SZ_4K]]);
  core(on, 'U', X, SZ_2M);
  pages(X, 512)(on.rig);
  expect(tally(on.rig, () => core(on, 'U', X, SZ_2M)).free).toBe(1);
  expect(leak(on.rig)).toBe(0);
});

describe('S4-20 random twins', () => {
  /** A sequence of maps and unmaps, holes and overlaps included; returns the bytes of every unmap. */
  const sequence = (on: Gathered, way: Way, prng: Prng, granule: GranuleName): number[] => {
    const { granule: page, block } = SIZES[granule];
    const bytes: number[] = [];
    for (let step = 0; step < 8; step++) {
      const kind = prng.below(4);
      // Around the border of two leaf tables, in pages; now and then whole blocks.
      const whole = prng.below(5) === 0;
      const iova = X + (whole ? prng.below(3) * block : block + (prng.below(80) - 40) * page);
      const size = whole ? (1 + prng.below(2)) * block : (1 + prng.below(40)) * page;
      const paddr = whole ? PA : PA + prng.below(1000) * page;
      if (kind < 2) coreMap(on.rig, iova, { paddr, length: size });
      else bytes.push(core(on, way, iova, size));
    }
    on.drain();
    return bytes;
  };

  for (const [granule, sequences] of [
    ['4K', 6000],
    ['16K', 2000],
    ['64K', 2000],
  ] as const)
    test(`${sequences} sequences, ${granule}: same bytes, invalidations, tree`, () => {
      let unmapped = 0;
      for (let seed = 0; seed < sequences; seed++) {
        const results = WAYS.map((way) => {
          const on = gathering('coh', granule);
          const bytes = sequence(on, way, createPrng(seed), granule);
          for (const n of bytes) unmapped += n;
          return { on, bytes };
        });
        const [l, u] = results as [(typeof results)[0], (typeof results)[0]];
        expect(u.bytes).toEqual(l.bytes);
        // In U every walk of a call comes before the pages of that call are added, in L one by one: only the order differs.
        expect(u.on.issued.map(String).sort()).toEqual(l.on.issued.map(String).sort());
        const frames = [...l.on.rig.memory.touchedPages()];
        expect([...u.on.rig.memory.touchedPages()]).toEqual(frames);
        // Both take frames in the same order, so that even their addresses agree.
        for (const pa of frames) {
          const [a, b] = [l, u].map(({ on }) => {
            const words = on.rig.memory.lanes(pa) as Uint32Array;
            return Buffer.from(words.buffer, words.byteOffset, words.byteLength);
          });
          if (!(a as Buffer).equals(b as Buffer)) expect({ seed, pa }).toBe('equal');
        }
      }
      expect(unmapped).toBeGreaterThan(sequences * SZ_4K);
    }, 60_000);
});

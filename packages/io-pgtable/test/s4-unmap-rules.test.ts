import { SZ_1G, SZ_2M, SZ_4K } from '@iommukit/bits';
import { createPrng, type Prng } from '@iommukit/platform';
import { describe, expect, test } from 'vitest';
import {
  coreMap,
  type GranuleName,
  leak,
  MIB,
  mapR,
  PA,
  PROT,
  pagesOf,
  rangeRig,
  SIZES,
  scat,
  tally,
  X,
} from './range-rig.lanes.ts';
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
  const part = process.env['IOMMUKIT_SOAK'] === undefined ? 1 / 60 : 1;
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
    ['4K', 6000 * part],
    ['16K', 2000 * part],
    ['64K', 2000 * part],
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

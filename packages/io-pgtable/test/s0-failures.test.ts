import { SZ_1G, SZ_2M, SZ_4K } from '@iommukit/bits';
import { ERRNO, type MemoryView, observeView } from '@iommukit/platform';
import { describe, expect, test } from 'vitest';
import { RangeGather } from '../src/index.ts';
import {
  cont,
  coreMap,
  coreUnmap,
  imageOf,
  leak,
  MIB,
  mapK,
  mapR,
  PA,
  PROT,
  pagesOf,
  pagesOfRuns,
  rangeRig,
  scat,
  tally,
  treeOf,
  unmapR,
  X,
} from './range-rig.lanes.ts';

describe('S0-12 failure at the k-th table', () => {
  const lists = {
    'scat(1024)': { runs: scat(1024), fmt: [1, 1, 1, 513] },
    'cont(4 MiB)': { runs: cont(4 * MIB), fmt: [1, 1, 1, 2] },
  };
  const left = [0, 1, 2, 2];
  for (const [name, { runs, fmt }] of Object.entries(lists))
    for (const k of [1, 2, 3, 4]) {
      test(`${name}, k = ${k}: K`, () => {
        const rig = rangeRig();
        rig.frames.failIn = k;
        let unmaps = 0;
        const unmapPages = rig.table.unmapPages.bind(rig.table);
        rig.table.unmapPages = (iova, pgsize, pgcount, gather) => {
          unmaps++;
          return unmapPages(iova, pgsize, pgcount, gather);
        };
        const t = tally(rig, () => expect(mapK(rig, X, runs)).toBe(-ERRNO.ENOMEM));
        expect(t.fmt - unmaps).toBe(fmt[k - 1]);
        // 2 MiB were mapped at k = 4: the rollback frees the full leaf table, with a walk flush.
        expect([unmaps, t.free, t.walkFlushes]).toEqual(k === 4 ? [1, 1, 1] : [0, 0, 0]);
        expect(t.alloc - t.free).toBe(left[k - 1]);
        const retry = tally(rig, () => expect(mapK(rig, X, runs)).toBe(0));
        expect(retry.alloc).toBe(4 - (left[k - 1] as number));
        expect(leak(rig)).toBe(0);
      });

      for (const mode of ['coh', 'nc'] as const)
        test(`${name}, k = ${k}, ${mode}: R leaves memory as it was`, () => {
          const rig = rangeRig(mode);
          const before = imageOf(rig);
          rig.frames.failIn = k;
          const t = tally(rig, () => expect(mapR(rig, X, runs)).toBe(-ERRNO.ENOMEM));
          expect([t.fmt, t.st, t.cmc, t.warn, t.walkFlushes]).toEqual([1, 0, 0, 0, 0]);
          expect(t.alloc - t.free).toBe(0);
          expect([rig.table.mapped, rig.table.failedAt]).toEqual([0, -1]);
          expect(imageOf(rig)).toBe(before);
          const retry = tally(rig, () => expect(mapR(rig, X, runs)).toBe(0));
          expect(retry.alloc).toBe(4);
          const k4 = rangeRig(mode);
          mapK(k4, X, runs);
          expect(treeOf(rig)).toEqual(treeOf(k4));
          expect(leak(rig)).toBe(0);
        });
    }

  test('what was pending before stays pending, and what was mapped stays mapped', () => {
    const rig = rangeRig();
    mapR(rig, X - SZ_2M, scat(512));
    mapR(rig, X - 2 * SZ_2M, scat(16));
    const pending = new RangeGather();
    rig.table.unmapRange(X - SZ_2M, SZ_2M, pending);
    rig.frames.failIn = 2;
    expect(mapR(rig, X, scat(1024))).toBe(-ERRNO.ENOMEM);
    expect(pending.bytes).toBe(32);
    expect(pagesOf(rig)).toEqual(pagesOfRuns(X - 2 * SZ_2M, scat(16)));
    pending.releaseDetached(rig.table);
    expect(leak(rig)).toBe(0);
  });
});

describe('S0-14 overlap', () => {
  const old = { paddr: 0x9_0000_0000, length: SZ_4K };
  const prepared = (mode: 'coh' | 'nc' = 'coh') => {
    const rig = rangeRig(mode);
    coreMap(rig, X + 0x5000, old);
    return rig;
  };

  test('(a) contiguous: K', () => {
    const rig = prepared();
    const t = tally(rig, () => expect(mapK(rig, X, cont(0x8000))).toBe(-ERRNO.EEXIST));
    expect([t.fmt, t.st, t.warn]).toEqual([1, 0, 1]);
    expect(rig.table.iovaToPhys(X + 0x5000)).toBe(old.paddr);
    expect(rig.calls).toEqual([]);
  });

  test('(b) scattered: K', () => {
    const rig = prepared();
    const t = tally(rig, () => expect(mapK(rig, X, scat(8))).toBe(-ERRNO.EEXIST));
    // Six maps and the unmap that undoes five pages.
    expect([t.fmt, t.lvl, t.st, t.warn]).toEqual([6 + 1, 28, 10, 1]);
    expect(rig.calls).toEqual([{ op: 'page', iova: X, granule: SZ_4K, count: 5 }]);
    expect(pagesOf(rig)).toEqual(new Map([[X + 0x5000, old.paddr]]));
  });

  for (const mode of ['coh', 'nc'] as const)
    for (const [name, runs] of [
      ['(a)', cont(0x8000)],
      ['(b)', scat(8)],
    ] as const)
      test(`${name} R, ${mode}: nothing stored, the page is named`, () => {
        const rig = prepared(mode);
        const before = imageOf(rig);
        const t = tally(rig, () => expect(mapR(rig, X, runs)).toBe(-ERRNO.EEXIST));
        expect([t.fmt, t.st, t.cmc, t.alloc, t.warn]).toEqual([1, 0, 0, 0, 1]);
        expect((rig.table.failedAt - X) / SZ_4K).toBe(5);
        expect(rig.table.mapped).toBe(0);
        expect(imageOf(rig)).toBe(before);
        expect(rig.calls).toEqual([]);
        expect(leak(rig)).toBe(0);
      });

  const block = { paddr: PA, length: SZ_2M };

  test('(c) a block over a live page: K loses the page', () => {
    const rig = prepared();
    const t = tally(rig, () => expect(mapK(rig, X, [block])).toBe(0));
    expect([t.free, t.st]).toEqual([1, 3]);
    expect(rig.calls).toEqual([{ op: 'walk', iova: X, size: SZ_2M, granule: SZ_4K }]);
    expect(rig.table.iovaToPhys(X + 0x5000)).toBe(PA + 0x5000);
    expect(leak(rig)).toBe(0);
  });

  test('(c) a block over a live page: R refuses', () => {
    const rig = prepared();
    const before = imageOf(rig);
    expect(mapR(rig, X - SZ_2M, [{ paddr: PA, length: 3 * SZ_2M }])).toBe(-ERRNO.EEXIST);
    expect(rig.table.failedAt).toBe(X + 0x5000);
    expect(imageOf(rig)).toBe(before);
    expect(rig.calls).toEqual([]);
  });

  for (const mode of ['coh', 'nc'] as const)
    for (const way of ['K', 'R'] as const)
      test(`(c) a block over an empty table, ${mode}: ${way} invalidates before it stores`, () => {
        const trace: string[] = [];
        const rig = rangeRig(mode, '4K', (view) =>
          observeView(view, {
            onStore: (_pa, lo) => {
              if (lo !== 0) trace.push('block');
            },
          }),
        );
        const tlbFlushWalk = rig.config.flush.tlbFlushWalk.bind(rig.config.flush);
        coreMap(rig, X + 0x5000, old);
        coreUnmap(rig, X + 0x5000, SZ_4K);
        rig.calls.length = 0;
        trace.length = 0;
        rig.config.flush.tlbFlushWalk = (...args) => {
          trace.push('invalidate');
          tlbFlushWalk(...args);
        };
        const t = tally(rig, () =>
          expect(way === 'K' ? mapK(rig, X, [block]) : mapR(rig, X, [block])).toBe(0),
        );
        expect([t.free, t.alloc]).toEqual([1, 0]);
        expect(trace).toEqual(['invalidate', 'block']);
        expect(rig.calls).toEqual([{ op: 'walk', iova: X, size: SZ_2M, granule: SZ_4K }]);
        expect(pagesOf(rig)).toEqual(pagesOfRuns(X, [block]));
        expect(leak(rig)).toBe(0);
      });

  test('an overlap behind missing tables and a block in the way', () => {
    const rig = rangeRig();
    coreMap(rig, X + 2 * SZ_2M, block);
    const before = imageOf(rig);
    expect(mapR(rig, X, scat(2000))).toBe(-ERRNO.EEXIST);
    expect(rig.table.failedAt).toBe(X + 2 * SZ_2M);
    expect(imageOf(rig)).toBe(before);
    expect(mapR(rig, X, scat(1024))).toBe(0);
    expect(rig.table.failedAt).toBe(-1);
  });

  test('a gibibyte block over empty tables of two levels', () => {
    const rig = rangeRig();
    mapR(rig, X, scat(1500));
    for (let at = 0; at < 1500; at += 250) unmapR(rig, X + at * SZ_4K, 250 * SZ_4K);
    const free = tally(rig, () =>
      expect(mapR(rig, X, [{ paddr: 0x10_0000_0000, length: SZ_1G }])).toBe(0),
    ).free;
    expect(free).toBe(4);
    expect(leak(rig)).toBe(0);
  });
});

describe('requests that are refused', () => {
  const run = (paddr: number, length: number) => ({ paddr, length });
  const rows = [
    { name: 'no runs', iova: X, runs: [], errno: ERRNO.EINVAL },
    { name: 'an empty run', iova: X, runs: [run(PA, SZ_4K), run(PA, 0)], errno: ERRNO.EINVAL },
    { name: 'misaligned iova', iova: X + 1, runs: scat(1), errno: ERRNO.EINVAL },
    { name: 'misaligned paddr', iova: X, runs: [run(PA + 0x800, SZ_4K)], errno: ERRNO.EINVAL },
    { name: 'misaligned length', iova: X, runs: [run(PA, 0x1800)], errno: ERRNO.EINVAL },
    { name: 'not a number', iova: X, runs: [run(PA, Number.NaN)], errno: ERRNO.EINVAL },
    { name: 'end beyond 48 bits', iova: 2 ** 48 - SZ_4K, runs: scat(2), errno: ERRNO.ERANGE },
    { name: 'start beyond 48 bits', iova: 2 ** 48, runs: scat(1), errno: ERRNO.ERANGE },
    { name: 'output beyond 48 bits', iova: X, runs: [run(2 ** 48 - SZ_4K, 0x2000)], errno: 34 },
  ];
  for (const { name, iova, runs, errno } of rows)
    test(`map: ${name}`, () => {
      const rig = rangeRig();
      const before = imageOf(rig);
      expect(rig.table.mapRange(iova, runs, PROT)).toBe(-errno);
      expect([rig.table.mapped, rig.table.warnings, rig.table.counters.formatCalls]).toEqual([
        0, 1, 1,
      ]);
      expect(imageOf(rig)).toBe(before);
    });

  test('map: no direction', () => {
    const { table } = rangeRig();
    expect(table.mapRange(X, scat(1), 4)).toBe(-ERRNO.EINVAL);
    expect(table.warnings).toBe(0);
  });

  for (const [iova, size] of [
    [X, 0],
    [X + 1, SZ_4K],
    [X, 0x1800],
    [2 ** 48 - SZ_4K, 0x2000],
    [2 ** 48, SZ_4K],
  ] as const)
    test(`unmap: ${iova.toString(16)} ${size.toString(16)}`, () => {
      const rig = rangeRig();
      const { bytes, pending } = unmapR(rig, iova, size);
      expect([bytes, rig.table.warnings, pending.isEmpty]).toEqual([0, 1, true]);
    });

  test('the last page of the space', () => {
    const rig = rangeRig();
    expect(mapR(rig, 2 ** 48 - SZ_4K, scat(1))).toBe(0);
    expect(unmapR(rig, 2 ** 48 - SZ_4K, SZ_4K).bytes).toBe(SZ_4K);
  });
});

describe('unmaps that end early', () => {
  test('S0-13 a hole: 0 bytes, 1 warning, no record', () => {
    const rig = rangeRig();
    coreMap(rig, X, { paddr: PA, length: SZ_4K });
    for (const [iova, lvl] of [
      [X + SZ_4K, 4],
      [X + SZ_2M, 3],
      [X + 2 ** 39, 1],
    ] as const) {
      const t = tally(rig, () => {
        const { bytes, pending } = unmapR(rig, iova, SZ_4K);
        expect([bytes, pending.isEmpty]).toEqual([0, true]);
      });
      expect([t.lvl, t.warn, t.st]).toEqual([lvl, 1, 0]);
    }
  });

  test('a hole in the middle: what is before it goes', () => {
    const rig = rangeRig();
    mapR(rig, X, scat(100));
    mapR(rig, X + 101 * SZ_4K, scat(300));
    const t = tally(rig, () => {
      const { bytes, pending } = unmapR(rig, X, 400 * SZ_4K);
      expect(bytes).toBe(100 * SZ_4K);
      expect(pending.bytes).toBe(24);
      expect(pending.meets(X + 99 * SZ_4K, X + 100 * SZ_4K)).toBe(true);
      expect(pending.meets(X + 100 * SZ_4K, X + 102 * SZ_4K)).toBe(false);
    });
    expect([t.fmt, t.lvl, t.st, t.warn]).toEqual([1, 4, 100, 1]);
    expect(pagesOf(rig)).toEqual(pagesOfRuns(X + 101 * SZ_4K, scat(300)));
  });

  test('part of a block: refused', () => {
    const rig = rangeRig();
    coreMap(rig, X, { paddr: PA, length: SZ_2M });
    for (const [iova, size] of [
      [X, SZ_4K],
      [X + MIB, MIB],
    ] as const) {
      const t = tally(rig, () => expect(unmapR(rig, iova, size).bytes).toBe(0));
      expect([t.fmt, t.lvl, t.st, t.warn]).toEqual([1, 3, 0, 1]);
    }
    expect(rig.warnings).toHaveLength(2);
    expect(rig.table.iovaToPhys(X + MIB)).toBe(PA + MIB);
  });
});

describe('other CPUs', () => {
  for (const mode of ['coh', 'nc'] as const)
    test(`lost race for the topmost link, ${mode}: the content moves to the winner's table`, () => {
      let race = (): void => {};
      const rig = rangeRig(mode, '4K', (view): MemoryView => {
        const observed = observeView(view, { onStore() {} });
        return {
          ...observed,
          get hi() {
            return view.hi;
          },
          cas64(pa, oldLo, oldHi, lo, hi) {
            const other = race;
            race = () => {};
            other();
            return view.cas64(pa, oldLo, oldHi, lo, hi);
          },
        };
      });
      // The other CPU maps pages of the same leaf table, and of the next one.
      race = () => void coreMap(rig, X + 256 * SZ_4K, { paddr: 0x9_0000_0000, length: 2 * SZ_2M });
      expect(mapR(rig, X, scat(256))).toBe(0);
      const expected = new Map([
        ...pagesOfRuns(X, scat(256)),
        ...pagesOfRuns(X + 256 * SZ_4K, [{ paddr: 0x9_0000_0000, length: 2 * SZ_2M }]),
      ]);
      expect(pagesOf(rig)).toEqual(expected);
      expect(pagesOf({ ...rig, config: { ...rig.config, memory: rig.memory } })).toEqual(expected);
      expect(leak(rig)).toBe(0);
    });
});

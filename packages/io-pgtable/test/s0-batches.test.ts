import { SZ_1G, SZ_2M, SZ_4K } from '@iommukit/bits';
import { describe, expect, test } from 'vitest';
import { HAD_TABLES, RangeGather } from '../src/index.ts';
import { IotlbGather } from '../src/iotlb-gather.ts';
import {
  coreUnmap,
  leak,
  MIB,
  mapK,
  mapR,
  maps,
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
import type { Rig } from './rig.lanes.ts';

const MODES = ['coh', 'nc'] as const;

function recordsOf(pending: RangeGather): number[][] {
  const records: number[][] = [];
  pending.forEach((start, end, leafSize) => void records.push([start, end, leafSize]));
  return records;
}

describe('S0-5 batch of 64 lists', () => {
  const buffer = 64 * SZ_4K;
  const rows = {
    P: { fmt: 4096, lvl: 16384, st: { coh: 4128, nc: 4160 }, clean: [4160, 6176] },
    K: { fmt: 2080, lvl: 8320, st: { coh: 4128, nc: 4160 }, clean: [2144, 4384] },
    R: { fmt: 64, lvl: 256, st: { coh: 4128, nc: 4160 }, clean: [96, 2336] },
  };
  const run = (mode: 'coh' | 'nc', way: 'P' | 'K' | 'R') => {
    const rig = rangeRig(mode);
    for (let slot = 0; slot < 32; slot++) mapK(rig, X + slot * SZ_2M, scat(64));
    expect(rig.table.counters.tablesAllocated).toBe(34);
    const pending = new RangeGather();
    const t = tally(rig, () => {
      for (let slot = 0; slot < 32; slot++) {
        const iova = X + slot * SZ_2M;
        if (way === 'R') rig.table.unmapRange(iova, buffer, pending);
        else if (way === 'K') coreUnmap(rig, iova, buffer);
        else for (let at = 0; at < buffer; at += SZ_4K) coreUnmap(rig, iova + at, SZ_4K);
      }
      for (let slot = 32; slot < 64; slot++) maps[way](rig, X + slot * SZ_2M, scat(64));
    });
    return { rig, t, pending };
  };

  for (const way of ['P', 'K', 'R'] as const)
    test(way, () => {
      for (const mode of MODES) {
        const { rig, t } = run(mode, way);
        const { fmt, lvl, st, clean } = rows[way];
        expect([t.fmt, t.lvl, t.alloc, t.free, t.st]).toEqual([fmt, lvl, 32, 0, st[mode]]);
        if (mode === 'nc') expect([t.cmc, t.cml]).toEqual(clean);
        expect(treeOf(rig)).toEqual(treeOf(run(mode, 'K').rig));
        expect(leak(rig)).toBe(0);
      }
    });

  test('S0-17: 32 records, 768 bytes', () => {
    const { pending } = run('coh', 'R');
    expect([pending.records, pending.detached, pending.bytes]).toEqual([32, 0, 768]);
    expect(recordsOf(pending)[31]).toEqual([X + 31 * SZ_2M, X + 31 * SZ_2M + buffer, SZ_4K]);
  });

  test('S0-17: maps leave nothing to remember', () => {
    const pending = new RangeGather();
    expect([pending.bytes, pending.isEmpty]).toEqual([0, true]);
  });
});

describe('S0-6 64 adjacent buffers', () => {
  const mapped = (mode: 'coh' | 'nc'): Rig => {
    const rig = rangeRig(mode);
    mapR(rig, X, scat(4096));
    expect(rig.table.counters.tablesAllocated).toBe(10);
    return rig;
  };

  for (const gather of ['each its own', 'one shared'])
    test(`64 unmaps, gather: ${gather}`, () => {
      for (const mode of MODES) {
        const rig = mapped(mode);
        const shared = new IotlbGather();
        const t = tally(rig, () => {
          for (let i = 0; i < 64; i++)
            coreUnmap(
              rig,
              X + i * (MIB / 4),
              MIB / 4,
              gather === 'one shared' ? { gather: shared } : {},
            );
        });
        expect([t.fmt, t.lvl, t.st, t.free, t.walkFlushes]).toEqual([64, 256, 4096, 0, 0]);
        if (mode === 'nc') expect([t.cmc, t.cml]).toEqual([64, 512]);
        if (gather === 'one shared') expect([shared.start, shared.end]).toEqual([X, X + 16 * MIB]);
        expect(leak(rig)).toBe(0);
      }
    });

  test('K, one unmap', () => {
    for (const mode of MODES) {
      const rig = mapped(mode);
      const t = tally(rig, () => expect(coreUnmap(rig, X, 16 * MIB)).toBe(16 * MIB));
      expect([t.fmt, t.lvl, t.st, t.free, t.walkFlushes]).toEqual([1, 3, 16, 8, 8]);
      if (mode === 'nc') expect([t.cmc, t.cml]).toEqual([9, 9]);
      expect(leak(rig)).toBe(0);
    }
  });

  test('R, one unmap: 8 tables, kept until the flush', () => {
    for (const mode of MODES) {
      const rig = mapped(mode);
      const pending = new RangeGather();
      const t = tally(rig, () => expect(rig.table.unmapRange(X, 16 * MIB, pending)).toBe(16 * MIB));
      expect([t.fmt, t.lvl, t.st, t.free, t.walkFlushes]).toEqual([1, 3, 8, 0, 0]);
      if (mode === 'nc') expect([t.cmc, t.cml]).toEqual([1, 1]);
      // S0-17.
      expect([pending.records, pending.detached, pending.bytes]).toEqual([1, 8, 88]);
      expect(recordsOf(pending)).toEqual([[X, X + 16 * MIB, HAD_TABLES]]);
      expect(rig.calls).toEqual([]);
      // A walker that still holds a pointer reads the old leaves: nothing was written to a detached table.
      const leaves: number[] = [];
      pending.forEachDetached((table) => {
        for (let i = 0; i < 512; i++) leaves.push(rig.config.memory.load64(table + i * 8));
      });
      expect(leaves.filter((lo) => lo === 0)).toEqual([]);
      expect(rig.table.counters.tablesPeak).toBe(10);
      const released = tally(rig, () => pending.releaseDetached(rig.table));
      expect([released.free, released.st]).toEqual([8, 0]);
      expect(rig.frames.used).toBe(2 + 1);
      expect(pending.isEmpty).toBe(true);
      expect(leak(rig)).toBe(0);
    }
  });

  test('R, 64 unmaps: whole tables never come up, one record', () => {
    const rig = mapped('nc');
    const pending = new RangeGather();
    const t = tally(rig, () => {
      for (let i = 0; i < 64; i++) rig.table.unmapRange(X + i * (MIB / 4), MIB / 4, pending);
    });
    expect([t.fmt, t.lvl, t.st, t.cmc, t.cml]).toEqual([64, 256, 4096, 64, 512]);
    expect(pending.bytes).toBe(24);
  });
});

describe('S0-9 table reuse', () => {
  const prepared = (mode: 'coh' | 'nc'): Rig => {
    const rig = rangeRig(mode);
    mapR(rig, X, scat(512));
    return rig;
  };
  const next = scat(512).map(({ paddr, length }) => ({ paddr: paddr + SZ_1G, length }));
  const rows = {
    K: { fmt: 513, lvl: 2051, tables: 1, coh: 515, nc: [516, 516, 579] },
    R: { fmt: 2, lvl: 7, tables: 1, coh: 514, nc: [515, 3, 66] },
    'R, reuseTables': { fmt: 2, lvl: 8, tables: 0, coh: 1024, nc: [1024, 2, 128] },
  };
  for (const way of ['K', 'R', 'R, reuseTables'] as const)
    test(way, () => {
      const { fmt, lvl, tables, coh, nc } = rows[way];
      for (const mode of MODES) {
        const rig = prepared(mode);
        const t = tally(rig, () => {
          if (way === 'K') {
            expect(coreUnmap(rig, X, SZ_2M)).toBe(SZ_2M);
            expect(mapK(rig, X, next)).toBe(0);
            return;
          }
          const reuseTables = way !== 'R';
          const { bytes, pending } = unmapR(rig, X, SZ_2M, { reuseTables });
          expect(bytes).toBe(SZ_2M);
          expect(pending.meets(X, X + SZ_2M)).toBe(true);
          expect(recordsOf(pending)).toEqual([[X, X + SZ_2M, reuseTables ? SZ_4K : HAD_TABLES]]);
          pending.releaseDetached(rig.table);
          expect(mapR(rig, X, next)).toBe(0);
        });
        expect([t.fmt, t.lvl, t.alloc, t.free]).toEqual([fmt, lvl, tables, tables]);
        if (mode === 'coh') expect(t.st).toBe(coh);
        else expect([t.st, t.cmc, t.cml]).toEqual(nc);
        expect(pagesOf(rig)).toEqual(pagesOfRuns(X, next));
        expect(leak(rig)).toBe(0);
      }
    });
});

describe('S0-18 peak memory: 16 full leaf tables replaced', () => {
  const rows = [
    { name: 'K', allocFree: [16, 16], peak: 18 },
    { name: 'R, all unmaps, flush, all maps', allocFree: [16, 16], peak: 18 },
    { name: 'R, alternating', allocFree: [16, 16], peak: 18 },
    { name: 'R, quiesced: flushed at the end', allocFree: [16, 16], peak: 34 },
    { name: 'R, reuseTables', allocFree: [0, 0], peak: 18 },
  ];
  for (const [i, { name, allocFree, peak }] of rows.entries())
    test(name, () => {
      const rig = rangeRig();
      const slots = Array.from({ length: 16 }, (_, slot) => X + slot * SZ_2M);
      for (const iova of slots) mapR(rig, iova, scat(512));
      const pending = new RangeGather();
      const unmap = (iova: number): void =>
        void rig.table.unmapRange(iova, SZ_2M, pending, { reuseTables: i === 4 });
      const flush = (): void => pending.releaseDetached(rig.table);
      const t = tally(rig, () => {
        if (i === 0)
          for (const iova of slots) {
            coreUnmap(rig, iova, SZ_2M);
            mapK(rig, iova, scat(512));
          }
        else if (i === 2)
          for (const iova of slots) {
            unmap(iova);
            flush();
            mapR(rig, iova, scat(512));
          }
        else {
          for (const iova of slots) unmap(iova);
          if (i !== 3) flush();
          for (const iova of slots) mapR(rig, iova, scat(512));
          flush();
        }
      });
      expect([t.alloc, t.free]).toEqual(allocFree);
      expect(rig.table.counters.tablesPeak).toBe(peak);
      expect(leak(rig)).toBe(0);
    });
});

describe('S0-19 1 GiB', () => {
  const mapped = (): Rig => {
    const rig = rangeRig();
    expect(rig.table.mapRange(X, scat(262144), PROT)).toBe(0);
    expect(rig.table.counters.tablesAllocated).toBe(514);
    return rig;
  };

  test('K, one unmap', () => {
    const rig = mapped();
    const t = tally(rig, () => coreUnmap(rig, X, SZ_1G));
    expect([t.fmt, t.lvl, t.free, t.st, t.walkFlushes]).toEqual([1, 2, 513, 2, 1]);
    expect(leak(rig)).toBe(0);
  });

  test('K as 512 x 2 MiB', () => {
    const rig = mapped();
    const t = tally(rig, () => {
      for (let i = 0; i < 512; i++) coreUnmap(rig, X + i * SZ_2M, SZ_2M);
    });
    expect([t.fmt, t.lvl, t.free, t.st, t.walkFlushes]).toEqual([512, 1536, 512, 1024, 512]);
    expect(leak(rig)).toBe(0);
  });

  test('R, one unmap', () => {
    const rig = mapped();
    const pending = new RangeGather();
    const t = tally(rig, () => expect(rig.table.unmapRange(X, SZ_1G, pending)).toBe(SZ_1G));
    expect([t.fmt, t.lvl, t.st, t.free]).toEqual([1, 2, 1, 0]);
    // S0-17.
    expect([pending.records, pending.detached, pending.bytes]).toEqual([1, 513, 4128]);
    expect(tally(rig, () => pending.releaseDetached(rig.table)).free).toBe(513);
    expect(leak(rig)).toBe(0);
  });
});

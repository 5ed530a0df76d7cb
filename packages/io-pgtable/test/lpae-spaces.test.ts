import { SZ_1G, SZ_2M, SZ_4K, SZ_32M, SZ_64K, SZ_512M } from '@iommukit/bits';
import { ERRNO, NonCoherentView } from '@iommukit/platform';
import { describe, expect, test } from 'vitest';
import {
  arm32LpaeS1,
  arm32LpaeS2,
  arm64LpaeS1,
  arm64LpaeS2,
  createPageTable,
  IotlbGather,
  type LpaeFormat,
  maliLpae,
  walkTable,
} from '../src/index.ts';
import { C, K4, K16, K64, made, PA, R, RW, T4, TWO64 } from './lpae-rig.ts';
import { leafOf, rig } from './rig.lanes.ts';

// Expected values follow from linux-iommu.md 4.1 to 4.6: by arithmetic from the geometry's formulas, by OR from the bits' table.

describe('upper half', () => {
  const rows = [
    { name: '4K, 39 bits', bitmap: K4, ias: 39, oas: 40, tg: 2, block: SZ_2M },
    { name: '16K, 47 bits', bitmap: K16, ias: 47, oas: 48, tg: 1, block: SZ_32M },
    { name: '16K, 48 bits', bitmap: K16, ias: 48, oas: 48, tg: 1, block: SZ_32M },
    { name: '64K, 48 bits', bitmap: K64, ias: 48, oas: 48, tg: 3, block: SZ_512M },
    { name: '64K, 52 bits', bitmap: K64 + T4, ias: 52, oas: 52, tg: 3, block: T4 },
    { name: '64K, capped to 52 bits', bitmap: K64, ias: 64, oas: 64, tg: 3, block: SZ_512M },
  ];
  for (const { name, bitmap, ias, oas, tg, block } of rows)
    test(name, () => {
      const config = { pgsizeBitmap: bitmap, ias, oas, quirks: { ttbr1: true } };
      const table = made(arm64LpaeS1, config);
      expect(table.registers.tcr.tg).toBe(tg);
      const { granule } = table;
      const first = TWO64 - 2 ** Math.min(ias, 52);
      const last = TWO64 - granule;
      const pa = 2 ** Math.min(oas, 52) - granule;
      expect(table.mapPages(first, 0, block, 1, RW)).toBe(0);
      expect(table.mapPages(last, pa, granule, 1, RW)).toBe(0);
      expect(table.iovaToPhys64({ lo: 0xffff_ffff, hi: 0xffff_ffff })).toEqual({
        lo: 0xffff_ffff,
        hi: (pa - (pa % 2 ** 32)) / 2 ** 32,
      });
      const hi = (2 ** 32 - 2 ** (Math.min(ias, 52) - 32)) >>> 0;
      expect(table.iovaToPhys64({ lo: 0x1_2345, hi })).toEqual({ lo: 0x1_2345, hi: 0 });
      for (const iova of [0, first - granule, 2 ** 52])
        expect(table.mapPages(iova, 0, granule, 1, RW)).toBe(-ERRNO.ERANGE);
      expect(table.unmapPages(last, granule, 4, null)).toBe(granule);
      expect(table.unmapPages(first, block, 1, null)).toBe(block);
    });
});

describe('concatenated tables end one after the other', () => {
  const rows = [
    { name: '4K', bitmap: K4, ias: 40, oas: 40, size: SZ_1G, seam: 512 },
    { name: '16K', bitmap: K16, ias: 40, oas: 40, size: SZ_32M, seam: 2048 },
  ];
  for (const { name, bitmap, ias, oas, size, seam } of rows)
    test(name, () => {
      const table = made(arm64LpaeS2, { pgsizeBitmap: bitmap, ias, oas });
      const start = (seam - 1) * size;
      expect(table.mapPages(start, 0, size, 3, RW)).toBe(0);
      expect(table.mapped).toBe(size);
      expect(table.mapPages(start + size, size, size, 2, RW)).toBe(0);
      expect(table.mapped).toBe(2 * size);
      expect(table.iovaToPhys(start + 2 * size + 7)).toBe(2 * size + 7);
      expect(table.unmapPages(start, size, 3, null)).toBe(size);
      expect(table.iovaToPhys(start + size)).toBe(size);
      expect(table.unmapPages(start + size, size, 3, null)).toBe(2 * size);
      expect(table.warnings).toBe(1);
    });
});

describe('dirty reads', () => {
  const others: LpaeFormat<unknown>[] = [arm64LpaeS2, arm32LpaeS1, arm32LpaeS2, maliLpae];
  for (const format of others)
    test(`${format.name}: the range is checked first, then refused in silence`, () => {
      const table = made(format, { ias: 32, oas: 40 });
      table.mapPages(0, PA, SZ_4K, 1, RW);
      const record = (): never => {
        throw new Error('nothing to record');
      };
      const read = (iova: number, size: number): number =>
        table.readAndClearDirty(iova, size, { noClear: false }, record);
      expect([read(0, SZ_4K), table.warnings]).toEqual([-ERRNO.EINVAL, 0]);
      expect([read(0, 0), table.warnings]).toEqual([-ERRNO.EINVAL, 1]);
      expect([read(2 ** 32 - SZ_4K, SZ_4K + 1), table.warnings]).toEqual([-ERRNO.EINVAL, 2]);
      expect([read(2 ** 32 - SZ_4K, SZ_4K), table.warnings]).toEqual([-ERRNO.EINVAL, 2]);
    });

  test('of the upper half only a range that wraps passes the check, and is empty', () => {
    const table = made(arm64LpaeS1, { quirks: { hd: true, ttbr1: true } });
    const top = TWO64 - SZ_4K;
    table.mapPages(top, PA, SZ_4K, 1, RW);
    const seen: number[] = [];
    const read = (iova: number, size: number): number =>
      table.readAndClearDirty(iova, size, { noClear: false }, (at) => seen.push(at));
    expect([read(top, SZ_4K), table.warnings]).toEqual([-ERRNO.EINVAL, 1]);
    expect([read(top, SZ_4K + 1), table.warnings]).toEqual([0, 1]);
    expect([read(top, 2 * SZ_4K), table.warnings]).toEqual([0, 1]);
    expect([read(top, SZ_4K + 2 ** 48), table.warnings]).toEqual([0, 1]);
    expect([read(top, 2 * SZ_4K + 2 ** 48), table.warnings]).toEqual([-ERRNO.EINVAL, 2]);
    expect([read(SZ_4K, TWO64 - SZ_4K), table.warnings]).toEqual([-ERRNO.EINVAL, 3]);
    expect([read(SZ_4K + 1, TWO64 - SZ_4K), table.warnings]).toEqual([0, 3]);
    expect(seen).toEqual([]);
  });

  test('a start inside a block is reported from there', () => {
    const table = made(arm64LpaeS1, { quirks: { hd: true } });
    table.mapPages(0, 0, SZ_2M, 2, RW);
    const seen: number[][] = [];
    const start = SZ_2M - SZ_4K;
    expect(
      table.readAndClearDirty(start, SZ_4K, { noClear: false }, (at, n) => seen.push([at, n])),
    ).toBe(0);
    expect(seen).toEqual([[start, SZ_2M]]);
  });
});

describe('queries', () => {
  test('bytes of a page at physical address 0', () => {
    const table = made(arm64LpaeS2, {});
    table.mapPages(SZ_4K, 0, SZ_4K, 1, RW);
    expect(table.iovaToPhys(SZ_4K + 0x123)).toBe(0x123);
    expect(table.iovaToPhys64({ lo: 0x1123, hi: 0 })).toEqual({ lo: 0x123, hi: 0 });
  });

  test('a block whose address is not aligned: offset and address are or-ed', () => {
    const table = made(arm64LpaeS2, {});
    expect(table.mapPages(0, PA + SZ_4K, SZ_2M, 1, RW)).toBe(0);
    expect(table.iovaToPhys(SZ_4K + 5)).toBe(PA + SZ_4K + 5);
    expect(table.iovaToPhys(2 * SZ_4K)).toBe(PA + 3 * SZ_4K);
  });

  test('address bits above the space do not count', () => {
    const table = made(arm64LpaeS2, { ias: 40, oas: 40 });
    table.mapPages(2 ** 39, PA & 0x7fff_ffff, SZ_4K, 1, RW);
    expect(table.iovaToPhys(2 ** 40 + 2 ** 39)).toBe(PA & 0x7fff_ffff);
    expect(table.iovaToPhys64({ lo: 1, hi: 0xffff_ff80 })).toEqual({
      lo: (PA & 0x7fff_ffff) + 1,
      hi: 0,
    });
  });

  test('64 KiB pages above 2^48 in stage 2', () => {
    const table = made(arm64LpaeS2, { pgsizeBitmap: K64 + T4, ias: 52, oas: 52 });
    const pa = 0xd_1234_5678_0000;
    table.mapPages(0x7_0000_0000_0000, pa, SZ_64K, 1, RW + C);
    expect(leafOf(table, 0x7_0000_0000_0000)).toBe('0x12345678d7ff');
    expect(table.iovaToPhys(0x7_0000_0000_ffff)).toBe(pa + 0xffff);
    table.mapPages(0, 0xc_0000_0000_0000, T4, 1, R);
    expect(leafOf(table, 0)).toBe('0xc655');
    expect(table.iovaToPhys(T4 - 1)).toBe(0xc_0000_0000_0000 + T4 - 1);
  });
});

describe('life of the tables', () => {
  const formats: LpaeFormat<unknown>[] = [arm64LpaeS2, arm32LpaeS1, arm32LpaeS2, maliLpae];
  for (const format of formats)
    for (const coherentWalk of [true, false])
      test(`${format.name}, ${coherentWalk ? '' : 'non-'}coherent`, () => {
        const parts = rig();
        const cpu = new NonCoherentView(parts.memory);
        const memory = coherentWalk ? parts.memory : cpu;
        const before = parts.frames.used;
        const config = { ...parts.config, coherentWalk, memory, ias: 32, oas: 40 };
        const table = createPageTable(format, config);
        if (typeof table === 'number') throw new Error(`refused: ${table}`);
        const seen = (iova: number): string =>
          walkTable(parts.memory, table.shape, iova, () => undefined);
        expect(table.mapPages(SZ_2M - 4 * SZ_4K, PA, SZ_4K, 8, RW)).toBe(0);
        expect(table.mapped).toBe(4 * SZ_4K);
        expect(table.mapPages(SZ_2M, PA + 4 * SZ_4K, SZ_4K, 4, RW)).toBe(0);
        expect(seen(SZ_2M - SZ_4K)).toBe('leaf');
        expect(seen(SZ_2M + 3 * SZ_4K)).toBe('leaf');
        const gather = new IotlbGather();
        expect(table.unmapPages(SZ_2M, SZ_2M, 1, gather)).toBe(SZ_2M);
        expect(seen(SZ_2M)).toBe('empty');
        expect(parts.calls).toEqual([
          { op: 'walk', iova: SZ_2M, size: SZ_2M, granule: SZ_4K },
          { op: 'page', iova: SZ_2M, granule: SZ_2M, count: 1 },
        ]);
        // A block over a table with live pages takes its place.
        expect(table.mapPages(0, PA, SZ_2M, 1, RW)).toBe(0);
        expect(table.iovaToPhys(SZ_2M - 1)).toBe(PA + SZ_2M - 1);
        expect(table.unmapPages(0, SZ_4K, 1, null)).toBe(0);
        expect(table.warnings).toBe(1);
        expect(seen(0)).toBe('leaf');
        table.free();
        expect(parts.frames.used).toBe(before);
      });
});

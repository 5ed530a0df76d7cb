import { SZ_2M, SZ_4K, SZ_16K, SZ_64K } from '@iommukit/bits';
import { ERRNO } from '@iommukit/platform';
import { describe, expect, test } from 'vitest';
import {
  arm32LpaeS1,
  arm32LpaeS2,
  arm64LpaeS1,
  arm64LpaeS2,
  IOMMU_MMIO,
  IOMMU_NOEXEC,
  IOMMU_PRIV,
  type LpaeFormat,
  maliLpae,
  type PageTableQuirks,
  type QuirkName,
  walkTable,
} from '../src/index.ts';
import { attempt, C, type Change, K4, K16, K64, made, PA, R, RW, W } from './lpae-rig.ts';
import { leafOf } from './rig.lanes.ts';

// Expected values follow from linux-iommu.md 4.1 to 4.6: by arithmetic from the geometry's formulas, by OR from the bits' table.

describe('leaf values', () => {
  const s2 = { ias: 40, oas: 40 };
  const narrow = { ias: 32, oas: 40 };
  interface Row {
    name: string;
    format: LpaeFormat<unknown>;
    change: Change;
    rows: [prot: number, page: string][];
  }
  const stageTwo: [number, string][] = [
    [RW + C, '0x4800007ff'],
    [R + C, '0x48000077f'],
    [W + C, '0x4800007bf'],
    [RW, '0x4800006d7'],
    [W, '0x480000697'],
    [RW + IOMMU_MMIO, '0x4800006c7'],
    [RW + IOMMU_MMIO + C, '0x4800007c7'],
    [RW + C + IOMMU_PRIV, '0x4800007ff'],
    [RW + C + IOMMU_NOEXEC, '0x600004800007ff'],
  ];
  const formats: Row[] = [
    { name: 'stage 2', format: arm64LpaeS2, change: s2, rows: stageTwo },
    { name: '32-bit stage 2', format: arm32LpaeS2, change: s2, rows: stageTwo },
    {
      name: 'stage 2 with FWB',
      format: arm64LpaeS2,
      change: { ...s2, quirks: { s2fwb: true } },
      rows: [
        [RW + C, '0x4800007db'],
        [RW, '0x4800006d7'],
        [RW + IOMMU_MMIO + C, '0x4800007c7'],
      ],
    },
    {
      name: '32-bit stage 2 with FWB',
      format: arm32LpaeS2,
      change: { ...s2, quirks: { s2fwb: true } },
      rows: [[R + C, '0x48000075b']],
    },
    {
      name: '32-bit stage 1',
      format: arm32LpaeS1,
      change: narrow,
      rows: [
        [RW + C, '0x480000f47'],
        [R + C, '0x480000fc7'],
        [W + C, '0x480000f47'],
        [RW + IOMMU_MMIO, '0x480000e4b'],
        [RW + C + IOMMU_PRIV, '0x480000f07'],
      ],
    },
    {
      name: '32-bit stage 1, non-secure, with dirty tracking by the device',
      format: arm32LpaeS1,
      change: { ...narrow, quirks: { ns: true, hd: true } },
      rows: [
        [RW + C, '0x8000480000f67'],
        [R + C, '0x480000fe7'],
      ],
    },
    {
      name: 'Mali',
      format: maliLpae,
      change: narrow,
      rows: [
        [RW + C, '0x4800002c5'],
        [RW, '0x4800002c1'],
        [R, '0x480000241'],
        [W, '0x480000281'],
        [RW + IOMMU_MMIO + C, '0x4800002c9'],
        [RW + IOMMU_PRIV, '0x4800002c1'],
        [RW + IOMMU_NOEXEC, '0x600004800002c1'],
      ],
    },
  ];
  for (const { name, format, change, rows } of formats)
    for (const [prot, page] of rows)
      test(`${name}, prot ${prot}`, () => {
        const table = made(format, change);
        expect(table.mapPages(0x1000, PA, SZ_4K, 1, prot)).toBe(0);
        expect(table.mapPages(SZ_2M, PA, SZ_2M, 1, prot)).toBe(0);
        expect(leafOf(table, 0x1000)).toBe(page);
        // A block is of type 1, as a Mali page is.
        const block = (BigInt(page) & ~3n) | 1n;
        expect(leafOf(table, SZ_2M)).toBe(`0x${block.toString(16)}`);
      });

  test('tables say non-secure in stage 1 only', () => {
    const table = made(arm32LpaeS1, { ias: 32, oas: 40, quirks: { ns: true } });
    table.mapPages(0, PA, SZ_4K, 1, RW);
    const words: number[] = [];
    walkTable(table.memory, table.shape, 0, ({ kind, hi }) => {
      if (kind === 'table') words.push(hi >>> 16);
    });
    expect(words).toEqual([0x8000, 0x8000]);
  });
});

describe('stage 2 geometry', () => {
  // Top bits = ias - shift - b * (levels - 1); sl = ~(start, + 1 for 4 KiB) & 3.
  const rows = [
    { of: '4K 48/48', bitmap: K4, start: 0, entries: 512, sl: 2, tsz: 16, ps: 5, tg: 0 },
    { of: '4K 40/40', bitmap: K4, start: 1, entries: 1024, sl: 1, tsz: 24, ps: 2, tg: 0 },
    { of: '4K 42/42', bitmap: K4, start: 1, entries: 4096, sl: 1, tsz: 22, ps: 3, tg: 0 },
    { of: '4K 43/42', bitmap: K4, start: 1, entries: 8192, sl: 1, tsz: 21, ps: 3, tg: 0 },
    { of: '4K 40/44', bitmap: K4, start: 0, entries: 2, sl: 2, tsz: 24, ps: 4, tg: 0 },
    { of: '4K 40/36', bitmap: K4, start: 0, entries: 2, sl: 2, tsz: 24, ps: 1, tg: 0 },
    { of: '4K 39/40', bitmap: K4, start: 1, entries: 512, sl: 1, tsz: 25, ps: 2, tg: 0 },
    { of: '4K 30/32', bitmap: K4, start: 2, entries: 512, sl: 0, tsz: 34, ps: 0, tg: 0 },
    { of: '4K 21/32', bitmap: K4, start: 3, entries: 512, sl: 3, tsz: 43, ps: 0, tg: 0 },
    { of: '4K 52/52', bitmap: K4, start: 0, entries: 512, sl: 2, tsz: 16, ps: 5, tg: 0 },
    { of: '16K 48/48', bitmap: K16, start: 1, entries: 4096, sl: 2, tsz: 16, ps: 5, tg: 2 },
    { of: '16K 52/52', bitmap: K16, start: 1, entries: 4096, sl: 2, tsz: 16, ps: 5, tg: 2 },
    { of: '16K 48/44', bitmap: K16, start: 1, entries: 4096, sl: 2, tsz: 16, ps: 4, tg: 2 },
    { of: '16K 47/48', bitmap: K16, start: 1, entries: 2048, sl: 2, tsz: 17, ps: 5, tg: 2 },
    { of: '16K 40/40', bitmap: K16, start: 2, entries: 32768, sl: 1, tsz: 24, ps: 2, tg: 2 },
    { of: '16K 37/40', bitmap: K16, start: 2, entries: 4096, sl: 1, tsz: 27, ps: 2, tg: 2 },
    { of: '16K 40/42', bitmap: K16, start: 1, entries: 16, sl: 2, tsz: 24, ps: 3, tg: 2 },
    { of: '16K 36/40', bitmap: K16, start: 2, entries: 2048, sl: 1, tsz: 28, ps: 2, tg: 2 },
    { of: '64K 52/52', bitmap: K64, start: 1, entries: 1024, sl: 2, tsz: 12, ps: 6, tg: 1 },
    { of: '64K 64/64', bitmap: K64, start: 1, entries: 1024, sl: 2, tsz: 12, ps: 6, tg: 1 },
    { of: '64K 43/40', bitmap: K64, start: 1, entries: 2, sl: 2, tsz: 21, ps: 2, tg: 1 },
    { of: '64K 42/42', bitmap: K64, start: 2, entries: 8192, sl: 1, tsz: 22, ps: 3, tg: 1 },
    { of: '64K 40/40', bitmap: K64, start: 2, entries: 2048, sl: 1, tsz: 24, ps: 2, tg: 1 },
  ];
  const sizes = (of: string): Change => {
    const [ias = 0, oas = 0] = (of.split(' ')[1] ?? '').split('/').map(Number);
    return { ias, oas };
  };
  for (const { of, bitmap, start, entries, ...codes } of rows)
    test(of, () => {
      const { table, bytes, warnings } = attempt(arm64LpaeS2, {
        ...sizes(of),
        pgsizeBitmap: bitmap,
      });
      if (typeof table === 'number') throw new Error(`refused: ${table}`);
      const { startLevel, topEntries } = table.geometry;
      expect([startLevel, topEntries, ...bytes]).toEqual([
        start,
        entries,
        Math.max(64, entries * 8),
      ]);
      expect(table.registers).toEqual({
        vttbr: table.base,
        vtcr: { ...codes, sh: 3, orgn: 1, irgn: 1 },
      });
      expect(warnings).toEqual([]);
    });

  for (const { of, bitmap } of [
    { of: '4K 44/42', bitmap: K4 },
    { of: '4K 48/40', bitmap: K4 },
    { of: '16K 41/40', bitmap: K16 },
    { of: '16K 47/40', bitmap: K16 },
  ])
    test(`${of}: more than 16 tables`, () => {
      const { table, bytes, warnings } = attempt(arm64LpaeS2, {
        ...sizes(of),
        pgsizeBitmap: bitmap,
      });
      expect([table, bytes, warnings.length]).toEqual([-ERRNO.EINVAL, [], 1]);
    });

  test('walks that do not snoop', () => {
    const { vtcr } = made(arm64LpaeS2, { coherentWalk: false }).registers;
    expect([vtcr.sh, vtcr.orgn, vtcr.irgn]).toEqual([2, 0, 0]);
  });
});

describe('narrow formats and Mali', () => {
  const refused = [
    { format: arm32LpaeS1, ias: 33, oas: 40 },
    { format: arm32LpaeS1, ias: 32, oas: 42 },
    { format: arm32LpaeS1, ias: 32, oas: 33 },
    { format: arm32LpaeS1, ias: 32, oas: 40, pgsizeBitmap: K16 },
    { format: arm32LpaeS2, ias: 41, oas: 40 },
    { format: arm32LpaeS2, ias: 40, oas: 48 },
    { format: arm32LpaeS2, ias: 40, oas: 40, pgsizeBitmap: K64 },
    { format: maliLpae, ias: 49, oas: 40 },
    { format: maliLpae, ias: 48, oas: 42 },
    { format: maliLpae, ias: 33, oas: 40, pgsizeBitmap: K16 },
  ];
  for (const { format, ...change } of refused)
    test(`${format.name} refuses ${JSON.stringify(change)}`, () => {
      const { table, bytes, warnings } = attempt<unknown>(format, change);
      expect([table, bytes, warnings]).toEqual([-ERRNO.EINVAL, [], []]);
    });

  test('larger granules are no choice, whatever the CPU uses', () => {
    for (const format of [arm32LpaeS1, arm32LpaeS2] as LpaeFormat<unknown>[])
      for (const cpuPageSize of [SZ_4K, SZ_16K, SZ_64K]) {
        const pgsizeBitmap = K4 + K16 + K64;
        const table = made(format, { ias: 32, oas: 40, pgsizeBitmap, cpuPageSize });
        expect([table.granule, table.pgsizeBitmap]).toEqual([SZ_4K, K4]);
      }
  });

  test('32-bit stage 2 concatenates', () => {
    const { table, bytes } = attempt(arm32LpaeS2, { ias: 40, oas: 40 });
    if (typeof table === 'number') throw new Error(`refused: ${table}`);
    expect(bytes).toEqual([0x2000]);
    expect(table.registers.vtcr).toEqual({ ps: 2, tg: 0, sh: 3, orgn: 1, irgn: 1, sl: 1, tsz: 24 });
    expect(made(arm32LpaeS2, { ias: 40, oas: 36 }).geometry.startLevel).toBe(0);
  });

  const mali = [
    { ias: 21, entries: 1 },
    { ias: 33, entries: 1 },
    { ias: 39, entries: 1 },
    { ias: 40, entries: 2 },
    { ias: 48, entries: 512 },
  ];
  for (const { ias, entries } of mali)
    test(`Mali starts at level 0: ${ias} bits`, () => {
      const table = made(maliLpae, { ias, oas: 33 });
      expect([table.geometry.startLevel, table.geometry.topEntries]).toEqual([0, entries]);
      const last = 2 ** ias - SZ_4K;
      expect(table.mapPages(last, PA, SZ_4K, 1, RW)).toBe(-ERRNO.ERANGE);
      expect(table.mapPages(last, SZ_4K, SZ_4K, 1, RW)).toBe(0);
      expect(table.iovaToPhys(last + 5)).toBe(SZ_4K + 5);
      expect(table.mapPages(2 ** ias, SZ_4K, SZ_4K, 1, RW)).toBe(-ERRNO.ERANGE);
    });

  test('Mali registers', () => {
    const snooping = made(maliLpae, { ias: 33, oas: 40 });
    expect(snooping.registers).toEqual({ transtab: snooping.base + 0x17, memattr: 0x888d88 });
    const other = made(maliLpae, { ias: 33, oas: 40, coherentWalk: false });
    expect(other.registers.transtab).toBe(other.base + 7);
  });
});

describe('quirks', () => {
  const all: QuirkName[] = [
    'ttbr1',
    'hd',
    'ns',
    'noWarn',
    'outerWbwa',
    's2fwb',
    'noPerms',
    'mtkExt',
    'mtkTtbrExt',
  ];
  const taken: [LpaeFormat<unknown>, QuirkName[]][] = [
    [arm64LpaeS1, ['ttbr1', 'hd', 'ns', 'noWarn', 'outerWbwa']],
    [arm32LpaeS1, ['ttbr1', 'hd', 'ns', 'noWarn', 'outerWbwa']],
    [arm64LpaeS2, ['noWarn', 's2fwb']],
    [arm32LpaeS2, ['noWarn', 's2fwb']],
    [maliLpae, []],
  ];
  for (const [format, names] of taken)
    test(format.name, () => {
      const config = { ias: 32, oas: 40, coherentWalk: false };
      const works = all.filter(
        (name) =>
          typeof attempt(format, { ...config, quirks: { [name]: true } }).table !== 'number',
      );
      expect(works).toEqual(names);
    });

  test('outer write-back walks', () => {
    for (const format of [arm64LpaeS1, arm32LpaeS1]) {
      const quirks: PageTableQuirks = { outerWbwa: true };
      const sizes = { ias: 32, oas: 40 };
      const { tcr } = made(format, { ...sizes, quirks, coherentWalk: false }).registers;
      expect([tcr.sh, tcr.orgn, tcr.irgn]).toEqual([2, 1, 0]);
      expect(attempt(format, { ...sizes, quirks }).table).toBe(-ERRNO.EINVAL);
    }
  });

  test('conflicts of stage 2 are silent on request, misuse never', () => {
    for (const format of [arm64LpaeS2, arm32LpaeS2]) {
      const table = made(format, { ias: 32, oas: 40, quirks: { noWarn: true } });
      expect(table.mapPages(0, PA, SZ_4K, 1, RW)).toBe(0);
      expect(table.mapPages(0, PA, SZ_4K, 1, RW)).toBe(-ERRNO.EEXIST);
      expect(table.unmapPages(SZ_4K, SZ_4K, 1, null)).toBe(0);
      expect(table.warnings).toBe(0);
      expect(table.unmapPages(SZ_4K, SZ_4K, 0, null)).toBe(0);
      expect(table.warnings).toBe(1);
    }
  });
});

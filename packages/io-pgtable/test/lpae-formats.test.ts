import { SZ_1G, SZ_2M, SZ_4K, SZ_16K, SZ_32M, SZ_64K, SZ_512M } from '@iommukit/bits';
import { ERRNO, NonCoherentView } from '@iommukit/platform';
import { describe, expect, test } from 'vitest';
import {
  arm32LpaeS1,
  arm32LpaeS2,
  arm64LpaeS1,
  arm64LpaeS2,
  createPageTable,
  IOMMU_CACHE,
  IOMMU_MMIO,
  IOMMU_NOEXEC,
  IOMMU_PRIV,
  IOMMU_READ,
  IOMMU_WRITE,
  IotlbGather,
  type LpaeFormat,
  type LpaePageTable,
  maliLpae,
  type PageTableConfig,
  type PageTableQuirks,
  type QuirkName,
  walkTable,
} from '../src/index.ts';
import { leafOf, rig } from './rig.lanes.ts';

// Expected values follow from linux-iommu.md 4.1 to 4.6: by arithmetic from the geometry's formulas, by OR from the bits' table.

const R = IOMMU_READ;
const W = IOMMU_WRITE;
const RW = R + W;
const C = IOMMU_CACHE;
const PA = 0x4_8000_0000;
const TWO64 = 2 ** 64;
const K4 = SZ_4K + SZ_2M + SZ_1G;
const K16 = SZ_16K + SZ_32M;
const K64 = SZ_64K + SZ_512M;
const T4 = 2 ** 42;

type Change = Partial<PageTableConfig>;

/** Requests for top tables, warnings and the answer. */
function attempt<T>(
  format: LpaeFormat<T>,
  change: Change,
): { table: LpaePageTable<T> | number; bytes: number[]; warnings: string[] } {
  const { config, frames, warnings } = rig();
  const bytes: number[] = [];
  const counting = {
    alloc: (n: number) => {
      bytes.push(n);
      return frames.alloc(n);
    },
    free: (pa: number, n: number) => frames.free(pa, n),
  };
  const table = createPageTable(format, { ...config, frames: counting, ...change });
  return { table, bytes, warnings };
}

function made<T>(format: LpaeFormat<T>, change: Change): LpaePageTable<T> {
  const { table } = attempt(format, change);
  if (typeof table === 'number') throw new Error(`refused: ${table}`);
  return table;
}

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

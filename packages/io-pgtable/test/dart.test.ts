import { SZ_4K, SZ_16K, SZ_64K } from '@iommukit/bits';
import { ERRNO, FrameAllocator, type MemoryView, PhysicalMemory } from '@iommukit/platform';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { appleDart, appleDart2, type DartFormat } from '../src/dart/apple-dart.ts';
import { type DartPageTable, TableAddressError } from '../src/dart/dart-page-table.lanes.ts';
import { IotlbGather } from '../src/iotlb-gather.ts';
import type { PageTableConfig, TableFrames } from '../src/page-table-config.ts';
import { IO_PGTABLE_PROFILES } from '../src/profile.ts';
import { IOMMU_CACHE, IOMMU_READ, IOMMU_WRITE } from '../src/prot.ts';
import { walkTable } from '../src/table-walk.ts';
import { type Call, flushLog, leavesOf } from './flush-log.ts';

const RW = IOMMU_READ + IOMMU_WRITE;
const BASE = 0x8_0000_0000;
const POOL = 0x100_0000;
const SZ_1G = 0x4000_0000;

interface Rig {
  readonly memory: PhysicalMemory;
  readonly frames: FrameAllocator;
  readonly calls: Call[];
  readonly config: PageTableConfig;
}

function rig(change: Partial<PageTableConfig> = {}): Rig {
  const memory = new PhysicalMemory([{ base: BASE, size: POOL }]);
  const frames = new FrameAllocator({ base: BASE, size: POOL });
  const calls: Call[] = [];
  const config: PageTableConfig = {
    pgsizeBitmap: SZ_16K,
    ias: 36,
    oas: 36,
    coherentWalk: true,
    memory,
    frames,
    flush: flushLog(calls),
    profile: IO_PGTABLE_PROFILES['7.3'],
    ...change,
  };
  return { memory, frames, calls, config };
}

function open(format: DartFormat, config: PageTableConfig): DartPageTable {
  const table = format.create(config);
  if (typeof table === 'number') throw new Error(`refused: ${table}`);
  return table;
}

function entryAt(memory: MemoryView, table: DartPageTable, iova: number): string {
  let word = 0n;
  walkTable(memory, table.shape, iova, ({ lo, hi }) => {
    word = (BigInt(hi) << 32n) | BigInt(lo);
  });
  return `0x${word.toString(16)}`;
}

describe('entries', () => {
  // Expected: valid is bit 0, the subpage end 0xfff stands in bits 51:40. First generation: bit 1 always, no write bit 7, no read
  // bit 8, address bits 35:12 in place.
  test.each([
    ['read write', RW, '0xfff0923454003'],
    ['cached makes no difference', RW + IOMMU_CACHE, '0xfff0923454003'],
    ['read only', IOMMU_READ, '0xfff0923454083'],
    ['write only', IOMMU_WRITE, '0xfff0923454103'],
  ])('first generation, %s', (_name, prot, expected) => {
    const { memory, config } = rig();
    const table = open(appleDart, config);
    expect(table.mapPages(0x4000, 0x9_2345_4000, SZ_16K, 1, prot)).toBe(0);
    expect(entryAt(memory, table, 0x4000)).toBe(expected);
    expect(table.iovaToPhys(0x7fff)).toBe(0x9_2345_7fff);
  });

  // Second generation: not cached bit 1, no write bit 2, no read bit 3, address bits 41:14 in bits 37:10.
  test.each([
    ['read write', RW, '0xfff3ffffffc03'],
    ['cached', RW + IOMMU_CACHE, '0xfff3ffffffc01'],
    ['read only', IOMMU_READ + IOMMU_CACHE, '0xfff3ffffffc05'],
    ['write only', IOMMU_WRITE + IOMMU_CACHE, '0xfff3ffffffc09'],
  ])('second generation, %s', (_name, prot, expected) => {
    const { memory, config } = rig({ ias: 42, oas: 42 });
    const table = open(appleDart2, config);
    expect(table.mapPages(2 ** 42 - SZ_16K, 2 ** 42 - SZ_16K, SZ_16K, 1, prot)).toBe(0);
    expect(entryAt(memory, table, 2 ** 42 - SZ_16K)).toBe(expected);
    expect(table.iovaToPhys(2 ** 42 - 1)).toBe(2 ** 42 - 1);
    expect(table.iovaToPhys64({ lo: 0xffff_ffff, hi: 0x3ff })).toEqual({
      lo: 0xffff_ffff,
      hi: 0x3ff,
    });
  });

  test('a table entry is its address and the valid bit', () => {
    for (const [format, divisor] of [
      [appleDart, 1],
      [appleDart2, 16],
    ] as const) {
      const { memory, config } = rig();
      const table = open(format, config);
      table.mapPages(0, 0, SZ_16K, 1, RW);
      const [root = 0] = table.roots;
      const lo = memory.load64(root);
      expect(memory.hi * 2 ** 32 + lo).toBe((root + SZ_16K) / divisor + 1);
    }
  });

  test('a run over a 4 GiB boundary of the entry', () => {
    const { memory, config } = rig({ ias: 42, oas: 42 });
    for (const [format, boundary] of [
      [appleDart, 2 ** 32],
      [appleDart2, 2 ** 36],
    ] as const) {
      const table = open(format, config);
      expect(table.mapPages(0, boundary - 3 * SZ_16K, SZ_16K, 8, RW)).toBe(0);
      expect(leavesOf(memory, table)).toEqual(
        [0, 1, 2, 3, 4, 5, 6, 7].map((i) => [i * SZ_16K, boundary + (i - 3) * SZ_16K, SZ_16K]),
      );
      table.free();
    }
  });

  test('the first generation has no address bits above 35', () => {
    const { config } = rig({ oas: 42 });
    const table = open(appleDart, config);
    expect(table.mapPages(0, 2 ** 36 + SZ_16K, SZ_16K, 1, RW)).toBe(0);
    expect(table.iovaToPhys(0)).toBe(SZ_16K);
  });
});

describe('configuration', () => {
  // Index bits are the page's less 3; a level more as long as the IOVA bits need it, but at least two; what is left over of the
  // bits goes to up to four base registers with 4 KiB pages.
  test.each([
    [SZ_16K, 36, 36, { nTtbrs: 1, nLevels: 3, bitsPerLevel: 11 }],
    [SZ_16K, 32, 42, { nTtbrs: 1, nLevels: 3, bitsPerLevel: 11 }],
    [SZ_16K, 37, 42, { nTtbrs: 1, nLevels: 4, bitsPerLevel: 11 }],
    [SZ_16K, 42, 42, { nTtbrs: 1, nLevels: 4, bitsPerLevel: 11 }],
    [SZ_4K, 30, 36, { nTtbrs: 1, nLevels: 3, bitsPerLevel: 9 }],
    [SZ_4K, 31, 36, { nTtbrs: 2, nLevels: 3, bitsPerLevel: 9 }],
    [SZ_4K, 32, 36, { nTtbrs: 4, nLevels: 3, bitsPerLevel: 9 }],
    [SZ_4K, 33, 36, { nTtbrs: 1, nLevels: 4, bitsPerLevel: 9 }],
    [SZ_4K, 36, 36, { nTtbrs: 1, nLevels: 4, bitsPerLevel: 9 }],
    [SZ_4K, 41, 42, { nTtbrs: 4, nLevels: 4, bitsPerLevel: 9 }],
  ])('pages of %i, %i input and %i output bits', (pgsizeBitmap, ias, oas, expected) => {
    const { config, frames } = rig({ pgsizeBitmap, ias, oas });
    const table = open(appleDart, config);
    const ttbr = Array.from({ length: expected.nTtbrs }, (_, i) => BASE + i * pgsizeBitmap);
    expect(table.registers).toEqual({ ...expected, ttbr });
    expect(table.roots).toEqual(ttbr);
    expect(table.shape.topLevel).toBe(expected.nLevels - 1);
    table.free();
    expect(frames.used).toBe(0);
  });

  test.each([
    ['walks that are not coherent', { coherentWalk: false }],
    ['40 output bits', { oas: 40 }],
    ['more input than output bits', { ias: 37 }],
    ['two page sizes', { pgsizeBitmap: SZ_4K + SZ_16K }],
    ['64 KiB pages', { pgsizeBitmap: SZ_64K }],
    ['four levels of tables', { pgsizeBitmap: SZ_4K, ias: 42, oas: 42 }],
  ] satisfies [string, Partial<PageTableConfig>][])('refused: %s', (_name, change) => {
    const { config, frames } = rig(change);
    expect(appleDart.create(config)).toBe(-ERRNO.EINVAL);
    expect(appleDart2.create(config)).toBe(-ERRNO.EINVAL);
    expect(frames.used).toBe(0);
  });

  test('no frame for one of four top tables: the others go back', () => {
    const { config, frames } = rig({ pgsizeBitmap: SZ_4K, ias: 32 });
    frames.failIn = 3;
    expect(appleDart.create(config)).toBe(-ERRNO.ENOMEM);
    expect(frames.used).toBe(0);
  });
});

describe('map', () => {
  test('four top tables, a gigabyte each; above them -ENOMEM without a warning', () => {
    const { memory, config, frames, calls } = rig({ pgsizeBitmap: SZ_4K, ias: 32 });
    const table = open(appleDart, config);
    const expected: [number, number, number][] = [];
    for (let i = 0; i < 4; i++) {
      const iova = (i + 1) * SZ_1G - SZ_4K;
      expect(table.mapPages(iova, i * SZ_4K, SZ_4K, 3, RW)).toBe(0);
      expect(table.mapped).toBe(SZ_4K);
      expected.push([iova, i * SZ_4K, SZ_4K]);
      const root = table.roots[i] as number;
      expect(memory.load64(root + 511 * 8)).not.toBe(0);
    }
    expect(leavesOf(memory, table)).toEqual(expected);
    expect(table.mapPages(2 ** 32, 0, SZ_4K, 1, RW)).toBe(-ERRNO.ENOMEM);
    expect(table.warnings).toBe(0);
    expect(table.unmapPages(2 ** 32, SZ_4K, 1, null)).toBe(0);
    expect(table.warnings).toBe(1);
    expect(table.iovaToPhys(2 ** 32 + SZ_1G - SZ_4K)).toBe(0);
    expect(table.iovaToPhys64({ lo: 0x3fff_f000, hi: 0xffff_ffff })).toEqual({ lo: 0, hi: 0 });
    table.free();
    expect(calls.at(-1)).toEqual(['all']);
    expect(frames.used).toBe(0);
  });

  test('what the top table covers counts, not the input bits asked for', () => {
    const { config } = rig({ ias: 32 });
    const table = open(appleDart, config);
    expect(table.mapPages(2 ** 36 - SZ_16K, 0, SZ_16K, 1, RW)).toBe(0);
    expect(table.mapPages(2 ** 36, 0, SZ_16K, 1, RW)).toBe(-ERRNO.ENOMEM);
  });

  test('a call ends with its table', () => {
    const { config } = rig();
    const table = open(appleDart, config);
    const span = 2048 * SZ_16K;
    expect(table.mapPages(span - 2 * SZ_16K, 0, SZ_16K, 5, RW)).toBe(0);
    expect(table.mapped).toBe(2 * SZ_16K);
    expect(table.mapPages(0, 0, SZ_16K, 2046, RW)).toBe(0);
    expect(table.unmapPages(0, SZ_16K, 5000, null)).toBe(span);
  });

  test('a conflict: nothing of the call is mapped', () => {
    const { memory, config } = rig();
    const table = open(appleDart2, config);
    table.mapPages(6 * SZ_16K, 0x8000_0000, SZ_16K, 1, RW);
    const before = leavesOf(memory, table);
    expect(table.mapPages(0, 0, SZ_16K, 8, RW)).toBe(-ERRNO.EEXIST);
    expect(table.mapped).toBe(0);
    expect(table.warnings).toBe(1);
    expect(leavesOf(memory, table)).toEqual(before);
  });

  test.each([
    { name: 'page size', pgsize: SZ_4K, paddr: 0, prot: RW, errno: -ERRNO.EINVAL, warnings: 1 },
    {
      name: 'two pages',
      pgsize: 2 * SZ_16K,
      paddr: 0,
      prot: RW,
      errno: -ERRNO.EINVAL,
      warnings: 1,
    },
    {
      name: 'address',
      pgsize: SZ_16K,
      paddr: 2 ** 36,
      prot: RW,
      errno: -ERRNO.ERANGE,
      warnings: 1,
    },
    { name: 'direction', pgsize: SZ_16K, paddr: 0, prot: 4, errno: -ERRNO.EINVAL, warnings: 0 },
  ])('bad input: $name', ({ pgsize, paddr, prot, errno, warnings }) => {
    const { config, frames } = rig();
    const table = open(appleDart, config);
    expect(table.mapPages(0, paddr, pgsize, 1, prot)).toBe(errno);
    expect(table.warnings).toBe(warnings);
    expect(table.mapped).toBe(0);
    expect(frames.used).toBe(4);
  });

  test('no pages: 0, though the tables are there afterwards', () => {
    const { config } = rig();
    const table = open(appleDart, config);
    expect(table.mapPages(0, 0, SZ_16K, 0, RW)).toBe(0);
    expect(table.mapped).toBe(0);
    expect(table.counters.tablesAllocated).toBe(1);
  });

  test('no frame: the upper table stays', () => {
    const { config, frames } = rig({ ias: 42, oas: 42 });
    const table = open(appleDart2, config);
    frames.failIn = 2;
    expect(table.mapPages(0, 0, SZ_16K, 1, RW)).toBe(-ERRNO.ENOMEM);
    expect(table.counters.tablesAllocated).toBe(1);
    expect(table.mapPages(0, 0, SZ_16K, 1, RW)).toBe(0);
    expect(table.counters.tablesAllocated).toBe(2);
    table.free();
    expect(frames.used).toBe(0);
  });
});

describe('second generation with 4 KiB pages', () => {
  const change = { pgsizeBitmap: SZ_4K, ias: 32 };

  test('a frame that no entry can hold is refused, and given back', () => {
    const { config, frames } = rig(change);
    const table = open(appleDart2, config);
    const used = frames.used;
    // The four top tables took 16 KiB, so the first table below is aligned, the second is not.
    expect(table.mapPages(0, 0, SZ_4K, 1, RW)).toBe(0);
    expect(() => table.mapPages(SZ_1G, 0, SZ_4K, 1, RW)).toThrow(TableAddressError);
    expect(frames.used).toBe(used + 1);
    expect(table.iovaToPhys(SZ_1G)).toBe(0);
  });

  test('address bits 13:12 of a page are lost', () => {
    const { config, frames } = rig(change);
    const spread: TableFrames = {
      alloc: () => frames.alloc(SZ_16K),
      free: (pa) => frames.free(pa, SZ_16K),
    };
    const table = open(appleDart2, { ...config, frames: spread });
    expect(table.mapPages(0, SZ_16K, SZ_4K, 6, RW)).toBe(0);
    const got = [0, 1, 2, 3, 4, 5].map((i) => table.iovaToPhys(i * SZ_4K + 5));
    expect(got).toEqual([0x4005, 0x4005, 0x4005, 0x4005, 0x8005, 0x8005]);
    table.free();
    expect(frames.used).toBe(0);
  });
});

describe('unmap', () => {
  test('stops at a hole, tells of every page, frees no table', () => {
    const { memory, config, frames, calls } = rig();
    const table = open(appleDart, config);
    table.mapPages(0, 0, SZ_16K, 6, RW);
    const used = frames.used;
    expect(table.unmapPages(SZ_16K, SZ_16K, 2, new IotlbGather())).toBe(2 * SZ_16K);
    expect(table.unmapPages(0, SZ_16K, 6, null)).toBe(SZ_16K);
    expect(table.warnings).toBe(1);
    expect(calls).toEqual([
      ['page', SZ_16K, SZ_16K, 2],
      ['page', 0, SZ_16K, 1],
    ]);
    const queued = new IotlbGather();
    queued.queued = true;
    expect(table.unmapPages(3 * SZ_16K, SZ_16K, 3, queued)).toBe(3 * SZ_16K);
    expect(calls).toHaveLength(2);
    expect(leavesOf(memory, table)).toEqual([]);
    expect(frames.used).toBe(used);
  });

  test.each([
    ['no table', 2 ** 35, SZ_16K, 1],
    ['no page', SZ_16K, SZ_16K, 1],
    ['page size', 0, SZ_4K, 1],
    ['no pages', 0, SZ_16K, 0],
  ])('nothing happens: %s', (_name, iova, pgsize, pgcount) => {
    const { config, calls } = rig();
    const table = open(appleDart, config);
    table.mapPages(0, 0, SZ_16K, 1, RW);
    expect(table.unmapPages(iova, pgsize, pgcount, null)).toBe(0);
    expect(table.warnings).toBe(1);
    expect(calls).toEqual([]);
    expect(table.iovaToPhys(5)).toBe(5);
  });
});

test('another CPU links a table first: it is used, and ours goes back', () => {
  const { memory, config, frames } = rig();
  const table = open(appleDart2, config);
  const other = appleDart2.attach(config, table.roots);
  let done = false;
  const view = new Proxy(memory, {
    get(target, key) {
      const value = Reflect.get(target, key, target);
      if (typeof value !== 'function') return value;
      if (key !== 'cas64') return value.bind(target);
      return (...words: Parameters<MemoryView['cas64']>) => {
        if (!done && typeof other !== 'number') {
          done = true;
          other.mapPages(0, 0x4_0000, SZ_16K, 1, RW);
        }
        return target.cas64(...words);
      };
    },
  });
  const late = appleDart2.attach({ ...config, memory: view }, table.roots);
  if (typeof late === 'number') throw new Error('refused');
  const used = frames.used;
  expect(late.mapPages(SZ_16K, 0x8_0000, SZ_16K, 1, RW)).toBe(0);
  expect(frames.used - used).toBe(4);
  expect(leavesOf(memory, table)).toEqual([
    [0, 0x4_0000, SZ_16K],
    [SZ_16K, 0x8_0000, SZ_16K],
  ]);
  expect(appleDart.attach(config, [])).toBe(-ERRNO.EINVAL);
});

test('counters: levels from the top to the leaf', () => {
  const { config } = rig({ ias: 42, oas: 42 });
  const table = open(appleDart2, config);
  table.mapPages(0, 0, SZ_16K, 2, RW);
  table.iovaToPhys(0);
  table.iovaToPhys(2 ** 41);
  table.unmapPages(0, SZ_16K, 2, null);
  const { formatCalls, levels, walks, walkLevels, stores, tlbAddPages } = table.counters;
  expect({ formatCalls, levels, walks, walkLevels, stores, tlbAddPages }).toEqual({
    formatCalls: 2,
    levels: 6,
    walks: 2,
    walkLevels: 3 + 1,
    stores: 2 + 2 + 2,
    tlbAddPages: 2,
  });
});

describe('against a model of what is mapped', () => {
  const op = fc.record({
    map: fc.boolean(),
    page: fc.nat(39),
    far: fc.boolean(),
    to: fc.nat(0xf_ffff),
    count: fc.integer({ min: 1, max: 12 }),
  });
  test.each([
    ['first generation, 4 KiB, four top tables', appleDart, SZ_4K, 32, 36],
    ['first generation, 16 KiB', appleDart, SZ_16K, 36, 36],
    ['second generation, 16 KiB, three levels', appleDart2, SZ_16K, 42, 42],
  ])('%s', (_name, format, granule, ias, oas) => {
    fc.assert(
      fc.property(fc.array(op, { maxLength: 50 }), (ops) => {
        const { memory, config, frames } = rig({ pgsizeBitmap: granule, ias, oas });
        const table = open(format, config);
        const entries = granule / 8;
        const model = new Map<number, number>();
        for (const { map, page, far, to, count } of ops) {
          // Around the end of a table, near the bottom and near the top of the space.
          const at = (far ? 2 ** ias / granule - entries : entries) + page - 20;
          const left = Math.min(count, entries - (at % entries));
          let run = 0;
          if (map) {
            while (run < left && !model.has(at + run)) run++;
            const errno = table.mapPages(at * granule, to * granule, granule, count, RW);
            expect(errno).toBe(run === left ? 0 : -ERRNO.EEXIST);
            expect(table.mapped).toBe(run === left ? left * granule : 0);
            if (run === left) for (let i = 0; i < left; i++) model.set(at + i, to + i);
          } else {
            while (run < left && model.delete(at + run)) run++;
            expect(table.unmapPages(at * granule, granule, count, null)).toBe(run * granule);
          }
        }
        const expected = [...model].sort(([a], [b]) => a - b);
        expect(leavesOf(memory, table)).toEqual(
          expected.map(([page, to]) => [page * granule, to * granule, granule]),
        );
        for (const [page, to] of model)
          expect(table.iovaToPhys(page * granule + 7)).toBe(to * granule + 7);
        table.free();
        expect(frames.used).toBe(0);
      }),
      { numRuns: 60 },
    );
  });
});

import { SZ_4K, SZ_64K } from '@iommukit/bits';
import {
  ERRNO,
  FrameAllocator,
  type MemoryView,
  NonCoherentView,
  PhysicalMemory,
} from '@iommukit/platform';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { GeometryError } from '../src/index.ts';
import { IotlbGather } from '../src/iotlb-gather.ts';
import type { PageTableConfig } from '../src/page-table-config.ts';
import { IO_PGTABLE_PROFILES } from '../src/profile.ts';
import {
  IOMMU_CACHE,
  IOMMU_MMIO,
  IOMMU_NOEXEC,
  IOMMU_PRIV,
  IOMMU_READ,
  IOMMU_WRITE,
} from '../src/prot.ts';
import { forEachLeaf, walkTable } from '../src/table-walk.ts';
import { armV7s } from '../src/v7s/arm-v7s.lanes.ts';
import { TableOverrunError, type V7sPageTable } from '../src/v7s/v7s-page-table.lanes.ts';

const RW = IOMMU_READ + IOMMU_WRITE;
const SZ_1M = 0x10_0000;
const SZ_16M = 0x100_0000;
const SIZES = SZ_4K + SZ_64K + SZ_1M + SZ_16M;
const BASE = 0x4000_0000;
const POOL = 0x40_0000;
const MTK = { noPerms: true, mtkExt: true };
const MTK_TTBR = { noPerms: true, mtkExt: true, mtkTtbrExt: true };

type Call = [name: string, ...numbers: number[]];

interface Rig {
  readonly memory: PhysicalMemory;
  readonly frames: FrameAllocator;
  readonly calls: Call[];
  readonly warnings: string[];
  readonly config: PageTableConfig;
  readonly table: V7sPageTable;
}

function rig(
  change: Partial<PageTableConfig> = {},
  view: (memory: PhysicalMemory, calls: Call[]) => MemoryView = (memory) => memory,
  base = BASE,
): Rig {
  const memory = new PhysicalMemory([{ base, size: POOL }]);
  const frames = new FrameAllocator({ base, size: POOL });
  const calls: Call[] = [];
  const warnings: string[] = [];
  const config: PageTableConfig = {
    pgsizeBitmap: SIZES,
    ias: 32,
    oas: 32,
    coherentWalk: true,
    memory: view(memory, calls),
    frames,
    flush: {
      tlbFlushAll: () => calls.push(['all']),
      tlbFlushWalk: (iova, size, granule) => calls.push(['walk', iova, size, granule]),
      tlbAddPage: (gather, iova, granule, count) => {
        gather.addRange(iova, granule * count);
        calls.push(['page', iova, granule, count]);
      },
    },
    profile: IO_PGTABLE_PROFILES['7.3'],
    warn: (text) => warnings.push(text),
    ...change,
  };
  const table = armV7s.create(config);
  if (typeof table === 'number') throw new Error(`refused: ${table}`);
  return { memory, frames, calls, warnings, config, table };
}

/** The entry that ends the walk of an IOVA. */
function entryAt(memory: MemoryView, table: V7sPageTable, iova: number): number {
  let word = 0;
  walkTable(memory, table.shape, iova, ({ lo }) => {
    word = lo;
  });
  return word;
}

function leaves(memory: MemoryView, table: V7sPageTable): [number, number, number][] {
  const found: [number, number, number][] = [];
  forEachLeaf(memory, table.shape, ({ iova, paddr, size }) => found.push([iova, paddr, size]));
  return found;
}

describe('entries', () => {
  // Expected: the block of nG, S, AP[2], TEX, AP[1], AF is 0xc7 for a normal page that all may read and write. It stands at bit 4 of
  // a page and bit 10 of a section; C is 8, B is 4; type 2, large page type 1 with TEX at 14:12 and XN at 15; supersection bit 18.
  const rows = [
    { name: 'read write', prot: RW, page: 0xc72, large: 0x1c31, section: 0x31c02 },
    { name: 'cached', prot: RW + IOMMU_CACHE, page: 0xc7e, large: 0x1c3d, section: 0x31c0e },
    { name: 'read only', prot: IOMMU_READ, page: 0xe72, large: 0x1e31, section: 0x39c02 },
    {
      name: 'write only is read write',
      prot: IOMMU_WRITE,
      page: 0xc72,
      large: 0x1c31,
      section: 0x31c02,
    },
    { name: 'no execute', prot: RW + IOMMU_NOEXEC, page: 0xc73, large: 0x9c31, section: 0x31c12 },
    { name: 'device', prot: RW + IOMMU_MMIO, page: 0xc36, large: 0xc35, section: 0x30c06 },
    {
      name: 'device beats cached',
      prot: RW + IOMMU_MMIO + IOMMU_CACHE,
      page: 0xc36,
      large: 0xc35,
      section: 0x30c06,
    },
    { name: 'privileged', prot: RW + IOMMU_PRIV, page: 0xc52, large: 0x1c11, section: 0x31402 },
  ];
  for (const { name, prot, page, large, section } of rows)
    test(name, () => {
      const { memory, table } = rig();
      expect(table.mapPages(0x1000, 0x8765_4000, SZ_4K, 1, prot)).toBe(0);
      expect(table.mapPages(0x1_0000, 0x8765_0000, SZ_64K, 1, prot)).toBe(0);
      expect(table.mapPages(0x10_0000, 0x8760_0000, SZ_1M, 1, prot)).toBe(0);
      expect(table.mapPages(0x100_0000, 0x8700_0000, SZ_16M, 1, prot)).toBe(0);
      expect(entryAt(memory, table, 0x1000)).toBe(0x8765_4000 + page);
      for (let at = 0x1_0000; at < 0x2_0000; at += SZ_4K)
        expect(entryAt(memory, table, at)).toBe(0x8765_0000 + large);
      expect(entryAt(memory, table, 0x10_0000)).toBe(0x8760_0000 + section);
      for (let at = 0x100_0000; at < 0x200_0000; at += SZ_1M)
        expect(entryAt(memory, table, at)).toBe(0x8700_0000 + section + 0x4_0000);
    });

  test('NS marks sections (bit 19) and tables (bit 3), not pages', () => {
    const { memory, table } = rig({ quirks: { ns: true } });
    table.mapPages(0, 0x1000, SZ_4K, 1, RW);
    table.mapPages(0x10_0000, 0x20_0000, SZ_1M, 1, RW);
    expect(entryAt(memory, table, 0)).toBe(0x1c72);
    expect(entryAt(memory, table, 0x10_0000)).toBe(0x2b_1c02);
    expect(memory.load32(table.base) % 1024).toBe(0x9);
    expect(table.iovaToPhys(0x10_0123)).toBe(0x20_0123);
    expect(table.iovaToPhys(0x123)).toBe(0x1123);
  });

  test('without permissions neither AF, AP nor XN', () => {
    const { memory, table } = rig({ quirks: { noPerms: true } });
    table.mapPages(0, 0x1000, SZ_4K, 1, IOMMU_READ + IOMMU_NOEXEC);
    table.mapPages(0x10_0000, 0, SZ_1M, 1, IOMMU_READ + IOMMU_NOEXEC);
    expect(entryAt(memory, table, 0)).toBe(0x1c42);
    expect(entryAt(memory, table, 0x10_0000)).toBe(0x3_1002);
  });

  test('a table entry is its address and type 1', () => {
    const { memory, frames, table } = rig();
    table.mapPages(0, 0, SZ_4K, 1, RW);
    const entry = memory.load32(table.base);
    expect(entry % 1024).toBe(1);
    expect(frames.isAllocated(entry - 1)).toBe(true);
  });

  test('low bits of the output address are dropped, the offset comes from the IOVA', () => {
    const { memory, table } = rig();
    table.mapPages(0x1000, 0x5abc, SZ_4K, 1, RW);
    expect(entryAt(memory, table, 0x1000)).toBe(0x5c72);
    expect(table.iovaToPhys(0x1234)).toBe(0x5234);
  });
});

describe('MediaTek', () => {
  // Address bits 32, 33, 34 stand in bits 9, 4, 5; attributes without permissions: page 0xc4e, large 0x1c0d, section 0x3100e.
  const prot = RW + IOMMU_CACHE;

  test('address bits 34:32 of every kind of leaf', () => {
    const { memory, table } = rig({ ias: 34, oas: 35, quirks: MTK });
    const last = 2 ** 34 - SZ_1M;
    table.mapPages(last, 0x7_1230_0000, SZ_1M, 1, prot);
    table.mapPages(0x1000, 0x4_0000_1000, SZ_4K, 1, prot);
    table.mapPages(0x1_0000, 0x2_0001_0000, SZ_64K, 1, prot);
    table.mapPages(SZ_16M, 0x1_0100_0000, SZ_16M, 1, prot);
    expect(entryAt(memory, table, last)).toBe(0x1230_0000 + 0x3_100e + 0x230);
    expect(entryAt(memory, table, 0x1000)).toBe(0x1000 + 0xc4e + 0x20);
    expect(entryAt(memory, table, 0x1_0000)).toBe(0x1_0000 + 0x1c0d + 0x10);
    expect(entryAt(memory, table, SZ_16M)).toBe(0x100_0000 + 0x7_100e + 0x200);
    expect(table.iovaToPhys(2 ** 34 - 1)).toBe(0x7_123f_ffff);
    expect(table.iovaToPhys(0x1fff)).toBe(0x4_0000_1fff);
    expect(table.iovaToPhys64({ lo: 0x1_abcd, hi: 0 })).toEqual({ lo: 0x1_abcd, hi: 2 });
    expect(table.iovaToPhys64({ lo: 0x1ff_ffff, hi: 0 })).toEqual({ lo: 0x1ff_ffff, hi: 1 });
    expect(leaves(memory, table)).toEqual([
      [0x1000, 0x4_0000_1000, SZ_4K],
      [0x1_0000, 0x2_0001_0000, SZ_64K],
      [SZ_16M, 0x1_0100_0000, SZ_16M],
      [last, 0x7_1230_0000, SZ_1M],
    ]);
  });

  test('a run of pages over a 4 GiB boundary of the output', () => {
    const { memory, table } = rig({ oas: 35, quirks: MTK });
    expect(table.mapPages(0, 0xffff_e000, SZ_4K, 6, prot)).toBe(0);
    const words = [0, 1, 2, 3, 4, 5].map((i) => entryAt(memory, table, i * SZ_4K));
    expect(words).toEqual([0xffff_ec4e, 0xffff_fc4e, 0xe4e, 0x1e4e, 0x2e4e, 0x3e4e]);
    expect(table.mapPages(0x10_0000, 0x3_fff0_0000, SZ_1M, 2, prot)).toBe(0);
    expect(table.iovaToPhys(0x20_0000)).toBe(0x4_0000_0000);
  });

  test('tables above 4 GiB, their bits 34:32 in entries and TTBR', () => {
    const high = 0x7_4000_0000;
    const quirks = MTK_TTBR;
    const { memory, table, frames } = rig({ ias: 34, oas: 35, quirks }, (m) => m, high);
    expect(table.registers.ttbr).toBe(0x4000_0007);
    table.mapPages(0, 0x1000, SZ_4K, 1, prot);
    expect(memory.load32(table.base) % 1024).toBe(0x231);
    expect(table.iovaToPhys(0xfff)).toBe(0x1fff);
    table.free();
    expect(frames.used).toBe(0);
  });

  test('a second-level table that entries cannot hold is no memory', () => {
    const { config, frames } = rig({ oas: 33, quirks: MTK_TTBR });
    const low = frames.alloc(0x4000);
    const given = [low, 0x2_0000_0000];
    const freed: number[] = [];
    const table = armV7s.create({
      ...config,
      frames: { alloc: () => given.shift() ?? -1, free: (pa) => freed.push(pa) },
    });
    if (typeof table === 'number') throw new Error('refused');
    expect(table.mapPages(0, 0, SZ_4K, 1, prot)).toBe(-ERRNO.ENOMEM);
    expect(freed).toEqual([0x2_0000_0000]);
    expect(table.warnings).toBe(0);
  });
});

describe('configuration', () => {
  test.each([
    ['coherent', true, {}, 0x4000_006a],
    ['not coherent', false, {}, 0x4000_0002],
    ['MediaTek', true, MTK, 0x4000_0000],
  ])('registers, %s', (_name, coherentWalk, quirks, ttbr) => {
    const { table } = rig({ coherentWalk, quirks });
    expect(table.registers).toEqual({ ttbr, tcr: 0, nmrr: 0x4000_4000, prrr: 0x800b_8204 });
    expect(table.pgsizeBitmap).toBe(SIZES);
  });

  test.each([
    ['33 input bits', { ias: 33 }],
    ['33 output bits', { oas: 33 }],
    ['35 input bits with MediaTek', { ias: 35, oas: 35, quirks: MTK }],
    ['36 output bits with MediaTek', { oas: 36, quirks: MTK }],
    ['MediaTek with permissions', { quirks: { mtkExt: true } }],
    ['high TTBR alone', { quirks: { noPerms: true, mtkTtbrExt: true } }],
    ['NO_WARN', { quirks: { noWarn: true } }],
    ['a quirk of another format', { quirks: { hd: true } }],
  ] satisfies [string, Partial<PageTableConfig>][])('refused: %s', (_name, change) => {
    const { config, frames } = rig();
    const used = frames.used;
    expect(armV7s.create({ ...config, ...change })).toBe(-ERRNO.EINVAL);
    expect(frames.used).toBe(used);
  });

  test('sizes that are none of the format are dropped', () => {
    expect(rig({ pgsizeBitmap: SIZES + 0x20_0000 + 0x2000 }).table.pgsizeBitmap).toBe(SIZES);
  });

  test.each([
    [24, 4096, 16],
    [30, 4096, 1024],
    [32, 16384, 4096],
  ])('%i input bits: a top table of %i bytes', (ias, bytes, entries) => {
    const { config, frames } = rig();
    const sizes: number[] = [];
    const alloc = (n: number): number => {
      sizes.push(n);
      return frames.alloc(n);
    };
    const table = armV7s.create({
      ...config,
      ias,
      frames: { alloc, free: (pa, n) => frames.free(pa, n) },
    });
    if (typeof table === 'number') throw new Error('refused');
    expect(sizes).toEqual([bytes]);
    expect(table.shape.entryCount(1)).toBe(entries);
    expect(table.mapPages(2 ** ias - SZ_1M, 0, SZ_1M, 1, RW)).toBe(0);
    expect(table.mapPages(2 ** ias, 0, SZ_1M, 1, RW)).toBe(-ERRNO.ERANGE);
    table.free();
  });

  test('no memory, or memory that TTBR cannot point to', () => {
    const { config } = rig();
    const memory = new PhysicalMemory([{ base: 0x1_0000_0000, size: POOL }]);
    const frames = new FrameAllocator({ base: 0x1_0000_0000, size: POOL });
    expect(armV7s.create({ ...config, memory, frames })).toBe(-ERRNO.ENOMEM);
    frames.failIn = 1;
    expect(armV7s.create({ ...config, memory, frames })).toBe(-ERRNO.ENOMEM);
    expect(frames.used).toBe(0);
  });

  test('no room for an index', () => {
    const { config } = rig();
    expect(() => armV7s.create({ ...config, ias: 19 })).toThrow(GeometryError);
  });
});

describe('map', () => {
  test('one call goes on over the end of a table', () => {
    const { table, frames } = rig();
    const used = frames.used;
    expect(table.mapPages(0xf_f000, 0x8000_0000, SZ_4K, 258, RW)).toBe(0);
    expect(table.mapped).toBe(258 * SZ_4K);
    expect(frames.used - used).toBe(3);
    expect(table.counters.tablesAllocated).toBe(3);
    expect(table.iovaToPhys(0x20_0fff)).toBe(0x8010_1fff);
    expect(table.iovaToPhys(0x20_1000)).toBe(0);
    expect(table.counters.stores).toBe(258 + 3);
    table.free();
    expect(frames.used).toBe(0);
  });

  test.each([
    ['IOVA', 2 ** 32, 0],
    ['output address', 0, 2 ** 32],
  ])('%s out of range', (_name, iova, paddr) => {
    const { table } = rig();
    expect(table.mapPages(iova, paddr, SZ_4K, 1, RW)).toBe(-ERRNO.ERANGE);
    expect(table.warnings).toBe(1);
    expect(table.mapped).toBe(0);
  });

  test('only the first address of a call is checked: the rest wraps around', () => {
    const { table } = rig();
    expect(table.mapPages(0xfff0_0000, 0xfff0_0000, SZ_1M, 2, RW)).toBe(0);
    expect(table.iovaToPhys(0xffff_ffff)).toBe(0xffff_ffff);
    expect(table.iovaToPhys(0x12)).toBe(0x12);
    expect(table.iovaToPhys(2 ** 32 + 0x12)).toBe(0x12);
  });

  test('neither read nor write, or no pages: -EINVAL without a warning', () => {
    const { table, frames } = rig();
    const used = frames.used;
    expect(table.mapPages(0, 0, SZ_4K, 1, IOMMU_CACHE)).toBe(-ERRNO.EINVAL);
    expect(table.mapPages(0, 0, SZ_4K, 0, RW)).toBe(-ERRNO.EINVAL);
    expect(table.warnings).toBe(0);
    expect(frames.used).toBe(used);
    expect(table.unmapPages(0, SZ_4K, 0, null)).toBe(0);
    expect(table.warnings).toBe(0);
  });

  test('a page size below the smallest page', () => {
    const { table } = rig();
    expect(table.mapPages(0, 0, 0x800, 1, RW)).toBe(-ERRNO.EINVAL);
    expect(table.warnings).toBe(1);
  });

  test('a conflict: what came before it stays', () => {
    const { memory, table } = rig();
    table.mapPages(0x3000, 0x9000_0000, SZ_4K, 1, RW);
    expect(table.mapPages(0x1000, 0x8000_0000, SZ_4K, 8, RW)).toBe(-ERRNO.EEXIST);
    expect(table.mapped).toBe(2 * SZ_4K);
    expect(table.warnings).toBe(1);
    expect(leaves(memory, table)).toEqual([
      [0x1000, 0x8000_0000, SZ_4K],
      [0x2000, 0x8000_1000, SZ_4K],
      [0x3000, 0x9000_0000, SZ_4K],
    ]);
  });

  test.each([
    ['a page in a large page', SZ_64K, 0x4000, SZ_4K],
    ['a large page over a page', SZ_4K, 0, SZ_64K],
    ['a page in a section', SZ_1M, 0x4000, SZ_4K],
    ['a large page in a supersection', SZ_16M, 0x30_0000, SZ_64K],
    ['a section in a supersection', SZ_16M, 0x30_0000, SZ_1M],
    ['a supersection over a section', SZ_1M, 0, SZ_16M],
  ])('a leaf in the way: %s', (_name, there, at, size) => {
    const { memory, table } = rig();
    const iova = SZ_16M;
    table.mapPages(iova, 0x8000_0000, there, 1, RW);
    const before = leaves(memory, table);
    expect(table.mapPages(iova + at, 0, size, 1, RW)).toBe(-ERRNO.EEXIST);
    expect(table.mapped).toBe(0);
    expect(table.warnings).toBe(1);
    expect(leaves(memory, table)).toEqual(before);
  });

  test('a section takes the place of a table, live pages included', () => {
    const { memory, frames, table, calls } = rig();
    const used = frames.used;
    table.mapPages(0x10_0000, 0x8000_0000, SZ_4K, 3, RW);
    expect(table.mapPages(0x10_0000, 0x9000_0000, SZ_1M, 1, RW)).toBe(0);
    expect(calls).toEqual([['walk', 0x10_0000, SZ_1M, SZ_4K]]);
    expect(table.warnings).toBe(0);
    expect(frames.used).toBe(used);
    expect(leaves(memory, table)).toEqual([[0x10_0000, 0x9000_0000, SZ_1M]]);
  });

  test('a refused supersection has dropped the tables before the leaf', () => {
    const { memory, table, calls } = rig();
    table.mapPages(SZ_16M, 0x8000_0000, SZ_4K, 1, RW);
    table.mapPages(SZ_16M + SZ_1M, 0x8010_0000, SZ_1M, 1, RW);
    table.mapPages(SZ_16M + 2 * SZ_1M, 0x8020_0000, SZ_4K, 1, RW);
    expect(table.mapPages(SZ_16M, 0, SZ_16M, 1, RW)).toBe(-ERRNO.EEXIST);
    expect(calls).toEqual([['walk', SZ_16M, SZ_1M, SZ_4K]]);
    expect(leaves(memory, table)).toEqual([
      [SZ_16M + SZ_1M, 0x8010_0000, SZ_1M],
      [SZ_16M + 2 * SZ_1M, 0x8020_0000, SZ_4K],
    ]);
  });

  test('no frame in the middle of a run', () => {
    const { table, frames } = rig();
    frames.failIn = 2;
    expect(table.mapPages(0xf_f000, 0, SZ_4K, 4, RW)).toBe(-ERRNO.ENOMEM);
    expect(table.mapped).toBe(SZ_4K);
    table.free();
    expect(frames.used).toBe(0);
  });

  test('pages that would leave their table are refused, and nothing is changed', () => {
    const { memory, table, frames } = rig();
    const used = frames.used;
    for (const [iova, size, count] of [
      [0xf_f000, SZ_64K, 1],
      [0x1000, SZ_64K, 16],
      [0xfff0_0000, SZ_16M, 1],
      [0x10_0000, SZ_16M, 256],
    ] as const) {
      expect(() => table.mapPages(iova, 0, size, count, RW)).toThrow(TableOverrunError);
      expect(() => table.unmapPages(iova, size, count, null)).toThrow(TableOverrunError);
    }
    expect(() => table.unmapPages(0, 0x200_0000, 1, null)).toThrow(TableOverrunError);
    expect(frames.used).toBe(used);
    expect(leaves(memory, table)).toEqual([]);
  });
});

describe('unmap', () => {
  const cases: [string, number, number, number][] = [
    ['4 KiB', SZ_4K, SZ_4K, 1],
    ['64 KiB', SZ_64K, SZ_4K, 16],
    ['1 MiB', SZ_1M, SZ_1M, 1],
    ['16 MiB', SZ_16M, SZ_1M, 16],
  ];
  test.each(cases)('%s tells of every entry', (_name, size, granule, count) => {
    const { memory, table, calls } = rig();
    const gather = new IotlbGather();
    table.mapPages(SZ_16M, SZ_16M, size, 2, RW);
    expect(table.unmapPages(SZ_16M, size, 2, gather)).toBe(2 * size);
    expect(calls).toEqual([['page', SZ_16M, granule, 2 * count]]);
    expect([gather.start, gather.end]).toEqual([SZ_16M, SZ_16M + 2 * size]);
    expect(leaves(memory, table)).toEqual([]);
  });

  test('a queued gather is told nothing; no gather at all does not stop the telling', () => {
    const { table, calls } = rig();
    table.mapPages(0, 0, SZ_64K, 2, RW);
    const gather = new IotlbGather();
    gather.queued = true;
    expect(table.unmapPages(0, SZ_64K, 1, gather)).toBe(SZ_64K);
    expect(calls).toEqual([]);
    expect(table.unmapPages(SZ_64K, SZ_64K, 1, null)).toBe(SZ_64K);
    expect(calls).toEqual([['page', SZ_64K, SZ_4K, 16]]);
  });

  test.each([
    ['one entry of a large page', SZ_64K, SZ_4K],
    ['a page of a section', SZ_1M, SZ_4K],
    ['a large page of a section', SZ_1M, SZ_64K],
    ['a page of a supersection', SZ_16M, SZ_4K],
    ['a section of a supersection', SZ_16M, SZ_1M],
  ])('%s is not unmapped', (_name, size, part) => {
    const { memory, table, calls, warnings } = rig();
    table.mapPages(SZ_16M, SZ_16M, size, 1, RW);
    expect(table.unmapPages(SZ_16M, part, 1, null)).toBe(0);
    expect(warnings).toEqual(['Unmap of a partial large IOPTE is not allowed']);
    expect(calls).toEqual([]);
    expect(leaves(memory, table)).toEqual([[SZ_16M, SZ_16M, size]]);
  });

  test('a run stops at a hole, and a group with a hole stays whole', () => {
    const { memory, table } = rig();
    table.mapPages(0, 0, SZ_4K, 3, RW);
    expect(table.unmapPages(0x1000, SZ_4K, 5, null)).toBe(2 * SZ_4K);
    expect(table.warnings).toBe(1);
    table.mapPages(0x1000, 0x1000, SZ_4K, 14, RW);
    expect(table.unmapPages(0, SZ_64K, 1, null)).toBe(0);
    expect(table.warnings).toBe(2);
    expect(leaves(memory, table)).toHaveLength(15);
    // Sixteen pages side by side go like one large page.
    table.mapPages(0xf000, 0, SZ_4K, 1, RW);
    expect(table.unmapPages(0, SZ_64K, 1, null)).toBe(SZ_64K);
    expect(leaves(memory, table)).toEqual([]);
  });

  test('a section over a table: the walk is flushed, then the table freed; nothing is gathered', () => {
    const { table, frames, calls } = rig();
    const used = frames.used;
    table.mapPages(0x10_0000, 0, SZ_4K, 5, RW);
    expect(table.unmapPages(0x10_0000, SZ_1M, 1, new IotlbGather())).toBe(SZ_1M);
    expect(calls).toEqual([['walk', 0x10_0000, SZ_1M, SZ_4K]]);
    expect(frames.used).toBe(used);
    expect(table.counters.tablesFreed).toBe(1);
  });

  test('a supersection over sections and tables, in their order', () => {
    const { table, calls } = rig();
    for (let i = 0; i < 16; i++)
      table.mapPages(SZ_16M + i * SZ_1M, 0, i === 2 || i === 3 ? SZ_4K : SZ_1M, 1, RW);
    expect(table.unmapPages(SZ_16M, SZ_16M, 1, new IotlbGather())).toBe(SZ_16M);
    expect(calls).toEqual([
      ['page', SZ_16M, SZ_1M, 2],
      ['walk', SZ_16M + 2 * SZ_1M, SZ_1M, SZ_4K],
      ['walk', SZ_16M + 3 * SZ_1M, SZ_1M, SZ_4K],
      ['page', SZ_16M + 4 * SZ_1M, SZ_1M, 12],
    ]);
  });

  test('an emptied table stays until something larger comes', () => {
    const { table, frames } = rig();
    const used = frames.used;
    table.mapPages(0, 0, SZ_4K, 256, RW);
    expect(table.unmapPages(0, SZ_4K, 256, null)).toBe(SZ_1M);
    expect(frames.used).toBe(used + 1);
    expect(table.unmapPages(0, SZ_4K, 1, null)).toBe(0);
    table.mapPages(0, 0, SZ_1M, 1, RW);
    expect(frames.used).toBe(used);
  });

  test('out of range', () => {
    const { table } = rig();
    expect(table.unmapPages(2 ** 32, SZ_4K, 1, null)).toBe(0);
    expect(table.warnings).toBe(1);
  });
});

describe('non-coherent walks', () => {
  /** Records every clean, as an offset from the memory's base. */
  function recording(memory: PhysicalMemory, calls: Call[]): MemoryView {
    return new Proxy(memory, {
      get(target, key) {
        if (key === 'clean')
          return (pa: number, bytes: number) => calls.push(['clean', pa - BASE, bytes]);
        const value = Reflect.get(target, key, target);
        return typeof value === 'function' ? value.bind(target) : value;
      },
    });
  }

  test('order of cleans: table, link, then each page with the link again', () => {
    const { table, calls, frames } = rig({ coherentWalk: false }, recording);
    expect(calls).toEqual([['clean', 0, 0x4000]]);
    calls.length = 0;
    table.mapPages(0x10_0000, 0, SZ_4K, 2, RW);
    const second = 0x4000;
    expect(frames.isAllocated(BASE + second)).toBe(true);
    expect(calls).toEqual([
      ['clean', second, 1024],
      ['clean', 4, 4],
      ['clean', second, 4],
      ['clean', 4, 4],
      ['clean', second + 4, 4],
    ]);
    calls.length = 0;
    table.unmapPages(0x10_0000, SZ_4K, 2, null);
    expect(calls).toEqual([
      ['clean', second, 4],
      ['page', 0x10_0000, SZ_4K, 1],
      ['clean', second + 4, 4],
      ['page', 0x10_1000, SZ_4K, 1],
    ]);
  });

  test('large pages are cleaned at once, a table in the way before its walks are flushed', () => {
    const { table, calls } = rig({ coherentWalk: false }, recording);
    table.mapPages(0x10_0000, 0, SZ_64K, 1, RW);
    calls.length = 0;
    table.mapPages(0x10_0000, 0, SZ_1M, 1, RW);
    expect(calls).toEqual([
      ['clean', 4, 4],
      ['walk', 0x10_0000, SZ_1M, SZ_4K],
      ['clean', 4, 4],
    ]);
    calls.length = 0;
    table.mapPages(SZ_16M, 0, SZ_16M, 1, RW);
    table.unmapPages(SZ_16M, SZ_16M, 1, null);
    expect(calls).toEqual([
      ['clean', 64, 64],
      ['clean', 64, 64],
      ['page', SZ_16M, SZ_1M, 16],
    ]);
  });

  test('what the device sees is what the CPU wrote', () => {
    const { memory, table } = rig({ coherentWalk: false }, (m) => new NonCoherentView(m));
    table.mapPages(0xf_0000, 0x8000_0000, SZ_64K, 3, RW);
    table.mapPages(0x40_0000, 0x9000_0000, SZ_1M, 2, RW);
    table.unmapPages(0x10_0000, SZ_64K, 1, null);
    expect(leaves(memory, table)).toEqual([
      [0xf_0000, 0x8000_0000, SZ_64K],
      [0x11_0000, 0x8002_0000, SZ_64K],
      [0x40_0000, 0x9000_0000, SZ_1M],
      [0x50_0000, 0x9010_0000, SZ_1M],
    ]);
  });
});

describe('two CPUs', () => {
  /** Does something once, just before the first compare-and-swap. */
  function interrupted(memory: PhysicalMemory, meanwhile: () => void): MemoryView {
    let done = false;
    return new Proxy(memory, {
      get(target, key) {
        const value = Reflect.get(target, key, target);
        if (typeof value !== 'function') return value;
        if (key !== 'cas64') return value.bind(target);
        return (...words: Parameters<MemoryView['cas64']>) => {
          if (!done) {
            done = true;
            meanwhile();
          }
          return target.cas64(...words);
        };
      },
    });
  }

  for (const slot of [6, 7])
    test(`entry ${slot}: the other half of the doubleword changes before the link`, () => {
      const { memory, config, table, frames } = rig();
      const other = armV7s.attach(config, table.base);
      const view = interrupted(memory, () => {
        if (typeof other !== 'number') other.mapPages((13 - slot) * SZ_1M, 0x5000, SZ_4K, 1, RW);
      });
      const late = armV7s.attach({ ...config, memory: view }, table.base);
      if (typeof late === 'number') throw new Error('refused');
      expect(late.mapPages(slot * SZ_1M, 0x7000, SZ_4K, 1, RW)).toBe(0);
      expect(table.iovaToPhys(slot * SZ_1M)).toBe(0x7000);
      expect(table.iovaToPhys((13 - slot) * SZ_1M)).toBe(0x5000);
      table.free();
      expect(frames.used).toBe(0);
    });

  test('another CPU links a table first: it is used, and ours goes back', () => {
    const { memory, config, table, frames } = rig();
    const used = frames.used;
    const other = armV7s.attach(config, table.base);
    const view = interrupted(memory, () => {
      if (typeof other !== 'number') other.mapPages(0x1000, 0x5000, SZ_4K, 1, RW);
    });
    const late = armV7s.attach({ ...config, memory: view }, table.base);
    if (typeof late === 'number') throw new Error('refused');
    expect(late.mapPages(0x2000, 0x7000, SZ_4K, 1, RW)).toBe(0);
    expect(frames.used).toBe(used + 1);
    expect(leaves(memory, table)).toEqual([
      [0x1000, 0x5000, SZ_4K],
      [0x2000, 0x7000, SZ_4K],
    ]);
  });

  test('another CPU maps a section first', () => {
    const { memory, config, table, frames } = rig();
    const used = frames.used;
    const other = armV7s.attach(config, table.base);
    const view = interrupted(memory, () => {
      if (typeof other !== 'number') other.mapPages(0, 0, SZ_1M, 1, RW);
    });
    const late = armV7s.attach({ ...config, memory: view }, table.base);
    if (typeof late === 'number') throw new Error('refused');
    expect(late.mapPages(0x2000, 0x7000, SZ_4K, 1, RW)).toBe(-ERRNO.EEXIST);
    expect(late.warnings).toBe(1);
    expect(frames.used).toBe(used);
  });
});

describe('against a model of what is mapped', () => {
  type Leaf = { start: number; size: number; paddr: number };
  type Slot = 'empty' | 'table' | Leaf;

  /** Sections by index, and below a table its pages by index: what section 4.7 of the facts says, one page at a time. */
  class Model {
    readonly slots: Slot[] = Array.from({ length: 64 }, () => 'empty');
    readonly pages = new Map<number, Leaf>();

    mapOne(iova: number, paddr: number, size: number): boolean {
      const leaf = { start: iova, size, paddr };
      const slot = iova / SZ_1M;
      if (size >= SZ_1M) {
        const count = size / SZ_1M;
        for (let i = slot; i < slot + count; i++) {
          if (typeof this.slots[i] === 'object') return false;
          this.drop(i);
        }
        this.slots.fill(leaf, slot, slot + count);
        return true;
      }
      const above = Math.floor(slot);
      if (typeof this.slots[above] === 'object') return false;
      this.slots[above] = 'table';
      const first = iova / SZ_4K;
      for (let i = 0; i < size / SZ_4K; i++) if (this.pages.has(first + i)) return false;
      for (let i = 0; i < size / SZ_4K; i++) this.pages.set(first + i, leaf);
      return true;
    }

    unmapOne(iova: number, size: number): boolean {
      const slot = iova / SZ_1M;
      if (size >= SZ_1M) {
        const count = size / SZ_1M;
        const held = this.slots.slice(slot, slot + count);
        if (held.includes('empty')) return false;
        const [only] = held;
        if (count === 1 && typeof only === 'object' && only.size !== SZ_1M) return false;
        for (let i = slot; i < slot + count; i++) this.drop(i);
        return true;
      }
      if (this.slots[Math.floor(slot)] !== 'table') return false;
      const first = iova / SZ_4K;
      const held = Array.from({ length: size / SZ_4K }, (_, i) => this.pages.get(first + i));
      if (held.includes(undefined)) return false;
      if (held.length === 1 && held[0]?.size !== SZ_4K) return false;
      for (let i = 0; i < held.length; i++) this.pages.delete(first + i);
      return true;
    }

    drop(slot: number): void {
      if (this.slots[slot] === 'table')
        for (let i = 0; i < 256; i++) this.pages.delete(slot * 256 + i);
      this.slots[slot] = 'empty';
    }

    get leaves(): [number, number, number][] {
      const all = new Set<Leaf>(this.pages.values());
      for (const slot of this.slots) if (typeof slot === 'object') all.add(slot);
      return [...all]
        .sort((a, b) => a.start - b.start)
        .map(({ start, paddr, size }) => [start, paddr, size]);
    }
  }

  const op = fc.record({
    map: fc.boolean(),
    size: fc.constantFrom(SZ_4K, SZ_64K, SZ_1M, SZ_16M),
    at: fc.nat(0x3fff),
    to: fc.nat(0xffff),
    count: fc.integer({ min: 1, max: 5 }),
  });
  for (const coherentWalk of [true, false])
    test(coherentWalk ? 'coherent' : 'not coherent', () => {
      fc.assert(
        fc.property(fc.array(op, { maxLength: 60 }), (ops) => {
          const { memory, frames, table } = rig({ coherentWalk, ias: 26 }, (m) =>
            coherentWalk ? m : new NonCoherentView(m),
          );
          const model = new Model();
          for (const { map, size, at, to, count } of ops) {
            const iova = (at * SZ_4K) % 2 ** 26;
            const start = iova - (iova % size);
            const pages = Math.min(count, (2 ** 26 - start) / size);
            const paddr = (to * SZ_64K) % 2 ** 31;
            let done = 0;
            let ok = true;
            for (; ok && done < pages; done += ok ? 1 : 0)
              ok = map
                ? model.mapOne(start + done * size, paddr - (paddr % size) + done * size, size)
                : model.unmapOne(start + done * size, size);
            if (map) {
              const errno = table.mapPages(start, paddr - (paddr % size), size, pages, RW);
              expect([errno, table.mapped]).toEqual([ok ? 0 : -ERRNO.EEXIST, done * size]);
            } else {
              expect(table.unmapPages(start, size, pages, null)).toBe(done * size);
            }
          }
          for (const [page, leaf] of model.pages)
            expect(table.iovaToPhys(page * SZ_4K)).toBe(leaf.paddr + page * SZ_4K - leaf.start);
          expect(leaves(memory, table)).toEqual(model.leaves);
          const tables = model.slots.filter((slot) => slot === 'table').length;
          const { tablesAllocated, tablesFreed } = table.counters;
          expect(tablesAllocated - tablesFreed).toBe(tables);
          table.free();
          expect(frames.used).toBe(0);
        }),
        { numRuns: 60 },
      );
    });
});

test('counters: levels from the top to the leaf, for walks and calls', () => {
  const { table } = rig();
  table.mapPages(0, 0, SZ_4K, 1, RW);
  table.mapPages(SZ_16M, 0, SZ_16M, 1, RW);
  table.iovaToPhys(0);
  table.iovaToPhys(SZ_16M);
  const { formatCalls, levels, walks, walkLevels, stores } = table.counters;
  expect({ formatCalls, levels, walks, walkLevels, stores }).toEqual({
    formatCalls: 2,
    levels: 3,
    walks: 2,
    walkLevels: 3,
    stores: 1 + 1 + 16,
  });
});

import { SZ_4K, SZ_64K } from '@iommukit/bits';
import { ERRNO, FrameAllocator, PhysicalMemory } from '@iommukit/platform';
import { describe, expect, test } from 'vitest';
import { GeometryError } from '../src/index.ts';
import type { PageTableConfig } from '../src/page-table-config.ts';
import {
  IOMMU_CACHE,
  IOMMU_MMIO,
  IOMMU_NOEXEC,
  IOMMU_PRIV,
  IOMMU_READ,
  IOMMU_WRITE,
} from '../src/prot.ts';
import { armV7s } from '../src/v7s/arm-v7s.lanes.ts';
import { leavesOf } from './flush-log.ts';
import { entryAt, MTK, MTK_TTBR, POOL, RW, SIZES, SZ_1M, SZ_16M, shortRig } from './short-rig.ts';

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
      const { memory, table } = shortRig();
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
    const { memory, table } = shortRig({ quirks: { ns: true } });
    table.mapPages(0, 0x1000, SZ_4K, 1, RW);
    table.mapPages(0x10_0000, 0x20_0000, SZ_1M, 1, RW);
    expect(entryAt(memory, table, 0)).toBe(0x1c72);
    expect(entryAt(memory, table, 0x10_0000)).toBe(0x2b_1c02);
    expect(memory.load32(table.base) % 1024).toBe(0x9);
    expect(table.iovaToPhys(0x10_0123)).toBe(0x20_0123);
    expect(table.iovaToPhys(0x123)).toBe(0x1123);
  });

  test('without permissions neither AF, AP nor XN', () => {
    const { memory, table } = shortRig({ quirks: { noPerms: true } });
    table.mapPages(0, 0x1000, SZ_4K, 1, IOMMU_READ + IOMMU_NOEXEC);
    table.mapPages(0x10_0000, 0, SZ_1M, 1, IOMMU_READ + IOMMU_NOEXEC);
    expect(entryAt(memory, table, 0)).toBe(0x1c42);
    expect(entryAt(memory, table, 0x10_0000)).toBe(0x3_1002);
  });

  test('a table entry is its address and type 1', () => {
    const { memory, frames, table } = shortRig();
    table.mapPages(0, 0, SZ_4K, 1, RW);
    const entry = memory.load32(table.base);
    expect(entry % 1024).toBe(1);
    expect(frames.isAllocated(entry - 1)).toBe(true);
  });

  test('low bits of the output address are dropped, the offset comes from the IOVA', () => {
    const { memory, table } = shortRig();
    table.mapPages(0x1000, 0x5abc, SZ_4K, 1, RW);
    expect(entryAt(memory, table, 0x1000)).toBe(0x5c72);
    expect(table.iovaToPhys(0x1234)).toBe(0x5234);
  });
});

describe('MediaTek', () => {
  // Address bits 32, 33, 34 stand in bits 9, 4, 5; attributes without permissions: page 0xc4e, large 0x1c0d, section 0x3100e.
  const prot = RW + IOMMU_CACHE;

  test('address bits 34:32 of every kind of leaf', () => {
    const { memory, table } = shortRig({ ias: 34, oas: 35, quirks: MTK });
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
    expect(leavesOf(memory, table)).toEqual([
      [0x1000, 0x4_0000_1000, SZ_4K],
      [0x1_0000, 0x2_0001_0000, SZ_64K],
      [SZ_16M, 0x1_0100_0000, SZ_16M],
      [last, 0x7_1230_0000, SZ_1M],
    ]);
  });

  test('a run of pages over a 4 GiB boundary of the output', () => {
    const { memory, table } = shortRig({ oas: 35, quirks: MTK });
    expect(table.mapPages(0, 0xffff_e000, SZ_4K, 6, prot)).toBe(0);
    const words = [0, 1, 2, 3, 4, 5].map((i) => entryAt(memory, table, i * SZ_4K));
    expect(words).toEqual([0xffff_ec4e, 0xffff_fc4e, 0xe4e, 0x1e4e, 0x2e4e, 0x3e4e]);
    expect(table.mapPages(0x10_0000, 0x3_fff0_0000, SZ_1M, 2, prot)).toBe(0);
    expect(table.iovaToPhys(0x20_0000)).toBe(0x4_0000_0000);
  });

  test('tables above 4 GiB, their bits 34:32 in entries and TTBR', () => {
    const high = 0x7_4000_0000;
    const quirks = MTK_TTBR;
    const { memory, table, frames } = shortRig({ ias: 34, oas: 35, quirks }, (m) => m, high);
    expect(table.registers.ttbr).toBe(0x4000_0007);
    table.mapPages(0, 0x1000, SZ_4K, 1, prot);
    expect(memory.load32(table.base) % 1024).toBe(0x231);
    expect(table.iovaToPhys(0xfff)).toBe(0x1fff);
    table.free();
    expect(frames.used).toBe(0);
  });

  test('a second-level table that entries cannot hold is no memory', () => {
    const { config, frames } = shortRig({ oas: 33, quirks: MTK_TTBR });
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
    const { table } = shortRig({ coherentWalk, quirks });
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
    const { config, frames } = shortRig();
    const used = frames.used;
    expect(armV7s.create({ ...config, ...change })).toBe(-ERRNO.EINVAL);
    expect(frames.used).toBe(used);
  });

  test('sizes that are none of the format are dropped', () => {
    expect(shortRig({ pgsizeBitmap: SIZES + 0x20_0000 + 0x2000 }).table.pgsizeBitmap).toBe(SIZES);
  });

  test.each([
    [24, 4096, 16],
    [30, 4096, 1024],
    [32, 16384, 4096],
  ])('%i input bits: a top table of %i bytes', (ias, bytes, entries) => {
    const { config, frames } = shortRig();
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
    const { config } = shortRig();
    const memory = new PhysicalMemory([{ base: 0x1_0000_0000, size: POOL }]);
    const frames = new FrameAllocator({ base: 0x1_0000_0000, size: POOL });
    expect(armV7s.create({ ...config, memory, frames })).toBe(-ERRNO.ENOMEM);
    frames.failIn = 1;
    expect(armV7s.create({ ...config, memory, frames })).toBe(-ERRNO.ENOMEM);
    expect(frames.used).toBe(0);
  });

  test('no room for an index', () => {
    const { config } = shortRig();
    expect(() => armV7s.create({ ...config, ias: 19 })).toThrow(GeometryError);
  });
});

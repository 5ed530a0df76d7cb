import { SZ_4K, SZ_64K } from '@iommukit/bits';
import { ERRNO } from '@iommukit/platform';
import { describe, expect, test } from 'vitest';
import { IotlbGather } from '../src/iotlb-gather.ts';
import { IOMMU_CACHE } from '../src/prot.ts';
import { TableOverrunError } from '../src/v7s/table-overrun-error.ts';
import { leavesOf } from './flush-log.ts';
import { RW, SZ_1M, SZ_16M, shortRig } from './short-rig.ts';

describe('map', () => {
  test('one call goes on over the end of a table', () => {
    const { table, frames } = shortRig();
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
    const { table } = shortRig();
    expect(table.mapPages(iova, paddr, SZ_4K, 1, RW)).toBe(-ERRNO.ERANGE);
    expect(table.warnings).toBe(1);
    expect(table.mapped).toBe(0);
  });

  test('only the first address of a call is checked: the rest wraps around', () => {
    const { table } = shortRig();
    expect(table.mapPages(0xfff0_0000, 0xfff0_0000, SZ_1M, 2, RW)).toBe(0);
    expect(table.iovaToPhys(0xffff_ffff)).toBe(0xffff_ffff);
    expect(table.iovaToPhys(0x12)).toBe(0x12);
    expect(table.iovaToPhys(2 ** 32 + 0x12)).toBe(0x12);
  });

  test('neither read nor write, or no pages: -EINVAL without a warning', () => {
    const { table, frames } = shortRig();
    const used = frames.used;
    expect(table.mapPages(0, 0, SZ_4K, 1, IOMMU_CACHE)).toBe(-ERRNO.EINVAL);
    expect(table.mapPages(0, 0, SZ_4K, 0, RW)).toBe(-ERRNO.EINVAL);
    expect(table.warnings).toBe(0);
    expect(frames.used).toBe(used);
    expect(table.unmapPages(0, SZ_4K, 0, null)).toBe(0);
    expect(table.warnings).toBe(0);
  });

  test('a page size below the smallest page', () => {
    const { table } = shortRig();
    expect(table.mapPages(0, 0, 0x800, 1, RW)).toBe(-ERRNO.EINVAL);
    expect(table.warnings).toBe(1);
  });

  test('a conflict: what came before it stays', () => {
    const { memory, table } = shortRig();
    table.mapPages(0x3000, 0x9000_0000, SZ_4K, 1, RW);
    expect(table.mapPages(0x1000, 0x8000_0000, SZ_4K, 8, RW)).toBe(-ERRNO.EEXIST);
    expect(table.mapped).toBe(2 * SZ_4K);
    expect(table.warnings).toBe(1);
    expect(leavesOf(memory, table)).toEqual([
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
    const { memory, table } = shortRig();
    const iova = SZ_16M;
    table.mapPages(iova, 0x8000_0000, there, 1, RW);
    const before = leavesOf(memory, table);
    expect(table.mapPages(iova + at, 0, size, 1, RW)).toBe(-ERRNO.EEXIST);
    expect(table.mapped).toBe(0);
    expect(table.warnings).toBe(1);
    expect(leavesOf(memory, table)).toEqual(before);
  });

  test('a section takes the place of a table, live pages included', () => {
    const { memory, frames, table, calls } = shortRig();
    const used = frames.used;
    table.mapPages(0x10_0000, 0x8000_0000, SZ_4K, 3, RW);
    expect(table.mapPages(0x10_0000, 0x9000_0000, SZ_1M, 1, RW)).toBe(0);
    expect(calls).toEqual([['walk', 0x10_0000, SZ_1M, SZ_4K]]);
    expect(table.warnings).toBe(0);
    expect(frames.used).toBe(used);
    expect(leavesOf(memory, table)).toEqual([[0x10_0000, 0x9000_0000, SZ_1M]]);
  });

  test('a refused supersection has dropped the tables before the leaf', () => {
    const { memory, table, calls } = shortRig();
    table.mapPages(SZ_16M, 0x8000_0000, SZ_4K, 1, RW);
    table.mapPages(SZ_16M + SZ_1M, 0x8010_0000, SZ_1M, 1, RW);
    table.mapPages(SZ_16M + 2 * SZ_1M, 0x8020_0000, SZ_4K, 1, RW);
    expect(table.mapPages(SZ_16M, 0, SZ_16M, 1, RW)).toBe(-ERRNO.EEXIST);
    expect(calls).toEqual([['walk', SZ_16M, SZ_1M, SZ_4K]]);
    expect(leavesOf(memory, table)).toEqual([
      [SZ_16M + SZ_1M, 0x8010_0000, SZ_1M],
      [SZ_16M + 2 * SZ_1M, 0x8020_0000, SZ_4K],
    ]);
  });

  test('no frame in the middle of a run', () => {
    const { table, frames } = shortRig();
    frames.failIn = 2;
    expect(table.mapPages(0xf_f000, 0, SZ_4K, 4, RW)).toBe(-ERRNO.ENOMEM);
    expect(table.mapped).toBe(SZ_4K);
    table.free();
    expect(frames.used).toBe(0);
  });

  test('pages that would leave their table are refused, and nothing is changed', () => {
    const { memory, table, frames } = shortRig();
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
    expect(leavesOf(memory, table)).toEqual([]);
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
    const { memory, table, calls } = shortRig();
    const gather = new IotlbGather();
    table.mapPages(SZ_16M, SZ_16M, size, 2, RW);
    expect(table.unmapPages(SZ_16M, size, 2, gather)).toBe(2 * size);
    expect(calls).toEqual([['page', SZ_16M, granule, 2 * count]]);
    expect([gather.start, gather.end]).toEqual([SZ_16M, SZ_16M + 2 * size]);
    expect(leavesOf(memory, table)).toEqual([]);
  });

  test('a queued gather is told nothing; no gather at all does not stop the telling', () => {
    const { table, calls } = shortRig();
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
    const { memory, table, calls, warnings } = shortRig();
    table.mapPages(SZ_16M, SZ_16M, size, 1, RW);
    expect(table.unmapPages(SZ_16M, part, 1, null)).toBe(0);
    expect(warnings).toEqual(['Unmap of a partial large IOPTE is not allowed']);
    expect(calls).toEqual([]);
    expect(leavesOf(memory, table)).toEqual([[SZ_16M, SZ_16M, size]]);
  });

  test('a run stops at a hole, and a group with a hole stays whole', () => {
    const { memory, table } = shortRig();
    table.mapPages(0, 0, SZ_4K, 3, RW);
    expect(table.unmapPages(0x1000, SZ_4K, 5, null)).toBe(2 * SZ_4K);
    expect(table.warnings).toBe(1);
    table.mapPages(0x1000, 0x1000, SZ_4K, 14, RW);
    expect(table.unmapPages(0, SZ_64K, 1, null)).toBe(0);
    expect(table.warnings).toBe(2);
    expect(leavesOf(memory, table)).toHaveLength(15);
    // Sixteen pages side by side go like one large page.
    table.mapPages(0xf000, 0, SZ_4K, 1, RW);
    expect(table.unmapPages(0, SZ_64K, 1, null)).toBe(SZ_64K);
    expect(leavesOf(memory, table)).toEqual([]);
  });

  test('a section over a table: the walk is flushed, then the table freed; nothing is gathered', () => {
    const { table, frames, calls } = shortRig();
    const used = frames.used;
    table.mapPages(0x10_0000, 0, SZ_4K, 5, RW);
    expect(table.unmapPages(0x10_0000, SZ_1M, 1, new IotlbGather())).toBe(SZ_1M);
    expect(calls).toEqual([['walk', 0x10_0000, SZ_1M, SZ_4K]]);
    expect(frames.used).toBe(used);
    expect(table.counters.tablesFreed).toBe(1);
  });

  test('a supersection over sections and tables, in their order', () => {
    const { table, calls } = shortRig();
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
    const { table, frames } = shortRig();
    const used = frames.used;
    table.mapPages(0, 0, SZ_4K, 256, RW);
    expect(table.unmapPages(0, SZ_4K, 256, null)).toBe(SZ_1M);
    expect(frames.used).toBe(used + 1);
    expect(table.unmapPages(0, SZ_4K, 1, null)).toBe(0);
    table.mapPages(0, 0, SZ_1M, 1, RW);
    expect(frames.used).toBe(used);
  });

  test('out of range', () => {
    const { table } = shortRig();
    expect(table.unmapPages(2 ** 32, SZ_4K, 1, null)).toBe(0);
    expect(table.warnings).toBe(1);
  });
});

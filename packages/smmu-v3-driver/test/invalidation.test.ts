import { IOMMU_READ, IOMMU_WRITE, IotlbGather } from '@iommukit/io-pgtable';
import { describe, expect, test } from 'vitest';
import type { InvalidRange, SmmuV3Driver } from '../src/index.ts';
import type { PagingDomainOps } from '../src/paging-domain.ts';
import { idsWith } from './fake-smmu.lanes.ts';
import { domainOf, probed, Rig } from './rig.ts';

function made(ril = 1): { rig: Rig; driver: SmmuV3Driver; ops: PagingDomainOps } {
  const rig = new Rig({ ids: idsWith({ idr3: { RIL: ril } }) });
  const driver = rig.up();
  const domain = domainOf(driver, probed(driver, 'a', [0x20]));
  return { rig, driver, ops: domain.ops as PagingDomainOps };
}

/** [num, scale, address word] of every TLBI_NH_VA. */
function ranges(rig: Rig): [number, number, string][] {
  return rig.smmu.commands
    .filter(([q0]) => (q0 & 0xffn) === 0x12n)
    .map(([q0, q1]) => [
      Number((q0 >> 12n) & 31n) + 1,
      Number((q0 >> 20n) & 63n),
      `0x${q1.toString(16)}`,
    ]);
}

const page = { granule: 0x1000, leaf: true };
// TG = 1 (bit 10), TTL = 3 (bits 9:8), Leaf (bit 0): low digits 701.
const rows: readonly [string, InvalidRange, [number, number, string][]][] = [
  ['1 page', { iova: 0xffff_f000, size: 0x1000, ...page }, [[1, 0, '0xfffff701']]],
  ['4 pages', { iova: 0xfffd_8000, size: 0x4000, ...page }, [[1, 2, '0xfffd8701']]],
  [
    '254 pages: 31 x 2, then 3 x 2^6',
    { iova: 0xffd0_0000, size: 254 * 0x1000, ...page },
    [
      [31, 1, '0xffd00701'],
      [3, 6, '0xffd3e701'],
    ],
  ],
  [
    '960 pages: 15 x 2^6',
    { iova: 0xff80_0000, size: 960 * 0x1000, ...page },
    [[15, 6, '0xff800701']],
  ],
  [
    'walk of 512 pages: TTL 0, not leaf',
    { iova: 0xff80_0000, size: 0x20_0000, granule: 0x1000, leaf: false },
    [[1, 9, '0xff800400']],
  ],
  [
    'walk of one page is padded to two',
    { iova: 0xff80_0000, size: 0x1000, granule: 0x1000, leaf: false },
    [[1, 1, '0xff800400']],
  ],
  [
    'walk of 33 pages is padded to 34',
    { iova: 0x10_0000, size: 33 * 0x1000, granule: 0x1000, leaf: false },
    [[17, 1, '0x100400']],
  ],
  [
    'leaf blocks of 2 MiB: TTL 2',
    { iova: 0xff80_0000, size: 0x20_0000, granule: 0x20_0000, leaf: true },
    [[1, 9, '0xff800601']],
  ],
  [
    'leaf blocks of 1 GiB: TTL 1',
    { iova: 0x4000_0000, size: 0x4000_0000, granule: 0x4000_0000, leaf: true },
    [[1, 18, '0x40000501']],
  ],
];

test.each(rows)('with range invalidation: %s', (_name, range, want) => {
  const { rig, driver, ops } = made();
  driver.invalidateRanges(ops, [range]);
  expect(ranges(rig)).toEqual(want);
  expect(rig.lists.map(({ n, sync }) => [n, sync])).toEqual([[want.length, 1]]);
});

test('the words of the captures: 4 pages, and 960 pages in two page sizes', () => {
  const { rig, driver, ops } = made();
  const walk = { iova: 0xff80_0000, size: 0x20_0000, granule: 0x1000, leaf: false };
  driver.invalidateRanges(ops, [{ iova: 0xfffd_8000, size: 0x4000, ...page }]);
  driver.invalidateRanges(ops, [walk]);
  driver.invalidateRanges(ops, [{ ...walk, granule: 0x20_0000, leaf: true }]);
  driver.invalidateRanges(ops, [{ iova: 0xffa0_0000, size: 448 * 0x1000, ...page }]);
  expect(rig.listLines()).toEqual([
    'n=1 sync=1 c0d0=0x1000000200012 c0d1=0xfffd8701',
    'n=1 sync=1 c0d0=0x1000000900012 c0d1=0xff800400',
    'n=1 sync=1 c0d0=0x1000000900012 c0d1=0xff800601',
    'n=1 sync=1 c0d0=0x1000000606012 c0d1=0xffa00701',
  ]);
});

describe('without range invalidation', () => {
  test('one command for each granule', () => {
    const { rig, driver, ops } = made(0);
    driver.invalidateRanges(ops, [{ iova: 0x1000, size: 0x3000, ...page }]);
    expect(rig.smmu.commands).toEqual([
      [0x1_0000_0000_0012n, 0x1001n],
      [0x1_0000_0000_0012n, 0x2001n],
      [0x1_0000_0000_0012n, 0x3001n],
      [0xfc02046n, 0n],
    ]);
  });

  test.each([
    [63, [[63, 1]]],
    [64, [[64, 1]]],
    [
      65,
      [
        [64, 0],
        [1, 1],
      ],
    ],
    [
      130,
      [
        [64, 0],
        [64, 0],
        [2, 1],
      ],
    ],
  ])('%i pages: a full list goes without SYNC', (pages, want) => {
    const { rig, driver, ops } = made(0);
    driver.invalidateRanges(ops, [{ iova: 0x10_0000, size: pages * 0x1000, ...page }]);
    expect(rig.lists.map(({ n, sync }) => [n, sync])).toEqual(want);
    expect(rig.smmu.commands).toHaveLength(pages + 1);
  });
});

test.each([0, 1])(
  'a range up to the end of the space: the end overflows, a bare SYNC (RIL %i)',
  (ril) => {
    const { rig, driver, ops } = made(ril);
    driver.invalidateRanges(ops, [{ iova: 2 ** 64 - 0x1000, size: 0x1000, ...page }]);
    expect(rig.smmu.commands).toEqual([[0xfc02046n, 0n]]);
    driver.invalidateRanges(ops, [{ iova: 2 ** 64 - 0x2000, size: 0x1000, ...page }]);
    expect(ranges(rig)).toHaveLength(1);
  },
);

test('nothing to invalidate: nothing issued', () => {
  const { rig, driver, ops } = made();
  driver.invalidateRanges(ops, [{ iova: 0x1000, size: 0, ...page }]);
  ops.iotlbSync(new IotlbGather());
  expect(rig.lists).toEqual([]);
});

test('unmap, then sync of the gather', () => {
  const { rig, ops } = made();
  expect(ops.mapPages(0xfffd_8000, 0x8000_0000, 0x1000, 4, IOMMU_READ + IOMMU_WRITE)).toBe(0);
  expect(ops.mapped).toBe(0x4000);
  expect(ops.iovaToPhys(0xfffd_9123)).toBe(0x8000_1123);
  const gather = new IotlbGather();
  expect(ops.unmapPages(0xfffd_8000, 0x1000, 4, gather)).toBe(0x4000);
  expect(rig.lists).toEqual([]);
  ops.iotlbSync(gather);
  expect(rig.listLines()).toEqual(['n=1 sync=1 c0d0=0x1000000200012 c0d1=0xfffd8701']);
});

test('unmap of a whole table invalidates the walk at once', () => {
  const { rig, ops } = made();
  ops.mapPages(0x20_0000, 0x8000_0000, 0x1000, 512, IOMMU_READ);
  ops.unmapPages(0x20_0000, 0x20_0000, 1, new IotlbGather());
  expect(rig.listLines()[0]).toBe('n=1 sync=1 c0d0=0x1000000900012 c0d1=0x200400');
});

test('the last SYNC is in the ring before the unmapped pages can be used again', () => {
  const { rig, driver, ops } = made();
  rig.smmu.consumes = 'run';
  driver.invalidateRanges(ops, [{ iova: 0x1000, size: 0x1000, ...page }]);
  expect(rig.smmu.commands.at(-1)).toEqual([0xfc02046n, 0n]);
});

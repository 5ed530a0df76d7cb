import { expect, test } from 'vitest';
import { amdv1 } from '../src/generic/amdv1.lanes.ts';
import { GenericTableError } from '../src/generic/generic-config.ts';
import { vtdss } from '../src/generic/vtdss.lanes.ts';
import { x8664 } from '../src/generic/x86-64.lanes.ts';
import { IOMMU_CACHE, IOMMU_READ, IOMMU_WRITE, IotlbGather } from '../src/index.ts';
import { FORMAT_CASES, genericRig } from './generic-rig.lanes.ts';

const RW = IOMMU_READ + IOMMU_WRITE;
const X86 = { features: [], hwMaxVaszLg2: 48, hwMaxOaszLg2: 52, topLevel: 3 } as const;

const ROWS: { name: string; map: [number, number, number, number]; errno: number }[] = [
  { name: 'no direction', map: [0, 0, 4096, IOMMU_CACHE], errno: -22 },
  { name: 'no length', map: [0, 0, 0, RW], errno: -22 },
  { name: 'output too high', map: [0, 2 ** 52, 4096, RW], errno: -34 },
  { name: 'input too high', map: [2 ** 48, 0, 4096, RW], errno: -34 },
  { name: 'end too high', map: [2 ** 48 - 4096, 0, 8192, RW], errno: -34 },
  { name: 'past 2^64', map: [2 ** 64 - 4096, 0, 8192, RW], errno: -75 },
  { name: 'past 2^64 by a byte', map: [2 ** 64 - 4096, 0, 4097, RW], errno: -75 },
  { name: 'misaligned input', map: [0x800, 0, 4096, RW], errno: -6 },
  { name: 'misaligned output', map: [0, 0x800, 4096, RW], errno: -6 },
  { name: 'shorter than a page', map: [0, 0, 0x800, RW], errno: -6 },
];
for (const { name, map, errno } of ROWS)
  test(`map refused: ${name}`, () => {
    const { table, frames } = genericRig(x8664, X86);
    expect(table.map(...map)).toBe(errno);
    expect([table.mapped, table.counters.stores, frames.used]).toEqual([0, 0, 1]);
  });

for (const { format, sizes, granule } of FORMAT_CASES)
  test(`${format.name}: a length that is no multiple of the smallest page is refused, nothing changes`, () => {
    const { table, frames } = genericRig(format, sizes);
    const length = granule * 2 + granule / 2;
    expect(() => table.map(0, 0, length, RW)).toThrow(GenericTableError);
    try {
      table.map(0, 0, length, RW);
    } catch (error) {
      expect(error).toMatchObject({ code: 'GENERIC_LENGTH', operands: { length, granule } });
    }
    expect([table.counters.stores, frames.used]).toEqual([0, 1]);
  });

test('the common contract', () => {
  const { table, calls } = genericRig(x8664, X86);
  expect(table.mapPages(0, 0, 8192, 1, RW)).toBe(-22);
  expect(table.mapPages(0, 0, 4096 + 2 ** 21, 1, RW)).toBe(-22);
  expect(table.mapPages(0, 0, 4096, 0, RW)).toBe(0);
  expect(table.mapped).toBe(0);
  expect(table.mapPages(0x3000, 0x3000, 4096, 600, RW)).toBe(0);
  expect(table.mapped).toBe(600 * 4096);
  expect(table.mapPages(0x4000, 0x3000, 4096, 1, RW)).toBe(-98);
  expect(table.unmapPages(0x3000, 8192, 1, null)).toBe(0);
  expect(table.unmapPages(0x3000, 4096, 600, null)).toBe(600 * 4096);
  expect(calls).toEqual(['sync 3000 25b000']);
});

test('pgsizeMask narrows the sizes', () => {
  const { table } = genericRig(x8664, { ...X86, pgsizeMask: 0x20_1000 });
  expect([table.pgsizeBitmap, table.offeredPgsizes]).toEqual([0x20_1000, 0x4020_1000]);
  expect(table.map(0, 0, 2 ** 30, RW)).toBe(0);
  expect(table.counters.stores).toBe(512 + 2);
});

test('a growth that fails leaves the old top and no table', () => {
  const { table, frames, calls } = genericRig(amdv1, {
    features: ['DYNAMIC_TOP', 'AMDV1_ENCRYPT_TABLES', 'AMDV1_FORCE_COHERENCE'],
    hwMaxVaszLg2: 64,
    hwMaxOaszLg2: 52,
    topLevel: 1,
  });
  const { top } = table;
  frames.failIn = 3;
  expect(table.map(2 ** 60, 0, 4096, RW)).toBe(-12);
  expect([table.top, table.topLevel, frames.used, calls.length]).toEqual([top, 1, 1, 0]);
});

test('dirty reads: what is refused, and where the format has none', () => {
  const options = { noClear: false };
  const record = (): void => {};
  const { table } = genericRig(vtdss, X86);
  expect(table.readAndClearDirty(0, 0, options, record)).toBe(-22);
  expect(table.readAndClearDirty(2 ** 64 - 4096, 8192, options, record)).toBe(-75);
  expect(table.readAndClearDirty(2 ** 48, 4096, options, record)).toBe(-34);
  expect(table.setDirty(2 ** 48)).toBe(-34);
  expect(table.setDirty(0)).toBe(-2);
  const x86 = genericRig(x8664, X86).table;
  expect(x86.readAndClearDirty(2 ** 48, 0, options, record)).toBe(-95);
  expect(x86.setDirty(0)).toBe(-95);
});

test('a dirty page is recorded once, and gathered when it is made clean', () => {
  const { table } = genericRig(vtdss, X86);
  table.map(0, 0, 3 * 4096, RW);
  expect(table.setDirty(0x1000)).toBe(0);
  const seen: [number, number][] = [];
  const record = (iova: number, bytes: number): void => {
    seen.push([iova, bytes]);
  };
  const gather = new IotlbGather();
  expect(table.readAndClearDirty(0, 0x8000, { noClear: true, gather }, record)).toBe(0);
  expect(gather.isEmpty).toBe(true);
  expect(table.readAndClearDirty(0, 0x8000, { noClear: false, gather }, record)).toBe(0);
  expect([gather.start, gather.end]).toEqual([0x1000, 0x2000]);
  expect(table.readAndClearDirty(0, 0x8000, { noClear: false, gather }, record)).toBe(0);
  expect(seen).toEqual([
    [0x1000, 4096],
    [0x1000, 4096],
  ]);
});

test('an unmap of nothing gathers no bytes, at IOVA 0 everything', () => {
  const { table, calls } = genericRig(x8664, X86);
  const gather = new IotlbGather();
  expect(table.unmap(0x5000, 4096, gather)).toBe(0);
  expect([gather.start, gather.end, gather.isEmpty]).toEqual([0x5000, 0x5000, true]);
  table.syncGather(gather);
  expect(table.unmap(0, 4096, gather)).toBe(0);
  expect([gather.start, gather.end]).toEqual([0, 2 ** 64]);
  table.syncGather(gather);
  expect(calls).toEqual(['sync 0 10000000000000000']);
});

test('a foreign word that is not present stands in the way of nothing: a map takes its slot', () => {
  const { table, memory } = genericRig(x8664, X86);
  memory.store64(table.top, 0x200, 0);
  expect(table.map(0x1000, 0x4000, 4096, RW)).toBe(0);
  expect(table.iovaToPhys(0x1000)).toBe(0x4000);
  const other = genericRig(x8664, X86);
  other.memory.store64(other.table.top, 0x200, 0);
  expect(other.table.map(0x1000, 0x4000, 8192, RW)).toBe(0);
  expect(other.table.iovaToPhys(0x2000)).toBe(0x5000);
});

test('VT-d: an unmap over an entry with high bits only comes to an end', () => {
  const { table, memory } = genericRig(vtdss, {
    features: [],
    hwMaxVaszLg2: 48,
    hwMaxOaszLg2: 52,
    topLevel: 3,
  });
  table.map(0, 0x10_0000, 8 * 4096, RW);
  let leaf = table.top;
  for (let level = 3; level > 0; level--) {
    const lo = memory.load64(leaf);
    leaf = memory.hi * 2 ** 32 + ((lo & 0xffff_f000) >>> 0);
  }
  memory.store64(leaf + 2 * 8, 0x1000, 0);
  // Any entry that is not 0 is present.
  expect(table.unmap(0, 8 * 4096, new IotlbGather())).toBe(8 * 4096);
  expect(table.iovaToPhys(0)).toBe(0);
});

import { IommuError, minPageSize, SZ_4K } from '@iommukit/bits';
import { ERRNO } from '@iommukit/platform';
import { describe, expect, test } from 'vitest';
import { PageTableConfigError } from '../src/check-config.ts';
import { ContractRig } from '../src/contract/contract-rig.ts';
import { appleDart } from '../src/dart/apple-dart.ts';
import { x8664 } from '../src/generic/x86-64.lanes.ts';
import {
  arm64LpaeS1,
  createPageTable,
  forEachEntry,
  GeometryError,
  IOMMU_READ,
  IOMMU_WRITE,
  type PageTable,
  type PageTableConfig,
  type PageTableFormat,
  type PageTableQuirks,
} from '../src/index.ts';
import { arm64LpaeS2 } from '../src/lpae/arm-64-lpae-s2.lanes.ts';
import { maliLpae } from '../src/lpae/mali-lpae.lanes.ts';
import { armV7s } from '../src/v7s/arm-v7s.lanes.ts';
import { rig } from './rig.lanes.ts';
import { SUBJECTS } from './subjects.ts';

const RW = IOMMU_READ + IOMMU_WRITE;
const { config, frames } = rig();
const generic = {
  features: [],
  hwMaxVaszLg2: 48,
  hwMaxOaszLg2: 48,
  topLevel: 3,
  memory: config.memory,
  frames,
  driver: { iotlbSync() {} },
} as const;

type ArmFormat = PageTableFormat<PageTableConfig, PageTable>;
const FORMATS: readonly ArmFormat[] = [arm64LpaeS1, arm64LpaeS2, maliLpae, armV7s, appleDart];
const FOREIGN_QUIRKS: readonly { format: ArmFormat; quirks: PageTableQuirks }[] = [
  { format: arm64LpaeS1, quirks: { s2fwb: true } },
  { format: arm64LpaeS2, quirks: { hd: true } },
  { format: maliLpae, quirks: { noWarn: true } },
  { format: armV7s, quirks: { ttbr1: true } },
  { format: armV7s, quirks: { mtkExt: true } },
];

/** What somebody without types could pass. */
// biome-ignore lint/suspicious/noExplicitAny: input that no type allows is the subject
const untyped = (value: unknown): any => value;

describe('a configuration that no kernel could be given throws, and takes no frame', () => {
  const rows: { name: string; field: string; make: () => unknown }[] = [
    ...[undefined, null, 5, 'config'].map((value) => ({
      name: `${value} instead of an object`,
      field: 'config',
      make: () => createPageTable(arm64LpaeS1, untyped(value)),
    })),
    ...(['ias', 'oas', 'pgsizeBitmap', 'cpuPageSize'] as const).flatMap((field) =>
      [Number.NaN, -1, 39.5, Infinity, '48', 1n, {}].map((value) => ({
        name: `${field} ${typeof value} ${value}`,
        field,
        make: () => createPageTable(arm64LpaeS1, { ...config, [field]: untyped(value) }),
      })),
    ),
    ...[0, 3, 5000].map((cpuPageSize) => ({
      name: `cpuPageSize ${cpuPageSize}`,
      field: 'cpuPageSize',
      make: () => createPageTable(arm64LpaeS1, { ...config, cpuPageSize }),
    })),
    ...(['ias', 'oas', 'memory', 'frames', 'flush', 'profile', 'coherentWalk'] as const).map(
      (field) => ({
        name: `no ${field}`,
        field,
        make: () => createPageTable(arm64LpaeS1, { ...config, [field]: untyped(undefined) }),
      }),
    ),
    ...(['memory', 'frames', 'flush', 'profile', 'quirks'] as const).map((field) => ({
      name: `${field} is a number`,
      field,
      make: () => createPageTable(arm64LpaeS1, { ...config, [field]: untyped(7) }),
    })),
    {
      name: 'a quirk that is no boolean',
      field: 'quirks.hd',
      make: () => createPageTable(arm64LpaeS1, { ...config, quirks: { hd: untyped('yes') } }),
    },
    ...(['hwMaxVaszLg2', 'hwMaxOaszLg2', 'topLevel'] as const).flatMap((field) =>
      [Number.NaN, -1, 47.5].map((value) => ({
        name: `generic: ${field} ${value}`,
        field,
        make: () => createPageTable(x8664, { ...generic, [field]: value }),
      })),
    ),
    ...(['hwMaxOaszLg2', 'features', 'memory', 'frames', 'driver'] as const).map((field) => ({
      name: `generic: no ${field}`,
      field,
      make: () => createPageTable(x8664, { ...generic, [field]: untyped(undefined) }),
    })),
    {
      name: 'no format',
      field: 'format',
      make: () => createPageTable(untyped(undefined), config),
    },
    {
      name: 'a name instead of a format',
      field: 'format',
      make: () => createPageTable(untyped('arm-64-lpae-s1'), config),
    },
  ];
  for (const { name, field, make } of rows)
    test(name, () => {
      const used = frames.used;
      let thrown: unknown;
      try {
        make();
      } catch (error) {
        thrown = error;
      }
      expect(thrown).toBeInstanceOf(PageTableConfigError);
      expect(thrown).toBeInstanceOf(IommuError);
      expect([
        (thrown as PageTableConfigError).code,
        (thrown as PageTableConfigError).operands.field,
      ]).toEqual(['PAGE_TABLE_CONFIG', field]);
      expect(frames.used).toBe(used);
    });
});

describe("a configuration that the kernel refuses returns the kernel's errno, and takes no frame", () => {
  const rows: { name: string; errno: number; make: () => PageTable | number }[] = [
    ...FORMATS.map((format) => ({
      name: `${format.name}: a quirk that nobody has`,
      errno: -ERRNO.EINVAL,
      make: () => createPageTable(format, { ...config, quirks: untyped({ nonStrict: true }) }),
    })),
    ...FOREIGN_QUIRKS.map(({ format, quirks }) => ({
      name: `${format.name}: a quirk of other formats (${Object.keys(quirks)})`,
      errno: -ERRNO.EINVAL,
      make: () => createPageTable(format, { ...config, ias: 32, oas: 32, quirks }),
    })),
    ...[0, 0x2000, 0x1_0000_0000].map((pgsizeBitmap) => ({
      name: `page sizes 0x${pgsizeBitmap.toString(16)}`,
      errno: -ERRNO.EINVAL,
      make: () => createPageTable(arm64LpaeS1, { ...config, pgsizeBitmap }),
    })),
    {
      name: 'output addresses of 47 bits',
      errno: -ERRNO.EINVAL,
      make: () => createPageTable(arm64LpaeS1, { ...config, oas: 47 }),
    },
    {
      name: 'DART that does not snoop',
      errno: -ERRNO.EINVAL,
      make: () =>
        createPageTable(appleDart, {
          ...config,
          pgsizeBitmap: SZ_4K,
          ias: 32,
          oas: 36,
          coherentWalk: false,
        }),
    },
    {
      name: 'generic: no input bits',
      errno: -ERRNO.EINVAL,
      make: () => createPageTable(x8664, { ...generic, hwMaxVaszLg2: 0 }),
    },
    {
      name: 'generic: more input bits than the format has',
      errno: -ERRNO.EINVAL,
      make: () => createPageTable(x8664, { ...generic, hwMaxVaszLg2: 58 }),
    },
    {
      name: 'generic: a level that the format lacks',
      errno: -ERRNO.EOPNOTSUPP,
      make: () => createPageTable(x8664, { ...generic, topLevel: 5 }),
    },
    {
      name: 'generic: a feature that nobody has',
      errno: -ERRNO.EOPNOTSUPP,
      make: () => createPageTable(x8664, { ...generic, features: untyped(['FULL_SPEED']) }),
    },
  ];
  for (const { name, errno, make } of rows)
    test(name, () => {
      const used = frames.used;
      expect(make()).toBe(errno);
      expect(frames.used).toBe(used);
    });

  // Here the kernel would shift by a negative number.
  test('no input bit above the page offset', () => {
    expect(() => createPageTable(arm64LpaeS1, { ...config, ias: 12 })).toThrow(GeometryError);
  });
});

// The hot calls check what the kernel checks: sizes, ranges, direction (every format: see the contract suite, whose refusals also
// prove the table unchanged). Alignment is the caller's duty in the kernel too: `iommu_map` refuses before it calls a format. What a
// misaligned call does is what the kernel does: indices drop the offset of the IOVA, entries the bits below the page of the address.
describe('misaligned calls act on the page that holds the address', () => {
  test('stage 1', () => {
    const { table } = rig();
    expect(table.mapPages(0x5678, 0x4000_0123, SZ_4K, 1, RW)).toBe(0);
    expect(table.iovaToPhys(0x5000)).toBe(0x4000_0000);
    expect(table.mapPages(0x5001, 0x4000_0000, SZ_4K, 1, RW)).toBe(-ERRNO.EEXIST);
    expect(table.unmapPages(0x5fff, SZ_4K, 1, null)).toBe(SZ_4K);
    expect(table.iovaToPhys(0x5000)).toBe(0);
  });
});

/** All words of the tables; counters and frames are no part of the answer. */
function words(r: ContractRig): string {
  const all: string[] = [];
  forEachEntry(r.cpu, r.table.shape, ({ at, lo, hi, kind }) => {
    if (kind === 'leaf') all.push(`${at}:${lo}:${hi}`);
  });
  return all.join();
}

describe('counts that are no counts leave every page as it is', () => {
  for (const subject of SUBJECTS)
    test(subject.name, () => {
      const r = new ContractRig(subject, { watched: false });
      const size = minPageSize(r.table.pgsizeBitmap);
      const start = subject.spaces[0]?.start ?? 0;
      r.put({ iova: start, paddr: size, size }, 2);
      const before = words(r);
      for (const count of [0, -1, 1.5, Number.NaN]) {
        for (const iova of [start, start + 2 * size]) {
          attempt(() => r.table.mapPages(iova, size, size, count, r.prot));
          attempt(() => r.table.unmapPages(iova, size, count, null));
          expect(words(r), `count ${count}`).toBe(before);
        }
      }
    });
});

/** Runs a call that may also answer with an error of ours. */
function attempt(call: () => unknown): void {
  try {
    call();
  } catch (error) {
    if (!(error instanceof IommuError)) throw error;
  }
}

import { SZ_1G, SZ_2M, SZ_4K, SZ_16K, SZ_32M, SZ_64K, SZ_512M } from '@iommukit/bits';
import {
  type ContractSubject,
  type ContractTraits,
  GENERIC_PT_TRAITS,
  IO_PGTABLE_TRAITS,
} from '../src/contract/index.ts';
import { appleDart, appleDart2 } from '../src/dart/apple-dart.ts';
import { amdv1, amdv1Mock } from '../src/generic/amdv1.lanes.ts';
import type { GenericConfig } from '../src/generic/generic-config.ts';
import type { GenericPageTable } from '../src/generic/generic-page-table.lanes.ts';
import { riscv64 } from '../src/generic/riscv64.lanes.ts';
import { vtdss } from '../src/generic/vtdss.lanes.ts';
import { x8664 } from '../src/generic/x86-64.lanes.ts';
import {
  createPageTable,
  IO_PGTABLE_PROFILES,
  IOMMU_CACHE,
  IOMMU_MMIO,
  IOMMU_NOEXEC,
  IOMMU_PRIV,
  IOMMU_READ,
  IOMMU_WRITE,
  type PageTable,
  type PageTableConfig,
  type PageTableFormat,
} from '../src/index.ts';
import { arm32LpaeS1, arm32LpaeS2 } from '../src/lpae/arm-32-lpae.ts';
import { arm64LpaeS1 } from '../src/lpae/arm-64-lpae-s1.lanes.ts';
import { arm64LpaeS2 } from '../src/lpae/arm-64-lpae-s2.lanes.ts';
import { maliLpae } from '../src/lpae/mali-lpae.lanes.ts';
import { armV7s } from '../src/v7s/arm-v7s.lanes.ts';
import {
  MOCK_END,
  MOCK_END_PADDR,
  MOCK_START,
  type MockDefect,
  mockFormat,
} from './mock-format.lanes.ts';

const RW = IOMMU_READ + IOMMU_WRITE;
export const PROTS: readonly number[] = [
  RW + IOMMU_CACHE,
  IOMMU_READ,
  IOMMU_WRITE,
  RW + IOMMU_MMIO,
  RW + IOMMU_NOEXEC,
  RW + IOMMU_PRIV + IOMMU_CACHE,
];

interface ArmRow {
  readonly name: string;
  readonly format: PageTableFormat<PageTableConfig, PageTable>;
  readonly config: Pick<PageTableConfig, 'pgsizeBitmap' | 'ias' | 'oas' | 'quirks'> &
    Partial<PageTableConfig>;
  /** Absent: with coherent walks and without. */
  readonly coherentOnly?: true;
  readonly spaces?: ContractSubject['spaces'];
  readonly traits?: Partial<ContractTraits>;
  readonly pool?: ContractSubject['pool'];
}

function armSubjects(row: ArmRow): ContractSubject[] {
  const { name, format, config, spaces, traits, pool } = row;
  return (row.coherentOnly ? [true] : [true, false]).map((coherentWalk) => ({
    name: `${name}${coherentWalk ? '' : ', not coherent'}`,
    coherentWalk,
    spaces: spaces ?? [{ start: 0, end: 2 ** config.ias }],
    endPaddr: 2 ** config.oas,
    prots: PROTS,
    traits: { ...IO_PGTABLE_TRAITS, ...traits },
    ...(pool === undefined ? {} : { pool }),
    create: (parts) =>
      createPageTable(format, {
        profile: IO_PGTABLE_PROFILES['7.3'],
        ...config,
        coherentWalk,
        ...parts,
      }),
  }));
}

const SIZES_4K = SZ_4K + SZ_2M + SZ_1G;
const SIZES_16K = SZ_16K + SZ_32M;
const SIZES_64K = SZ_64K + SZ_512M;
const SZ_4T = 2 ** 42;

const STAGE_1: ArmRow[] = [
  { name: 'S1 4K 48', format: arm64LpaeS1, config: { pgsizeBitmap: SIZES_4K, ias: 48, oas: 48 } },
  { name: 'S1 4K 39', format: arm64LpaeS1, config: { pgsizeBitmap: SIZES_4K, ias: 39, oas: 40 } },
  {
    name: 'S1 4K 31, a top of two',
    format: arm64LpaeS1,
    config: { pgsizeBitmap: SIZES_4K, ias: 31, oas: 36 },
  },
  { name: 'S1 16K 48', format: arm64LpaeS1, config: { pgsizeBitmap: SIZES_16K, ias: 48, oas: 48 } },
  { name: 'S1 16K 36', format: arm64LpaeS1, config: { pgsizeBitmap: SIZES_16K, ias: 36, oas: 40 } },
  { name: 'S1 64K 48', format: arm64LpaeS1, config: { pgsizeBitmap: SIZES_64K, ias: 48, oas: 48 } },
  {
    name: 'S1 64K 52, tables above 2^48',
    format: arm64LpaeS1,
    config: { pgsizeBitmap: SIZES_64K + SZ_4T, ias: 52, oas: 52 },
    pool: { base: 2 ** 51, size: 0x400_0000 },
  },
  {
    name: 'S1 4K upper half',
    format: arm64LpaeS1,
    config: { pgsizeBitmap: SIZES_4K, ias: 48, oas: 48, quirks: { ttbr1: true } },
    spaces: [{ start: 2 ** 64 - 2 ** 48, end: 2 ** 64 }],
  },
  {
    name: 'S1 4K hd, ns, no warnings',
    format: arm64LpaeS1,
    config: {
      pgsizeBitmap: SIZES_4K,
      ias: 40,
      oas: 44,
      quirks: { hd: true, ns: true, noWarn: true },
    },
    traits: { warns: { conflict: false, hole: false } },
  },
  {
    name: 'S1 4K of kernel 6.1',
    format: arm64LpaeS1,
    config: { pgsizeBitmap: SIZES_4K, ias: 48, oas: 48, profile: IO_PGTABLE_PROFILES['6.1'] },
    traits: { partialUnmap: 'split' },
  },
];

const STAGE_2: ArmRow[] = [
  { name: 'S2 4K 48', format: arm64LpaeS2, config: { pgsizeBitmap: SIZES_4K, ias: 48, oas: 48 } },
  {
    name: 'S2 4K 40, two tops',
    format: arm64LpaeS2,
    config: { pgsizeBitmap: SIZES_4K, ias: 40, oas: 40 },
  },
  {
    name: 'S2 16K 48, two tops, fwb',
    format: arm64LpaeS2,
    config: { pgsizeBitmap: SIZES_16K, ias: 48, oas: 48, quirks: { s2fwb: true } },
  },
  {
    name: 'S2 64K 52',
    format: arm64LpaeS2,
    config: { pgsizeBitmap: SIZES_64K + SZ_4T, ias: 52, oas: 52 },
    pool: { base: 2 ** 51, size: 0x400_0000 },
  },
];

const SMALL: ArmRow[] = [
  { name: '32-bit S1', format: arm32LpaeS1, config: { pgsizeBitmap: SIZES_4K, ias: 32, oas: 40 } },
  { name: '32-bit S2', format: arm32LpaeS2, config: { pgsizeBitmap: SIZES_4K, ias: 40, oas: 40 } },
  { name: 'Mali 48', format: maliLpae, config: { pgsizeBitmap: SIZES_4K, ias: 48, oas: 40 } },
  {
    name: 'Mali 33, a top of one entry',
    format: maliLpae,
    config: { pgsizeBitmap: SIZES_4K, ias: 33, oas: 40 },
  },
];

/** Short descriptors go page by page and look at no page size. */
const V7S_TRAITS: Partial<ContractTraits> = {
  badSize: null,
  zeroCount: -22,
  stopsAtTable: false,
  conflict: 'before',
};
const SIZES_V7S = SZ_4K + SZ_64K + 0x10_0000 + 0x100_0000;

const SHORT: ArmRow[] = [
  {
    name: 'v7s',
    format: armV7s,
    config: { pgsizeBitmap: SIZES_V7S, ias: 32, oas: 32 },
    traits: V7S_TRAITS,
  },
  {
    name: 'v7s MediaTek',
    format: armV7s,
    config: { pgsizeBitmap: SIZES_V7S, ias: 34, oas: 35, quirks: { noPerms: true, mtkExt: true } },
    traits: V7S_TRAITS,
  },
  {
    name: 'v7s MediaTek, tables above 4 GiB',
    format: armV7s,
    config: {
      pgsizeBitmap: SIZES_V7S,
      ias: 34,
      oas: 35,
      quirks: { noPerms: true, mtkExt: true, mtkTtbrExt: true },
    },
    traits: V7S_TRAITS,
    pool: { base: 0x3_0000_0000, size: 0x400_0000 },
  },
];

const DART_TRAITS: Partial<ContractTraits> = { iovaOutOfRange: -12 };

const DART: ArmRow[] = [
  {
    name: 'DART 4K, four tops',
    format: appleDart,
    config: { pgsizeBitmap: SZ_4K, ias: 32, oas: 36 },
  },
  {
    name: 'DART 4K, three levels',
    format: appleDart,
    config: { pgsizeBitmap: SZ_4K, ias: 36, oas: 36 },
    spaces: [{ start: 0, end: 2 ** 39 }],
  },
  { name: 'DART 16K', format: appleDart, config: { pgsizeBitmap: SZ_16K, ias: 36, oas: 36 } },
  {
    name: 'DART2 16K 42',
    format: appleDart2,
    config: { pgsizeBitmap: SZ_16K, ias: 42, oas: 42 },
    spaces: [{ start: 0, end: 2 ** 47 }],
  },
].map((row) => ({ ...row, coherentOnly: true, traits: DART_TRAITS }));

interface GenericRow {
  readonly name: string;
  readonly format: PageTableFormat<GenericConfig, GenericPageTable<unknown>>;
  readonly config: Omit<GenericConfig, 'memory' | 'frames' | 'driver'>;
  readonly spaces?: ContractSubject['spaces'];
  readonly outside?: readonly number[];
  readonly pageSizes?: readonly number[];
}

function genericSubject(row: GenericRow): ContractSubject<GenericPageTable<unknown>> {
  const { name, format, config, spaces, outside, pageSizes } = row;
  return {
    name,
    coherentWalk: !config.features.includes('DMA_INCOHERENT'),
    spaces: spaces ?? [{ start: 0, end: 2 ** config.hwMaxVaszLg2 }],
    endPaddr: 2 ** config.hwMaxOaszLg2,
    ...(outside === undefined ? {} : { outside }),
    ...(pageSizes === undefined ? {} : { pageSizes }),
    prots: PROTS,
    traits: GENERIC_PT_TRAITS,
    create: ({ memory, frames, invalidated, warn }) =>
      createPageTable(format, {
        ...config,
        memory,
        frames,
        warn,
        driver: { iotlbSync: invalidated },
      }),
    sync: (table, gather) => table.syncGather(gather),
  };
}

const AMD = ['DYNAMIC_TOP', 'AMDV1_ENCRYPT_TABLES', 'AMDV1_FORCE_COHERENCE'] as const;

/** Of the 39 sizes of AMD, those at both ends of the levels; one row tests all. */
const FEW_SIZES: readonly number[] = [12, 13, 20, 21, 22, 29, 30, 31, 38, 40].map(
  (lg2) => 2 ** lg2,
);

/** The kernel compares the bits above 47 only: what is 2^47 below the upper half is taken for the lower one's alias. */
const OUTSIDE_SIGNED: readonly number[] = [2 ** 47, 2 ** 48, 2 ** 64 - 2 ** 48 - SZ_4K];

const GENERIC: GenericRow[] = [
  {
    name: 'AMD v1 64, a top that grows',
    format: amdv1,
    config: { features: AMD, hwMaxVaszLg2: 64, hwMaxOaszLg2: 52, topLevel: 2 },
  },
  {
    name: 'AMD v1 48, no gaps',
    format: amdv1,
    config: {
      features: [...AMD, 'FLUSH_RANGE_NO_GAPS'],
      hwMaxVaszLg2: 48,
      // Below the encryption bit.
      hwMaxOaszLg2: 47,
      topLevel: 2,
      smeMeMask: 2 ** 47,
    },
    pageSizes: FEW_SIZES,
  },
  {
    name: 'AMD v1 of the self test, 2K',
    format: amdv1Mock,
    config: { features: [], hwMaxVaszLg2: 47, hwMaxOaszLg2: 51, topLevel: 3 },
    pageSizes: [2 ** 11, ...FEW_SIZES],
  },
  ...[true, false].map(
    (coherent): GenericRow => ({
      name: `x86-64 48, both halves${coherent ? '' : ', not coherent'}`,
      format: x8664,
      config: {
        features: coherent ? ['SIGN_EXTEND'] : ['SIGN_EXTEND', 'DMA_INCOHERENT'],
        hwMaxVaszLg2: 48,
        hwMaxOaszLg2: 52,
        topLevel: 3,
      },
      spaces: [
        { start: 0, end: 2 ** 47 },
        { start: 2 ** 64 - 2 ** 47, end: 2 ** 64 },
      ],
      outside: OUTSIDE_SIGNED,
    }),
  ),
  {
    name: 'x86-64 57',
    format: x8664,
    config: { features: ['FLUSH_RANGE'], hwMaxVaszLg2: 57, hwMaxOaszLg2: 52, topLevel: 4 },
  },
  ...[true, false].map(
    (coherent): GenericRow => ({
      name: `VT-d second stage 39${coherent ? '' : ', not coherent'}`,
      format: vtdss,
      config: {
        features: coherent ? [] : ['DMA_INCOHERENT'],
        hwMaxVaszLg2: 39,
        hwMaxOaszLg2: 46,
        topLevel: 2,
      },
    }),
  ),
  {
    name: 'VT-d second stage 57',
    format: vtdss,
    config: { features: [], hwMaxVaszLg2: 57, hwMaxOaszLg2: 52, topLevel: 4 },
  },
  ...[39, 48, 57].map(
    (bits): GenericRow => ({
      name: `RISC-V Sv${bits}, 64K pages`,
      format: riscv64,
      config: {
        features: ['DETAILED_GATHER', 'RISCV_SVNAPOT_64K'],
        hwMaxVaszLg2: bits,
        hwMaxOaszLg2: 56,
      },
    }),
  ),
  {
    name: 'RISC-V Sv48, both halves',
    format: riscv64,
    config: {
      features: ['DETAILED_GATHER', 'SIGN_EXTEND'],
      hwMaxVaszLg2: 48,
      hwMaxOaszLg2: 56,
    },
    spaces: [
      { start: 0, end: 2 ** 47 },
      { start: 2 ** 64 - 2 ** 47, end: 2 ** 64 },
    ],
    outside: OUTSIDE_SIGNED,
  },
];

/** How the device of a subject walks. */
export type Walk = 'coherent' | 'not coherent';

/** The mock, with one defect or none. */
export function mockSubject(walk: Walk, defect: MockDefect = 'none'): ContractSubject {
  const coherentWalk = walk === 'coherent';
  return {
    name: `mock${coherentWalk ? '' : ', not coherent'}`,
    coherentWalk,
    spaces: [{ start: MOCK_START, end: MOCK_END }],
    endPaddr: MOCK_END_PADDR,
    prots: PROTS,
    traits: {
      ...IO_PGTABLE_TRAITS,
      occupied: -98,
      stopsAtTable: false,
      conflict: 'before',
      overTable: 'refuses',
      partialUnmap: 'whole',
      coarseUnmap: 'pages',
      emptyTables: 'freed',
    },
    create: (parts) => createPageTable(mockFormat, { ...parts, coherentWalk, defect }),
  };
}

export const SUBJECTS: readonly ContractSubject[] = [
  mockSubject('coherent'),
  mockSubject('not coherent'),
  ...[...STAGE_1, ...STAGE_2, ...SMALL, ...SHORT, ...DART].flatMap(armSubjects),
  ...GENERIC.map(genericSubject),
];

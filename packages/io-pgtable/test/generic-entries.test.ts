import { expect, test } from 'vitest';
import { amdv1, amdv1Mock } from '../src/generic/amdv1.lanes.ts';
import type { GenericConfig } from '../src/generic/generic-config.ts';
import { riscv64 } from '../src/generic/riscv64.lanes.ts';
import { vtdss } from '../src/generic/vtdss.lanes.ts';
import { x8664 } from '../src/generic/x86-64.lanes.ts';
import {
  forEachLeaf,
  IOMMU_CACHE,
  IOMMU_MMIO,
  IOMMU_NOEXEC,
  IOMMU_READ,
  IOMMU_WRITE,
  IotlbGather,
} from '../src/index.ts';
import { genericRig, pathOf } from './generic-rig.lanes.ts';

// Expected words are put together from the bits that the documentation of the vectors lists ("Entry bits, as seen").
const R = IOMMU_READ;
const W = IOMMU_WRITE;
const RW = R + W;
const KB64 = 0x1_0000;
const MB2 = 0x20_0000;
const GB1 = 0x4000_0000;

type Sizes = Parameters<typeof genericRig>[1];
interface Row {
  readonly name: string;
  readonly paddr: number;
  readonly length: number;
  readonly prot: number;
  readonly word: string;
}

const AMD: Sizes = {
  features: ['DYNAMIC_TOP', 'AMDV1_ENCRYPT_TABLES', 'AMDV1_FORCE_COHERENCE'],
  hwMaxVaszLg2: 48,
  hwMaxOaszLg2: 52,
  topLevel: 3,
};
const AMD_ROWS: Row[] = [
  { name: '4K rw', paddr: 0x1234_5000, length: 4096, prot: RW, word: '0x7000000012345001' },
  { name: '4K r', paddr: 0x1234_5000, length: 4096, prot: R, word: '0x3000000012345001' },
  { name: '4K w', paddr: 0x1234_5000, length: 4096, prot: W, word: '0x5000000012345001' },
  { name: '8K', paddr: 0x2000, length: 8192, prot: RW, word: '0x7000000000002e01' },
  { name: '64K', paddr: 0x5_0000, length: KB64, prot: RW, word: '0x7000000000057e01' },
  { name: '2M, one item', paddr: MB2, length: MB2, prot: RW, word: '0x7000000000200001' },
  { name: '4M', paddr: 2 * MB2, length: 2 * MB2, prot: RW, word: '0x70000000005ffe01' },
  { name: 'high', paddr: 2 ** 51, length: 4096, prot: RW, word: '0x7008000000000001' },
];
const X86: Sizes = { features: [], hwMaxVaszLg2: 48, hwMaxOaszLg2: 52, topLevel: 3 };
const X86_ROWS: Row[] = [
  { name: '4K rw', paddr: 0x1234_5000, length: 4096, prot: RW, word: '0x12345067' },
  { name: '4K r', paddr: 0x1234_5000, length: 4096, prot: R, word: '0x12345025' },
  { name: 'no effect', paddr: 0, length: 4096, prot: W + IOMMU_NOEXEC, word: '0x67' },
  { name: '2M', paddr: MB2, length: MB2, prot: RW, word: '0x2000e7' },
  { name: '1G', paddr: GB1, length: GB1, prot: R, word: '0x400000a5' },
  { name: 'high', paddr: 2 ** 51, length: 4096, prot: RW, word: '0x8000000000067' },
];
const VTD: Sizes = { features: [], hwMaxVaszLg2: 48, hwMaxOaszLg2: 52, topLevel: 3 };
const VTD_ROWS: Row[] = [
  { name: '4K rw', paddr: 0x1234_5000, length: 4096, prot: RW, word: '0x12345003' },
  { name: '4K w', paddr: 0x1234_5000, length: 4096, prot: W, word: '0x12345002' },
  { name: '2M r', paddr: MB2, length: MB2, prot: R, word: '0x200081' },
  { name: '1G rw', paddr: GB1, length: GB1, prot: RW, word: '0x40000083' },
];
const RISCV: Sizes = {
  features: ['DETAILED_GATHER', 'RISCV_SVNAPOT_64K'],
  hwMaxVaszLg2: 48,
  hwMaxOaszLg2: 56,
};
const RISCV_ROWS: Row[] = [
  { name: '4K rwx', paddr: 0x4000, length: 4096, prot: RW, word: '0x10df' },
  { name: '4K w', paddr: 0x4000, length: 4096, prot: W + IOMMU_NOEXEC, word: '0x10d7' },
  { name: '4K r', paddr: 0x4000, length: 4096, prot: R + IOMMU_NOEXEC, word: '0x1053' },
  { name: '4K rx', paddr: 0x4000, length: 4096, prot: R, word: '0x105b' },
  { name: '64K', paddr: KB64, length: KB64, prot: RW, word: '0x80000000000060df' },
  { name: '2M', paddr: MB2, length: MB2, prot: RW, word: '0x800df' },
  { name: 'high', paddr: 2 ** 55, length: 4096, prot: RW, word: '0x200000000000df' },
];

for (const [format, sizes, rows] of [
  [amdv1, AMD, AMD_ROWS],
  [x8664, X86, X86_ROWS],
  [vtdss, VTD, VTD_ROWS],
  [riscv64, RISCV, RISCV_ROWS],
] as const)
  for (const { name, paddr, length, prot, word } of rows)
    test(`${format.name} leaf: ${name}`, () => {
      const rig = genericRig<unknown>(format, sizes);
      // 1 GiB aligned, so that the size decides the page.
      expect(rig.table.map(GB1, paddr, length, prot)).toBe(0);
      expect(pathOf(rig, GB1).at(-1)).toBe(word);
      expect(rig.table.iovaToPhys(GB1 + length - 1)).toBe(paddr + length - 1);
      const leaves: [number, number, number][] = [];
      forEachLeaf(rig.memory, rig.table.shape, (leaf) => {
        leaves.push([leaf.iova, leaf.paddr, leaf.size]);
      });
      expect(leaves).toEqual([[GB1, paddr, length]]);
    });

const TABLE_ROWS: { name: string; path: (tables: number[]) => bigint[] }[] = [
  {
    name: 'amdv1',
    path: (t) => t.map((pa, i) => 0x6000_0000_0000_0001n + BigInt(pa) + (BigInt(3 - i) << 9n)),
  },
  { name: 'x86_64', path: (t) => t.map((pa) => BigInt(pa) + 0x27n) },
  { name: 'vtdss', path: (t) => t.map((pa) => BigInt(pa) + 3n) },
  { name: 'riscv_64', path: (t) => t.map((pa) => (BigInt(pa) >> 2n) + 1n) },
];

test('table entries of every level', () => {
  const rigs = [
    genericRig<unknown>(amdv1, AMD),
    genericRig<unknown>(x8664, X86),
    genericRig<unknown>(vtdss, VTD),
    genericRig<unknown>(riscv64, RISCV),
  ];
  for (const [i, rig] of rigs.entries()) {
    rig.table.map(0x1000, 0x1000, 4096, RW);
    const first = rig.table.top;
    const words = pathOf(rig, 0x1000).slice(0, -1);
    const want = TABLE_ROWS[i]?.path([first + 4096, first + 2 * 4096, first + 3 * 4096]);
    expect(words).toEqual(want?.map((word) => `0x${word.toString(16)}`));
  }
});

test('the self-test variant: 2 KiB pages, addresses twice the real one, never forced coherence', () => {
  const rig = genericRig(amdv1Mock, {
    features: [],
    hwMaxVaszLg2: 56,
    hwMaxOaszLg2: 51,
    topLevel: 2,
  });
  rig.table.map(0x800, 0x1_2800, 2048, RW);
  expect(pathOf(rig, 0x800).at(-1)).toBe('0x6000000000025001');
  expect(rig.table.iovaToPhys(0xfff)).toBe(0x1_2fff);
  expect(rig.table.hwInfo).toBeUndefined();
  expect(rig.table.apertureEnd).toBe(2 ** 38);
});

test('the encryption bit stands in tables and leaves, not in those of devices', () => {
  const sme = { ...AMD, hwMaxOaszLg2: 44, smeMeMask: 2 ** 47 };
  const rig = genericRig(amdv1, sme);
  rig.table.map(0, 0x1000, 4096, RW);
  rig.table.map(0x1000, 0x3000, 4096, RW + IOMMU_MMIO);
  expect(pathOf(rig, 0).at(-1)).toBe('0x7000800000001001');
  expect(pathOf(rig, 0x1000).at(-1)).toBe('0x7000000000003001');
  expect(BigInt(pathOf(rig, 0)[0] ?? 0) & (1n << 47n)).toBe(1n << 47n);
  expect(rig.table.iovaToPhys(5)).toBe(0x1005);
});

const PBMT_ROWS = [
  { name: 'device', prot: RW + IOMMU_MMIO, hi: '0x40000000000010df' },
  { name: 'not cached', prot: RW, hi: '0x20000000000010df' },
  { name: 'cached', prot: RW + IOMMU_CACHE, hi: '0x10df' },
];
for (const { name, prot, hi } of PBMT_ROWS)
  test(`RISC-V memory types, as a kernel with debug checks: ${name}`, () => {
    const features = ['DETAILED_GATHER', 'RISCV_SVPBMT'] as const;
    const rig = genericRig(riscv64, { ...RISCV, features, debug: true });
    rig.table.map(0, 0x4000, 4096, prot);
    expect(pathOf(rig, 0).at(-1)).toBe(hi);
  });

test('an incoherent walk marks table entries once they are clean, bits 9 and 10', () => {
  for (const [format, tableWord] of [
    [x8664, 0x227n],
    [vtdss, 0x403n],
  ] as const) {
    const rig = genericRig<unknown>(format, { ...X86, features: ['DMA_INCOHERENT'] });
    rig.table.map(0, 0x1000, 4096, RW);
    expect(BigInt(pathOf(rig, 0)[0] ?? 0) & 0xfffn).toBe(tableWord);
    const { cleanCalls } = rig.table.counters;
    rig.table.map(0x1000, 0x1000, 4096, RW);
    expect(rig.table.counters.cleanCalls - cleanCalls).toBe(1);
  }
});

test('snoop and forced write of VT-d', () => {
  const rig = genericRig(vtdss, {
    ...VTD,
    features: ['VTDSS_FORCE_COHERENCE', 'VTDSS_FORCE_WRITEABLE'],
  });
  expect(rig.table.map(0, 0x1000, 4096, R)).toBe(-22);
  expect(rig.table.map(0, 0x1000, 4096, RW)).toBe(0);
  expect(pathOf(rig, 0).at(-1)).toBe('0x1803');
});

test('what the driver is told', () => {
  const config = (topLevel: number): Sizes => ({ ...X86, topLevel });
  const x86 = genericRig(x8664, config(4)).table;
  expect(x86.hwInfo).toEqual({ gcr3Pt: x86.top, levels: 5 });
  const vtd = genericRig(vtdss, config(4)).table;
  expect(vtd.hwInfo).toEqual({ ssptptr: vtd.top, aw: 3 });
  const riscv = genericRig(riscv64, RISCV).table;
  expect(riscv.hwInfo).toEqual({ ppn: riscv.top / 4096, fscIosatpMode: 9 });
  const amd = genericRig(amdv1, { ...AMD, hwMaxVaszLg2: 64, topLevel: 1 });
  expect(amd.table.hwInfo).toEqual({ hostPtRoot: amd.table.top, mode: 2 });
  const old = amd.table.top;
  amd.table.map(2 ** 63, 0x1000, 4096, RW);
  expect(amd.table.hwInfo).toEqual({ hostPtRoot: amd.table.top, mode: 6 });
  expect(amd.table.top).not.toBe(old);
  expect(amd.calls).toEqual(['top 5']);
});

test('the upper half of a signed space', () => {
  const rig = genericRig(riscv64, { ...RISCV, features: ['SIGN_EXTEND', 'DETAILED_GATHER'] });
  const { table } = rig;
  expect(table.apertureEnd).toBe(2 ** 47);
  const last = 2 ** 64 - 4096;
  expect(table.map(last, 0x5000, 4096, RW)).toBe(0);
  expect(table.iovaToPhys64({ lo: 0xffff_ffff, hi: 0xffff_ffff })).toEqual({ lo: 0x5fff, hi: 0 });
  const iovas: number[] = [];
  forEachLeaf(rig.memory, table.shape, ({ iova }) => {
    iovas.push(iova);
  });
  expect(iovas).toEqual([last]);
  const gather = new IotlbGather();
  expect(table.unmap(last, 4096, gather)).toBe(4096);
  expect([gather.start, gather.end, gather.leafLevels]).toEqual([last, 2 ** 64, 1]);
});

test('the page at physical address 0 is no hole', () => {
  const { table } = genericRig(x8664, X86);
  table.map(0x1000, 0, 4096, RW);
  expect(table.iovaToPhys(0x1005)).toBe(5);
  expect(table.iovaToPhys64({ lo: 0x1005, hi: 0 })).toEqual({ lo: 5, hi: 0 });
});

test('56-bit outputs to the byte', () => {
  const { table } = genericRig(riscv64, RISCV);
  table.map(0x1000, 2 ** 56 - 4096, 4096, RW);
  expect(table.iovaToPhys64({ lo: 0x1fff, hi: 0 })).toEqual({ lo: 0xffff_ffff, hi: 0xff_ffff });
});

const REFUSED: { name: string; config: Partial<GenericConfig>; errno: number }[] = [
  { name: 'no input bits', config: { hwMaxVaszLg2: 0 }, errno: -22 },
  { name: 'too many input bits', config: { hwMaxVaszLg2: 58 }, errno: -22 },
  { name: 'no output bits', config: { hwMaxOaszLg2: 0 }, errno: -22 },
  { name: 'too many output bits', config: { hwMaxOaszLg2: 53 }, errno: -22 },
  { name: 'top too low', config: { topLevel: 2 }, errno: -95 },
  { name: 'top too small', config: { hwMaxVaszLg2: 49 }, errno: -95 },
  { name: 'foreign feature', config: { features: ['VTDSS_FORCE_COHERENCE'] }, errno: -95 },
  { name: 'unknown feature', config: { features: ['NOPE' as 'FULL_VA'] }, errno: -95 },
  { name: 'sign, growing', config: { features: ['SIGN_EXTEND', 'DYNAMIC_TOP'] }, errno: -95 },
];
for (const { name, config, errno } of REFUSED)
  test(`refused: ${name}`, () => {
    expect(() => genericRig(x8664, { ...X86, ...config })).toThrow(`refused: ${errno}`);
  });

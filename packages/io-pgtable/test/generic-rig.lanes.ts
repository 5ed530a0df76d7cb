import { FrameAllocator, type MemoryView, PhysicalMemory } from '@iommukit/platform';
import { amdv1, amdv1Mock } from '../src/generic/amdv1.lanes.ts';
import type { GenericConfig } from '../src/generic/generic-config.ts';
import type { GenericPageTable } from '../src/generic/generic-page-table.lanes.ts';
import { riscv64 } from '../src/generic/riscv64.lanes.ts';
import { vtdss } from '../src/generic/vtdss.lanes.ts';
import { x8664 } from '../src/generic/x86-64.lanes.ts';
import { createPageTable, walkTable } from '../src/index.ts';
import type { PageTableFormat } from '../src/page-table-format.ts';

const BASE = 0x1_0000_0000;
const POOL = 0x100_0000;

type Sizes = Pick<GenericConfig, 'features' | 'hwMaxVaszLg2' | 'hwMaxOaszLg2' | 'topLevel'>;
type AnyFormat = PageTableFormat<GenericConfig, GenericPageTable<unknown>>;

export interface FormatCase {
  readonly format: AnyFormat;
  readonly sizes: Sizes;
  readonly granule: number;
  /** All page sizes, by the documentation of the vectors. */
  readonly pages: readonly bigint[];
}

const powers = (from: number, to: number): bigint[] =>
  Array.from({ length: to - from + 1 }, (_, i) => 1n << BigInt(from + i)).filter(
    (size) => size !== 1n << 39n,
  );

/** One configuration of every format. */
export const FORMAT_CASES: readonly FormatCase[] = [
  {
    format: amdv1,
    sizes: {
      features: ['DYNAMIC_TOP', 'AMDV1_ENCRYPT_TABLES', 'AMDV1_FORCE_COHERENCE'],
      hwMaxVaszLg2: 64,
      hwMaxOaszLg2: 52,
      topLevel: 1,
    },
    granule: 4096,
    pages: powers(12, 51),
  },
  {
    format: amdv1Mock,
    sizes: { features: [], hwMaxVaszLg2: 56, hwMaxOaszLg2: 51, topLevel: 2 },
    granule: 2048,
    pages: powers(11, 36),
  },
  {
    format: x8664,
    sizes: { features: ['SIGN_EXTEND'], hwMaxVaszLg2: 48, hwMaxOaszLg2: 52, topLevel: 3 },
    granule: 4096,
    pages: [1n << 12n, 1n << 21n, 1n << 30n],
  },
  {
    format: vtdss,
    sizes: { features: ['FLUSH_RANGE'], hwMaxVaszLg2: 57, hwMaxOaszLg2: 52, topLevel: 4 },
    granule: 4096,
    pages: [1n << 12n, 1n << 21n, 1n << 30n],
  },
  {
    format: riscv64,
    sizes: {
      features: ['SIGN_EXTEND', 'DETAILED_GATHER', 'RISCV_SVNAPOT_64K'],
      hwMaxVaszLg2: 39,
      hwMaxOaszLg2: 56,
    },
    granule: 4096,
    pages: [1n << 12n, 1n << 16n, 1n << 21n, 1n << 30n],
  },
];

export interface GenericRig<H> {
  readonly memory: PhysicalMemory;
  readonly frames: FrameAllocator;
  readonly table: GenericPageTable<H>;
  /** Ranges that were invalidated, and tops that were announced. */
  readonly calls: string[];
  readonly warnings: string[];
}

/** A table of a generic format over real memory and frames. */
export function genericRig<H>(
  format: PageTableFormat<GenericConfig, GenericPageTable<H>>,
  change: Sizes & Partial<GenericConfig>,
  viewOf: (memory: PhysicalMemory) => MemoryView = (memory) => memory,
): GenericRig<H> {
  const memory = new PhysicalMemory([{ base: BASE, size: POOL }]);
  const frames = new FrameAllocator({ base: BASE, size: POOL });
  const calls: string[] = [];
  const warnings: string[] = [];
  const table = createPageTable(format, {
    memory: viewOf(memory),
    frames,
    driver: {
      iotlbSync: ({ start, end }) => calls.push(`sync ${start.toString(16)} ${end.toString(16)}`),
      changeTop: (_top, level) => calls.push(`top ${level}`),
    },
    warn: (text) => warnings.push(text),
    ...change,
  });
  if (typeof table === 'number') throw new Error(`refused: ${table}`);
  return { memory, frames, table, calls, warnings };
}

/** The raw entries from the top down to the leaf of an IOVA, as hexadecimal text. */
export function pathOf<H>({ memory, table }: GenericRig<H>, iova: number): string[] {
  const words: string[] = [];
  walkTable(memory, table.shape, iova, ({ lo, hi }) => {
    words.push(`0x${((BigInt(hi) << 32n) | BigInt(lo)).toString(16)}`);
  });
  return words;
}

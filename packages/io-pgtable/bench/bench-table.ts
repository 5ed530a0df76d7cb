import { SZ_1G, SZ_2M, SZ_4K } from '@iommukit/bits';
import { FrameAllocator, PhysicalMemory } from '@iommukit/platform';
import {
  arm64LpaeS1,
  createPageTable,
  type FlushOps,
  IO_PGTABLE_PROFILES,
  IOMMU_CACHE,
  IOMMU_READ,
  IOMMU_WRITE,
  type LpaePageTable,
  type StageOneRegisters,
} from '../src/index.ts';

export const BASE = 0x1_0000_0000;
export const PROT: number = IOMMU_READ + IOMMU_WRITE + IOMMU_CACHE;
/** Low lane of a cacheable read-write page of stage 1. */
export const LEAF_LO = 0xf47;

export interface Case {
  name: string;
  reference?: true;
  ops: number;
  run(): number;
}

/** Flush ops that grow the gather and nothing else. */
export function gatherOnly(): FlushOps {
  return {
    tlbFlushAll() {},
    tlbFlushWalk() {},
    tlbAddPage: (gather, iova, granule, count) => gather.addRange(iova, granule * count),
  };
}

export interface BenchTable {
  readonly memory: PhysicalMemory;
  readonly table: LpaePageTable<StageOneRegisters>;
}

/** A stage-1 table, 4 KiB granule, 48 bits, coherent, over `bytes` of memory. */
export function benchTable(bytes: number, flush: FlushOps = gatherOnly()): BenchTable {
  const memory = new PhysicalMemory([{ base: BASE, size: bytes }]);
  const frames = new FrameAllocator({ base: BASE, size: bytes });
  const table = createPageTable(arm64LpaeS1, {
    pgsizeBitmap: SZ_4K + SZ_2M + SZ_1G,
    ias: 48,
    oas: 48,
    coherentWalk: true,
    memory,
    frames,
    flush,
    profile: IO_PGTABLE_PROFILES['7.3'],
  });
  if (typeof table === 'number') throw new Error(`refused: ${table}`);
  return { memory, table };
}

/** The lanes of the table page that holds the leaf of `iova`, which is mapped for a moment. */
export function leafPage({ memory, table }: BenchTable, iova: number): Uint32Array {
  table.mapPages(iova, 0, SZ_4K, 1, PROT);
  let at = table.base;
  for (const shift of [39, 30, 21]) {
    const lo = memory.load64(at + (Math.floor(iova / 2 ** shift) % 512) * 8);
    at = (memory.hi & 0xffff) * 2 ** 32 + ((lo & 0xffff_f000) >>> 0);
  }
  table.unmapPages(iova, SZ_4K, 1, null);
  const lanes = memory.lanes(at);
  if (lanes === undefined) throw new Error('the leaf table is not in memory');
  return lanes;
}

/** All of a memory's pages as one flat array of lanes, for references that know where everything is. */
export function flatCopy({ memory }: BenchTable, bytes: number): Uint32Array {
  const flat = new Uint32Array(bytes / 4);
  for (const pa of memory.touchedPages()) flat.set(memory.lanes(pa) ?? [], (pa - BASE) / 4);
  return flat;
}

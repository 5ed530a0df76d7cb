import { SZ_4K, SZ_64K } from '@iommukit/bits';
import { FrameAllocator, type MemoryView, PhysicalMemory } from '@iommukit/platform';
import type { PageTableConfig } from '../src/page-table-config.ts';
import { IO_PGTABLE_PROFILES } from '../src/profile.ts';
import { IOMMU_READ, IOMMU_WRITE } from '../src/prot.ts';
import { walkTable } from '../src/table-walk.ts';
import { armV7s } from '../src/v7s/arm-v7s.lanes.ts';
import type { V7sPageTable } from '../src/v7s/v7s-page-table.lanes.ts';
import { type Call, flushLog } from './flush-log.ts';

export const RW: number = IOMMU_READ + IOMMU_WRITE;
export const SZ_1M = 0x10_0000;
export const SZ_16M = 0x100_0000;
export const SIZES: number = SZ_4K + SZ_64K + SZ_1M + SZ_16M;
export const BASE = 0x4000_0000;
export const POOL = 0x40_0000;
export const MTK = { noPerms: true, mtkExt: true };
export const MTK_TTBR = { noPerms: true, mtkExt: true, mtkTtbrExt: true };

export interface ShortRig {
  readonly memory: PhysicalMemory;
  readonly frames: FrameAllocator;
  readonly calls: Call[];
  readonly warnings: string[];
  readonly config: PageTableConfig;
  readonly table: V7sPageTable;
}

export function shortRig(
  change: Partial<PageTableConfig> = {},
  view: (memory: PhysicalMemory, calls: Call[]) => MemoryView = (memory) => memory,
  base: number = BASE,
): ShortRig {
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
    flush: flushLog(calls),
    profile: IO_PGTABLE_PROFILES['7.3'],
    warn: (text) => warnings.push(text),
    ...change,
  };
  const table = armV7s.create(config);
  if (typeof table === 'number') throw new Error(`refused: ${table}`);
  return { memory, frames, calls, warnings, config, table };
}

/** The entry that ends the walk of an IOVA. */
export function entryAt(memory: MemoryView, table: V7sPageTable, iova: number): number {
  let word = 0;
  walkTable(memory, table.shape, iova, ({ lo }) => {
    word = lo;
  });
  return word;
}

import { SZ_1G, SZ_2M, SZ_4K } from '@iommukit/bits';
import { FrameAllocator, PhysicalMemory } from '@iommukit/platform';
import {
  arm64LpaeS1,
  createPageTable,
  IO_PGTABLE_PROFILES,
  type IotlbGather,
  type LpaePageTable,
  type PageTableConfig,
  type StageOneRegisters,
  walkTable,
} from '../src/index.ts';

export const BASE = 0x1_0000_0000;
export const POOL = 0x100_0000;

/** What the flush ops were asked, in order. */
export type FlushCall =
  | { op: 'all' }
  | { op: 'walk'; iova: number; size: number; granule: number }
  | { op: 'page'; iova: number; granule: number; count: number };

export interface Rig {
  readonly memory: PhysicalMemory;
  readonly frames: FrameAllocator;
  readonly calls: FlushCall[];
  readonly warnings: string[];
  readonly config: PageTableConfig;
  readonly table: LpaePageTable<StageOneRegisters>;
}

/** A table over real memory and frames; `change` overrides the configuration, which may look at the memory and frames. */
export function rig(
  change: (parts: {
    memory: PhysicalMemory;
    frames: FrameAllocator;
  }) => Partial<PageTableConfig> = () => ({}),
): Rig {
  const memory = new PhysicalMemory([{ base: BASE, size: POOL }]);
  const frames = new FrameAllocator({ base: BASE, size: POOL });
  const calls: FlushCall[] = [];
  const warnings: string[] = [];
  const config: PageTableConfig = {
    pgsizeBitmap: SZ_4K + SZ_2M + SZ_1G,
    ias: 48,
    oas: 48,
    coherentWalk: true,
    memory,
    frames,
    flush: {
      tlbFlushAll: () => calls.push({ op: 'all' }),
      tlbFlushWalk: (iova, size, granule) => calls.push({ op: 'walk', iova, size, granule }),
      tlbAddPage: (gather: IotlbGather, iova, granule, count) => {
        gather.addRange(iova, granule * count);
        calls.push({ op: 'page', iova, granule, count });
      },
    },
    profile: IO_PGTABLE_PROFILES['7.3'],
    warn: (text) => warnings.push(text),
    ...change({ memory, frames }),
  };
  const table = createPageTable(arm64LpaeS1, config);
  if (typeof table === 'number') throw new Error(`refused: ${table}`);
  return { memory, frames, calls, warnings, config, table };
}

/** The leaf of an IOVA as hexadecimal text, or `none`. */
export function leafOf(table: LpaePageTable<unknown>, iova: number): string {
  let word = 0n;
  const kind = walkTable(table.memory, table.shape, iova, ({ lo, hi }) => {
    word = (BigInt(hi) << 32n) | BigInt(lo);
  });
  return kind === 'leaf' ? `0x${word.toString(16)}` : 'none';
}

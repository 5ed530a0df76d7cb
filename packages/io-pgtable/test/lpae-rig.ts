import { SZ_1G, SZ_2M, SZ_4K, SZ_16K, SZ_32M, SZ_64K, SZ_512M } from '@iommukit/bits';
import {
  createPageTable,
  IOMMU_CACHE,
  IOMMU_READ,
  IOMMU_WRITE,
  type LpaeFormat,
  type LpaePageTable,
  type PageTableConfig,
} from '../src/index.ts';
import { rig } from './rig.lanes.ts';

export const R: number = IOMMU_READ;
export const W: number = IOMMU_WRITE;
export const RW: number = R + W;
export const C: number = IOMMU_CACHE;
export const PA: number = 0x4_8000_0000;
export const TWO64: number = 2 ** 64;
export const K4: number = SZ_4K + SZ_2M + SZ_1G;
export const K16: number = SZ_16K + SZ_32M;
export const K64: number = SZ_64K + SZ_512M;
export const T4: number = 2 ** 42;

export type Change = Partial<PageTableConfig>;

/** Requests for top tables, warnings and the answer. */
export function attempt<T>(
  format: LpaeFormat<T>,
  change: Change,
): { table: LpaePageTable<T> | number; bytes: number[]; warnings: string[] } {
  const { config, frames, warnings } = rig();
  const bytes: number[] = [];
  const counting = {
    alloc: (n: number) => {
      bytes.push(n);
      return frames.alloc(n);
    },
    free: (pa: number, n: number) => frames.free(pa, n),
  };
  const table = createPageTable(format, { ...config, frames: counting, ...change });
  return { table, bytes, warnings };
}

export function made<T>(format: LpaeFormat<T>, change: Change): LpaePageTable<T> {
  const { table } = attempt(format, change);
  if (typeof table === 'number') throw new Error(`refused: ${table}`);
  return table;
}

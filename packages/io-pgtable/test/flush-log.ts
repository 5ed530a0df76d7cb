import type { MemoryView } from '@iommukit/platform';
import { type FlushOps, forEachLeaf, type PageTable } from '../src/index.ts';

/** A flush op that was called, or what a view wrote into the same log: its name and its numbers. */
export type Call = [name: string, ...numbers: number[]];

/** Flush ops that write down what they are asked and grow the gather over it. */
export function flushLog(calls: Call[]): FlushOps {
  return {
    tlbFlushAll: () => calls.push(['all']),
    tlbFlushWalk: (iova, size, granule) => calls.push(['walk', iova, size, granule]),
    tlbAddPage: (gather, iova, granule, count) => {
      gather.addRange(iova, granule * count);
      calls.push(['page', iova, granule, count]);
    },
  };
}

/** The mapped pages: IOVA, output address, size. */
export function leavesOf(memory: MemoryView, table: PageTable): [number, number, number][] {
  const found: [number, number, number][] = [];
  forEachLeaf(memory, table.shape, ({ iova, paddr, size }) => found.push([iova, paddr, size]));
  return found;
}

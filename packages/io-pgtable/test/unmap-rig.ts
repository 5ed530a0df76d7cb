import { SZ_2M, SZ_4K } from '@iommukit/bits';
import { expect } from 'vitest';
import { IotlbGather } from '../src/index.ts';
import {
  coreMap,
  coreUnmap,
  type GranuleName,
  type Mode,
  mapR,
  PA,
  rangeRig,
  scat,
} from './range-rig.lanes.ts';
import type { Rig } from './rig.lanes.ts';

/** An invalidation as it would be issued: `walk` at once, `leaf` when the gather is drained. */
export type Issued = [kind: 'walk' | 'leaf', start: number, end: number, pgsize: number];

export interface Gathered {
  rig: Rig;
  issued: Issued[];
  gather: IotlbGather;
  drain(): void;
}

/** A rig whose flush ops gather as core does (`iommu_iotlb_gather_add_page`): a piece that does not fit drains first. */
export function gathering(mode: Mode = 'coh', granule: GranuleName = '4K'): Gathered {
  const rig = rangeRig(mode, granule);
  const issued: Issued[] = [];
  const gather = new IotlbGather();
  const drain = (): void => {
    if (!gather.isEmpty) issued.push(['leaf', gather.start, gather.end, gather.pgsize]);
    gather.init();
  };
  rig.config.flush.tlbFlushWalk = (iova, size, page) =>
    void issued.push(['walk', iova, iova + size, page]);
  rig.config.flush.tlbAddPage = (into, iova, pgsize, count) => {
    if ((into.pgsize !== 0 && into.pgsize !== pgsize) || into.isDisjoint(iova, pgsize)) drain();
    into.pgsize = pgsize;
    into.addRange(iova, pgsize * count);
  };
  return { rig, issued, gather, drain };
}

export const WAYS: readonly Way[] = ['L', 'U'];
export type Way = 'L' | 'U';

/** Format level: calls with one page size until the count is done or nothing was cleared. */
export function formatUnmap(
  on: Gathered,
  way: Way,
  iova: number,
  pgsize: number,
  pages: number,
): number {
  let done = 0;
  while (done < pages * pgsize) {
    const left = pages - done / pgsize;
    const n = on.rig.table.unmapPages(iova + done, pgsize, way === 'L' ? 1 : left, on.gather);
    if (n === 0) break;
    done += n;
  }
  return done;
}

export function core(on: Gathered, way: Way, iova: number, size: number): number {
  return coreUnmap(on.rig, iova, size, { one: way === 'L', gather: on.gather });
}

export const blocks =
  (iova: number, n: number, size = SZ_2M): ((rig: Rig) => void) =>
  (rig: Rig): void => {
    expect(coreMap(rig, iova, { paddr: PA, length: n * size })).toBe(0);
  };
export const pages =
  (iova: number, n: number, granule: number = SZ_4K): ((rig: Rig) => void) =>
  (rig: Rig): void => {
    expect(mapR(rig, iova, scat(n, granule))).toBe(0);
  };

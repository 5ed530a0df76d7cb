import { IotlbGather } from '@iommukit/io-pgtable';
import type { ScenarioRig } from './scenario-rig.ts';

/** An unmap at the level of the format, with one page size; L: one page a call, U: the whole count. */
export interface SingleSizeUnmap {
  readonly way: 'L' | 'U';
  readonly iova: number;
  readonly pgsize: number;
  readonly count: number;
  /** Absent: a gather of its own, which is synced. */
  readonly gather?: IotlbGather;
}

/** Calls until the count is done or nothing was cleared; the bytes. */
export function unmapSingleSize(rig: ScenarioRig, what: SingleSizeUnmap): number {
  const { way, iova, pgsize, count } = what;
  const { ops } = rig.domain;
  const gather = what.gather ?? new IotlbGather();
  const bytes = count * pgsize;
  if (what.gather === undefined) rig.warm(iova, bytes);
  rig.begin();
  let done = 0;
  while (done < bytes) {
    const left = way === 'L' ? 1 : count - done / pgsize;
    const cleared = ops.unmapPages(iova + done, pgsize, left, gather);
    if (cleared === 0) break;
    done += cleared;
  }
  for (let at = iova; at < iova + done; at += rig.granule) rig.mirror.delete(at);
  if (what.gather === undefined) {
    rig.machine.core.iotlbSync(rig.domain, gather);
    rig.look(iova, bytes);
  }
  return done;
}

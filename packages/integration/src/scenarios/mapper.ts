import { IotlbGather, PageRun } from '@iommukit/io-pgtable';
import type { BatchOptions, RangeBatch, SgRun } from '@iommukit/iommu-core';
import type { ScenarioRig } from './scenario-rig.ts';
import { bytesOf, PROT } from './setup.ts';

/**
 * The ways compared: P a page at a time; K the kernel's `iommu_map_sg` and `iommu_unmap`; G the same with one gather; R batches of ranges;
 * L one page a format call with one gather, as core did in 2020; U the whole count.
 */
export type Way = 'P' | 'K' | 'G' | 'R' | 'L' | 'U';

/** Maps and unmaps in one way; the mirror of the rig follows what the calls return. */
export interface Mapper {
  /** 0, or a negative errno. */
  map(iova: number, runs: readonly SgRun[]): number;
  /** Bytes unmapped. */
  unmap(iova: number, size: number): number;
  /** Ends what the way defers: 0, or a negative errno. */
  flush(): number;
  /** Way R. */
  readonly batch: RangeBatch | null;
}

/** How often a rig looks at what an operation did. */
export interface MapperOptions extends BatchOptions {
  /** The device does not read what is operated on: for rows that count its reads themselves, and for the largest ones. */
  readonly quiet?: boolean;
}

/** The operations of one way on a rig. */
export function mapperOf(rig: ScenarioRig, way: Way, options: MapperOptions = {}): Mapper {
  const { core } = rig.machine;
  const { domain } = rig;
  const quiet = options.quiet === true;
  const gather = new IotlbGather();
  const opened = way === 'R' ? core.beginBatch(domain, options) : null;
  if (typeof opened === 'number') throw new RangeError(`beginBatch: ${opened}`);
  const batch = opened;
  const defers = way === 'G' || way === 'R' || way === 'L';
  /** Ranges whose invalidation is deferred. */
  const waiting: [number, number][] = [];

  const mapped = (iova: number, runs: readonly SgRun[]): void => {
    let at = iova;
    for (const { paddr, length } of runs)
      for (let done = 0; done < length; done += rig.granule, at += rig.granule)
        rig.mirror.set(at, paddr + done);
  };
  const unmapped = (iova: number, bytes: number): void => {
    for (let at = iova; at < iova + bytes; at += rig.granule) rig.mirror.delete(at);
  };
  const attempt = (
    name: string,
    iova: number,
    runs: readonly SgRun[],
    map: () => number,
  ): number => {
    rig.begin();
    const used = rig.machine.frames.used;
    const { issued } = rig.machine.driver.cmdq;
    const early = batch?.earlyFlushes ?? 0;
    const errno = Math.min(map(), 0);
    if (errno === 0) {
      mapped(iova, runs);
      return 0;
    }
    rig.failed.push({ errno, name });
    // R3: nothing was stored where a walker could see it, nothing was sent, nothing was kept.
    if (way === 'R' && batch?.earlyFlushes === early) {
      if (rig.liveStores > 0)
        rig.fault(`a failed map stored ${rig.liveStores} words in live tables`);
      if (rig.machine.frames.used !== used) rig.fault('a failed map kept frames');
      if (rig.machine.driver.cmdq.issued !== issued) rig.fault('a failed map sent commands');
    }
    return errno;
  };

  return {
    batch,
    map(iova, runs) {
      let errno = 0;
      if (way === 'P') {
        let at = iova;
        for (const { paddr, length } of runs)
          for (let done = 0; errno === 0 && done < length; done += rig.granule, at += rig.granule) {
            const piece = [{ paddr: paddr + done, length: rig.granule }];
            const here = at;
            errno = attempt('map', here, piece, () =>
              core.map(domain, here, paddr + done, rig.granule, PROT),
            );
          }
      } else
        errno = attempt('map', iova, runs, () =>
          batch === null ? core.mapSg(domain, iova, runs, PROT) : batch.mapSg(iova, runs, PROT),
        );
      if (errno === 0 && !quiet && waiting.length === 0) rig.warm(iova, bytesOf(runs));
      return errno;
    },
    unmap(iova, size) {
      if (!quiet && waiting.length === 0) rig.warm(iova, size);
      rig.begin();
      let bytes = 0;
      if (way === 'P')
        for (; bytes < size; bytes += rig.granule) {
          if (core.unmap(domain, iova + bytes, rig.granule) === 0) break;
          unmapped(iova + bytes, rig.granule);
        }
      else {
        if (way === 'R') bytes = batch?.unmapRange(iova, size) ?? 0;
        else if (way === 'G') bytes = core.unmapFast(domain, iova, size, gather);
        else if (way === 'L') bytes = unmapSingly(rig, iova, size, gather);
        else bytes = core.unmap(domain, iova, size);
        unmapped(iova, bytes);
      }
      if (defers) waiting.push([iova, size]);
      else if (!quiet) rig.look(iova, size);
      return bytes;
    },
    flush() {
      let errno = 0;
      if (batch !== null) errno = batch.flush();
      else if (defers) core.iotlbSync(domain, gather);
      if (!quiet) for (const [iova, size] of waiting) rig.look(iova, size);
      waiting.length = 0;
      return errno;
    },
  };
}

/** The core's loop as it was in 2020: one entry a call. */
export function unmapSingly(
  rig: ScenarioRig,
  iova: number,
  size: number,
  gather: IotlbGather,
): number {
  const { ops, pgsizeBitmap } = rig.domain;
  const pages = new PageRun();
  let done = 0;
  while (done < size) {
    const at = iova + done;
    pages.pick(pgsizeBitmap, at, at, size - done);
    const bytes = ops.unmapPages(at, pages.pgsize, 1, gather);
    if (bytes === 0) break;
    done += bytes;
  }
  return done;
}

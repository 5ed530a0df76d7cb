import { IotlbGather, PageRun } from '@iommukit/io-pgtable';
import type { BatchOptions, RangeBatch, SgRun } from '@iommukit/iommu-core';
import type { ScenarioRig } from './scenario-rig.ts';
import { bytesOf, PROT } from './setup.ts';

/**
 * The ways compared: P a page at a time; K the kernel's `iommu_map_sg` and `iommu_unmap`; G the same with one gather; R batches of ranges;
 * L one page a format call with one gather, as core did in 2020; U the whole count.
 */
export type Way = 'P' | 'K' | 'G' | 'R' | 'L' | 'U';

/** How often a rig looks at what an operation did. */
export interface MapperOptions extends BatchOptions {
  /** The device does not read what is operated on: for rows that count its reads themselves, and for the largest ones. */
  readonly quiet?: boolean;
}

/** Maps and unmaps in one way on a rig, whose mirror follows what the calls return. */
export class Mapper {
  /** Way R. */
  readonly batch: RangeBatch | null;
  readonly #rig: ScenarioRig;
  readonly #way: Way;
  /** The device reads what is operated on. */
  readonly #reads: boolean;
  readonly #gather = new IotlbGather();
  /** Ranges whose invalidation is deferred. */
  readonly #waiting: [number, number][] = [];

  constructor(rig: ScenarioRig, way: Way, options: MapperOptions = {}) {
    this.#rig = rig;
    this.#way = way;
    this.#reads = options.quiet !== true;
    const batch = way === 'R' ? rig.machine.core.beginBatch(rig.domain, options) : null;
    if (typeof batch === 'number') throw new RangeError(`beginBatch: ${batch}`);
    this.batch = batch;
  }

  /** 0, or a negative errno. */
  map(iova: number, runs: readonly SgRun[]): number {
    const { core } = this.#rig.machine;
    const { domain } = this.#rig;
    const { batch } = this;
    const errno =
      this.#way === 'P'
        ? this.#mapPages(iova, runs)
        : this.#attempt(iova, runs, () =>
            batch === null ? core.mapSg(domain, iova, runs, PROT) : batch.mapSg(iova, runs, PROT),
          );
    if (errno === 0 && this.#reads && this.#waiting.length === 0)
      this.#rig.warm(iova, bytesOf(runs));
    return errno;
  }

  /** Bytes unmapped. */
  unmap(iova: number, size: number): number {
    const rig = this.#rig;
    if (this.#reads && this.#waiting.length === 0) rig.warm(iova, size);
    rig.begin();
    const bytes = this.#way === 'P' ? this.#unmapPages(iova, size) : this.#unmapWhole(iova, size);
    if (this.#defers) this.#waiting.push([iova, size]);
    else if (this.#reads) rig.look(iova, size);
    return bytes;
  }

  /** Ends what the way defers: 0, or a negative errno. */
  flush(): number {
    const { machine, domain } = this.#rig;
    let errno = 0;
    if (this.batch !== null) errno = this.batch.flush();
    else if (this.#defers) machine.core.iotlbSync(domain, this.#gather);
    if (this.#reads) for (const [iova, size] of this.#waiting) this.#rig.look(iova, size);
    this.#waiting.length = 0;
    return errno;
  }

  get #defers(): boolean {
    return this.#way === 'G' || this.#way === 'R' || this.#way === 'L';
  }

  #mapPages(iova: number, runs: readonly SgRun[]): number {
    const { machine, domain, granule } = this.#rig;
    let at = iova;
    for (const { paddr, length } of runs)
      for (let done = 0; done < length; done += granule, at += granule) {
        const [from, here] = [paddr + done, at];
        const errno = this.#attempt(here, [{ paddr: from, length: granule }], () =>
          machine.core.map(domain, here, from, granule, PROT),
        );
        if (errno !== 0) return errno;
      }
    return 0;
  }

  #unmapPages(iova: number, size: number): number {
    const { machine, domain, granule } = this.#rig;
    let bytes = 0;
    for (; bytes < size; bytes += granule) {
      if (machine.core.unmap(domain, iova + bytes, granule) === 0) break;
      this.#unmapped(iova + bytes, granule);
    }
    return bytes;
  }

  #unmapWhole(iova: number, size: number): number {
    const { machine, domain } = this.#rig;
    const way = this.#way;
    let bytes: number;
    if (way === 'R') bytes = this.batch?.unmapRange(iova, size) ?? 0;
    else if (way === 'G') bytes = machine.core.unmapFast(domain, iova, size, this.#gather);
    else if (way === 'L') bytes = unmapSingly(this.#rig, iova, size, this.#gather);
    else bytes = machine.core.unmap(domain, iova, size);
    this.#unmapped(iova, bytes);
    return bytes;
  }

  #attempt(iova: number, runs: readonly SgRun[], map: () => number): number {
    const rig = this.#rig;
    const { batch } = this;
    rig.begin();
    const used = rig.machine.frames.used;
    const { issued } = rig.machine.driver.cmdq;
    const early = batch?.earlyFlushes ?? 0;
    const errno = Math.min(map(), 0);
    if (errno === 0) {
      this.#mapped(iova, runs);
      return 0;
    }
    rig.failed.push({ errno, name: 'map' });
    // R3: nothing was stored where a walker could see it, nothing was sent, nothing was kept.
    if (batch !== null && batch.earlyFlushes === early) {
      if (rig.liveStores > 0)
        rig.fault(`a failed map stored ${rig.liveStores} words in live tables`);
      if (rig.machine.frames.used !== used) rig.fault('a failed map kept frames');
      if (rig.machine.driver.cmdq.issued !== issued) rig.fault('a failed map sent commands');
    }
    return errno;
  }

  #mapped(iova: number, runs: readonly SgRun[]): void {
    const { mirror, granule } = this.#rig;
    let at = iova;
    for (const { paddr, length } of runs)
      for (let done = 0; done < length; done += granule, at += granule)
        mirror.set(at, paddr + done);
  }

  #unmapped(iova: number, bytes: number): void {
    const { mirror, granule } = this.#rig;
    for (let at = iova; at < iova + bytes; at += granule) mirror.delete(at);
  }
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

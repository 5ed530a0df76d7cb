/* SX-1: what a device can still reach after an unmap has returned. */
import { SZ_4K } from '@iommukit/bits';
import { type DmaRig, dmaCase } from './dma-rig.ts';
import { mapRequest } from './request-ways.ts';
import type { Observed, Scenario, ScenarioCase } from './scenario.ts';
import { scat } from './setup.ts';

const REQUESTS = 1024;
const PAGES = 32;
const vectors = scat(PAGES);
const TIMER_US = 10_000;

/** The IOVAs of requests that were undone, as long as the device reaches any page of them. */
class OldRequests {
  readonly #dma: DmaRig;
  readonly #reachable = new Set<number>();
  /** Most pages, and requests, that were reachable at one time. */
  peakPages = 0;
  peakRequests = 0;
  /** Reads of old pages that went through, and those of them that no stale use was reported for. */
  reads = 0;
  silent = 0;
  /** Reads of old pages whose IOVA range nobody holds: nothing will invalidate them before they are handed out again. */
  unheld = 0;

  constructor(dma: DmaRig) {
    this.#dma = dma;
  }

  add(iova: number): void {
    this.#reachable.add(iova);
  }

  has(iova: number): boolean {
    return this.#reachable.has(iova);
  }

  /** The device reads the first page of each. */
  glance(): void {
    for (const iova of this.#reachable) this.#read(iova);
  }

  /** The device reads every page of each; how many it reaches. */
  look(): { readonly pages: number; readonly requests: number } {
    let all = 0;
    for (const iova of this.#reachable) {
      let pages = 0;
      for (let i = 0; i < PAGES; i++) if (this.#read(iova + i * SZ_4K)) pages++;
      if (pages === 0) this.#reachable.delete(iova);
      all += pages;
    }
    const requests = this.#reachable.size;
    this.peakPages = Math.max(this.peakPages, all);
    this.peakRequests = Math.max(this.peakRequests, requests);
    return { pages: all, requests };
  }

  #read(iova: number): boolean {
    const { rig, live } = this.#dma;
    const { model } = rig.machine;
    const reported = model.staleUseCount;
    if (rig.access(iova) < 0) return false;
    this.reads++;
    if (model.staleUseCount === reported) this.silent++;
    const first = iova - (iova % (PAGES * SZ_4K));
    if (!live.has(first / SZ_4K)) this.unheld++;
    return true;
  }
}

/** Looks before each flush of the whole domain, when most is reachable, and after it. */
function lookAroundFlushes({ rig }: DmaRig, old: OldRequests): void {
  const { ops } = rig.domain;
  const flush = ops.flushIotlbAll.bind(ops);
  ops.flushIotlbAll = () => {
    old.look();
    flush();
    old.look();
  };
}

function readAfterUnmap(dma: DmaRig, old: OldRequests): Observed {
  const total = { VA: 0, ASID: 0, SYNC: 0, cmd: 0 };
  let reused = 0;
  for (let i = 0; i < REQUESTS; i++) {
    const { counts, result } = dma.measure(() => mapRequest(dma, 'map_sg', vectors));
    const iova = result.addresses[0] ?? 0;
    if (old.has(iova)) reused++;
    for (let page = 0; page < PAGES; page++)
      if (dma.rig.access(iova + page * SZ_4K) !== vectors[page]?.paddr)
        dma.rig.fault(`request ${i}: page ${page} is not there`);
    old.add(iova);
    const undo = dma.count(result.undo);
    for (const name of ['VA', 'ASID', 'SYNC', 'cmd'] as const)
      total[name] += counts[name] + undo[name];
    if (dma.dev.domain.type === 'dma-fq') old.glance();
    else old.look();
  }
  return { ...total, reused };
}

function exposure(dma: DmaRig): Observed {
  const old = new OldRequests(dma);
  lookAroundFlushes(dma, old);
  const total = readAfterUnmap(dma, old);
  const left = old.look();
  const { flushQueue } = dma.dev.space ?? {};
  const timer = dma.count(() => dma.rig.machine.platform.clock.advance(TIMER_US));
  const after = old.look();
  return {
    ...total,
    ...{ peakPages: old.peakPages, peakRequests: old.peakRequests },
    ...{ leftPages: left.pages, leftRequests: left.requests },
    ...{ timerASID: timer.ASID, timerSYNC: timer.SYNC, afterTimer: after.pages },
    ...{ queued: flushQueue?.pending ?? 0, held: dma.liveIovas },
    ...{ reads: old.reads, silent: old.silent, missing: old.unheld },
  };
}

const DRAINED = { afterTimer: 0, queued: 0, held: 0, silent: 0, missing: 0, reused: 0 };

export const sx1: Scenario = {
  id: 'SX-1',
  title: 'exposure: 1024 unmaps, and the device reads on',
  *cases(): Iterable<ScenarioCase> {
    yield dmaCase({
      way: 'strict',
      run: exposure,
      expected: {
        ...{ VA: 1024, ASID: 0, SYNC: 1024, cmd: 2048 },
        ...{ peakPages: 0, peakRequests: 0, reads: 0 },
        ...{ leftPages: 0, leftRequests: 0, timerASID: 0, timerSYNC: 0, ...DRAINED },
      },
    });
    yield dmaCase({
      way: 'lazy',
      rig: { domain: 'lazy', flushQueue: { timer: 'clock' } },
      run: exposure,
      expected: {
        ...{ VA: 0, ASID: 4, SYNC: 4, cmd: 8, peakPages: 8192, peakRequests: 256 },
        ...{ leftPages: 96, leftRequests: 3, timerASID: 1, timerSYNC: 1, ...DRAINED },
      },
      stale: 'race',
    });
  },
};

/* S1-9: many requests in a lazy domain, by kernel. */
import { type DmaRig, dmaCase } from './dma-rig.ts';
import { mapRequest, type RequestWay } from './request-ways.ts';
import type { Observed, Scenario, ScenarioCase } from './scenario.ts';
import { scat } from './setup.ts';

const REQUESTS = 1024;
const vectors = scat(32);

/** Maps and undoes requests one after another; which of them flushed the whole domain, from 1. */
function requests(dma: DmaRig, way: RequestWay): Observed {
  const total = { VA: 0, ASID: 0, SYNC: 0, cmd: 0, walk: 0 };
  const flushed: number[] = [];
  for (let i = 1; i <= REQUESTS; i++) {
    const { counts } = dma.measure(() => mapRequest(dma, way, vectors).undo());
    for (const name of ['VA', 'ASID', 'SYNC', 'cmd', 'walk'] as const) total[name] += counts[name];
    if (counts.ASID > 0) flushed.push(i);
  }
  return { ...total, flushed: flushed.join(' '), held: dma.liveIovas };
}

const queued = {
  ...{ VA: 0, ASID: 4, SYNC: 4, cmd: 8, walk: 0 },
  ...{ flushed: '256 511 766 1021', held: 4 },
};
const atOnce = { VA: 1024, ASID: 0, SYNC: 1024, cmd: 2048, walk: 0, flushed: '', held: 0 };

/** A range each: the ring of 255 is full 128 times. */
const singly = { VA: 0, ASID: 128, SYNC: 128, cmd: 256, walk: 32 * REQUESTS };

const ROWS: readonly { way: RequestWay; kernel: '7.2' | '7.3'; expected: Observed }[] = [
  { way: 'map_page', kernel: '7.3', expected: singly },
  { way: 'map_sg', kernel: '7.3', expected: queued },
  { way: 'two-step', kernel: '7.3', expected: atOnce },
  // As 6.16 and 6.17: a destroy goes through the flush queue.
  { way: 'two-step', kernel: '7.2', expected: queued },
];

export const s19: Scenario = {
  id: 'S1-9',
  title: '1024 requests in a lazy domain',
  *cases(): Iterable<ScenarioCase> {
    for (const { way, kernel, expected } of ROWS)
      yield dmaCase({
        way: `${way}, ${kernel}`,
        rig: { domain: 'lazy', kernel },
        run: (dma) => requests(dma, way),
        expected,
      });
  },
};

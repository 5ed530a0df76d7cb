import { DmaRig } from '../scenarios/dma-rig.ts';
import { mapRequest } from '../scenarios/request-ways.ts';
import { ScenarioRig } from '../scenarios/scenario-rig.ts';
import { scat } from '../scenarios/setup.ts';

/**
 * Pages that a device still reaches, over the unmaps that were done.
 * @example const { way, points } = series; Math.max(...points.map(({ pages }) => pages)) // 8192 in a lazy domain
 */
export interface ExposureSeries {
  readonly way: 'strict' | 'lazy';
  /** By time: after every 16th unmap, just before and just after each flush of the whole domain, and at the end. */
  readonly points: readonly { readonly unmaps: number; readonly pages: number }[];
}

const REQUESTS = 1024;
const PAGES = 32;
const EVERY = 16;
const VECTORS = scat(PAGES);

/** The work of SX-1, 1024 unmaps of 32 pages, strict and lazy. The device reads one page of each old request, which stands for all 32. */
export function exposureSeries(): readonly ExposureSeries[] {
  return [seriesOf('strict'), seriesOf('lazy')];
}

function seriesOf(way: 'strict' | 'lazy'): ExposureSeries {
  const rig = new ScenarioRig();
  const dma = new DmaRig(rig, { domain: way });
  const old = new Set<number>();
  const points: { unmaps: number; pages: number }[] = [];
  let unmaps = 0;
  const look = (): void => {
    for (const iova of old) if (rig.access(iova) < 0) old.delete(iova);
    points.push({ unmaps, pages: old.size * PAGES });
  };
  const { ops } = rig.domain;
  const flush = ops.flushIotlbAll.bind(ops);
  ops.flushIotlbAll = () => {
    look();
    flush();
    look();
  };
  look();
  for (let i = 1; i <= REQUESTS; i++) {
    const request = mapRequest(dma, 'map_sg', VECTORS);
    const iova = request.addresses[0] ?? 0;
    // The device has used it, so that its caches hold it.
    rig.access(iova);
    old.add(iova);
    unmaps = i;
    request.undo();
    if (i % EVERY === 0) look();
  }
  ops.flushIotlbAll = flush;
  rig.end();
  return { way, points };
}

/* SX-2: what is used stale, and in which window. */
import { SZ_4K } from '@iommukit/bits';
import { CACHE_EVERYTHING } from '@iommukit/smmu-v3-model';
import { lists } from './batch-work.ts';
import { type DmaRig, dmaCase } from './dma-rig.ts';
import type { Way } from './mapper.ts';
import { OutstandingUses } from './outstanding.ts';
import type { Observed, Scenario, ScenarioCase } from './scenario.ts';
import type { ScenarioRig } from './scenario-rig.ts';
import { PA, scat, X } from './setup.ts';

const PAGES = 32;
const SIZE = PAGES * SZ_4K;
const list = scat(PAGES);
const pages = (iova: number): number[] => Array.from(list, (_, i) => iova + i * SZ_4K);

/** What came of the pages of a buffer between its unmap and its flush, and after it. */
function readOn(
  rig: ScenarioRig,
  iova: number,
  parts: { readonly deferred: (iova: number) => boolean; flush(): void },
): Observed {
  const uses = new OutstandingUses(rig, parts.deferred);
  const readAll = (): number => pages(iova).filter((at) => uses.read(at) >= 0).length;
  const reached = readAll();
  for (const { paddr } of list) uses.reuse(paddr, pages(iova));
  const early = uses.reused;
  parts.flush();
  uses.reused = 0;
  const later = readAll();
  for (const { paddr } of list) uses.reuse(paddr, pages(iova));
  return { ...uses.counts, reached, early, later, reused: uses.reused };
}

function unmapOn(rig: ScenarioRig, way: Way): Observed {
  rig.by('K', { quiet: true }).map(X, list);
  for (const at of pages(X)) rig.access(at);
  const by = rig.by(way, { quiet: true });
  by.unmap(X, SIZE);
  const deferred = (iova: number): boolean =>
    (rig.domain.batch?.records ?? 0) > 0 && iova >= X && iova < X + SIZE;
  return readOn(rig, X, { deferred, flush: () => void by.flush() });
}

function unmapLazily(dma: DmaRig): Observed {
  const { api, dev, rig } = dma;
  const [first] = list;
  const size = first?.length ?? 0;
  const iovas = list.map(({ paddr }) => api.mapPage(dev, paddr, size, 'TO_DEVICE'));
  for (const iova of iovas) rig.access(iova);
  for (const iova of iovas) api.unmapPage(dev, iova, size, 'TO_DEVICE');
  // A range that the queue keeps is not given back before the flush. Single pages come from the top down.
  const deferred = (iova: number): boolean => dma.live.has(iova / SZ_4K);
  return readOn(rig, Math.min(...iovas), {
    deferred,
    flush: () => dev.space?.flushQueue?.expire(),
  });
}

/** One command a step; the device reads the page after each. */
function readWhileConsuming(rig: ScenarioRig): Observed {
  const by = rig.by('K', { quiet: true });
  // The attach leaves a command without SYNC behind; after this unmap the queue is empty.
  by.map(X, scat(1));
  by.unmap(X, SZ_4K);
  by.map(X, scat(1));
  rig.access(X);
  const uses = new OutstandingUses(rig);
  let [looks, reached] = [0, 0];
  let watching = true;
  rig.machine.platform.register({
    run: () => {
      if (!watching) return false;
      looks++;
      if (uses.read(X) === PA) reached++;
      return false;
    },
  });
  by.unmap(X, SZ_4K);
  watching = false;
  return { ...uses.counts, looks, reached, later: rig.access(X) };
}

const held = { pending: PAGES, race: 0, missing: 0, reached: PAGES, early: PAGES };
const none = { pending: 0, race: 0, missing: 0, reached: 0, early: 0, later: 0, reused: 0 };

export const sx2: Scenario = {
  id: 'SX-2',
  title: 'stale use: pending, race, missing',
  *cases(): Iterable<ScenarioCase> {
    for (const way of ['K', 'R'] as const)
      yield {
        way: `${way}, the work of S0-5, each page read before and after`,
        run(rig) {
          lists(rig, way);
          return { ...rig.stale() };
        },
        expected: { pending: 0, race: 0, missing: 0 },
        sweep: false,
      };
    yield { way: 'K, strict', run: (rig) => unmapOn(rig, 'K'), expected: none, sweep: false };
    yield {
      way: 'R, between unmap and flush',
      run: (rig) => unmapOn(rig, 'R'),
      expected: { ...held, later: 0, reused: 0 },
      stale: 'race',
      sweep: false,
    };
    yield dmaCase({
      way: 'lazy, between unmap and flush',
      rig: { domain: 'lazy' },
      run: unmapLazily,
      expected: { ...held, later: 0, reused: 0 },
      stale: 'race',
    });
    yield {
      way: 'K, between TLBI and SYNC',
      rig: { policy: { ...CACHE_EVERYTHING, consume: 'step' } },
      run: readWhileConsuming,
      // After the TLBI, and after the SYNC.
      expected: { pending: 0, race: 1, missing: 0, looks: 2, reached: 1, later: -1 },
      stale: 'race',
      sweep: false,
    };
  },
};

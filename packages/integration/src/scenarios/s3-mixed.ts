/* S3-11: handles and plain mappings in one domain. */
import { SZ_4K } from '@iommukit/bits';
import { createPrng } from '@iommukit/platform';
import { type DmaRig, dmaCase } from './dma-rig.ts';
import { mapIn, type UnmapWay } from './s3-ways.ts';
import type { Observed, Scenario, ScenarioCase } from './scenario.ts';
import { PA } from './setup.ts';
import { StepLog, StepTwins } from './step-log.ts';

const N = 1000;
const HALF = N / 2;

/** 0 to N-1 in another order. */
function shuffled(seed: number): number[] {
  const random = createPrng(seed);
  const order = Array.from({ length: N }, (_, i) => i);
  for (let i = N - 1; i > 0; i--) {
    const j = random.below(i + 1);
    [order[i], order[j]] = [order[j] as number, order[i] as number];
  }
  return order;
}

function mixed(dma: DmaRig, log: StepLog, wayOf: (i: number) => UnmapWay): Observed {
  log.follow(dma);
  const live = Array.from({ length: N }, (_, i) => {
    const one = mapIn(wayOf(i), dma.api, dma.dev, {
      ...{ paddr: PA + 2 * i * SZ_4K, size: SZ_4K, dir: 'TO_DEVICE' },
    });
    log.step(dma);
    return one;
  });
  const memory = live.reduce((sum, one) => sum + (one?.kept ?? 0), 0);
  const counts = dma.count(() => {
    for (const i of shuffled(2)) {
      live[i]?.unmap();
      log.step(dma);
    }
  });
  return { ...counts, memory };
}

export const s311: Scenario = {
  id: 'S3-11',
  title: 'handles and addresses in one domain, in random order',
  *cases(): Iterable<ScenarioCase> {
    const twins = new StepTwins();
    const handles = new Set(shuffled(1).slice(0, HALF));
    const rows = [
      {
        ...{ way: '1000 K', wayOf: (): UnmapWay => 'K' },
        expected: { walk: 1000, wl: 4000, memory: 16_000 },
      },
      {
        ...{ way: '500 K, 500 H', wayOf: (i: number): UnmapWay => (handles.has(i) ? 'H' : 'K') },
        expected: { walk: 500, wl: 2000, memory: 24_000 },
      },
    ];
    for (const { way, wayOf, expected } of rows) {
      const log = new StepLog();
      yield dmaCase({
        ...{ way, rig: log.options, tables: 'all' },
        run: (dma) => {
          const observed = mixed(dma, log, wayOf);
          return { ...observed, same: twins.compare(dma, log) };
        },
        expected: { ...expected, fmt: 1000, lvl: 4000, VA: 1000, SYNC: 1000, warn: 0, same: 2 * N },
      });
    }
  },
};

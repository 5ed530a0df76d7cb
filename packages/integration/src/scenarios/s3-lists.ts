/* S3-5, S3-6: lookups of a list of 32 entries, and of a two-step mapping of 32 pages. */
import { SZ_4K } from '@iommukit/bits';
import { DmaIovaState, type SgElement, sgElement } from '@iommukit/dma-api';
import { type DmaRig, type DmaRigOptions, dmaCase } from './dma-rig.ts';
import type { UnmapWay } from './s3-ways.ts';
import type { Observed, Scenario, ScenarioCase } from './scenario.ts';
import { StepLog, StepTwins } from './step-log.ts';

const ENTRIES = 32;
const RAM = 0x4100_0000;
const DIR = 'FROM_DEVICE';

interface ListRow {
  readonly name: string;
  readonly rig?: DmaRigOptions;
  /** An entry's offset in its page, and its bytes. */
  readonly offset: number;
  readonly length: number;
  /** walk, wl. A list names its pages itself: Q is K. */
  readonly K: readonly [number, number];
  readonly H: readonly [number, number];
  readonly equal: Observed;
}

function listOf({ offset, length }: ListRow): SgElement[] {
  return Array.from({ length: ENTRIES }, (_, i) => sgElement(RAM + 2 * i * SZ_4K + offset, length));
}

/** Maps the list; the unmap of the way, or null. */
function mapList(dma: DmaRig, way: UnmapWay, row: ListRow): (() => void) | null {
  const { api, dev } = dma;
  const sg = listOf(row);
  if (way === 'H') {
    const list = api.mapSgHandle(dev, sg, DIR);
    return typeof list === 'number' ? null : () => api.unmapSgHandle(dev, list);
  }
  return api.mapSg(dev, sg, DIR) < 0 ? null : () => api.unmapSg(dev, sg, DIR);
}

function runList(dma: DmaRig, way: UnmapWay, row: ListRow, log: StepLog): Observed {
  log.follow(dma);
  const unmap = mapList(dma, way, row);
  log.step(dma);
  if (unmap === null) dma.rig.fault('the list is not mapped');
  const counts = dma.count(() => {
    unmap?.();
    log.step(dma);
  });
  const { copiedIn, copiedOut } = dma.swiotlb.report();
  return { ...counts, copiedIn, copiedOut };
}

function* listCases(row: ListRow): Iterable<ScenarioCase> {
  const twins = new StepTwins();
  for (const way of ['K', 'Q', 'H'] as const) {
    const log = new StepLog();
    const [walk, wl] = way === 'H' ? row.H : row.K;
    yield dmaCase({
      way: `${way} ${row.name}`,
      rig: { ...row.rig, ...log.options },
      run: (dma) => {
        const observed = runList(dma, way, row, log);
        return { ...observed, same: twins.compare(dma, log) };
      },
      expected: { walk, wl, ...row.equal, warn: 0, same: 2 },
      tables: row.name,
    });
  }
}

const pages = { offset: 0, length: SZ_4K, K: [0, 0], H: [0, 0] } as const;
const bounced = { offset: 0x200, length: 0x400, K: [32, 128], H: [0, 0] } as const;
/** One unmap for the whole list, and one for each entry. */
const whole = { fmt: 1, lvl: 4, VA: 1, SYNC: 1, copiedIn: 0, copiedOut: 0 } as const;
const each = { fmt: 32, lvl: 128, VA: 32, SYNC: 32, copiedIn: 32_768, copiedOut: 32_768 } as const;

export const s35: Scenario = {
  id: 'S3-5',
  title: 'a list of 32 entries',
  *cases(): Iterable<ScenarioCase> {
    yield* listCases({ ...pages, name: 'coherent', equal: { ...whole, linesIn: 0 } });
    yield* listCases({
      ...{ ...pages, name: 'not coherent', rig: { device: 'non-coherent' } },
      equal: { ...whole, linesIn: 2048 },
    });
    yield* listCases({
      ...{ ...bounced, name: 'bounced', rig: { untrusted: true } },
      equal: { ...each, linesIn: 0 },
    });
  },
};

const TOTAL = ENTRIES * SZ_4K;
const linked = Array.from({ length: ENTRIES }, (_, i) => ({
  offset: i * SZ_4K,
  paddr: RAM + 2 * i * SZ_4K,
  size: SZ_4K,
}));

/** K destroys by address; H tells the pieces as they were linked. */
function runTwoStep(dma: DmaRig, way: 'K' | 'H', log: StepLog): Observed {
  log.follow(dma);
  const { api, dev } = dma;
  const state = new DmaIovaState();
  if (!api.iovaTryAlloc(dev, state, 0, TOTAL)) dma.rig.fault('no IOVA');
  for (const piece of linked)
    if (api.iovaLink(dev, state, { ...piece, dir: DIR }) !== 0) dma.rig.fault('not linked');
  api.iovaSync(dev, state, 0, TOTAL);
  log.step(dma);
  const pieces = way === 'H' ? linked : undefined;
  const counts = dma.count(() => {
    api.iovaDestroy(dev, state, { mapped: TOTAL, dir: DIR, pieces });
    log.step(dma);
  });
  // Two words of state; a physical address for each piece besides.
  const memory = DmaIovaState.bytes + (pieces?.length ?? 0) * 8;
  return { ...counts, memory };
}

export const s36: Scenario = {
  id: 'S3-6',
  title: 'two-step mapping of 128 KiB, not coherent',
  *cases(): Iterable<ScenarioCase> {
    const twins = new StepTwins();
    for (const way of ['K', 'H'] as const)
      for (const checking of way === 'H' ? [false, true] : [false]) {
        const log = new StepLog();
        const [walk, wl] = way === 'K' ? [32, 128] : [0, 0];
        yield dmaCase({
          way: checking ? `${way} checking` : way,
          rig: { device: 'non-coherent', checking, ...log.options },
          run: (dma) => {
            const observed = runTwoStep(dma, way, log);
            return { ...observed, same: twins.compare(dma, log) };
          },
          expected: {
            ...{ walk, ...(checking ? { checks: 32 } : { wl }) },
            ...{ fmt: 1, lvl: 4, VA: 1, SYNC: 1, linesIn: 2048, warn: 0 },
            ...{ memory: way === 'K' ? 16 : 16 + 256, same: 2 },
          },
          tables: 'all',
        });
      }
  },
};

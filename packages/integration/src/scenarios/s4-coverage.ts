/* S4-15: the commands of a range cover exactly it. */
import { SZ_4K, u64Of } from '@iommukit/bits';
import { IotlbGather } from '@iommukit/io-pgtable';
import { createPrng } from '@iommukit/platform';
import type { VaCommand } from './command-log.ts';
import type { Scenario, ScenarioCase } from './scenario.ts';
import type { ScenarioRig } from './scenario-rig.ts';
import { PA, X } from './setup.ts';

/** num x 2^scale of each command, for ranges of n pages. */
const CHUNKS: Readonly<Record<number, readonly string[]>> = {
  1: ['1x0'],
  31: ['31x0'],
  33: ['1x0', '1x5'],
  100: ['25x2'],
  488: ['29x3', '1x8'],
  511: ['31x0', '15x5'],
  513: ['1x0', '1x9'],
  768: ['3x8'],
  1023: ['31x0', '31x5'],
  4095: ['31x0', '31x5', '3x10'],
  65535: ['31x0', '31x5', '31x10', '1x15'],
  262143: ['31x0', '31x5', '31x10', '7x15'],
  262144: ['1x18'],
};
const ALL_TO = 5000;
const RANDOM = 1000;
const LONGEST = 2 ** 27;

/** Invalidates n pages from X on. */
function sync(rig: ScenarioRig, n: number): void {
  const gather = new IotlbGather();
  gather.pgsize = SZ_4K;
  gather.addRange(X, n * SZ_4K);
  rig.machine.core.iotlbSync(rig.domain, gather);
}

/** The same, and which commands that took. */
function invalidate(rig: ScenarioRig, n: number): readonly VaCommand[] {
  rig.log.read();
  rig.log.vas.length = 0;
  rig.log.keep = true;
  sync(rig, n);
  rig.log.read();
  rig.log.keep = false;
  return [...rig.log.vas];
}

/** Pages that a range of n is not exactly covered by: gaps, overlaps, and beyond. */
function uncovered(commands: readonly VaCommand[], n: number): number {
  let at = X;
  let wrong = 0;
  for (const { start, granules } of commands) {
    if (start !== at) wrong++;
    at = start + granules * SZ_4K;
  }
  return at === X + n * SZ_4K ? wrong : wrong + 1;
}

/** True when the device finds a page in the TLB; it is there afterwards. */
function hits(rig: ScenarioRig, iova: number): boolean {
  const result = rig.machine.model.translate({ streamId: 8, address: u64Of(iova), rw: 'read' });
  if (result.outcome !== 'ok') rig.fault(`page ${iova.toString(16)} does not translate`);
  return result.outcome === 'ok' && result.tlbHit;
}

function mapPage(rig: ScenarioRig, iova: number): void {
  if (!rig.mirror.has(iova))
    rig.by('K', { quiet: true }).map(iova, [{ paddr: PA + (iova % 2 ** 34), length: SZ_4K }]);
}

const cover: ScenarioCase = {
  way: `n = 1..${ALL_TO}, and ${RANDOM} random n below 2^27`,
  run(rig) {
    const prng = createPrng(415);
    const lengths = Array.from({ length: ALL_TO }, (_, i) => i + 1);
    for (const n of Object.keys(CHUNKS)) lengths.push(Number(n));
    const fixed = lengths.length;
    while (lengths.length < fixed + RANDOM) lengths.push(1 + prng.below(LONGEST - 1));
    const seen = { ranges: 0, commands: 0, wrong: 0, survivors: 0, losses: 0, randomPages: 0 };
    for (const [i, n] of lengths.entries()) {
      const end = X + n * SZ_4K;
      // Once to see the commands, and once more with what they name in the TLB.
      const commands = invalidate(rig, n);
      seen.ranges++;
      seen.commands += commands.length;
      seen.wrong += uncovered(commands, n);
      const inside = new Set<number>();
      for (const { start, granules } of commands)
        for (const page of [start, start + (granules - 1) * SZ_4K]) inside.add(page);
      if (i >= fixed) {
        inside.add(X + prng.below(n) * SZ_4K);
        seen.randomPages++;
      }
      const outside = [X - SZ_4K, end];
      const warmed = new Set([...inside, ...outside]);
      for (const page of warmed) {
        mapPage(rig, page);
        hits(rig, page);
      }
      sync(rig, n);
      for (const page of outside) if (!hits(rig, page)) seen.losses++;
      for (const page of inside) if (hits(rig, page)) seen.survivors++;
    }
    return { ...seen };
  },
  expected: {
    ...{ ranges: ALL_TO + Object.keys(CHUNKS).length + RANDOM, wrong: 0, survivors: 0, losses: 0 },
    randomPages: RANDOM,
  },
  sweep: false,
};

const chunks: ScenarioCase = {
  way: 'num x 2^scale',
  run(rig) {
    const seen: Record<string, string> = {};
    for (const n of Object.keys(CHUNKS)) {
      const { fields } = rig.count(() => sync(rig, Number(n)));
      seen[n] = fields.replaceAll(
        /1x NUM=(\d+) SCALE=(\d+) TG=1 TTL=3 LEAF=1/g,
        (_, num: string, scale: string) => `${Number(num) + 1}x${scale}`,
      );
    }
    return seen;
  },
  expected: Object.fromEntries(Object.entries(CHUNKS).map(([n, list]) => [n, list.join(', ')])),
  sweep: false,
};

export const s415: Scenario = {
  id: 'S4-15',
  title: 'range coverage',
  cases: () => [chunks, cover],
};

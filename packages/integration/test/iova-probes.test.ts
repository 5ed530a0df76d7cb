import { type Capture, openCapture } from '@iommukit/captures';
import { describe, expect, test } from 'vitest';
import { replayIovaProbes } from '../src/iova/probe-replay.ts';
import { shippedCapture, shippedCaptures } from '../src/shipped-capture.ts';
import { BreakableAllocator, type Facts } from './breakable-allocator.ts';

/** Figures of a model that shares no code with this one; `broken` counts the equal answers with one fact wrong. */
interface Row {
  readonly name: string;
  readonly compared: number;
  readonly fromTree: number;
  readonly frees: number;
  readonly depot: readonly [pushes: number, pops: number];
  readonly unanswered?: number;
  readonly broken: Readonly<Record<Fact, number>>;
}

const BREAKS = {
  'magazine of 126': { magazine: 126 },
  'no depot': { depot: 'none' },
  'reclaim of any depot': { reclaimAbove: 0 },
  'no rounding': { rounding: false },
  'no alignment': { aligned: false },
  'first in, first out': { pop: 'fifo' },
  'one cache for all CPUs': { caches: 'shared' },
  'oldest depot magazine first': { depot: 'fifo' },
  'no windows reserved': { windows: false },
} as const satisfies Record<string, Partial<Facts>>;
type Fact = keyof typeof BREAKS;

function broken(equal: readonly number[]): Readonly<Record<Fact, number>> {
  const names = Object.keys(BREAKS) as Fact[];
  return Object.fromEntries(names.map((name, k) => [name, equal[k]])) as Record<Fact, number>;
}

const rows: readonly Row[] = [
  {
    name: 'linux-6.12-strict-up',
    compared: 8656,
    fromTree: 928,
    frees: 8149,
    depot: [4, 3],
    broken: broken([7830, 8277, 8530, 8464, 8091, 2456, 8656, 8656, 8656]),
  },
  {
    name: 'linux-6.12-strict',
    compared: 13305,
    fromTree: 1238,
    frees: 12793,
    depot: [3, 3],
    broken: broken([12994, 13044, 13305, 13299, 12347, 3246, 7899, 13305, 13305]),
  },
  {
    name: 'linux-6.12-lazy',
    compared: 11407,
    fromTree: 1631,
    frees: 10857,
    depot: [15, 15],
    broken: broken([8679, 9451, 10557, 11136, 10081, 1925, 6566, 11407, 11407]),
  },
  {
    name: 'linux-6.12-fault',
    compared: 8728,
    fromTree: 1401,
    frees: 8165,
    depot: [4, 4],
    broken: broken([8262, 8274, 8728, 8721, 7610, 2842, 6030, 8728, 8728]),
  },
  {
    name: 'linux-7.2-strict',
    compared: 8640,
    fromTree: 1206,
    frees: 8145,
    depot: [0, 0],
    unanswered: 1,
    broken: broken([7840, 8640, 8640, 8385, 7712, 3017, 6231, 8640, 8640]),
  },
];

const SOAK = process.env['IOMMUKIT_SOAK'] !== undefined;
/** Its answers change with every fact that any capture notices; the others are broken with `npm run soak`. */
const NOTICING = 'linux-6.12-lazy';

// IOVA_CAPTURES names a folder that holds all five captures; without it those that come with the package are run.
const folder = process.env['IOVA_CAPTURES'];
const present = rows.filter(({ name }) => folder !== undefined || shippedCapture(name));

function open(name: string): Capture {
  const capture = openCapture(
    folder === undefined ? (shippedCapture(name) ?? name) : `${folder}/${name}`,
  );
  const trace = capture.trace();
  return { ...capture, trace: () => trace };
}

test('every capture that is here has its row', () => {
  expect(present.map(({ name }) => name)).toEqual(expect.arrayContaining(shippedCaptures()));
  expect(present.length).toBeGreaterThanOrEqual(3);
  expect(rows.reduce((sum, { compared }) => sum + compared, 0)).toBe(50_736);
});

describe.each(present)(
  '$name',
  ({ name, compared, fromTree, frees, depot, broken, unanswered }) => {
    const capture = open(name);

    test.each(['linear', 'augmented'] as const)('every IOVA is predicted, %s search', (search) => {
      expect(replayIovaProbes(capture, search)).toMatchObject({
        examples: [],
        compared,
        equal: compared,
        equalSource: compared,
        fromTree,
        frees,
        depotPushes: depot[0],
        depotPops: depot[1],
        unanswered: unanswered ?? 0,
      });
    });

    const facts: Facts = {
      magazine: 127,
      depot: 'lifo',
      reclaimAbove: capture.cpus,
      rounding: true,
      aligned: true,
      pop: 'lifo',
      caches: 'per-cpu',
      windows: true,
    };
    const equalWith = (wrong: Partial<Facts>): number =>
      replayIovaProbes(capture, (init) => new BreakableAllocator({ ...facts, ...wrong }, init))
        .equal;

    test('a plain allocator with all facts right predicts every IOVA too', () => {
      expect(equalWith({})).toBe(compared);
    });

    const breaks = SOAK || name === NOTICING ? (Object.keys(BREAKS) as Fact[]) : [];
    test.each(breaks)('broken: %s', (fact) => {
      expect(equalWith(BREAKS[fact])).toBe(broken[fact]);
    });
  },
);

test('a wrong prediction is counted and shown, and the model is not corrected', () => {
  const capture = open('linux-6.12-strict-up');
  const { equal, compared, examples } = replayIovaProbes(capture, (init) => {
    const right = new BreakableAllocator(
      {
        magazine: 127,
        depot: 'lifo',
        reclaimAbove: 1,
        rounding: true,
        aligned: true,
        pop: 'lifo',
        caches: 'per-cpu',
        windows: true,
      },
      init,
    );
    return {
      counters: right.counters,
      reserveIova: (lo, hi) => right.reserveIova(lo, hi),
      allocIovaFast: (cpu, size, limit) => right.allocIovaFast(cpu, size, limit) + 1,
      freeIovaFast: (cpu, pfn, size) => right.freeIovaFast(cpu, pfn, size),
    };
  });
  expect({ equal, compared }).toEqual({ equal: 0, compared: 8656 });
  expect(examples).toHaveLength(5);
  expect(examples[0]).toMatch(/^line \d+: pfn 0xfffff, predicted 0x100000$/);
});

// Allocation failure at the k-th frame, for every k of every scenario; with `npm run soak` also of those that take long.
import { expect, test } from 'vitest';
import { sweepAllocations } from '../src/scenarios/allocation-sweep.ts';
import { SCENARIOS } from '../src/scenarios/run-scenarios.ts';

/** Runs with a failing allocation: the tables that the cases of a scenario allocate. */
const FAILURES: Readonly<Record<string, number>> = {
  'S0-1': 18,
  'S0-2': 18,
  'S0-3': 74,
  'S0-4': 24,
  'S0-5': 528,
  'S0-6': 80,
  'S0-7': 19,
  'S0-8': 12,
  'S0-9': 22,
  'S0-10': 27,
  'S0-11': 20,
  'S0-13': 6,
  'S0-14': 24,
  'S0-15': 48,
  'S0-16': 14,
  'S0-17': 66,
  'S0-18': 172,
  'S0-19': 514,
  'S0-20': 64,
  'S4-1': 3,
  'S4-2': 514,
  'S4-3': 2,
  'S4-4': 516,
  'S4-5': 2,
  'S4-6': 4,
  'S4-7': 4,
  'S4-8': 3,
  'S4-9': 6,
  'S4-10': 68,
  'S4-11': 6,
  'S4-12': 30,
  'S4-13': 8,
  'S4-14': 20,
  'S4-16': 24,
  'S4-17': 13,
  'S4-18': 11,
  'S4-19': 12,
};

const SOAK = process.env['IOMMUKIT_SOAK'] !== undefined;

/** Of these rows only every so many k are tried here, and none of those whose single run takes longest. */
const STEPS: Readonly<Record<string, number>> = {
  'S0-1': 17,
  'S0-2': 17,
  'S0-3': Number.POSITIVE_INFINITY,
  'S0-4': 23,
  'S0-5': Number.POSITIVE_INFINITY,
  'S0-6': Number.POSITIVE_INFINITY,
  'S0-7': Number.POSITIVE_INFINITY,
  'S0-9': 21,
  'S0-10': 26,
  'S0-11': 19,
  'S0-14': 23,
  'S0-15': 47,
  'S0-16': 13,
  'S0-17': Number.POSITIVE_INFINITY,
  'S0-18': Number.POSITIVE_INFINITY,
  'S0-19': Number.POSITIVE_INFINITY,
  'S0-20': Number.POSITIVE_INFINITY,
  'S4-2': Number.POSITIVE_INFINITY,
  'S4-3': Number.POSITIVE_INFINITY,
  'S4-4': Number.POSITIVE_INFINITY,
  'S4-5': Number.POSITIVE_INFINITY,
  'S4-10': 67,
  'S4-12': 29,
  'S4-16': Number.POSITIVE_INFINITY,
};
const rows = Object.entries(FAILURES)
  .map(([id, tables]) => ({ id, tables, step: SOAK ? 1 : (STEPS[id] ?? 1) }))
  .filter(({ step }) => Number.isFinite(step));

// Those of PASIDs have machines of their own: pasid-sweep.test.ts.
test('all but the rows of the DMA layer and across the layers, or that inject failures themselves, or are arithmetic or random', () => {
  const left = SCENARIOS.map(({ id }) => id).filter(
    (id) => FAILURES[id] === undefined && !/^S[123X]-/.test(id),
  );
  expect(left).toEqual(['S0-12', 'S4-15', 'S4-20']);
});

test.each(rows)(
  '$id: every k of $tables in steps of $step',
  ({ id, tables, step }) => {
    const { cases, failures, reported, broken } = sweepAllocations([id], step);
    expect(broken).toEqual([]);
    if (step === 1) expect(failures).toBe(tables);
    expect(failures).toBeGreaterThanOrEqual(tables / step);
    expect(failures).toBeLessThan(tables / step + cases);
    expect(reported).toBeGreaterThanOrEqual(failures);
  },
  600_000,
);

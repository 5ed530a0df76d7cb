import { describe, expect, test } from 'vitest';
import {
  defaultUnitCosts,
  modelThroughput,
  modelTime,
  parseUnitCosts,
} from '../src/scenarios/cost-model.ts';

const file = (costs: unknown): string =>
  JSON.stringify({ kind: 'iommukit-unit-costs', version: 1, costs }, null, 1);
const sync = { count: 'SYNC', cost: 1.5, unit: 'us', source: 'a trace' };
const va = { count: 'VA', cost: 100, unit: 'ns', source: 'a trace' };

// Figures of the publication.
test.each([
  { misses: 1.76, gbps: 79.6 },
  { misses: 4.36, gbps: 35.5 },
])('the published model: $misses misses per page give $gbps Gb/s', ({ misses, gbps }) => {
  expect(modelThroughput(misses, defaultUnitCosts())).toBeCloseTo(gbps, 1);
});

test('every default names its source', () => {
  const { costs } = defaultUnitCosts();
  expect(costs.map(({ count, ns }) => [count, ns])).toEqual([
    ['page', 65],
    ['walkerRead', 197],
  ]);
  for (const { source } of costs) expect(source).toMatch(/SOSP 2024/);
});

test('a time is the sum of count times cost; what has no cost is named and adds nothing', () => {
  const costs = { file: 'x', costs: parseUnitCosts(file([sync, va]), 'x') };
  const counts = { VA: 32, SYNC: 2, ASID: 0, lvl: 8, cmd: 34, fields: '32x' };
  expect(modelTime(counts, costs)).toEqual({
    ns: 6200,
    terms: [
      { count: 'VA', n: 32, ns: 3200 },
      { count: 'SYNC', n: 2, ns: 3000 },
    ],
    undeclared: ['lvl'],
  });
  expect(modelThroughput(1, costs)).toBeUndefined();
});

describe('a bad file is one line', () => {
  const rows = [
    { name: 'no JSON', text: '{\n "kind": x', says: /^c\.json:2: expected valid JSON$/ },
    { name: 'cut short', text: '{\n', says: /^c\.json:[12]: expected valid JSON$/ },
    { name: 'an array', text: '[]', says: /: expected a JSON object$/ },
    { name: 'another kind', text: '{"kind":"iova"}', says: /: expected kind to be "iommukit-/ },
    {
      name: 'another version',
      text: '{"kind":"iommukit-unit-costs","version":2}',
      says: /: expected version to be 1$/,
    },
    { name: 'no costs', text: file([]), says: /: expected costs to be an array/ },
    { name: 'no object', text: file([7]), says: /expected costs\[0\] to be an object/ },
    {
      name: 'an unknown count',
      text: file([{ ...va, count: 'cmd' }]),
      says: /^c\.json:6: expected costs\[0\]\.count to be one of VA ASID /,
    },
    {
      name: 'a negative cost',
      text: file([sync, { ...va, cost: -1 }]),
      says: /^c\.json:12: expected costs\[1\]\.cost to be a number/,
    },
    {
      name: 'another unit',
      text: file([{ ...va, unit: 'cycles' }]),
      says: /costs\[0\]\.unit to be "ns" or "us"$/,
    },
    {
      name: 'no source',
      text: file([{ ...va, source: ' ' }]),
      says: /costs\[0\]\.source to say where/,
    },
    { name: 'a count twice', text: file([va, va]), says: /expected one cost of "VA", not two$/ },
  ];
  test.each(rows)('$name', ({ text, says }) => {
    expect(() => parseUnitCosts(text, 'c.json')).toThrow(says);
    expect(() => parseUnitCosts(text, 'c.json')).toThrow(/^[^\n]+$/);
  });
});

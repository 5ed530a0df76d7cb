import { expect, test } from 'vitest';
import { RunIndex } from '../src/report/linked-count.ts';
import { scenarioPage } from '../src/report/scenario-page.ts';
import { THREADS } from '../src/report/threads.ts';
import { defaultUnitCosts } from '../src/scenarios/cost-model.ts';
import { runScenarios } from '../src/scenarios/run-scenarios.ts';

test('of all scenarios, no number of a report is missing', () => {
  const report = runScenarios([]);
  const index = new RunIndex(report.scenarios);
  const refs = THREADS.flatMap(({ tables, identical, notGained }) => [
    ...tables.flatMap(({ lines }) => lines.flatMap(({ cells }) => cells)),
    ...[...identical, ...notGained].flatMap(({ shown }) => shown),
  ]);
  const absent = refs.filter((ref) => ref !== null && index.resolve(ref) === null);
  expect(absent).toEqual([]);

  const page = scenarioPage(report, defaultUnitCosts());
  expect(page.summaries.map(({ id }) => id)).toEqual(['T1', 'T2', 'T3', 'T4', 'T5', 'T6']);
  expect(page.tablePages.map(({ points }) => points.length)).toEqual([5, 2]);
  // As derived for SX-1: most just before a flush of 256 unmaps of 32 pages; three unmaps are left.
  const [strict, lazy] = page.exposure?.series ?? [];
  expect(Math.max(...(strict?.points ?? []).map(({ pages }) => pages))).toBe(0);
  expect(Math.max(...(lazy?.points ?? []).map(({ pages }) => pages))).toBe(8192);
  expect(lazy?.points.at(-1)).toEqual({ unmaps: 1024, pages: 96 });
  expect(page.exposure?.peaks.map(({ value }) => value)).toEqual([0, 8192]);
  // 128,002, 64,003, 64,003, 67,000 and 256,000 reads of 64,000 pages.
  expect(page.modelled.throughput.map(({ gbps }) => gbps.toFixed(1))).toEqual([
    ...['71.4', '125.1', '125.1', '120.8', '38.4'],
  ]);
  for (const { sameTables } of page.sections)
    expect(sameTables.every(({ same }) => same)).toBe(true);
}, 600_000);

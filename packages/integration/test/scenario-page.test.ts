import { expect, test } from 'vitest';
import type { EvidenceTable } from '../src/report/evidence.ts';
import { RunIndex } from '../src/report/linked-count.ts';
import { modelledFigures, scenarioPage } from '../src/report/scenario-page.ts';
import { THREADS } from '../src/report/threads.ts';
import { defaultUnitCosts } from '../src/scenarios/cost-model.ts';
import { SCENARIOS, type ScenarioReport } from '../src/scenarios/run-scenarios.ts';
import type { Observed, ScenarioResult } from '../src/scenarios/scenario.ts';
import { summaryTables } from '../src/scenarios/summary-tables.ts';

function result(id: string, runs: Readonly<Record<string, Observed>>): ScenarioResult {
  return {
    ...{ id, title: 'made up', ok: true },
    runs: Object.entries(runs).map(([way, counts]) => ({
      ...{ way, ok: true, counts, expected: counts, differences: [], broken: [] },
    })),
  };
}

function report(...scenarios: ScenarioResult[]): ScenarioReport {
  const summary = { scenarios: scenarios.length, runs: 1, compared: 1, differences: 0, broken: 0 };
  return { ok: true, summary, scenarios, tables: summaryTables(scenarios) };
}

const refsOf = (tables: readonly EvidenceTable[]) =>
  tables.flatMap(({ lines }) => lines.flatMap(({ cells }) => cells)).filter((ref) => ref !== null);

test('evidence is taken from runs that there are', () => {
  const ways = new Map(
    SCENARIOS.map(({ id, cases }) => [id, new Set([...cases()].map(({ way }) => way))]),
  );
  const refs = THREADS.flatMap(({ tables, identical, notGained }) => [
    ...refsOf(tables),
    ...[...identical, ...notGained].flatMap(({ shown }) => shown),
  ]);
  expect(refs.length).toBeGreaterThan(200);
  const absent = refs.filter(({ scenario, way }) => ways.get(scenario)?.has(way) !== true);
  expect(absent).toEqual([]);
});

test('every thread says what it claims, what is identical and what is not gained', () => {
  expect(THREADS.map(({ prefix }) => prefix)).toEqual(['S0-', 'S1-', 'S2-', 'S3-', 'S4-', 'SX-']);
  for (const { claim, missing, later, identical, notGained, tables } of THREADS) {
    for (const text of [claim, missing, later]) expect(text.length).toBeGreaterThan(30);
    expect(identical.length).toBeGreaterThan(0);
    expect(notGained.length).toBeGreaterThan(0);
    for (const { lines, columns } of tables)
      for (const { cells } of lines) expect(cells).toHaveLength(columns.length);
  }
});

test('what was not run is left out: lines, tables, points and threads', () => {
  const page = scenarioPage(
    report(result('S0-1', { 'K coh': { lvl: 1024, cmd: 0 }, 'R coh': { lvl: 4, cmd: 0 } })),
    defaultUnitCosts(),
  );
  expect(page.sections.map(({ id }) => id)).toEqual(['s0']);
  const [section] = page.sections;
  expect(section?.tables.map(({ title }) => title)).toEqual(['Table levels walked']);
  expect(section?.tables[0]?.lines.map(({ cells }) => cells.map((cell) => cell?.value))).toEqual([
    [undefined, 1024, undefined, 4],
  ]);
  expect(section?.notGained).toEqual([]);
  expect(page.exposure).toBeUndefined();
  expect(page.tablePages).toEqual([]);
});

test('ways that differ by signs alone have anchors of their own', () => {
  const index = new RunIndex([result('S2-10', { '[8, 5]': { a: 1 }, '8 5': { a: 2 } })]);
  expect(index.get('S2-10', '[8, 5]')?.anchor).toBe('s2-10-8-5');
  expect(index.get('S2-10', '8 5')?.anchor).toBe('s2-10-8-5-2');
  expect(index.resolve({ scenario: 'S2-10', way: '8 5', count: 'a' })?.value).toBe(2);
  expect(index.resolve({ scenario: 'S2-10', way: '8 5', count: 'b' })).toBeNull();
});

// Reads of SX-5 as derived beforehand; 32,768 bits over 65 ns and 197 ns a read.
test('throughput is modelled from reads per page', () => {
  const rows = { '64 leaf tables': 128_002, contiguous: 64_003 };
  const runs = Object.fromEntries(
    Object.entries(rows).map(([way, reads]) => [way, { reads, pages: 64_000 }]),
  );
  const { throughput } = modelledFigures(report(result('SX-5', runs)), defaultUnitCosts());
  expect(throughput.map(({ way, gbps }) => [way, gbps.toFixed(1)])).toEqual([
    ['64 leaf tables', '71.4'],
    ['contiguous', '125.1'],
  ]);
});

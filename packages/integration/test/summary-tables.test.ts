import { describe, expect, test } from 'vitest';
import type { ScenarioResult, SummaryTable } from '../src/index.ts';
import { runScenarios, SCENARIOS } from '../src/scenarios/run-scenarios.ts';
import { TABLES } from '../src/scenarios/summary-rows.ts';
import { summaryTables } from '../src/scenarios/summary-tables.ts';

/** The figures of section 9 of the evaluation, as they stand there. */
const PAGE: Readonly<Record<string, readonly (readonly [name: string, ...cells: string[]])[]>> = {
  T1: [
    ['commands for 32 unmaps and 32 maps', '4096', '64', '33'],
    ['the same, one ASID', '-', '-', '2'],
    ['walk levels', '16384', '8320', '256'],
    ['lines cleaned, 512 scattered pages, not coherent', '707', '707', '193'],
    ['clean calls, the same', '518', '518', '4'],
    ['partly mapped states seen', '511', '511', '0'],
    ['tables allocated / freed on replacing 2 MiB', '0 / 0', '1 / 1', '0 / 0'],
    ['commands to unmap 16 MiB of 4K pages', '8192', '18', '2'],
    ['bytes remembered in the batch', '-', '48', '768'],
  ],
  T2: [
    ['IOVA allocations', '32', '1', '1'],
    // 32 addresses.
    ['request memory, bytes', '256', '1024', '16'],
    ['map calls / levels, scattered', '32 / 128', '32 / 128', '32 / 128'],
    ['undo commands, strict', '64', '2', '2'],
    ['undo walks, coherent / not', '32 / 32', '0 / 0', '0 / 32'],
    ['commands of 1024 requests, lazy, 7.3', '256', '8', '2048'],
    ['the same, 7.2 (as 6.16 and 6.17)', '-', '-', '8'],
  ],
  T3: [
    ['commands to attach', '-', '4'],
    ['commands to detach', '-', '6'],
    ['commands to replace', '-', '8'],
    ['lookups for each map or unmap', '1', '0'],
    ['left by a failing alloc', '-', '0'],
  ],
  T4: [
    ['coherent', '4000', '0', '0'],
    ['two syncs, not coherent', '12000', '0', '0'],
    ['bounced', '4000', '4000', '0'],
    ['sg', '0', '0', '0'],
    ['VA / SYNC', '1000 / 1000', '1000 / 1000', '1000 / 1000'],
    ['bytes kept for each mapping', '16', '16', '32'],
  ],
  T5: [
    ['4K leaves', '262144', '512'],
    ['2M blocks', '512', '1'],
    ['16K', '65536', '32'],
    ['64K', '16384', '2'],
    ['aligned, through the core', '1', '1'],
    ['TLBI / SYNC, 4K leaves', '1 / 1', '1 / 1'],
    ['TLBI / SYNC, 2M blocks', '1 / 1', '1 / 1'],
    ['TLBI / SYNC, 16K', '1 / 1', '1 / 1'],
    ['TLBI / SYNC, 64K', '1 / 1', '1 / 1'],
    ['TLBI / SYNC, through the core', '2 / 2', '2 / 2'],
    ['lines cleaned, 4K leaves, not coherent', '262144', '32768'],
  ],
  T6: [
    ['most pages in reach, lazy and strict', '8192', '0'],
    ['commands, strict and lazy', '2048', '8'],
    ['walker reads, IOVAs apart and contiguous', '128002', '64003'],
    ['walker reads, LEAF=0 and LEAF=1', '256000', '64003'],
  ],
};

function asText({ rows }: SummaryTable): string[][] {
  return rows.map(({ name, cells }) => [
    name,
    ...cells.map((cell) => (cell === null ? '-' : cell.values.map(String).join(' / '))),
  ]);
}

const SOAK = process.env['IOMMUKIT_SOAK'] !== undefined;

describe('the figures of the evaluation', () => {
  // All but T3 take seconds: with `npm run soak`.
  const here = TABLES.filter(({ id }) => SOAK || id === 'T3');
  test.each(here.map((table) => [table.id, table] as const))(
    '%s is what the runs come to',
    (id, table) => {
      const scenarios = new Set(
        table.rows.flatMap(({ cells }) =>
          cells.flatMap((cell) => cell?.map((source) => source.scenario) ?? []),
        ),
      );
      const { tables, ok } = runScenarios([...scenarios]);
      const made = tables.find((one) => one.id === id);
      expect(made === undefined ? [] : asText(made)).toEqual(PAGE[id]);
      expect(ok).toBe(true);
    },
    120_000,
  );

  test('every cell of every table comes from a case that exists, and that compares its count', () => {
    const ways = new Map(
      SCENARIOS.map(({ id, cases }) => [id, new Map([...cases()].map((one) => [one.way, one]))]),
    );
    let cells = 0;
    for (const { id, rows, columns } of TABLES) {
      expect(rows.map(({ name }) => name)).toEqual(PAGE[id]?.map(([name]) => name));
      for (const row of rows) {
        expect(row.cells).toHaveLength(columns.length);
        for (const { scenario, way, count } of row.cells.flatMap((cell) => cell ?? [])) {
          cells++;
          const expected = ways.get(scenario)?.get(way)?.expected ?? {};
          expect({ scenario, way, count, compared: count in expected }).toMatchObject({
            compared: true,
          });
        }
      }
    }
    expect(cells).toBeGreaterThan(100);
  });

  test('the expected counts of these cases are the figures: no run is needed to see a wrong one', () => {
    const results: ScenarioResult[] = SCENARIOS.map(({ id, title, cases }) => ({
      ...{ id, title, ok: true },
      runs: [...cases()].map(({ way, expected }) => ({
        ...{ way, ok: true, counts: expected, expected, differences: [], broken: [] },
      })),
    }));
    const tables = summaryTables(results);
    expect(Object.fromEntries(tables.map((table) => [table.id, asText(table)]))).toEqual(PAGE);
  });
});

describe('which tables', () => {
  test('those whose scenarios all ran', () => {
    expect(runScenarios(['S2-4', 'S2-8']).tables).toEqual([]);
    expect(summaryTables([])).toEqual([]);
  });

  test('a count that no run made is null, and not 0', () => {
    const results = ['S2-4', 'S2-8', 'S2-14', 'S2-11', 'S2-13'].map((id) => ({
      ...{ id, title: '', ok: true, runs: [] },
    }));
    expect(summaryTables(results)[0]?.rows[0]?.cells).toMatchObject([null, { values: [null] }]);
  });
});

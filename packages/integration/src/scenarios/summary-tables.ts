import type { ScenarioResult, ScenarioRun } from './scenario.ts';
import { type CellSpec, TABLES, type TableSpec } from './summary-rows.ts';

/**
 * The run and the count that a number of a table comes from; `per`: divided by so many operations.
 * @example const source: CellSource = { scenario: 'S0-5', way: 'R coh', count: 'cmd' };
 */
export interface CellSource {
  readonly scenario: string;
  readonly way: string;
  readonly count: string;
  readonly per?: number;
}

/**
 * A cell: its numbers, each with where it comes from. A number that no run made is null.
 * @example cell.values.join(' / ') // '32 / 128'
 */
export interface SummaryCell {
  readonly values: readonly (number | null)[];
  readonly sources: readonly CellSource[];
}

/**
 * A line of a summary; a cell is null where the way has no such number.
 * @example const { name, cells }: SummaryRow = table.rows[0];
 */
export interface SummaryRow {
  readonly name: string;
  readonly cells: readonly (SummaryCell | null)[];
}

/**
 * One summary, computed from runs.
 * @example report.tables.find(({ id }) => id === 'T1')?.rows[0]?.cells[2]?.values // [33]
 */
export interface SummaryTable {
  /** T1 to T6. */
  readonly id: string;
  readonly title: string;
  readonly columns: readonly string[];
  readonly rows: readonly SummaryRow[];
}

/** The tables whose scenarios are all among the results. */
export function summaryTables(results: readonly ScenarioResult[]): readonly SummaryTable[] {
  const ran = new Map(results.map(({ id, runs }) => [id, runs]));
  return TABLES.filter((table) => scenariosOfTable(table).every((id) => ran.has(id))).map(
    ({ id, title, columns, rows }) => ({
      ...{ id, title, columns },
      rows: rows.map(({ name, cells }) => ({
        name,
        cells: cells.map((cell) => (cell === null ? null : resolved(cell, ran))),
      })),
    }),
  );
}

function scenariosOfTable({ rows }: TableSpec): string[] {
  return rows.flatMap(({ cells }) =>
    cells.flatMap((cell) => (cell ?? []).map(({ scenario }) => scenario)),
  );
}

function resolved(
  sources: CellSpec,
  ran: ReadonlyMap<string, readonly ScenarioRun[]>,
): SummaryCell {
  const values = sources.map(({ scenario, way, count, per = 1 }) => {
    const value = ran.get(scenario)?.find((run) => run.way === way)?.counts[count];
    return typeof value === 'number' ? value / per : null;
  });
  return { values, sources };
}

import type { ScenarioReport, ScenarioRun, SummaryCell, SummaryTable } from '@iommukit/integration';
import { grouped, plainTable } from './table.ts';

/** Ids and titles, one a line. */
export function renderScenarioList(
  scenarios: readonly { readonly id: string; readonly title: string }[],
): string {
  return scenarios.map(({ id, title }) => `${id.padEnd(6)}${title}\n`).join('');
}

/** The counts that were compared, as they came out. */
function countsText({ counts, expected }: ScenarioRun): string {
  const texts = Object.keys(expected).map((name) => `${name} ${String(counts[name] ?? 'none')}`);
  const lines: string[] = [];
  for (const text of texts) {
    const last = lines.at(-1);
    if (last === undefined || last.length + text.length > 70) lines.push(text);
    else lines[lines.length - 1] = `${last}, ${text}`;
  }
  return lines.join('\n');
}

function cellText(cell: SummaryCell | null): string {
  if (cell === null) return '-';
  return cell.values.map((value) => (value === null ? 'none' : grouped(value))).join(' / ');
}

/** The runs and counts that a line of a summary comes from. */
function sourceText(cells: readonly (SummaryCell | null)[]): string {
  const named = cells.flatMap((cell) => cell?.sources ?? []);
  return [...new Set(named.map(({ scenario, count }) => `${scenario} ${count}`))].join(', ');
}

/** A summary with the scenarios that made it. */
function summaryText({ id, title, columns, rows }: SummaryTable): string {
  const head = ['', ...columns, 'from'];
  const table = plainTable(
    head,
    columns.map((_, i) => i + 1),
  );
  for (const { name, cells } of rows) table.push([name, ...cells.map(cellText), sourceText(cells)]);
  return `${id} ${title}\n${table.toString()}`;
}

/** The report as a table, one way a row; what differs from the expectation, and broken invariants, below it. */
export function renderScenarios(report: ScenarioReport): string {
  const table = plainTable(['id', 'way', 'counts', 'expected', 'verdict']);
  const wrong: string[] = [];
  for (const { id, runs } of report.scenarios)
    for (const run of runs) {
      const { way, ok, expected, differences, broken } = run;
      const compared = Object.keys(expected).length;
      const same = compared - differences.length;
      table.push([id, way, countsText(run), `${same} of ${compared}`, ok ? 'ok' : 'NOT OK']);
      for (const text of [...differences, ...broken]) wrong.push(`${id} ${way}: ${text}`);
    }
  const { scenarios, runs, compared, differences, broken } = report.summary;
  const counts = [
    `${grouped(scenarios)} scenarios`,
    `${grouped(runs)} runs`,
    `${grouped(compared)} counts compared`,
    `${grouped(differences)} differ`,
    `${grouped(broken)} invariants broken`,
  ];
  return [
    table.toString(),
    ...report.tables.map(summaryText),
    ...wrong,
    `${report.ok ? 'ok' : 'NOT OK'}: ${counts.join(', ')}`,
    '',
  ].join('\n');
}

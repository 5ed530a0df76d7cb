import { inputText } from '@iommukit/captures';
import type { ModeReport, ModeResult } from '@iommukit/integration';
import { grouped, plainTable } from './table.ts';

/** Rows of the table: what is counted, and how to find it. */
const ROWS: readonly (readonly [string, (result: ModeResult) => number])[] = [
  ['requests', ({ requests }) => requests],
  ['unmaps', ({ unmaps }) => unmaps],
  ['IOVA allocations', ({ iova }) => iova.allocations],
  ['  of them by CPU caches', ({ iova }) => iova.fromCaches],
  ['  tree nodes visited', ({ iova }) => iova.nodesVisited],
  ['iovaToPhys walks', ({ walks }) => walks.walks],
  ['  levels of walks', ({ walks }) => walks.levels],
  ['tables allocated', ({ tables }) => tables.allocated],
  ['tables freed', ({ tables }) => tables.freed],
  ['format calls', ({ tables }) => tables.formatCalls],
  ['flushes of whole domains', ({ flushes }) => flushes],
  ['commands', ({ commands }) => commands],
];

const AFTER_COMMANDS: typeof ROWS = [
  ['exposed pages', ({ exposure }) => exposure.pages],
  ['  most at one time', ({ exposure }) => exposure.peakPages],
  ['  page-milliseconds', ({ exposure }) => exposure.pageMilliseconds],
  ['  longest, milliseconds', ({ exposure }) => exposure.longestMilliseconds],
  ['pieces reachable after unmap', ({ translations }) => translations.reachable],
  ['translations compared', ({ translations }) => translations.compared],
  ['translations equal', ({ translations }) => translations.equal],
  ['IOVAs as in the trace', ({ iovasAsRecorded }) => iovasAsRecorded],
];

/** Commands that some mode issued. */
function commandRows(results: readonly ModeResult[]): typeof ROWS {
  const names = new Set(results.flatMap(({ commandsByType }) => Object.keys(commandsByType)));
  return [...names]
    .sort()
    .map((name) => [`  ${name}`, ({ commandsByType }) => commandsByType[name] ?? 0]);
}

/** The modes side by side, one count a row. */
export function renderModes(report: ModeReport): string {
  const names = Object.keys(report.modes);
  const results = Object.values(report.modes);
  const table = plainTable(
    ['count', ...names],
    names.map((_, i) => i + 1),
  );
  for (const [what, of] of [...ROWS, ...commandRows(results), ...AFTER_COMMANDS])
    table.push([what, ...results.map((result) => grouped(of(result)))]);
  const { source, kernel, broken, unread, notApplicable, ok, summary, counters } = report;
  const work = Object.entries(counters).map(([name, value]) => `${name} ${grouped(value)}`);
  const { modes, compared, equal } = summary;
  return [
    `${source}: Linux ${kernel}, whole DMA calls`,
    table.toString(),
    ...broken,
    ...unread.map((line) => `not read: ${inputText(line)}`),
    `work: ${work.join(', ')}`,
    ...notApplicable.map((text) => `not applicable: ${text}`),
    `${ok ? 'ok' : 'NOT OK'}: ${grouped(modes)} modes, ${grouped(equal)} of ${grouped(compared)} translations equal, ${grouped(broken.length)} invariants broken`,
    '',
  ].join('\n');
}

import type {
  LinkedCount,
  PagePoint,
  PageSection,
  PageTable,
  SameTables,
  ScenarioPage,
} from '@iommukit/integration';
import { modelledText, REPORT_WORDS, valueText, verdictText } from './report-words.ts';
import { grouped } from './table.ts';

/** A report as Markdown: the same tables as the HTML form, without pictures. */
export function renderReportMarkdown(page: ScenarioPage): string {
  const { title, intro } = REPORT_WORDS;
  return [
    `# ${title}`,
    intro,
    `**${verdictText(page)}**`,
    ...summaryParts(page),
    ...page.sections.flatMap(sectionParts),
    ...tablePageParts(page),
    ...modelledParts(page),
    ...rowParts(page),
    '',
  ].join('\n\n');
}

function summaryParts({ summaries }: ScenarioPage): string[] {
  if (summaries.length === 0) return [];
  const tables = summaries.flatMap(({ id, title, columns, rows }) => [
    `### ${id}. ${title}`,
    table(
      ['', ...columns],
      rows.map(({ name, cells }) => [
        plain(name),
        ...cells.map((numbers) => numbers.map(count).join(' / ')),
      ]),
    ),
  ]);
  return [`## ${REPORT_WORDS.summary}`, ...tables];
}

function sectionParts(section: PageSection): string[] {
  const { id, title, year, claim, missing, later, tables, identical, sameTables, notGained } =
    section;
  return [
    `## ${id.toUpperCase()}: ${title}, ${year}`,
    `**Claim.** ${claim}`,
    `**${REPORT_WORDS.missing}.** ${missing}`,
    `**What became of it.** ${later}`,
    ...tables.flatMap((one) => [`### ${one.title}`, evidence(one)]),
    ...points(REPORT_WORDS.identical, identical),
    ...sameTablesPart(sameTables),
    ...points(REPORT_WORDS.notGained, notGained),
  ];
}

function evidence({ columns, lines }: PageTable): string {
  return table(
    ['', ...columns],
    lines.map(({ what, cells }) => [
      plain(what),
      ...cells.map((cell) => (cell === null ? '' : count(cell))),
    ]),
  );
}

function points(title: string, list: readonly PagePoint[]): string[] {
  if (list.length === 0) return [];
  const items = list.map(({ says, shown }) => {
    const counts = shown.map(
      (one) => `${plain(`${one.scenario} ${one.way}`)}: ${one.count} ${count(one)}`,
    );
    return `- ${says} (${counts.join('; ')})`;
  });
  return [`### ${title}`, items.join('\n')];
}

function sameTablesPart(groups: readonly SameTables[]): string[] {
  if (groups.length === 0) return [];
  const items = groups.map(({ scenario, runs, same }) => {
    const ways = runs.map(({ anchor, run }) => `[${plain(run.way)}](#${anchor})`);
    return `${scenario}: ${ways.join(same ? ' = ' : ' \u2260 ')}`;
  });
  return [`${REPORT_WORDS.sameTables} ${items.join('; ')}.`];
}

function tablePageParts({ tablePages, exposure }: ScenarioPage): string[] {
  const rows = tablePages.flatMap(({ name, points: found }) =>
    found.map(({ pages, tables }) => [name, count(pages), count(tables)]),
  );
  const peaks = (exposure?.peaks ?? []).map((peak) => `${peak.way} ${count(peak)}`);
  return [
    ...(rows.length === 0
      ? []
      : [`## ${REPORT_WORDS.tablePages}`, table(['', 'pages mapped', 'table pages'], rows)]),
    ...(peaks.length === 0
      ? []
      : [
          `## ${REPORT_WORDS.exposure}`,
          `Most pages within reach at one time: ${peaks.join(', ')}.`,
        ]),
  ];
}

function modelledParts({ modelled }: ScenarioPage): string[] {
  const { costs, runs, throughput } = modelled;
  const declared = costs.costs.map(({ count: name, cost, unit, source }) => [
    name,
    `${cost} ${unit}`,
    plain(source),
  ]);
  const rates = throughput.map(({ way, reads, pages, missesPerPage, gbps }) => [
    plain(way),
    count(reads),
    count(pages),
    missesPerPage.toFixed(4),
    `${gbps.toFixed(1)} Gb/s modelled`,
  ]);
  const times = runs.map(
    ({ scenario, way, anchor, time }) =>
      `- [${plain(`${scenario} ${way}`)}](#${anchor}): ${modelledText(time)}`,
  );
  return [
    '## Modelled',
    REPORT_WORDS.modelled,
    `Declared costs: ${costs.file}`,
    table(['count', 'cost', 'source'], declared),
    ...(rates.length === 0
      ? []
      : [
          REPORT_WORDS.throughput,
          table(['SX-5', 'reads', 'pages', 'reads per page', 'throughput'], rates),
        ]),
    times.length === 0 ? REPORT_WORDS.noCosts : times.join('\n'),
  ];
}

function rowParts({ rows }: ScenarioPage): string[] {
  const parts = rows.flatMap(({ id, title, runs }) => {
    const names = [...new Set(runs.flatMap(({ run }) => Object.keys(run.counts)))];
    const lines = runs.map(({ anchor, run }) => {
      const { way, counts, expected, differences, broken, ok } = run;
      const compared = Object.keys(expected).length;
      return [
        `<a id="${anchor}"></a>${plain(way)}`,
        ...names.map((name) => {
          const value = counts[name];
          return value === undefined ? '' : plain(valueText(value));
        }),
        `${grouped(compared - differences.length)} of ${grouped(compared)}`,
        ok ? 'ok' : plain(['NOT OK', ...differences, ...broken].join('; ')),
      ];
    });
    return [`### ${id} ${title}`, table(['way', ...names, 'compared', 'verdict'], lines)];
  });
  return [
    `## ${REPORT_WORDS.rows}`,
    REPORT_WORDS.rowsIntro.replace(' Grey counts were not compared.', ''),
    ...parts,
  ];
}

/** A number that leads to its row. */
function count({ value, anchor }: LinkedCount): string {
  return `[${plain(valueText(value))}](#${anchor})`;
}

/** Text that is no markup. */
function plain(text: string): string {
  return text.replace(/[|\\`*_[\]<>]/g, '\\$&').replace(/\n/g, ' ');
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n');
}

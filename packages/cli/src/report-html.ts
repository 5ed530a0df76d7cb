import type {
  LinkedCount,
  PagePoint,
  PageSection,
  PageTable,
  SameTables,
  ScenarioPage,
} from '@iommukit/integration';
import { escapeHtml } from './html-text.ts';
import { plotExposure, plotTable, plotTablePages } from './report-plots.ts';
import { REPORT_STYLE } from './report-style.ts';
import { modelledText, REPORT_WORDS, valueText, verdictText } from './report-words.ts';
import { grouped } from './table.ts';

/** A report as one HTML document that needs nothing else. */
export function renderReportHtml(page: ScenarioPage): string {
  const { title, intro } = REPORT_WORDS;
  return [
    '<!DOCTYPE html>',
    '<html lang="en"><head><meta charset="utf-8">',
    '<meta name="viewport" content="width=device-width, initial-scale=1">',
    `<title>${title}</title><style>${REPORT_STYLE}</style></head><body>`,
    `<h1>${title}</h1><p>${intro}</p>`,
    `<p class="${page.ok ? 'ok' : 'bad'}">${verdictText(page)}</p>`,
    navigation(page),
    summariesHtml(page),
    ...page.sections.map((section) => sectionHtml(section, page)),
    acrossHtml(page),
    modelledHtml(page),
    rowsHtml(page),
    '</body></html>\n',
  ].join('\n');
}

function navigation({ sections, rows, summaries }: ScenarioPage): string {
  const links = sections.map(({ id, title, year }) => `<a href="#${id}">${title} (${year})</a>`);
  if (summaries.length > 0) links.unshift(`<a href="#summary">${REPORT_WORDS.summary}</a>`);
  if (rows.length > 0)
    links.push(`<a href="#modelled">Modelled</a>`, `<a href="#rows">All rows</a>`);
  return `<nav>${links.join(' ')}</nav>`;
}

function sectionHtml(section: PageSection, page: ScenarioPage): string {
  const { id, title, year, claim, missing, later, tables, identical, sameTables, notGained } =
    section;
  return [
    `<section id="${id}"><h2>${escapeHtml(`${id.toUpperCase()}: ${title}, ${year}`)}</h2><dl>`,
    `<dt>Claim</dt><dd>${escapeHtml(claim)}</dd>`,
    `<dt>${REPORT_WORDS.missing}</dt><dd>${escapeHtml(missing)}</dd>`,
    `<dt>What became of it</dt><dd>${escapeHtml(later)}</dd></dl>`,
    ...tables.map((table, k) => tableHtml(table, `plot-${id}-${k}`)),
    id === 'sx' ? exposureHtml(page) : '',
    pointsHtml(REPORT_WORDS.identical, identical),
    sameTablesHtml(sameTables),
    pointsHtml(REPORT_WORDS.notGained, notGained),
    '</section>',
  ].join('\n');
}

function summariesHtml({ summaries }: ScenarioPage): string {
  if (summaries.length === 0) return '';
  const tables = summaries.map(({ id, title, columns, rows }) => {
    const body = rows.map(({ name, cells }) => {
      const row = cells.map(
        (numbers) => `<td class="n">${numbers.map(countHtml).join(' / ')}</td>`,
      );
      return `<tr><th scope="row">${escapeHtml(name)}</th>${row.join('')}</tr>`;
    });
    return `<h3 id="${id.toLowerCase()}">${escapeHtml(`${id}. ${title}`)}</h3>${scrolled(['', ...columns], body)}`;
  });
  return `<section id="summary"><h2>${REPORT_WORDS.summary}</h2>${tables.join('\n')}</section>`;
}

/** A table that scrolls by itself where the screen is narrow. */
function scrolled(head: readonly string[], rows: readonly string[]): string {
  const names = head.map((name) => `<th scope="col">${escapeHtml(name)}</th>`);
  return `<div class="scroll"><table><thead><tr>${names.join('')}</tr></thead><tbody>${rows.join('\n')}</tbody></table></div>`;
}

function tableHtml(table: PageTable, id: string): string {
  const { title, columns, lines, plot } = table;
  const body = lines.map(
    ({ what, cells }) =>
      `<tr><th scope="row">${escapeHtml(what)}</th>${cells.map((cell) => `<td class="n">${cell === null ? '' : countHtml(cell)}</td>`).join('')}</tr>`,
  );
  return [
    `<h3>${escapeHtml(title)}</h3>`,
    plot === undefined
      ? ''
      : figure(plot === 'log' ? 'logarithmic scale' : 'linear scale', plotTable(table, id)),
    scrolled(['', ...columns], body),
  ].join('\n');
}

function figure(caption: string, drawn: string): string {
  return `<figure><figcaption>${escapeHtml(caption)}</figcaption>${drawn}</figure>`;
}

/** A number that leads to its row. */
function countHtml({ value, anchor, count, per = 1 }: LinkedCount & { per?: number }): string {
  const divided = per === 1 ? '' : ` data-per="${per}"`;
  return `<a href="#${anchor}" data-count="${escapeHtml(count)}"${divided}>${escapeHtml(valueText(value))}</a>`;
}

function pointsHtml(title: string, points: readonly PagePoint[]): string {
  if (points.length === 0) return '';
  const items = points.map(({ says, shown }) => {
    const counts = shown.map(
      (one) =>
        `${escapeHtml(`${one.scenario} ${one.way}`)}: ${escapeHtml(one.count)} ${countHtml(one)}`,
    );
    return `<li>${escapeHtml(says)} <span class="shown">${counts.join('; ')}</span></li>`;
  });
  return `<h3>${title}</h3><ul>${items.join('\n')}</ul>`;
}

function sameTablesHtml(groups: readonly SameTables[]): string {
  if (groups.length === 0) return '';
  const items = groups.map(({ scenario, runs, same }) => {
    const ways = runs.map(({ anchor, run }) => `<a href="#${anchor}">${escapeHtml(run.way)}</a>`);
    return `${scenario}: ${ways.join(same ? ' = ' : ' \u2260 ')}`;
  });
  return `<p>${REPORT_WORDS.sameTables} <span class="shown">${items.join('; ')}.</span></p>`;
}

function exposureHtml(page: ScenarioPage): string {
  if (page.exposure === undefined) return '';
  const peaks = page.exposure.peaks.map((peak) => `${peak.way} ${countHtml(peak)}`);
  return [
    `<h3>${REPORT_WORDS.exposure}</h3>`,
    figure(
      'pages that a device still reaches, over unmaps done',
      plotExposure(page, 'plot-exposure'),
    ),
    `<p>Most pages at one time: ${peaks.join(', ')}.</p>`,
  ].join('\n');
}

/** What several threads have in common. */
function acrossHtml(page: ScenarioPage): string {
  const { tablePages } = page;
  if (tablePages.length === 0) return '';
  const rows = tablePages.flatMap(({ name, points }) =>
    points.map(
      ({ pages, tables }) =>
        `<tr><th scope="row">${escapeHtml(name)}</th><td class="n">${countHtml(pages)}</td><td class="n">${countHtml(tables)}</td></tr>`,
    ),
  );
  return [
    `<section id="tables"><h2>${REPORT_WORDS.tablePages}</h2>`,
    figure('table pages besides the top-level one', plotTablePages(page, 'plot-tables')),
    scrolled(['', 'pages mapped', 'table pages'], rows),
    '</section>',
  ].join('\n');
}

function modelledHtml({ modelled }: ScenarioPage): string {
  const { costs, runs, throughput } = modelled;
  const declared = costs.costs.map(
    ({ count, cost, unit, source }) =>
      `<tr><th scope="row">${escapeHtml(count)}</th><td class="n">${cost} ${unit}</td><td class="text">${escapeHtml(source)}</td></tr>`,
  );
  const times = runs.map(
    ({ scenario, way, anchor, time }) =>
      `<li><a href="#${anchor}">${escapeHtml(`${scenario} ${way}`)}</a>: ${escapeHtml(modelledText(time))}</li>`,
  );
  const rates = throughput.map(
    ({ way, reads, pages, missesPerPage, gbps }) =>
      `<tr><th scope="row">${escapeHtml(way)}</th><td class="n">${countHtml(reads)}</td><td class="n">${countHtml(pages)}</td><td class="n">${missesPerPage.toFixed(4)}</td><td class="n">${gbps.toFixed(1)} Gb/s modelled</td></tr>`,
  );
  return [
    `<section id="modelled" class="modelled"><h2>Modelled</h2><p>${REPORT_WORDS.modelled}</p>`,
    `<h3>Declared costs, ${escapeHtml(costs.file)}</h3>${scrolled(['count', 'cost', 'source'], declared)}`,
    rates.length === 0
      ? ''
      : `<h3>Throughput, modelled</h3><p>${REPORT_WORDS.throughput}</p>${scrolled(['SX-5', 'reads', 'pages', 'reads per page', 'throughput'], rates)}`,
    times.length === 0
      ? `<p>${REPORT_WORDS.noCosts}</p>`
      : `<h3>Times, modelled</h3><ul>${times.join('\n')}</ul>`,
    '</section>',
  ].join('\n');
}

function rowsHtml({ rows }: ScenarioPage): string {
  return [
    `<section id="rows" class="rows"><h2>${REPORT_WORDS.rows}</h2><p>${REPORT_WORDS.rowsIntro}</p>`,
    ...rows.map(scenarioHtml),
    '</section>',
  ].join('\n');
}

function scenarioHtml({ id, title, ok, runs }: ScenarioPage['rows'][number]): string {
  const names = [...new Set(runs.flatMap(({ run }) => Object.keys(run.counts)))];
  const body = runs.map(({ anchor, run }) => {
    const { way, counts, expected, differences, broken } = run;
    const cells = names.map((name) => {
      const value = counts[name];
      if (value === undefined) return '<td></td>';
      const kind = typeof value === 'number' ? 'n' : 'text';
      const dim = name in expected ? '' : ' dim';
      return `<td class="${kind}${dim}" data-count="${escapeHtml(name)}">${escapeHtml(valueText(value))}</td>`;
    });
    const compared = Object.keys(expected).length;
    const verdict = run.ok
      ? '<td class="ok">ok</td>'
      : `<td class="bad">${escapeHtml(['NOT OK', ...differences, ...broken].join('; '))}</td>`;
    return `<tr id="${anchor}" data-scenario="${id}" data-way="${escapeHtml(way)}"><th scope="row">${escapeHtml(way)}</th>${cells.join('')}<td class="n">${grouped(compared - differences.length)} of ${grouped(compared)}</td>${verdict}</tr>`;
  });
  return [
    `<h3 id="${id.toLowerCase()}-all" class="${ok ? '' : 'bad'}">${id} ${escapeHtml(title)}</h3>`,
    scrolled(['way', ...names, 'compared', 'verdict'], body),
  ].join('\n');
}

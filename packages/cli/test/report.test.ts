import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ScenarioReport } from '@iommukit/integration';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { running } from './command.ts';
import { parseReport, type ReportElement } from './report-document.ts';

const run = running('scenarios', 'run');
const base = mkdtempSync(join(tmpdir(), 'report-'));
afterAll(() => rmSync(base, { recursive: true }));

const FEW = ['S0-1', 'S0-13', 'S0-14', 'S1-1', 'S1-2', 'S2-4', 'S4-1'];
const dir = join(base, 'new', 'folder');
let json: ScenarioReport;
let html: string;
let elements: ReportElement[];
let markdown: string;

beforeAll(async () => {
  // What the drawing library has to say would stand on stdout, beside the JSON.
  const said = (['log', 'info', 'warn', 'error'] as const).map((name) => vi.spyOn(console, name));
  const { code, out, err } = await run(...FEW, '--json', '--report', dir);
  expect({ code, err }).toEqual({ code: 0, err: '' });
  for (const spy of said) {
    expect(spy).not.toHaveBeenCalled();
    spy.mockRestore();
  }
  json = JSON.parse(out) as ScenarioReport;
  html = readFileSync(join(dir, 'scenarios.html'), 'utf8');
  markdown = readFileSync(join(dir, 'scenarios.md'), 'utf8');
  elements = parseReport(html);
});

/** The value of a count as the JSON has it, by scenario and way. */
function counted(scenario: string, way: string, count: string): unknown {
  const found = json.scenarios.find(({ id }) => id === scenario);
  return found?.runs.find((one) => one.way === way)?.counts[count];
}

/** As a number is written in a report. */
const written = (value: unknown): string =>
  typeof value === 'number' ? value.toLocaleString('en-US') : String(value);

/** Anything that would be fetched or run. */
const OUTSIDE = /https?:|\/\/[a-z]|@import|url\((?!#)|data:|<script|<img|<link|<iframe/i;

const rowsOf = (): ReportElement[] =>
  elements.filter(({ name, attributes }) => name === 'tr' && 'data-way' in attributes);

describe('the HTML file', () => {
  test('stands alone: no script, nothing to fetch, nothing that a phone cannot show', () => {
    expect(OUTSIDE.exec(html)).toBeNull();
    expect(elements).toContainEqual(
      expect.objectContaining({
        name: 'meta',
        attributes: { name: 'viewport', content: 'width=device-width, initial-scale=1' },
      }),
    );
    for (const { within } of elements.filter(({ name }) => name === 'table'))
      expect(within.at(-1)).toBe('div');
    const pictures = elements.filter(({ name }) => name === 'svg');
    expect(pictures.length).toBeGreaterThan(3);
    for (const { attributes } of pictures) {
      expect(attributes).toHaveProperty('viewBox');
      expect(attributes).not.toHaveProperty('width');
    }
  });

  test('every anchor is there, once', () => {
    const ids = elements.flatMap(({ attributes }) => attributes['id'] ?? []);
    expect(new Set(ids).size).toBe(ids.length);
    const links = elements.filter(({ name }) => name === 'a');
    expect(links.length).toBeGreaterThan(100);
    for (const { attributes } of links) expect(ids).toContain(attributes['href']?.slice(1));
  });

  test('every run has a row, with the counts of the JSON', () => {
    const runs = json.scenarios.flatMap(({ runs: some }) => some);
    expect(rowsOf()).toHaveLength(runs.length);
    let seen = 0;
    for (const { attributes } of rowsOf()) {
      const cells = elements.filter(
        ({ name, row, attributes: own }) =>
          name === 'td' && row === attributes['id'] && 'data-count' in own,
      );
      for (const cell of cells) {
        const { 'data-scenario': scenario = '', 'data-way': way = '' } = attributes;
        const value = counted(scenario, way, cell.attributes['data-count'] ?? '');
        expect(cell.text).toBe(written(value));
        seen++;
      }
    }
    expect(seen).toBe(runs.reduce((sum, { counts }) => sum + Object.keys(counts).length, 0));
  });

  test('every linked number is the count of the row that it leads to', () => {
    const byId = new Map(rowsOf().map(({ attributes }) => [attributes['id'], attributes]));
    const numbers = elements.filter(
      ({ name, attributes }) => name === 'a' && 'data-count' in attributes,
    );
    expect(numbers.length).toBeGreaterThan(40);
    for (const { attributes, text } of numbers) {
      const row = byId.get(attributes['href']?.slice(1));
      const { 'data-scenario': scenario = '', 'data-way': way = '' } = row ?? {};
      const value = counted(scenario, way, attributes['data-count'] ?? '');
      const { 'data-per': per = '1' } = attributes;
      expect(text).toBe(written(per === '1' ? value : Number(value) / Number(per)));
    }
  });

  test('numbers in pictures lead to rows that have them', () => {
    const labels = elements.filter(
      ({ name, within }) => name === 'text' && within.at(-1) === 'a' && within.includes('svg'),
    );
    expect(labels.length).toBeGreaterThan(10);
    const numbers = new Set(
      json.scenarios.flatMap(({ runs }) =>
        runs.flatMap(({ counts }) => Object.values(counts).map(written)),
      ),
    );
    for (const { text } of labels) expect(numbers).toContain(text);
  });

  test('what belongs to threads of which nothing was run is left out', () => {
    const sections = elements.filter(({ name }) => name === 'section');
    const ids = sections.map(({ attributes }) => attributes['id']);
    expect(ids).toEqual(['s0', 's1', 's2', 's4', 'tables', 'modelled', 'rows']);
  });
});

// Counts of the evaluation, by hand.
test('Markdown: the same numbers, linked', () => {
  expect(markdown).toMatch(
    /^\| scattered 1 MiB mapped \| \[1,024\]\(#s0-1-p-coh\) \| \[1,024\]\(#s0-1-k-coh\) \| {2}\| \[4\]\(#s0-1-r-coh\) \|$/m,
  );
  expect(markdown).toMatch(/\[32\]\(#s1-2-two-step-nc\)/);
  const anchors = [...markdown.matchAll(/\]\(#([^)]+)\)/g)].map(([, anchor]) => anchor);
  for (const anchor of anchors) expect(markdown).toContain(`<a id="${anchor}"></a>`);
  expect(markdown).not.toMatch(/https?:/);
});

test('the same run gives the same files, and leaves nothing else behind', async () => {
  const again = join(base, 'again');
  const files = ['scenarios.html', 'scenarios.md'];
  const texts = async (): Promise<string[]> => {
    expect((await run('S0-13', 'S1-1', '--report', again)).code).toBe(0);
    expect(readdirSync(again).sort()).toEqual(files);
    return files.map((name) => readFileSync(join(again, name), 'utf8'));
  };
  expect(await texts()).toEqual(await texts());
});

test('a folder that is none: one line before anything runs', async () => {
  const file = join(base, 'file');
  writeFileSync(file, '');
  for (const bad of [file, join(file, 'below')]) {
    const { code, out, err } = await run('S0-1', '--report', bad);
    expect({ code, out }).toEqual({ code: 2, out: '' });
    expect(err).toMatch(/^[^\n]+: expected a folder to write the report to \(E[A-Z]+\)\n$/);
  }
});

describe('--costs', () => {
  const file = join(base, 'costs.json');
  const costs = [
    { count: 'VA', cost: 100, unit: 'ns', source: 'a trace' },
    { count: 'SYNC', cost: 1.5, unit: 'us', source: 'a trace' },
  ];
  beforeAll(() =>
    writeFileSync(file, JSON.stringify({ kind: 'iommukit-unit-costs', version: 1, costs })),
  );

  test('text: the modelled time of each run, said to be modelled', async () => {
    const { code, out } = await run('S4-1', '--costs', file);
    expect(code).toBe(0);
    // One TLBI and one SYNC.
    expect(out).toMatch(
      /S4-1 . U nc . 1 VA \(100 ns\) \+ 1 SYNC \(1,500 ns\) = 1,600 ns modelled; without a cost: fmt lvl st cmc cml /,
    );
  });

  test('JSON and report: the same', async () => {
    const { out } = await run('S4-1', '--costs', file, '--json', '--report', dir);
    expect(JSON.parse(out)).toMatchObject({
      ok: true,
      modelled: {
        costs: {
          file,
          costs: [
            { count: 'VA', ns: 100 },
            { count: 'SYNC', ns: 1500 },
          ],
        },
      },
    });
    expect(readFileSync(join(dir, 'scenarios.html'), 'utf8')).toContain('= 1,600 ns modelled');
  });

  test.each([
    { name: 'no file', text: undefined, says: /absent\.json: expected / },
    { name: 'no JSON', text: '{', says: /bad\.json:1: expected valid JSON$/ },
    { name: 'no costs', text: '{}', says: /bad\.json: expected kind to be / },
  ])('$name: exit 2 and one line', async ({ text, says }) => {
    const path = join(base, text === undefined ? 'absent.json' : 'bad.json');
    if (text !== undefined) writeFileSync(path, text);
    const { code, out, err } = await run('S0-1', '--costs', path);
    expect({ code, out }).toEqual({ code: 2, out: '' });
    expect(err.trimEnd()).toMatch(says);
    expect(err.trimEnd().split('\n')).toHaveLength(1);
  });
});

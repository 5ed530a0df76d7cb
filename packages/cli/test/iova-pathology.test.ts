import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { iovaPathology } from '@iommukit/integration';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { renderPathology } from '../src/iova-pathology.ts';
import { plotPathology } from '../src/iova-pathology-plot.ts';
import { running } from './command.ts';

let dir = '';
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'pathology-'));
});
afterEach(() => rmSync(dir, { recursive: true }));

const run = running('iova', 'pathology');

const small = iovaPathology([
  { live: 100, addressBits: 32 },
  { live: 2000, addressBits: 36 },
]);

describe('iova pathology', () => {
  test('a plot that cannot be written: exit 2 and a line with its file', async () => {
    const file = join(dir, 'missing', 'plot.svg');
    const err = `${file}: expected a file to write to (ENOENT)\n`;
    expect(await run('--plot', file)).toEqual({ code: 2, out: '', err });
  }, 60_000);

  test('table: one row a kind of request, and the work done', () => {
    const lines = renderPathology(small).split('\n');
    const rows = lines.filter((line) => /^│ +[\d,]+ │ 2\^/.test(line));
    expect(
      rows.map((line) =>
        line
          .split('│')
          .map((cell) => cell.trim())
          .slice(1, 4),
      ),
    ).toEqual([
      ['100', '2^32', 'below all'],
      ['100', '2^32', 'none: fails'],
      ['2,000', '2^36', 'below all'],
      ['2,000', '2^36', 'none: fails'],
    ]);
    expect(lines).toContain('work: rows 4, allocations by each search 64, rows that differ 0');
    expect(lines.at(-2)).toBe('ok: both searches gave the same answers');
  });

  test('a difference is shown and not ok', () => {
    const rows = small.rows.map((row, k) => (k === 1 ? { ...row, sameAnswers: false } : row));
    const text = renderPathology({ ...small, ok: false, rows });
    expect(text.match(/DIFFER/g)).toHaveLength(1);
    expect(text).toContain('NOT OK');
  });

  test('plot: two lines over two decades each, every point labelled', () => {
    const svg = plotPathology(small);
    expect(svg).toMatch(/^<svg xmlns="http:\/\/www.w3.org\/2000\/svg"/);
    expect(svg.trimEnd()).toMatch(/<\/svg>$/);
    expect(svg.match(/<polyline/g)).toHaveLength(2);
    expect(svg.match(/<circle/g)).toHaveLength(4);
    // Powers of ten on the x axis, the first one at its left end.
    expect(svg).toContain('<text x="90.0" y="410.0" text-anchor="middle">100</text>');
    expect(svg).toContain('<text x="720.0" y="410.0" text-anchor="middle">10,000</text>');
    expect(svg).toContain('linear, 100 in use below 2^32: ');
    expect(svg).not.toMatch(/NaN|Infinity/);
  });
});

// The command with all its sizes, up to a million ranges in use.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { PathologyReport } from '@iommukit/integration';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { plotPathology } from '../src/iova-pathology-plot.ts';
import { running } from './command.ts';

let dir = '';
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'pathology-'));
});
afterEach(() => rmSync(dir, { recursive: true }));

const run = running('iova', 'pathology');

test('--json: one object with ok and summary; --plot: an SVG file', async () => {
  const file = join(dir, 'plot.svg');
  const { code, out } = await run('--json', '--plot', file);
  expect(code).toBe(0);
  expect(out.trimEnd().split('\n')).toHaveLength(1);
  const report = JSON.parse(out) as PathologyReport;
  expect(report).toMatchObject({ ok: true, summary: { rows: 8, differences: 0 } });
  expect(readFileSync(file, 'utf8')).toBe(plotPathology(report));
}, 60_000);

import type { ScenarioReport } from '@iommukit/integration';
import { describe, expect, test } from 'vitest';
import { renderScenarios } from '../src/render-scenarios.ts';
import { running } from './command.ts';

const run = running('scenarios');

describe('scenarios list', () => {
  test('text: an id and a title a line', async () => {
    const { code, out, err } = await run('list');
    expect({ code, err }).toEqual({ code: 0, err: '' });
    expect(out).toContain('S0-5  batch of 64 lists\n');
    expect(out).toContain('S4-20 random twins\n');
  });

  test('--json: one object', async () => {
    const { code, out } = await run('list', '--json');
    expect(code).toBe(0);
    const report = JSON.parse(out) as { ok: boolean; scenarios: { id: string }[] };
    expect(report).toMatchObject({ ok: true, scenarios: expect.any(Array) });
    expect(report).toHaveProperty('summary.scenarios', report.scenarios.length);
    expect(report.scenarios[0]).toEqual({ id: 'S0-1', title: 'scattered 1 MiB' });
  });
});

describe('scenarios run', () => {
  test('a table: id, way, counts, expected, verdict', async () => {
    const { code, out, err } = await run('run', 'S0-1');
    expect({ code, err }).toEqual({ code: 0, err: '' });
    expect(out).toMatch(/S0-1 . K coh . fmt 256, lvl 1024, alloc 3, free 0, st 259/);
    expect(out).toMatch(/S0-1 . R coh . fmt 1, lvl 4, alloc 3, .* 11 of 11 . ok/);
    expect(out).toMatch(
      /^ok: 1 scenarios, 6 runs, 61 counts compared, 0 differ, 0 invariants broken$/m,
    );
  });

  test('--json: exactly one object, several ids and prefixes', async () => {
    const { code, out, err } = await run('run', 'S4-13', 'S0-1', '--json');
    expect({ code, err }).toEqual({ code: 0, err: '' });
    expect(out.trimEnd().split('\n')).toHaveLength(1);
    const report = JSON.parse(out) as ScenarioReport;
    expect(report).toMatchObject({
      ok: true,
      summary: { scenarios: 2, differences: 0, broken: 0 },
      scenarios: [{ id: 'S0-1' }, { id: 'S4-13' }],
    });
    const [first] = report.scenarios;
    expect(first?.runs[0]).toMatchObject({
      way: 'P coh',
      ok: true,
      counts: { fmt: 256, lvl: 1024, cmd: 0 },
      expected: { fmt: 256 },
      differences: [],
      broken: [],
    });
  });

  test('a summary stands below the rows when all its scenarios ran, with where its numbers come from', async () => {
    const needed = ['S2-4', 'S2-8', 'S2-11', 'S2-13', 'S2-14'];
    const { code, out } = await run('run', ...needed);
    expect(code).toBe(0);
    expect(out).toContain('T3 S2: private PASIDs\n');
    expect(out).toMatch(/commands to detach +. +- . +6 . S2-8 cmd/);
    expect(out).toMatch(/lookups for each map or unmap . +1 . +0 . S2-11 lookups/);
    const { out: part } = await run('run', ...needed.slice(1));
    expect(part).not.toContain('T3');
  });

  const usage = [
    {
      name: 'an unknown id',
      args: ['run', 'S9-9'],
      says: /: no scenario S9-9: expected one of S0-1 /,
    },
    { name: 'one of several unknown', args: ['run', 'S0-1', 'x'], says: /: no scenario x: / },
    { name: 'an unknown option', args: ['run', '--fast'], says: /unknown option '--fast'/ },
    { name: 'an unknown command', args: ['walk'], says: /unknown command 'walk'/ },
  ];
  test.each(usage)('$name: exit 2 and one line', async ({ args, says }) => {
    const { code, out, err } = await run(...args);
    expect({ code, out }).toEqual({ code: 2, out: '' });
    expect(err).toMatch(says);
    expect(err.trimEnd().split('\n')).toHaveLength(1);
  });
});

test('what is wrong stands below the table', () => {
  const text = renderScenarios({
    ok: false,
    summary: { scenarios: 1, runs: 1, compared: 2, differences: 1, broken: 1 },
    scenarios: [
      {
        id: 'S0-1',
        title: 'scattered 1 MiB',
        ok: false,
        runs: [
          {
            way: 'K',
            ok: false,
            counts: { fmt: 2, lvl: 4 },
            expected: { fmt: 1, lvl: 4 },
            differences: ['fmt: expected 1, got 2'],
            broken: ['1 frames leak'],
          },
        ],
      },
    ],
    tables: [],
  });
  expect(text).toMatch(/S0-1 . K {3}. fmt 2, lvl 4 . 1 of 2 {3}. NOT OK/);
  expect(text).toContain(
    '\nS0-1 K: fmt: expected 1, got 2\nS0-1 K: 1 frames leak\nNOT OK: 1 scenarios',
  );
});

import type { MutationReport } from '@iommukit/integration';
import { describe, expect, test } from 'vitest';
import { renderMutations } from '../src/render-mutations.ts';
import { running } from './command.ts';

const SOAK = process.env['IOMMUKIT_SOAK'] !== undefined;
const run = running('scenarios', 'mutate');

describe('scenarios mutate', () => {
  test.each(['99', '14z', 'x'])('%s: exit 2 and one line', async (name) => {
    const { code, out, err } = await run('37', name);
    expect({ code, out }).toEqual({ code: 2, out: '' });
    expect(err).toMatch(new RegExp(`: no mutation ${name}: expected one of 1 2 3 `));
    expect(err.trimEnd().split('\n')).toHaveLength(1);
  });

  if (SOAK)
    test('--json: exactly one object', async () => {
      const { code, out, err } = await run('37', '8', '--json');
      expect({ code, err }).toEqual({ code: 0, err: '' });
      expect(out.trimEnd().split('\n')).toHaveLength(1);
      expect(JSON.parse(out)).toMatchObject({
        ok: true,
        summary: { defects: 2, mutations: 3, caught: 3, notCaught: 0, unmutatedNoticed: 0 },
        mutations: [{ name: '8a' }, { name: '8b' }, { name: '37' }, { name: 'unmutated' }],
      });
    });
});

describe('the table of a report', () => {
  const report: MutationReport = {
    ok: false,
    summary: {
      ...{ defects: 2, mutations: 2, caught: 1, notCaught: 1 },
      ...{ unmutatedCases: 2, unmutatedNoticed: 0 },
    },
    mutations: [
      {
        name: '37',
        defect: 'ASID threshold at > instead of >=',
        ok: true,
        caughtBy: [
          {
            row: 'S4-16',
            way: 'U 512 pages',
            by: 'ASID: expected 1',
            seen: 'ASID: expected 1, got 0',
          },
        ],
        problems: [],
      },
      {
        name: '6',
        defect: 'unmap without sync',
        ok: false,
        caughtBy: [{ row: 'SX-2', way: 'K, strict', by: 'missing: expected 0' }],
        problems: ['exit 1: Error: one.ts: 0 places'],
      },
      { name: 'unmutated', defect: 'none', ok: true, caughtBy: [], problems: [] },
    ],
  };

  test('who caught it, or what was not seen', () => {
    const text = renderMutations(report);
    expect(text).toMatch(/37 .* S4-16 U 512 pages: ASID: expected 1, got 0 .* caught/);
    expect(text).toMatch(/6 .* SX-2 K, strict: NOT SEEN: missing: expected 0 .* NOT OK/);
    expect(text).toMatch(/unmutated . none .* silent/);
  });

  test('what is wrong with a run stands below it, with its number', () => {
    expect(renderMutations(report)).toContain(
      '\n6: exit 1: Error: one.ts: 0 places\nNOT OK: 2 defects, 2 mutations, 1 caught, 1 not caught, 0 of 2 unmutated',
    );
  });
});

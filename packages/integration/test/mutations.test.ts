// The gallery as data, the loader, and a sample; all of it with `npm run soak`, or `iommukit scenarios mutate`.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { initialize, load } from '../../../tools/mutation-hooks.mjs';
import { runMutations, UnknownMutation } from '../src/index.ts';
import { MUTATIONS } from '../src/mutations/gallery.ts';
import { type Mutation, nameOf } from '../src/mutations/mutation.ts';
import { type Judgement, judge, type MutationJob } from '../src/mutations/mutation-job.ts';
import { CloneNeeded, mustBeClone, runJob } from '../src/mutations/mutation-process.ts';
import { verdictOf } from '../src/mutations/mutation-report.ts';
import { runAll } from '../src/mutations/run-mutations.ts';
import { SCENARIOS } from '../src/scenarios/run-scenarios.ts';

const SOAK = process.env['IOMMUKIT_SOAK'] !== undefined;

const textOf = (module: string): string =>
  readFileSync(new URL(`../../${module}`, import.meta.url), 'utf8');
const named = (name: string): Mutation => {
  const found = MUTATIONS.find((one) => nameOf(one) === name);
  if (found === undefined) throw new Error(name);
  return found;
};

/** What the list of defects names beside each number, evaluation section 12; of 21 the row without a second CPU. */
const ROWS: Readonly<Record<number, readonly string[]>> = {
  1: ['S2-4', 'S2-8', 'SX-3'],
  2: ['S2-6'],
  3: ['S2-4'],
  4: ['S2-8', 'S2-12'],
  5: ['S2-4'],
  6: ['S2-7', 'SX-2'],
  7: ['S2-7', 'S2-12'],
  8: ['S2-10'],
  9: ['S2-9'],
  10: ['S0-11', 'S0-19', 'S4-9'],
  11: ['S0-11'],
  12: ['S0-6', 'S0-9'],
  13: ['S0-14', 'S4-19', 'S0-10'],
  14: ['S4-3', 'S4-8', 'S4-14'],
  15: ['S4-15'],
  16: ['S4-5', 'S4-15'],
  17: ['S4-14'],
  18: ['S4-14', 'S4-15'],
  19: ['S0-7', 'S0-8', 'SX-7'],
  20: ['S0-8', 'SX-7'],
  21: ['S0-8'],
  22: ['S0-10'],
  23: ['S0-12'],
  24: ['S0-14'],
  25: ['S0-12', 'S0-14', 'SX-3'],
  26: ['S4-17', 'S4-6'],
  27: ['S4-12'],
  28: ['SX-1'],
  29: ['SX-1'],
  30: ['S1-5'],
  31: ['S1-10'],
  32: ['S3-4'],
  33: ['S3-9'],
  34: ['SX-2', 'S0-11'],
  35: ['SX-9'],
  36: ['SX-4'],
  37: ['S4-16'],
  38: ['S0-15', 'S0-16', 'S4-10', 'S4-11'],
};

describe('the gallery', () => {
  test('all 38 defects, each caught by every row that is named beside it', () => {
    for (const [number, rows] of Object.entries(ROWS)) {
      const caughtBy = MUTATIONS.filter((one) => `${one.number}` === number).flatMap((one) =>
        one.caughtBy.map(({ row }) => row),
      );
      expect(rows.filter((row) => !caughtBy.includes(row))).toEqual([]);
    }
    expect([...new Set(MUTATIONS.map(({ number }) => number))]).toEqual(
      Object.keys(ROWS).map(Number),
    );
  });

  test('names are unique, and each says how it is caught', () => {
    expect(new Set(MUTATIONS.map(nameOf)).size).toBe(MUTATIONS.length);
    for (const { edits, caughtBy } of MUTATIONS) {
      expect(edits.length).toBeGreaterThan(0);
      expect(caughtBy.length).toBeGreaterThan(0);
      for (const { by } of caughtBy) expect(by.length).toBeGreaterThan(8);
    }
  });

  test.each(MUTATIONS.map((one) => [nameOf(one), one] as const))(
    '%s: each text stands in its module exactly once',
    (_, { edits }) => {
      for (const { module, find, replace } of edits) {
        expect([module, textOf(module).split(find).length - 1]).toEqual([module, 1]);
        expect(replace).not.toBe(find);
      }
    },
  );

  test('each row and case is there', () => {
    const ways = new Map<string, readonly string[]>();
    for (const { row, way } of MUTATIONS.flatMap(({ caughtBy }) => caughtBy)) {
      if (!ways.has(row)) {
        const scenario = SCENARIOS.find(({ id }) => id === row);
        ways.set(
          row,
          [...(scenario?.cases() ?? [])].map((one) => one.way),
        );
      }
      expect(ways.get(row)).toContain(way);
    }
  });
});

describe('the hooks of the loader', () => {
  const source = 'export const size = 4096;';
  const edit = { module: 'bits/src/align.ts', find: '4096', replace: '$&' };
  const loaded = async (url: string, edits: readonly object[]): Promise<string> => {
    initialize({ edits });
    const result = await load(url, {}, async () => ({ format: 'module', source }));
    initialize({ edits: [] });
    return String(result.source);
  };
  const url = 'file:///clone/packages/bits/src/align.ts';

  test('replace the text, and leave a note that they did', async () => {
    const text = await loaded(`${url}?tsx`, [edit]);
    expect(text).toContain('export const size = $&;');
    expect(text).toContain("push('bits/src/align.ts')");
  });

  test('leave other modules alone', async () => {
    expect(await loaded('file:///clone/packages/bits/src/u64.ts', [edit])).toBe(source);
  });

  test.each([
    ['no place', { ...edit, find: '8192' }, '0 places'],
    ['several', { ...edit, find: 'e' }, '2 places'],
  ])('refuse a text with %s', async (_, one, says) => {
    await expect(loaded(url, [one])).rejects.toThrow(says);
  });
});

describe('a run', () => {
  const one = named('37');
  const [first] = one.caughtBy;
  if (first === undefined) throw new Error('37');
  const { row, way } = first;
  const silent: Judgement = { cases: 1, noticed: [], problems: [] };
  const caught: Judgement = {
    ...silent,
    noticed: [{ row, way, evidence: ['cmd: expected 2', 'ASID: expected 1, got 0'] }],
  };
  const answering =
    (mutated: Judgement, unmutated: Judgement) =>
    async ({ edits }: MutationJob): Promise<Judgement> =>
      edits.length > 0 ? mutated : unmutated;

  test('caught by the row that is named, and silent without the defect', async () => {
    const steps: string[] = [];
    const report = await runAll([one], answering(caught, silent), (done, total) => {
      steps.push(`${done}/${total}`);
    });
    expect(report).toMatchObject({
      ok: true,
      summary: {
        ...{ defects: 1, mutations: 1, caught: 1, notCaught: 0 },
        ...{ unmutatedCases: 1, unmutatedNoticed: 0 },
      },
    });
    expect(report.mutations.map(({ name }) => name)).toEqual(['37', 'unmutated']);
    expect(report.mutations[0]?.caughtBy[0]?.seen).toBe('ASID: expected 1, got 0');
    expect(steps).toEqual(['0/2', '1/2', '2/2']);
  });

  test.each([
    ['nothing is noticed', silent, silent],
    [
      'another row notices',
      { ...caught, noticed: [{ ...caught.noticed[0], row: 'S4-1' }] },
      silent,
    ],
    [
      'the row reports something else',
      { ...caught, noticed: [{ row, way, evidence: ['cmd: expected 2, got 1'] }] },
      silent,
    ],
    ['the process did not do what it should', { ...caught, problems: ['exit 1'] }, silent],
    ['the program without defects reports something', caught, caught],
    ['no case was run without defects', caught, { ...silent, cases: 0 }],
  ] as [string, Judgement, Judgement][])('not ok: %s', async (_, mutated, unmutated) => {
    expect((await runAll([one], answering(mutated, unmutated))).ok).toBe(false);
  });

  test('a module that was never loaded, an unknown case, an unknown row', () => {
    const rows = [
      { row: 'S4-16', way: 'no such way' },
      { row: 'S9-9', way: '' },
    ];
    const edits = [{ module: 'none/src/none.ts', find: 'a', replace: 'b' }];
    expect(judge({ edits, rows }).problems).toEqual([
      'none/src/none.ts was never loaded',
      'S4-16 has no case no such way',
      'no scenario S9-9',
    ]);
  });

  test.each(['99', '14z', '', 'x'])('%j: unknown', async (name) => {
    await expect(runMutations([name])).rejects.toThrow(UnknownMutation);
  });
});

test('from a clone only', () => {
  mustBeClone();
  const installed = fileURLToPath(new URL('../src/', import.meta.url));
  expect(() => mustBeClone(installed)).toThrow(CloneNeeded);
  expect(() => mustBeClone(installed)).toThrow(/^CLONE_NEEDED: mutations run from a clone [^\n]*$/);
});

// In one process: they touch different packages, and different rows notice them.
test('a sample: 8b, 33, 37', async () => {
  const sample = ['8b', '33', '37'].map(named);
  const judgement = await runJob({
    edits: sample.flatMap(({ edits }) => edits),
    rows: sample.flatMap(({ caughtBy }) => caughtBy),
  });
  expect(sample.map((one) => verdictOf(one, judgement))).toMatchObject([
    { name: '8b', ok: true },
    { name: '33', ok: true },
    { name: '37', ok: true },
  ]);
  expect(judgement.noticed).toHaveLength(3);
});

if (SOAK)
  test('all of them', async () => {
    const { ok, summary, mutations } = await runMutations([]);
    expect(mutations.filter((one) => !one.ok)).toEqual([]);
    expect(summary).toMatchObject({ defects: 38, notCaught: 0, unmutatedNoticed: 0 });
    expect(ok).toBe(true);
  }, 600_000);

// Random operations on a whole machine. The run of a million steps is in soak.soak.test.ts.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { readSoakFile, replaySoak, runSoak, soakFileText } from '../src/index.ts';
import { SOAK_DEFECTS } from './soak-defects.ts';

const STEPS = 2000;
const dir = mkdtempSync(join(tmpdir(), 'soak-'));
afterAll(() => rmSync(dir, { recursive: true }));

describe('a sound machine', () => {
  const digests = new Set<string>();
  test.each([1, 2, 3])(
    'seed %i: nothing is broken, and the same run has the same digest',
    (seed) => {
      const report = runSoak({ seed, steps: STEPS });
      expect(report).toMatchObject({ ok: true, violation: null, summary: { steps: STEPS } });
      expect(report.digest).toMatch(/^[0-9a-f]{64}$/);
      expect(digests).not.toContain(report.digest);
      digests.add(report.digest);
      expect(runSoak({ seed, steps: STEPS })).toEqual(report);
    },
  );
});

test('a strict domain that does not invalidate: caught, shrunk, and replayed from its file', () => {
  const prepare = SOAK_DEFECTS[0]?.prepare ?? (() => {});
  const report = runSoak({ seed: 5, steps: STEPS, prepare });
  expect(report).toMatchObject({ ok: false, violation: { rule: 'reuse' } });
  expect(report.operations.length).toBeLessThanOrEqual(10);
  const path = join(dir, 'failing.json');
  writeFileSync(path, soakFileText(report.seed, report.violation, report.operations));
  const file = readSoakFile(path);
  expect(file).toEqual({
    kind: 'iommukit-soak',
    version: 1,
    seed: 5,
    violation: report.violation,
    operations: report.operations,
  });
  expect(replaySoak(file.seed, file.operations, prepare).violation).toEqual(report.violation);
  expect(replaySoak(file.seed, file.operations)).toMatchObject({ ok: true, violation: null });
});

describe('files that are no run', () => {
  const good = {
    op: 'map',
    cpu: 0,
    device: 0,
    slot: 0,
    way: 'sg',
    dir: 'TO_DEVICE',
    pages: 1,
    at: 0,
    seed: 0,
  };
  const run = (operations: unknown): string =>
    JSON.stringify({ kind: 'iommukit-soak', version: 1, seed: 1, violation: null, operations });
  const rows = [
    { name: 'empty', text: '', expected: 'valid JSON' },
    { name: 'cut short', text: run([good]).slice(0, -5), expected: 'valid JSON' },
    { name: 'something else', text: '[]', expected: 'an object of kind "iommukit-soak"' },
    {
      name: 'another version',
      text: '{"kind":"iommukit-soak","version":2}',
      expected: 'version 1',
    },
    {
      name: 'no seed',
      text: '{"kind":"iommukit-soak","version":1}',
      expected: '"seed": a number from 0 to 4294967295',
    },
    {
      name: 'no operations',
      text: run([]),
      expected: '"operations": an array of one operation or more',
    },
    {
      name: 'an operation that is none',
      text: run([good, 7]),
      expected: 'operations[1]: an object',
    },
    {
      name: 'an unknown kind',
      text: run([{ ...good, op: 'x' }]),
      expected: /^operations\[0\]: "op": one of map dma sync /,
    },
    {
      name: 'a device that is not there',
      text: run([{ ...good, device: 5 }]),
      expected: 'operations[0]: "device": a number from 0 to 4',
    },
    {
      name: 'a mapping of nothing',
      text: run([{ ...good, pages: 0 }]),
      expected: 'operations[0]: "pages": a number from 1 to 8',
    },
    {
      name: 'a seed with a fraction',
      text: run([{ ...good, seed: 0.5 }]),
      expected: 'operations[0]: "seed": a number from 0 to 4294967295',
    },
  ];
  test.each(rows)('$name: one line says what was expected', ({ text, expected }) => {
    const path = join(dir, 'dirty.json');
    writeFileSync(path, text);
    const said = (): string => {
      try {
        readSoakFile(path);
      } catch (error) {
        return (error as Error).message;
      }
      return 'nothing';
    };
    expect(said().slice(`${path}: expected `.length)).toMatch(
      typeof expected === 'string'
        ? new RegExp(`^${expected.replace(/[[\]"]/g, '\\$&')}$`)
        : expected,
    );
  });

  test('a file that is not there', () => {
    expect(() => readSoakFile(join(dir, 'absent.json'))).toThrow(
      /absent\.json: expected a file to read \(ENOENT\)$/,
    );
  });
});

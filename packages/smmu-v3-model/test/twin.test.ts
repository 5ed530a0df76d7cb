import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { CACHE_EVERYTHING } from '../src/index.ts';
import { runVector, type VectorHeader, type VectorProgram } from './twin-vectors.lanes.ts';
import { newReport, runTwinCases } from './twin-walker-rig.lanes.ts';

describe('the twin walker is an oracle of its own: programs recorded on QEMU', () => {
  const sample = JSON.parse(
    readFileSync(new URL('fixtures/qemu-11-s1-sample.json', import.meta.url), 'utf8'),
  ) as VectorHeader & { readonly programs: readonly VectorProgram[] };

  test('every access without a flag is equal, event records to the last bit', () => {
    let compared = 0;
    for (const program of sample.programs)
      for (const { step, equal, text } of runVector(sample, program)) {
        if (step.stale === true || step.deviation !== undefined) continue;
        compared++;
        expect([program.id, equal, text]).toEqual([program.id, true, text]);
      }
    expect(compared).toBeGreaterThan(100);
  });
});

// `npm run soak` sets the budget.
const CASES = process.env['IOMMUKIT_SOAK'] === undefined ? 120 : 600;

describe('model and twin agree', () => {
  const report = newReport();

  test('over 10,000 random accesses, nothing cached', { timeout: 60_000 }, () => {
    // A seed from which the rarest outcome of the list below occurs nine times.
    runTwinCases({ seed: 115_360, cases: 1280, report, keep: 3 });
    expect(report.differences).toEqual([]);
    expect(report.differing).toBe(0);
    expect(report.pairs).toBeGreaterThanOrEqual(10_000);
    expect([...report.unmodelled]).toEqual([]);
  });

  test('every event at every stage, and every kind of pass, occurs among them', () => {
    expect([...report.outcomes.keys()].sort()).toEqual(
      expect.arrayContaining([
        'C_BAD_CD',
        'C_BAD_STE',
        'C_BAD_STREAMID',
        'C_BAD_SUBSTREAMID',
        ...['F_ACCESS', 'F_ADDR_SIZE', 'F_PERMISSION', 'F_TRANSLATION'].flatMap((event) => [
          `${event} S1 IN`,
          `${event} S2 CD`,
          `${event} S2 IN`,
          `${event} S2 TT`,
        ]),
        'F_CD_FETCH',
        'F_STE_FETCH',
        'F_STREAM_DISABLED',
        'F_WALK_EABT S1 TT',
        'F_WALK_EABT S2 CD',
        'F_WALK_EABT S2 IN',
        'F_WALK_EABT S2 TT',
        'abort Config',
        'abort GBPA.ABORT',
        'abort beyond OAS',
        'ok bypass',
        'ok nested',
        'ok off',
        'ok s1',
        'ok s2',
      ]),
    );
  });

  test('with everything cached, where caches cannot tell', { timeout: 60_000 }, () => {
    const cached = newReport();
    runTwinCases({ seed: 50_000, cases: CASES, report: cached, keep: 3, policy: CACHE_EVERYTHING });
    expect(cached.differences).toEqual([]);
    expect(cached.differing).toBe(0);
    expect(cached.pairs).toBeGreaterThan(2.4 * CASES);
  });
});

// A long random run of the whole machine, and machines that are broken:
//   IOMMUKIT_SOAK=1000000 node tools/pn.mjs exec vitest run --config tools/vitest.config.ts --project integration soak.soak
import { describe, expect, test } from 'vitest';
import { replaySoak, runSoak, runWorkerSoak } from '../src/index.ts';
import { SOAK_DEFECTS } from './soak-defects.ts';

const STEPS = Math.max(Number(process.env['IOMMUKIT_SOAK'] ?? 0), 2000);
const TIMEOUT_MS = 1_800_000;

test(
  'a long run breaks nothing, twice the same',
  () => {
    const steps = Math.max(STEPS, 100_000);
    const report = runSoak({ seed: 10, steps });
    expect(report).toMatchObject({ ok: true, violation: null, summary: { steps } });
    expect(runSoak({ seed: 10, steps })).toEqual(report);
  },
  TIMEOUT_MS,
);

test(
  'three CPUs on threads, one SMMU on another: pages at rest are where they are mapped, or nowhere',
  async () => {
    const { ok, summary, broken } = await runWorkerSoak({ workers: 3, seed: 1, steps: STEPS });
    expect({ ok, broken }).toEqual({ ok: true, broken: [] });
    expect(summary.steps).toBeGreaterThanOrEqual(STEPS);
    expect(summary.settled).toBeGreaterThan(STEPS / 10);
  },
  TIMEOUT_MS,
);

describe('a broken machine', () => {
  test.each(SOAK_DEFECTS)(
    '$name: caught, shrunk, and replayed',
    ({ rules, prepare }) => {
      const report = runSoak({ seed: 5, steps: 20_000, prepare });
      expect(report.ok).toBe(false);
      expect(rules).toContain(report.violation?.rule);
      expect(report.operations.length).toBeLessThanOrEqual(10);
      const again = replaySoak(report.seed, report.operations, prepare);
      expect(again.violation).toEqual(report.violation);
      expect(replaySoak(report.seed, report.operations)).toMatchObject({ ok: true });
    },
    TIMEOUT_MS,
  );
});

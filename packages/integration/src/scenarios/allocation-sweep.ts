import { SCENARIOS } from './run-scenarios.ts';
import type { Scenario, ScenarioCase } from './scenario.ts';
import { checkStale } from './scenario.ts';
import { ScenarioRig } from './scenario-rig.ts';
import { scat, X } from './setup.ts';

/**
 * What a sweep over failing allocations came to.
 * @example sweepAllocations(['S0-5']).broken // []
 */
export interface SweepReport {
  /** Cases that were swept. */
  readonly cases: number;
  /** Runs in which an allocation failed: one for each k of each case. */
  readonly failures: number;
  /** Operations that reported it. */
  readonly reported: number;
  /** Invariants that did not hold, with scenario, case and k. */
  readonly broken: readonly string[];
}

/** Far from everything that scenarios map. */
const ELSEWHERE = X * 64;

/** Runs a case with its k-th allocation failing: undefined when it has fewer. */
function failOne(one: ScenarioCase, k: number): ScenarioRig | undefined {
  const rig = new ScenarioRig(one.rig, 'stores');
  const { frames } = rig.machine;
  frames.failIn = k;
  one.run(rig);
  if (frames.failIn > 0) return undefined;
  rig.audit();
  checkStale(rig, one);
  // The domain is as good as before.
  const by = rig.by('K');
  if (by.map(ELSEWHERE, scat(2, rig.granule)) !== 0) rig.fault('the domain maps no more');
  if (by.unmap(ELSEWHERE, 2 * rig.granule) !== 2 * rig.granule) rig.fault('nor unmaps');
  rig.audit();
  rig.end();
  return rig;
}

/**
 * Lets the k-th allocation of a table fail, for every k of every case of the scenarios: no frame leaks, tables are as before or as
 * reported, and the domain can be used afterwards. Cases that inject failures themselves, or are random, are left out. With a `step`
 * only every so many k, from the first on.
 * @example sweepAllocations(['S0-1', 'S0-2'])
 */
export function sweepAllocations(ids: readonly string[], step = 1): SweepReport {
  const chosen = (scenario: Scenario): boolean => ids.includes(scenario.id);
  const broken: string[] = [];
  let [cases, failures, reported] = [0, 0, 0];
  for (const { id, ...scenario } of SCENARIOS.filter(chosen))
    for (const one of scenario.cases()) {
      if (one.sweep === false) continue;
      cases++;
      for (let k = 1; ; k += step) {
        const rig = failOne(one, k);
        if (rig === undefined) break;
        failures++;
        reported += rig.failed.length;
        if (rig.failed.length === 0) rig.fault('nobody reported it');
        for (const text of rig.broken) broken.push(`${id}, ${one.way}, k = ${k}: ${text}`);
      }
    }
  return { cases, failures, reported, broken };
}

import { type RigOptions, ScenarioRig } from './scenario-rig.ts';

/** Named results of a case. @example const counts: Observed = { VA: 1, SYNC: 1, bytes: 0x1000 }; */
export type Observed = Readonly<Record<string, number | string | boolean>>;

/** One scenario in one way on one machine. */
export interface ScenarioCase {
  /** Which way, and what is special about it. */
  readonly way: string;
  readonly rig?: RigOptions;
  /** Does it and says what was counted; must not throw when an allocation fails. */
  run(rig: ScenarioRig): Observed;
  /** What has to come out; what is observed besides is reported only. */
  readonly expected: Observed;
  /** Cases with the same label end with bit-identical tables. */
  readonly tables?: string;
  /** The row says that stale entries are used in a window that the driver allows; absent: none is used at all. */
  readonly stale?: 'race';
  /** Operations fail on purpose. */
  readonly fails?: true;
  /** False: the case injects allocation failures itself, or is random, or allocates exactly as another case does. */
  readonly sweep?: false;
}

/** One row of the evaluation: an operation, and what it may cost in each way. */
export interface Scenario {
  readonly id: string;
  readonly title: string;
  cases(): Iterable<ScenarioCase>;
}

/**
 * What one case came to; `differences` are counts that are not as expected, `broken` invariants that do not hold.
 * @example for (const { way, counts, ok } of scenario.runs) if (!ok) show(way, counts);
 */
export interface ScenarioRun {
  readonly way: string;
  readonly ok: boolean;
  readonly counts: Observed;
  readonly expected: Observed;
  readonly differences: readonly string[];
  readonly broken: readonly string[];
  /** Runs of a scenario with the same label must end with bit-identical tables; `broken` says where one does not. */
  readonly tables?: string;
}

/**
 * What one scenario came to.
 * @example report.scenarios.find(({ id }) => id === 'S0-5')?.ok
 */
export interface ScenarioResult {
  readonly id: string;
  readonly title: string;
  readonly ok: boolean;
  readonly runs: readonly ScenarioRun[];
}

/** Runs all cases of a scenario, each on a machine of its own. */
export function runScenario(scenario: Scenario): ScenarioResult {
  const runs: ScenarioRun[] = [];
  const trees = new Map<string, { readonly way: string; readonly tree: string }>();
  for (const one of scenario.cases()) {
    const rig = new ScenarioRig(one.rig);
    const counts = one.run(rig);
    rig.audit();
    checkStale(rig, one);
    if (one.tables !== undefined) {
      const tree = rig.tree();
      const first = trees.get(one.tables);
      if (first === undefined) trees.set(one.tables, { way: one.way, tree });
      else if (first.tree !== tree)
        rig.fault(`tables are not bit-identical to those of ${first.way}`);
    }
    rig.end();
    const differences = Object.entries(one.expected)
      .filter(([name, value]) => counts[name] !== value)
      .map(([name, value]) => `${name}: expected ${value}, got ${counts[name] ?? 'nothing'}`);
    if (one.fails !== true)
      for (const { errno, name } of rig.failed) rig.fault(`${name}: ${errno}`);
    const { broken } = rig;
    const ok = differences.length === 0 && broken.length === 0;
    const { way, expected, tables } = one;
    const label = tables === undefined ? {} : { tables };
    runs.push({ way, ok, counts, expected, differences, broken, ...label });
  }
  const { id, title } = scenario;
  return { id, title, ok: runs.length > 0 && runs.every(({ ok }) => ok), runs };
}

/** Stale entries that were used, against what the row allows. */
export function checkStale(rig: ScenarioRig, { stale }: ScenarioCase): void {
  const seen = rig.stale();
  if (seen.missing > 0) rig.fault(`${seen.missing} stale entries without an invalidation`);
  if (seen.pending > 0)
    rig.fault(`${seen.pending} stale entries with an invalidation that is not complete`);
  if (stale === undefined && seen.race > 0)
    rig.fault(`${seen.race} stale entries used before their invalidation`);
}

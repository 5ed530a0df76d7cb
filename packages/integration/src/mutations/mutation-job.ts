import { SCENARIOS } from '../scenarios/run-scenarios.ts';
import { runScenario, type Scenario, type ScenarioCase } from '../scenarios/scenario.ts';
import type { Catch, Edit } from './mutation.ts';

/** What a process is told to do. */
export interface MutationJob {
  readonly edits: readonly Edit[];
  readonly rows: readonly Pick<Catch, 'row' | 'way'>[];
}

/** A case that noticed something. */
export interface Noticed {
  readonly row: string;
  readonly way: string;
  /** Counts that differ and invariants that are broken, as a scenario words them; an error that got out. */
  readonly evidence: readonly string[];
}

/** What came of a job. */
export interface Judgement {
  /** Cases that were run. */
  readonly cases: number;
  readonly noticed: readonly Noticed[];
  /** What kept the job from being what it says. */
  readonly problems: readonly string[];
}

/** Where `tools/mutation-loader.mjs` leaves the modules that it replaced. */
const LOADED = Symbol.for('iommukit.replaced');

/** Runs the cases of a job in this process, whose modules have the edits in them already. */
export function judge({ edits, rows }: MutationJob): Judgement {
  const loaded = new Set((globalThis as { [LOADED]?: readonly string[] })[LOADED]);
  const problems = edits
    .filter(({ module }) => !loaded.has(module))
    .map(({ module }) => `${module} was never loaded`);
  const noticed: Noticed[] = [];
  let cases = 0;
  for (const scenario of SCENARIOS) {
    const wanted = rows.filter(({ row }) => row === scenario.id);
    if (wanted.length === 0) continue;
    const found = casesOf(scenario, wanted);
    for (const { way } of wanted)
      if (!found.some((one) => one.way === way)) problems.push(`${scenario.id} has no case ${way}`);
    cases += found.length;
    for (const one of found) noticed.push(...outcome(scenario, one));
  }
  for (const { row } of rows)
    if (!SCENARIOS.some(({ id }) => id === row)) problems.push(`no scenario ${row}`);
  return { cases, noticed, problems };
}

function casesOf(scenario: Scenario, wanted: MutationJob['rows']): readonly ScenarioCase[] {
  return [...scenario.cases()].filter((one) => wanted.some(({ way }) => way === one.way));
}

function outcome(scenario: Scenario, one: ScenarioCase): readonly Noticed[] {
  const { id: row } = scenario;
  try {
    return runScenario({ ...scenario, cases: () => [one] })
      .runs.filter(({ ok }) => !ok)
      .map(({ way, differences, broken }) => ({
        row,
        way,
        evidence: [...differences, ...broken],
      }));
  } catch (error) {
    return [{ row, way: one.way, evidence: [`threw ${String(error)}`] }];
  }
}

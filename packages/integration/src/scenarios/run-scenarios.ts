import { IommuError } from '@iommukit/bits';
import { s013, s017, s018 } from './s0-batch-memory.ts';
import { s05, s06, s019, s020 } from './s0-batches.ts';
import { s012, s014 } from './s0-failures.ts';
import { s01, s02, s03, s04, s015, s016 } from './s0-maps.ts';
import { s07, s08 } from './s0-order.ts';
import { s09, s010, s011 } from './s0-replace.ts';
import { s112 } from './s1-appending.ts';
import { s110 } from './s1-bounces.ts';
import { s18 } from './s1-faults.ts';
import { s19 } from './s1-lazy.ts';
import { s14, s15, s16 } from './s1-ranges.ts';
import { s111 } from './s1-refusals.ts';
import { s11, s12, s13 } from './s1-requests.ts';
import { s17 } from './s1-storage.ts';
import { s24, s25, s26, s214 } from './s2-attach.ts';
import { s216 } from './s2-flush.ts';
import { s28, s29, s213 } from './s2-free.ts';
import { s21, s22, s23, s211 } from './s2-handle.ts';
import { s210, s215 } from './s2-limits.ts';
import { s27, s212 } from './s2-unmap.ts';
import { s35, s36 } from './s3-lists.ts';
import { s310 } from './s3-memory.ts';
import { s39 } from './s3-misuse.ts';
import { s311 } from './s3-mixed.ts';
import { s31, s32, s33, s34, s37, s38, s312 } from './s3-singles.ts';
import { S4_COUNTS } from './s4-counts.ts';
import { s415 } from './s4-coverage.ts';
import { s412, s413, s414, s416, s417, s418, s419 } from './s4-edges.ts';
import { s420 } from './s4-twins.ts';
import { runScenario, type Scenario, type ScenarioResult } from './scenario.ts';
import { type SummaryTable, summaryTables } from './summary-tables.ts';
import { sx8 } from './sx-captures.ts';
import { sx1 } from './sx-exposure.ts';
import { sx4 } from './sx-faults.ts';
import { sx9 } from './sx-full-queue.ts';
import { sx5 } from './sx-locality.ts';
import { sx6 } from './sx-machine.ts';
import { sx3 } from './sx-missing.ts';
import { sx7 } from './sx-publish.ts';
import { sx2 } from './sx-stale.ts';

/** All scenarios, by id. */
export const SCENARIOS: readonly Scenario[] = [
  s01,
  s02,
  s03,
  s04,
  s05,
  s06,
  s07,
  s08,
  s09,
  s010,
  s011,
  s012,
  s013,
  s014,
  s015,
  s016,
  s017,
  s018,
  s019,
  s020,
  s11,
  s12,
  s13,
  s14,
  s15,
  s16,
  s17,
  s18,
  s19,
  s110,
  s111,
  s112,
  s21,
  s22,
  s23,
  s24,
  s25,
  s26,
  s27,
  s28,
  s29,
  s210,
  s211,
  s212,
  s213,
  s214,
  s215,
  s216,
  s31,
  s32,
  s33,
  s34,
  s35,
  s36,
  s37,
  s38,
  s39,
  s310,
  s311,
  s312,
  ...S4_COUNTS,
  s412,
  s413,
  s414,
  s415,
  s416,
  s417,
  s418,
  s419,
  s420,
  sx1,
  sx2,
  sx3,
  sx4,
  sx5,
  sx6,
  sx7,
  sx8,
  sx9,
];

/**
 * What scenarios came to.
 * @example runScenarios(['S0-5']).summary.differences // 0
 */
export interface ScenarioReport {
  /** Something was compared, all counts are as expected and no invariant is broken. */
  readonly ok: boolean;
  readonly summary: {
    readonly scenarios: number;
    /** Cases: one way on one machine. */
    readonly runs: number;
    /** Counts compared with those that were derived beforehand. */
    readonly compared: number;
    /** Counts that differ. */
    readonly differences: number;
    /** Invariants that do not hold. */
    readonly broken: number;
  };
  readonly scenarios: readonly ScenarioResult[];
  /** What the runs come to in the end, computed from these runs; those whose scenarios all ran. */
  readonly tables: readonly SummaryTable[];
}

/**
 * The scenarios that ids or prefixes of ids name, in their own order; all without any. `S0` and `S0-` name all of S0, `S0-1` itself alone.
 * Throws {@link UnknownScenario}.
 * @example scenariosOf(['S4-2']).map(({ title }) => title)
 */
export function scenariosOf(
  ids: readonly string[],
): readonly { readonly id: string; readonly title: string }[] {
  return chosen(ids).map(({ id, title }) => ({ id, title }));
}

function chosen(ids: readonly string[]): readonly Scenario[] {
  if (ids.length === 0) return SCENARIOS;
  const names = (id: string): readonly Scenario[] => {
    const exact = SCENARIOS.filter((scenario) => scenario.id === id);
    return exact.length > 0 ? exact : SCENARIOS.filter((scenario) => scenario.id.startsWith(id));
  };
  const all = new Set<Scenario>();
  for (const id of ids) {
    const found = id === '' ? [] : names(id);
    if (found.length === 0) throw new UnknownScenario({ id });
    for (const scenario of found) all.add(scenario);
  }
  return SCENARIOS.filter((scenario) => all.has(scenario));
}

/**
 * Runs scenarios through the whole machine; `onProgress` is told before each.
 * @example const { ok, summary } = runScenarios(['S0', 'S4']);
 */
export function runScenarios(
  ids: readonly string[],
  onProgress: (done: number, total: number) => void = () => {},
): ScenarioReport {
  const list = chosen(ids);
  const scenarios = list.map((scenario, i) => {
    onProgress(i, list.length);
    return runScenario(scenario);
  });
  const runs = scenarios.flatMap((scenario) => scenario.runs);
  const compared = runs.reduce((sum, run) => sum + Object.keys(run.expected).length, 0);
  return {
    ok: compared > 0 && scenarios.every(({ ok }) => ok),
    summary: {
      scenarios: scenarios.length,
      runs: runs.length,
      compared,
      differences: runs.reduce((sum, run) => sum + run.differences.length, 0),
      broken: runs.reduce((sum, run) => sum + run.broken.length, 0),
    },
    scenarios,
    tables: summaryTables(scenarios),
  };
}

/**
 * No scenario has this id or prefix; code `UNKNOWN_SCENARIO`.
 * @example try { runScenarios(['S9']); } catch (e) { (e as UnknownScenario).operands.id; }
 */
export class UnknownScenario extends IommuError<{ id: string }> {
  override readonly name = 'UnknownScenario';
  constructor(operands: { id: string }) {
    super(
      'UNKNOWN_SCENARIO',
      operands,
      `no scenario ${operands.id}: expected one of ${SCENARIOS.map(({ id }) => id).join(' ')}, or a prefix`,
      'List them with `iommukit scenarios list`',
    );
  }
}

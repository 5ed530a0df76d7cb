import type { ScenarioResult, ScenarioRun } from '../scenarios/scenario.ts';
import type { CountRef } from './evidence.ts';

/**
 * A count with the run that made it; `anchor` names that run's row in a report.
 * @example const { value, anchor }: LinkedCount = cell; // 33, 's0-5-r-coh'
 */
export interface LinkedCount extends CountRef {
  readonly value: number | string | boolean;
  readonly anchor: string;
}

/**
 * A run of a scenario, with the anchor of its row.
 * @example page.rows[0]?.runs[0]?.anchor // 's0-1-p-coh'
 */
export interface LinkedRun {
  readonly anchor: string;
  readonly run: ScenarioRun;
}

/** Results by scenario and way, each run with an anchor of its own. */
export class RunIndex {
  readonly #runs = new Map<string, LinkedRun>();
  readonly #anchors = new Set<string>();

  constructor(results: readonly ScenarioResult[]) {
    for (const { id, runs } of results)
      for (const run of runs) {
        const key = keyOf(id, run.way);
        if (!this.#runs.has(key)) this.#runs.set(key, { anchor: this.#anchor(id, run.way), run });
      }
  }

  get(scenario: string, way: string): LinkedRun | undefined {
    return this.#runs.get(keyOf(scenario, way));
  }

  /** Null where the run was not made, or has no such count. */
  resolve(ref: CountRef | null): LinkedCount | null {
    if (ref === null) return null;
    const found = this.get(ref.scenario, ref.way);
    const value = found?.run.counts[ref.count];
    return found === undefined || value === undefined
      ? null
      : { ...ref, value, anchor: found.anchor };
  }

  #anchor(id: string, way: string): string {
    const slug = `${id} ${way}`.toLowerCase().replace(/[^a-z0-9]+/g, '-');
    const base = slug.replace(/-$/, '');
    let anchor = base;
    // Ways may differ by signs alone.
    for (let n = 2; this.#anchors.has(anchor); n++) anchor = `${base}-${n}`;
    this.#anchors.add(anchor);
    return anchor;
  }
}

function keyOf(scenario: string, way: string): string {
  return `${scenario}\n${way}`;
}

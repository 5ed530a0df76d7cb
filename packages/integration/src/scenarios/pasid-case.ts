import { IommuError } from '@iommukit/bits';
import { PasidRig, type PasidRigOptions } from './pasid-rig.ts';
import type { Observed, ScenarioCase } from './scenario.ts';

/** One row on a machine whose device has PASIDs. */
export interface PasidCase {
  readonly way: string;
  readonly options?: PasidRigOptions;
  readonly run: (rig: PasidRig) => Observed;
  readonly expected: Observed;
  /** As for a scenario. */
  readonly stale?: 'race';
}

/** As a case of a scenario; the machine of the scenario stays idle. */
export function pasidCase({ way, options, run, expected, stale }: PasidCase): ScenarioCase {
  return {
    way,
    run(idle) {
      const rig = new PasidRig(options);
      try {
        const counts = run(rig);
        for (const text of rig.end(stale)) idle.fault(text);
        return counts;
      } catch (error) {
        // One row that cannot go on is no reason to lose the others.
        if (!(error instanceof IommuError)) throw error;
        idle.fault(error.message);
        return {};
      }
    },
    expected,
    sweep: false,
  };
}

/** What a call threw, by its code; empty when it did not. */
export function codeOf(call: () => unknown): string {
  try {
    call();
  } catch (error) {
    return error instanceof Error && 'code' in error ? String(error.code) : String(error);
  }
  return '';
}

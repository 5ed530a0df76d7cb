import type { SoakMachine } from './soak-machine.ts';
import type { SoakOperation } from './soak-operation.ts';
import { operationsOf, runOperations, type SoakOutcome } from './soak-run.ts';
import { shrinkOperations } from './soak-shrink.ts';
import type { SoakViolation } from './soak-violation.ts';

/**
 * What to run.
 * @example const options: SoakOptions = { seed: 1, steps: 1_000_000 };
 */
export interface SoakOptions {
  readonly seed: number;
  readonly steps: number;
  /** Told of the steps done, now and then. */
  readonly progress?: (done: number, total: number) => void;
  /** Called with every new machine before its first step: what tests of the soak itself break the machine with. */
  readonly prepare?: (on: SoakMachine) => void;
}

/**
 * What a soak came to; a failing one has the operations that are left after shrinking.
 * @example if (!report.ok) writeFileSync('failing.json', soakFileText(report.seed, report.violation, report.operations));
 */
export interface SoakReport {
  readonly ok: boolean;
  readonly summary: SoakOutcome['counts'] & { readonly steps: number; readonly violations: number };
  readonly seed: number;
  readonly digest: string;
  readonly violation: SoakViolation | null;
  /** The least that still breaks the same rule; empty when nothing is broken. */
  readonly operations: readonly SoakOperation[];
}

/**
 * Random operations on a whole machine, with invariants after each: seven devices, four CPUs, strict and lazy domains, PASIDs, page faults.
 * The same seed gives the same digest. A failing run is shrunk.
 * @example runSoak({ seed: 1, steps: 2000 }).ok // true
 */
export function runSoak({ seed, steps, progress, prepare }: SoakOptions): SoakReport {
  const watch = {
    ...(prepare === undefined ? {} : { prepare }),
    ...(progress === undefined ? {} : { progress: (done: number) => progress(done, steps) }),
  };
  const outcome = runOperations(operationsOf(seed), steps, watch);
  const { violation } = outcome;
  if (violation === null) return reportOf(seed, outcome, []);
  const all: SoakOperation[] = [];
  for (const operation of operationsOf(seed)) {
    if (all.length === outcome.steps) break;
    all.push(operation);
  }
  const again = prepare === undefined ? {} : { prepare };
  const least = shrinkOperations(
    all,
    (some) => runOperations(some, some.length, again).violation?.rule === violation.rule,
  );
  const last = runOperations(least, least.length, again);
  return reportOf(seed, { ...outcome, violation: last.violation ?? violation }, least);
}

/**
 * Does the operations of a file again.
 * @example const { seed, operations } = readSoakFile(file); replaySoak(seed, operations).violation
 */
export function replaySoak(
  seed: number,
  operations: readonly SoakOperation[],
  prepare?: (on: SoakMachine) => void,
): SoakReport {
  const watch = prepare === undefined ? {} : { prepare };
  const outcome = runOperations(operations, operations.length, watch);
  return reportOf(seed, outcome, outcome.violation === null ? [] : operations);
}

function reportOf(
  seed: number,
  { steps, violation, digest, counts }: SoakOutcome,
  operations: readonly SoakOperation[],
): SoakReport {
  const violations = violation === null ? 0 : 1;
  return {
    ok: violation === null,
    summary: { steps, ...counts, violations },
    seed,
    digest,
    violation,
    operations,
  };
}

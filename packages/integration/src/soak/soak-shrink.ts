/* The least part of a run that still breaks the same rule (delta debugging, Zeller and Hildebrandt 2002). */
import type { SoakOperation } from './soak-operation.ts';

/** Runs at most, so that a shrink ends in reasonable time. */
const MOST_TRIALS = 2000;

/**
 * Leaves operations out as long as `fails` holds of the rest. `operations` must fail. What remains fails, and no longer does when any single
 * operation is left out, unless there were too many trials.
 */
export function shrinkOperations(
  operations: readonly SoakOperation[],
  fails: (some: readonly SoakOperation[]) => boolean,
): readonly SoakOperation[] {
  let trials = 0;
  const stillFails = (some: readonly SoakOperation[]): boolean => {
    trials++;
    return trials <= MOST_TRIALS && fails(some);
  };
  let rest = lastOf(operations, stillFails);
  let parts = 2;
  while (rest.length > 1) {
    const less = withoutAPart(rest, parts, stillFails);
    if (less !== null) {
      rest = less;
      parts = Math.max(2, parts - 1);
    } else if (parts >= rest.length) break;
    else parts = Math.min(rest.length, parts * 2);
  }
  return rest;
}

/** A short end of the run, if it fails by itself: most of a long run has nothing to do with it. */
function lastOf(
  operations: readonly SoakOperation[],
  fails: (some: readonly SoakOperation[]) => boolean,
): readonly SoakOperation[] {
  for (let count = 16; count < operations.length; count *= 4) {
    const last = operations.slice(-count);
    if (fails(last)) return last;
  }
  return operations;
}

function withoutAPart(
  operations: readonly SoakOperation[],
  parts: number,
  fails: (some: readonly SoakOperation[]) => boolean,
): readonly SoakOperation[] | null {
  const size = Math.ceil(operations.length / parts);
  for (let at = 0; at < operations.length; at += size) {
    const less = [...operations.slice(0, at), ...operations.slice(at + size)];
    if (less.length > 0 && fails(less)) return less;
  }
  return null;
}

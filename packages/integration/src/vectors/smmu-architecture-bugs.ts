import { CONFIGURATION_BUGS } from './smmu-architecture-config-bugs.lanes.ts';
import { NESTED_BUGS } from './smmu-architecture-nested-bugs.lanes.ts';
import { program } from './smmu-architecture-script.lanes.ts';
import { STAGE1_BUGS } from './smmu-architecture-stage1-bugs.lanes.ts';
import { STAGE2_BUGS } from './smmu-architecture-stage2-bugs.lanes.ts';
import type { JsonRow } from './vector-values.lanes.ts';

/** One program for each. */
export function bugCases(): JsonRow[] {
  return [...CONFIGURATION_BUGS, ...STAGE1_BUGS, ...STAGE2_BUGS, ...NESTED_BUGS].map(
    ({ name, about, features = 'nested', base, write, ...grounds }) =>
      program(name, about, grounds, { features, setup: base }, write),
  );
}

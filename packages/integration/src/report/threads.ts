import type { Thread } from './evidence.ts';
import { batches } from './thread-batches.ts';
import { handles } from './thread-handles.ts';
import { wholeMachine } from './thread-machine.ts';
import { pasids } from './thread-pasids.ts';
import { twoStep } from './thread-two-step.ts';
import { unmapPages } from './thread-unmap-pages.ts';

/** The threads of a report, in the order of their scenarios. */
export const THREADS: readonly Thread[] = [
  batches,
  twoStep,
  pasids,
  handles,
  unmapPages,
  wholeMachine,
];

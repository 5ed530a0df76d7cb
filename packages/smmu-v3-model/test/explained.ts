/*
 * Accesses to be explained, and explanations in a form that is easy to compare.
 */
import { u64Of } from '@iommukit/bits';
import type { CheckStep, DmaAccess, Explanation, ExplanationStep } from '../src/index.ts';
import { Machine } from './machine.lanes.ts';

export const SID = 0x30;

export function accessTo(iova: number, more: Partial<DmaAccess> = {}): DmaAccess {
  return { streamId: SID, address: u64Of(iova), rw: 'read', ...more };
}

/** A step in one line: what was read or used and where, or which check failed. */
export function line(step: ExplanationStep): string {
  const place = 'level' in step && step.level !== undefined ? ` s${step.stage} l${step.level}` : '';
  switch (step.kind) {
    case 'fetch':
      return `${step.what}${place} ${step.address.lo.toString(16)}`;
    case 'hit':
      return `${step.cache} hit ${step.what}${place} ${step.address.lo.toString(16)}`;
    case 'update':
      return `update${place} ${step.address.lo.toString(16)}`;
    case 'check':
      return `${step.ok ? 'ok' : 'NO'} ${step.what}`;
    default:
      return step.result.outcome;
  }
}

export function lines(explanation: Explanation): string[] {
  return explanation.steps.map(line);
}

export function refusal(explanation: Explanation): Pick<CheckStep, 'what' | 'section' | 'says'> {
  const check = explanation.steps.at(-2);
  if (check?.kind !== 'check' || check.ok) throw new Error('no check failed');
  const { what, section, says } = check;
  return { what, section, says };
}

export function device(): Machine {
  const machine = new Machine().enable();
  machine.device();
  return machine;
}

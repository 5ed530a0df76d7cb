/**
 * What a run must never show. `bytes`: other bytes than the twin's; `refused`: an access that a mapping allows; `reached`: one that none
 * allows; `stale`: a stale entry was used where nothing is pending; `reuse`: an IOVA or a table page goes back before its invalidation is
 * complete; `tables`: page tables hold other pages than those mapped; `leak`: something is left at the end, or was lost; `debug`: dma-debug reports; `result`:
 * a call fails that must not; `threw`: a layer threw.
 * @example const rule: SoakRule = 'bytes';
 */
export type SoakRule =
  | 'bytes'
  | 'refused'
  | 'reached'
  | 'stale'
  | 'reuse'
  | 'tables'
  | 'leak'
  | 'debug'
  | 'result'
  | 'threw';

/**
 * One broken invariant.
 * @example const violation: SoakViolation = { rule: 'leak', text: '1 handles leak' };
 */
export interface SoakViolation {
  readonly rule: SoakRule;
  readonly text: string;
}

/** Keeps the first broken invariant of a run: what comes after it follows from it. */
export class FirstViolation {
  found: SoakViolation | null = null;

  report(rule: SoakRule, text: string): void {
    this.found ??= { rule, text };
  }
}

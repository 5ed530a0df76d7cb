/**
 * The closed list of reasons for which a difference between us and the kernel is explained. `cpu-order`: on several CPUs two whole
 * command lists of different CPUs entered the queue in the other order. `interrupt-free`: with `--feed calls`, an interrupt (or another
 * CPU) freed a range between two events of an allocation of the same IOVA domain, and the order in its caches differs since.
 * @example const reason: Reason = 'cpu-order';
 */
export type Reason = 'cpu-order' | 'interrupt-free';

/**
 * One check of a replay: compared = equal + explained + unexplained.
 * @example const ok = check.compared > 0 && check.unexplained === 0;
 */
export interface CheckResult {
  readonly compared: number;
  readonly equal: number;
  readonly explained: number;
  readonly unexplained: number;
  readonly reasons: Readonly<Partial<Record<Reason, number>>>;
}

/** Names of the checks of a replay. @example const name: CheckName = 'iova'; */
export type CheckName =
  | 'iova'
  | 'frees'
  | 'commands'
  | 'cmdq'
  | 'leaves'
  | 'config'
  | 'translations'
  | 'truth'
  | 'pending'
  | 'verdicts'
  | 'events';

/** Adds up one check, and keeps the first differences in words. */
export class CheckTally {
  equal = 0;
  unexplained = 0;
  /** The first differences, for people. */
  readonly examples: string[] = [];
  readonly #reasons: Partial<Record<Reason, number>> = {};
  #explained = 0;

  /** Counts one item: equal, or unexplained with a sentence. */
  compare(difference: string | undefined): void {
    if (difference === undefined) this.equal++;
    else this.differ(difference);
  }

  /** Counts one unexplained difference. */
  differ(example: string): void {
    this.unexplained++;
    if (this.examples.length < 5) this.examples.push(example);
  }

  /** Counts differences that a reason explains. */
  explain(reason: Reason, count: number): void {
    this.#explained += count;
    this.#reasons[reason] = (this.#reasons[reason] ?? 0) + count;
  }

  get result(): CheckResult {
    const { equal, unexplained } = this;
    return {
      compared: equal + this.#explained + unexplained,
      equal,
      explained: this.#explained,
      unexplained,
      reasons: this.#reasons,
    };
  }
}

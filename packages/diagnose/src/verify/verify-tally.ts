/**
 * The closed list of reasons that explain a difference. `stale-entry`: the translation was cached before its descriptor was cleared, and no
 * command since removes it; shown by replaying the dump's command queue. `reconfigured`: a CMD_CFGI_STE of that stream lies between the
 * access and the dump, so another STE was in force.
 * @example const reason: VerifyReason = 'stale-entry';
 */
export type VerifyReason = 'stale-entry' | 'reconfigured';

/**
 * Names of the checks. `truth`: lines of truth.jsonl that match; `stale`: those that are not in the tables; `verdicts`: writes in a fresh
 * QEMU; `untranslated`: accesses that QEMU let pass or aborted; `config`: registers, STEs and CDs as the dump's author decoded
 * them; `leaves`: leaf descriptors likewise; `commands`, `events`: queue content against QEMU's log.
 * @example const name: VerifyCheck = 'truth';
 */
export type VerifyCheck =
  | 'truth'
  | 'stale'
  | 'verdicts'
  | 'untranslated'
  | 'config'
  | 'leaves'
  | 'commands'
  | 'events';

/**
 * One check: compared = equal + explained + unexplained.
 * @example const holds = (check: VerifyCounts) => check.compared > 0 && check.unexplained === 0;
 */
export interface VerifyCounts {
  readonly compared: number;
  readonly equal: number;
  readonly explained: number;
  readonly unexplained: number;
  readonly reasons: Readonly<Partial<Record<VerifyReason, number>>>;
}

const MOST_EXAMPLES = 5;

/** Adds up one check, and keeps the first differences in words. */
export class VerifyTally {
  readonly examples: string[] = [];
  readonly #reasons: Partial<Record<VerifyReason, number>> = {};
  #equal = 0;
  #explained = 0;
  #unexplained = 0;

  /** Counts one item: equal, or a difference in a sentence. */
  compare(difference: string | undefined): void {
    if (difference === undefined) this.#equal++;
    else this.differ(difference);
  }

  /** Counts one unexplained difference. */
  differ(difference: string): void {
    this.#unexplained++;
    if (this.examples.length < MOST_EXAMPLES) this.examples.push(difference);
  }

  /** Counts one difference that a reason explains. */
  explain(reason: VerifyReason): void {
    this.#explained++;
    this.#reasons[reason] = (this.#reasons[reason] ?? 0) + 1;
  }

  get counts(): VerifyCounts {
    const [equal, explained, unexplained] = [this.#equal, this.#explained, this.#unexplained];
    const compared = equal + explained + unexplained;
    return { compared, equal, explained, unexplained, reasons: { ...this.#reasons } };
  }
}

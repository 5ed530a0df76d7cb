import type { CheckTally } from './check-tally.ts';

/** One answer of the allocator against the kernel's. */
export interface IovaAnswer {
  readonly equal: boolean;
  /** A cause of another order of frees came before, in the same IOVA space. */
  readonly drifted: boolean;
  readonly text: () => string;
}

/** The allocator's answers, in order. */
export class IovaAnswers {
  readonly #list: IovaAnswer[] = [];

  add(answer: IovaAnswer): void {
    this.#list.push(answer);
  }

  report(tally: CheckTally): void {
    for (const { equal, drifted, text } of this.#list)
      if (!equal && drifted) tally.explain('interrupt-free', 1);
      else tally.compare(equal ? undefined : text());
  }
}

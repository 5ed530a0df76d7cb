import { type Mutation, nameOf } from './mutation.ts';
import type { Judgement, Noticed } from './mutation-job.ts';

/**
 * Whether one row noticed a mutation.
 * @example const { row, way, by, seen } = verdict.caughtBy[0];
 */
export interface CatchVerdict {
  readonly row: string;
  readonly way: string;
  /** What the row has to report. */
  readonly by: string;
  /** What it did report of that; absent: nothing. */
  readonly seen?: string;
}

/**
 * What became of one mutation.
 * @example report.mutations.filter(({ ok }) => !ok).map(({ name }) => name)
 */
export interface MutationVerdict {
  /** Number and variant; `unmutated`: no defect, all rows of the others, which must be silent. */
  readonly name: string;
  readonly defect: string;
  /** Every row that is named caught it; of `unmutated`: none noticed anything. */
  readonly ok: boolean;
  readonly caughtBy: readonly CatchVerdict[];
  /** What is wrong with the run itself, or what the rows of `unmutated` report. */
  readonly problems: readonly string[];
}

/**
 * What mutations came to.
 * @example const { ok, summary } = await runMutations(['37']);
 */
export interface MutationReport {
  readonly ok: boolean;
  readonly summary: {
    /** Numbers of the list of defects. */
    readonly defects: number;
    /** Runs: a defect may have variants. */
    readonly mutations: number;
    readonly caught: number;
    readonly notCaught: number;
    /** Cases in which the program without defects was run, and those of them that reported something. */
    readonly unmutatedCases: number;
    readonly unmutatedNoticed: number;
  };
  readonly mutations: readonly MutationVerdict[];
}

/** What a whole run came to; `clean`: the judgement of the run without defects. */
export function reportOf(
  list: readonly Mutation[],
  { cases, noticed }: Judgement,
  mutations: readonly MutationVerdict[],
): MutationReport {
  const caught = mutations.slice(0, list.length).filter(({ ok }) => ok).length;
  return {
    ok: list.length > 0 && mutations.every(({ ok }) => ok),
    summary: {
      defects: new Set(list.map(({ number }) => number)).size,
      mutations: list.length,
      caught,
      notCaught: list.length - caught,
      unmutatedCases: cases,
      unmutatedNoticed: noticed.length,
    },
    mutations,
  };
}

/** What the rows noticed, against what they have to. */
export function verdictOf(mutation: Mutation, { noticed, problems }: Judgement): MutationVerdict {
  const caughtBy = mutation.caughtBy.map(({ row, way, by }): CatchVerdict => {
    const seen = noticed
      .filter((one) => one.row === row && one.way === way)
      .flatMap(({ evidence }) => evidence)
      .find((text) => text.includes(by));
    return { row, way, by, ...(seen === undefined ? {} : { seen }) };
  });
  return {
    name: nameOf(mutation),
    defect: mutation.defect,
    ok: problems.length === 0 && caughtBy.every(({ seen }) => seen !== undefined),
    caughtBy,
    problems,
  };
}

/** Without a defect nothing may be noticed. */
export function silenceOf({ cases, noticed, problems }: Judgement): MutationVerdict {
  const told = ({ row, way, evidence }: Noticed): string => `${row} ${way}: ${evidence.join('; ')}`;
  return {
    name: 'unmutated',
    defect: 'none',
    ok: cases > 0 && noticed.length === 0 && problems.length === 0,
    caughtBy: [],
    problems: [...problems, ...noticed.map(told)],
  };
}

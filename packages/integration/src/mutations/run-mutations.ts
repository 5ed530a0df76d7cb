import { IommuError } from '@iommukit/bits';
import { MUTATIONS } from './gallery.ts';
import { type Mutation, nameOf } from './mutation.ts';
import type { Judgement, MutationJob } from './mutation-job.ts';
import { mustBeClone, runJob } from './mutation-process.ts';
import {
  type MutationReport,
  type MutationVerdict,
  reportOf,
  silenceOf,
  verdictOf,
} from './mutation-report.ts';

const AT_ONCE = 2;

/** The mutations that numbers (`14`) or names (`14b`) mean; all without any. */
function chosen(names: readonly string[]): readonly Mutation[] {
  if (names.length === 0) return MUTATIONS;
  const isMeant = (one: Mutation, name: string): boolean =>
    nameOf(one) === name || `${one.number}` === name;
  for (const name of names)
    if (!MUTATIONS.some((one) => isMeant(one, name))) throw new UnknownMutation({ name });
  return MUTATIONS.filter((one) => names.some((name) => isMeant(one, name)));
}

/**
 * Runs the program with one seeded defect after the other, each in a process of its own, two at a time, and asks the rows that the
 * evaluation names whether they notice; once more without any, when they must not. Only from a clone of the repository. `onProgress` is
 * told after each run. Throws {@link UnknownMutation}, {@link CloneNeeded}.
 * @example const { ok } = await runMutations([]);
 */
export async function runMutations(
  names: readonly string[],
  onProgress: (done: number, total: number) => void = () => {},
): Promise<MutationReport> {
  const list = chosen(names);
  mustBeClone();
  return runAll(list, runJob, onProgress);
}

/** The same for mutations of any list, each job run by `run`. */
export async function runAll(
  list: readonly Mutation[],
  run: (job: MutationJob) => Promise<Judgement>,
  onProgress: (done: number, total: number) => void = () => {},
): Promise<MutationReport> {
  const total = list.length + 1;
  let done = 0;
  onProgress(done, total);
  const step = <T>(result: T): T => {
    onProgress(++done, total);
    return result;
  };
  let unmutated: Judgement = { cases: 0, noticed: [], problems: [] };
  const works = [
    async (): Promise<MutationVerdict> => {
      unmutated = step(await run({ edits: [], rows: rowsOf(list) }));
      return silenceOf(unmutated);
    },
    ...list.map((one) => async (): Promise<MutationVerdict> => {
      const judgement = await run({ edits: one.edits, rows: rowsOf([one]) });
      return step(verdictOf(one, judgement));
    }),
  ];
  const [clean, ...mutations] = await inTurn(works);
  return reportOf(list, unmutated, [...mutations, ...(clean === undefined ? [] : [clean])]);
}

/** Runs works, so many at once, and gives their results in order. */
async function inTurn<T>(works: readonly (() => Promise<T>)[]): Promise<T[]> {
  const results: T[] = [];
  let next = 0;
  const lane = async (): Promise<void> => {
    for (;;) {
      const i = next++;
      const work = works[i];
      if (work === undefined) return;
      results[i] = await work();
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, lane));
  return results;
}

function rowsOf(list: readonly Mutation[]): MutationJob['rows'] {
  const rows = new Map<string, MutationJob['rows'][number]>();
  for (const { caughtBy } of list)
    for (const { row, way } of caughtBy) rows.set(`${row} ${way}`, { row, way });
  return [...rows.values()];
}

/**
 * No mutation has this number or name; code `UNKNOWN_MUTATION`.
 * @example try { await runMutations(['99']); } catch (e) { (e as UnknownMutation).operands.name; }
 */
export class UnknownMutation extends IommuError<{ name: string }> {
  override readonly name = 'UnknownMutation';
  constructor(operands: { name: string }) {
    super(
      'UNKNOWN_MUTATION',
      operands,
      `no mutation ${operands.name}: expected one of ${MUTATIONS.map(nameOf).join(' ')}, or a number`,
      'Name mutations by their number in the list of defects',
    );
  }
}

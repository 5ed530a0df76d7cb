import { hex64 } from '@iommukit/bits';
import type { FtraceTrace } from '@iommukit/captures';
import type { CheckTally } from './check-tally.ts';

/** One list of commands, as the probe of `arm_smmu_cmdq_issue_cmdlist` sees it. */
export interface CommandList {
  readonly n: number;
  readonly sync: number;
  /** Both doublewords of the first command, as four lanes. */
  readonly first: readonly [number, number, number, number];
  readonly cpu: number;
  readonly context: number;
}

/** The lists of a trace, in its order. */
export function tracedLists(trace: FtraceTrace): CommandList[] {
  const lists: CommandList[] = [];
  for (const event of trace.events) {
    if (event.event !== 'cmdlist') continue;
    const { n, sync, c0, c1, cpu, context } = event;
    lists.push({ n, sync: sync ? 1 : 0, first: [c0.lo, c0.hi, c1.lo, c1.hi], cpu, context });
  }
  return lists;
}

/** Compares our lists with the kernel's: in one total order on one CPU, in the order of each context on several. */
export function compareLists(
  ours: readonly CommandList[],
  theirs: readonly CommandList[],
  order: 'total' | 'context',
  tally: CheckTally,
): void {
  const groups = order === 'total' ? [null] : contextsOf(ours, theirs);
  for (const context of groups) {
    const [a, b] = [ours, theirs].map((lists) =>
      context === null ? lists : lists.filter((list) => list.context === context),
    ) as [readonly CommandList[], readonly CommandList[]];
    for (let i = 0; i < Math.max(a.length, b.length); i++)
      tally.compare(
        sameList(a[i], b[i]) ? undefined : `list ${i}: ${show(a[i])}, the kernel ${show(b[i])}`,
      );
  }
}

function contextsOf(...lists: readonly (readonly CommandList[])[]): Set<number> {
  return new Set(lists.flat().map((list) => list.context));
}

function sameList(a: CommandList | undefined, b: CommandList | undefined): boolean {
  return (
    a !== undefined &&
    b !== undefined &&
    a.n === b.n &&
    a.sync === b.sync &&
    a.first.every((lane, i) => lane === b.first[i])
  );
}

function show(list: CommandList | undefined): string {
  if (list === undefined) return 'none';
  const [a, b, c, d] = list.first;
  return `n=${list.n} sync=${list.sync} ${hex64({ lo: a, hi: b })} ${hex64({ lo: c, hi: d })}`;
}

import { runMutations } from '@iommukit/integration';
import type { Command } from 'commander';
import { withProgressOf } from './progress.ts';
import { renderMutations } from './render-mutations.ts';
import { printReport, type Streams } from './streams.ts';

interface MutateFlags {
  readonly json?: boolean;
}

async function mutate(
  names: readonly string[],
  flags: MutateFlags,
  streams: Streams,
): Promise<number> {
  const report = await withProgressOf(streams, flags, 'mutations', (update) =>
    runMutations(names, update),
  );
  printReport(streams, flags, report, renderMutations);
  return report.ok ? 0 : 1;
}

/** Adds `mutate` to the command of scenarios; `done` gets the exit code. */
export function addMutateCommand(
  scenarios: Command,
  streams: Streams,
  done: (exitCode: number) => void,
): void {
  scenarios
    .command('mutate')
    .description(
      'put one defect after the other into the sources; the rows that are named must notice each',
    )
    .argument('[n...]', 'numbers of the list of defects, or a variant such as 14b; none: all')
    .option('--json', 'print one JSON object')
    .action(async (names: string[], flags: MutateFlags) =>
      done(await mutate(names, flags, streams)),
    );
}

import { writeFileSync } from 'node:fs';
import {
  readSoakFile,
  replaySoak,
  runSoak,
  runWorkerSoak,
  type SoakReport,
  soakFileText,
} from '@iommukit/integration';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { writing } from './output-file.ts';
import { withProgress } from './progress.ts';
import { renderSoak, renderWorkerSoak } from './render-soak.ts';
import { printReport, type Streams } from './streams.ts';

const MOST_WORKERS = 16;

interface SoakFlags {
  readonly seed: number;
  readonly steps: number;
  readonly json?: boolean;
  readonly out?: string;
  readonly replay?: string;
  readonly workers?: number;
}

/** What runs a soak; tests give one of a machine that is broken. */
export type Soak = Pick<typeof import('@iommukit/integration'), 'runSoak' | 'replaySoak'>;

/** Does a soak, or a file of one, and writes what failed. */
export function soak(
  flags: SoakFlags,
  streams: Streams,
  by: Soak = { runSoak, replaySoak },
): number {
  const { seed, steps, replay, out } = flags;
  let report: SoakReport;
  if (replay === undefined)
    report = withProgress(streams, flags, 'steps', (progress) =>
      by.runSoak({ seed, steps, progress }),
    );
  else {
    const file = readSoakFile(replay);
    report = by.replaySoak(file.seed, file.operations);
  }
  printReport(streams, flags, report, renderSoak);
  // Last: a file that cannot be written must not cost the report.
  if (!report.ok && out !== undefined)
    writing(out, () =>
      writeFileSync(out, soakFileText(report.seed, report.violation, report.operations)),
    );
  return report.ok ? 0 : 1;
}

async function soakOfWorkers(flags: SoakFlags, workers: number, streams: Streams): Promise<number> {
  const { seed, steps } = flags;
  const report = await runWorkerSoak({ workers, seed, steps });
  printReport(streams, flags, report, renderWorkerSoak);
  return report.ok ? 0 : 1;
}

function whole(least: number, most: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || value < least || value > most)
      throw new InvalidArgumentError(`expected a number from ${least} to ${most}`);
    return value;
  };
}

/** Adds `soak`; `done` gets the exit code. */
export function addSoakCommand(
  program: Command,
  streams: Streams,
  done: (exitCode: number) => void,
): void {
  program
    .command('soak')
    .description('random operations on a whole machine, with invariants after each step')
    .option('--seed <n>', 'what the operations are drawn from', whole(0, 2 ** 32 - 1), 1)
    .option('--steps <m>', 'operations', whole(1, 2 ** 31), 100_000)
    .option('--out <file>', 'where a failing run is written, shrunk')
    .option('--replay <file>', 'do the operations of such a file instead')
    .addOption(
      new Option('--workers <n>', 'CPUs on threads, and an SMMU on another; no digest')
        .argParser(whole(1, MOST_WORKERS))
        .conflicts(['out', 'replay']),
    )
    .option('--json', 'print one JSON object')
    .action(async (flags: SoakFlags) => {
      const { workers } = flags;
      done(
        workers === undefined ? soak(flags, streams) : await soakOfWorkers(flags, workers, streams),
      );
    });
}

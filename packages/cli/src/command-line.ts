import { existsSync, readFileSync } from 'node:fs';
import { IommuError } from '@iommukit/bits';
import { openCapture } from '@iommukit/captures';
import {
  type ReplayOptions,
  replayCapture,
  shippedCapture,
  shippedCaptures,
} from '@iommukit/integration';
import { Command, CommanderError, Option } from 'commander';
import { addInspectCommand } from './inspect-command.ts';
import { addIovaPathology } from './iova-pathology.ts';
import { progressBar } from './progress.ts';
import { renderReplay } from './render-replay.ts';
import { addScenariosCommand } from './scenarios-command.ts';
import { addVectorsCommand } from './vectors-command.ts';

/**
 * Where a command writes; `isTerminal` of stderr decides about progress.
 * @example const streams: Streams = { out: (text) => chunks.push(text), err: () => {}, isTerminal: false };
 */
export interface Streams {
  readonly out: (text: string) => void;
  readonly err: (text: string) => void;
  readonly isTerminal: boolean;
}

interface ReplayFlags {
  readonly json?: boolean;
  readonly feed?: 'events' | 'calls';
  readonly until: 'idle' | 'busy' | 'end';
  readonly kernel?: string;
}

/**
 * Runs the `iommukit` command and returns its exit code: 0 when what was checked holds, 1 when it does not, 2 for bad usage or input
 * that cannot be read (one line on stderr).
 * @example await runCommandLine(['replay', 'linux-6.12-strict-up', '--json'], streams) // 0
 */
export async function runCommandLine(args: readonly string[], streams: Streams): Promise<number> {
  let exitCode = 0;
  const program = new Command('iommukit')
    .description('The Linux IOMMU stack on the command line')
    .version(version())
    .exitOverride()
    .configureOutput({ writeOut: streams.out, writeErr: streams.err });
  program
    .command('replay')
    .description('run the DMA of a captured kernel through every layer and compare')
    .argument(
      '<capture>',
      `folder of a capture, or one that is shipped: ${shippedCaptures().join(', ')}`,
    )
    .option('--json', 'print one JSON object')
    .addOption(new Option('--feed <feed>', 'what drives the layers').choices(['events', 'calls']))
    .addOption(
      new Option('--until <mark>', 'where to stop').choices(['idle', 'busy', 'end']).default('end'),
    )
    .option('--kernel <version>', "kernel to behave as (default: the capture's)")
    .action((name: string, flags: ReplayFlags) => {
      exitCode = replay(name, flags, streams);
    });
  addVectorsCommand(program, streams, (code) => {
    exitCode = code;
  });
  addInspectCommand(program, streams, (code) => {
    exitCode = code;
  });
  addIovaPathology(program, streams, (code) => {
    exitCode = code;
  });
  addScenariosCommand(program, streams, (code) => {
    exitCode = code;
  });
  try {
    if (args.length === 0) {
      streams.out(program.helpInformation());
      return 0;
    }
    await program.parseAsync([...args], { from: 'user' });
    return exitCode;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    if (error instanceof IommuError) {
      streams.err(`${error.message}\n`);
      return 2;
    }
    throw error;
  }
}

function replay(name: string, flags: ReplayFlags, streams: Streams): number {
  const shipped = name.includes('/') || existsSync(name) ? undefined : shippedCapture(name);
  const capture = openCapture(shipped ?? name);
  const bar = progressBar(streams.isTerminal && flags.json !== true);
  const options: ReplayOptions = {
    until: flags.until,
    ...(flags.feed === undefined ? {} : { feed: flags.feed }),
    ...(flags.kernel === undefined ? {} : { kernel: flags.kernel }),
    onProgress: bar.update,
  };
  let report: ReturnType<typeof replayCapture>;
  try {
    report = replayCapture(capture, options);
  } finally {
    bar.stop();
  }
  streams.out(flags.json === true ? `${JSON.stringify(report)}\n` : renderReplay(report));
  return report.ok ? 0 : 1;
}

/** The version of this package, from its manifest. */
function version(): string {
  const manifest = readFileSync(new URL('../package.json', import.meta.url), 'utf8');
  return (JSON.parse(manifest) as { version: string }).version;
}

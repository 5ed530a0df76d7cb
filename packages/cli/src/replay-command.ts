import { existsSync } from 'node:fs';
import { openCapture } from '@iommukit/captures';
import {
  type ReplayOptions,
  replayCapture,
  shippedCapture,
  shippedCaptures,
} from '@iommukit/integration';
import { type Command, Option } from 'commander';
import { withProgress } from './progress.ts';
import { renderReplay } from './render-replay.ts';
import { printReport, type Streams } from './streams.ts';

interface ReplayFlags {
  readonly json?: boolean;
  readonly feed?: 'events' | 'calls';
  readonly until: 'idle' | 'busy' | 'end';
  readonly kernel?: string;
}

function replay(name: string, flags: ReplayFlags, streams: Streams): number {
  const shipped = name.includes('/') || existsSync(name) ? undefined : shippedCapture(name);
  const capture = openCapture(shipped ?? name);
  const options: ReplayOptions = {
    until: flags.until,
    ...(flags.feed === undefined ? {} : { feed: flags.feed }),
    ...(flags.kernel === undefined ? {} : { kernel: flags.kernel }),
  };
  const report = withProgress(streams, flags, 'operations', (onProgress) =>
    replayCapture(capture, { ...options, onProgress }),
  );
  printReport(streams, flags, report, renderReplay);
  return report.ok ? 0 : 1;
}

/** Adds `replay`; `done` gets the exit code. */
export function addReplayCommand(
  program: Command,
  streams: Streams,
  done: (exitCode: number) => void,
): void {
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
    .action((name: string, flags: ReplayFlags) => done(replay(name, flags, streams)));
}

import { existsSync, statSync } from 'node:fs';
import { type Capture, InputError, openCapture } from '@iommukit/captures';
import {
  type ModeOptions,
  parseModes,
  type ReplayMode,
  type ReplayOptions,
  replayCapture,
  replayModes,
  shippedCapture,
  shippedCaptures,
} from '@iommukit/integration';
import { type Command, Option } from 'commander';
import { withProgress } from './progress.ts';
import { renderModes } from './render-modes.ts';
import { renderReplay } from './render-replay.ts';
import { printReport, type Streams } from './streams.ts';

interface ReplayFlags {
  readonly json?: boolean;
  readonly feed?: 'events' | 'calls';
  readonly until: 'idle' | 'busy' | 'end';
  readonly kernel?: string;
  readonly mode?: readonly ReplayMode[];
  readonly twoStepDevice?: string;
}

/** The whole DMA calls of a capture or trace file, once per mode. */
function replayInModes(
  input: Capture | string,
  modes: readonly ReplayMode[],
  flags: ReplayFlags,
  streams: Streams,
): number {
  const { until, kernel, feed, twoStepDevice } = flags;
  const file = typeof input === 'string' ? input : input.dir;
  if (until === 'busy')
    throw new InputError({
      file,
      expected: '--until idle or end: only the recorded kernel has a place for the busy dump',
    });
  if (feed === 'events')
    throw new InputError({
      file,
      expected: '--feed calls: modes and trace files run whole DMA calls',
    });
  const options: ModeOptions = {
    modes,
    until,
    ...(kernel === undefined ? {} : { kernel }),
    ...(twoStepDevice === undefined ? {} : { twoStepDevice }),
  };
  const report = withProgress(streams, flags, 'operations', (onProgress) =>
    replayModes(input, { ...options, onProgress }),
  );
  printReport(streams, flags, report, renderModes);
  return report.ok ? 0 : 1;
}

function replay(name: string, flags: ReplayFlags, streams: Streams): number {
  if (statSync(name, { throwIfNoEntry: false })?.isFile() === true)
    return replayInModes(name, flags.mode ?? ['strict'], flags, streams);
  const shipped = name.includes('/') || existsSync(name) ? undefined : shippedCapture(name);
  const capture = openCapture(shipped ?? name);
  if (flags.mode !== undefined) return replayInModes(capture, flags.mode, flags, streams);
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
      `folder of a capture, one that is shipped (${shippedCaptures().join(', ')}), or a trace file`,
    )
    .option('--json', 'print one JSON object')
    .addOption(new Option('--feed <feed>', 'what drives the layers').choices(['events', 'calls']))
    .addOption(
      new Option('--until <mark>', 'where to stop').choices(['idle', 'busy', 'end']).default('end'),
    )
    .option('--kernel <version>', "kernel to behave as (default: the capture's)")
    .addOption(
      new Option(
        '--mode <modes>',
        'run the DMA calls once per mode and compare the modes: strict,lazy,lazy-percpu,two-step,handle',
      ).argParser(parseModes),
    )
    .option('--two-step-device <name>', 'trace file: device of the maps that no dma event names')
    .action((name: string, flags: ReplayFlags) => done(replay(name, flags, streams)));
}

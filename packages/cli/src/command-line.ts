import { readFileSync } from 'node:fs';
import { IommuError } from '@iommukit/bits';
import { Command, CommanderError } from 'commander';
import { addInspectCommand } from './inspect-command.ts';
import { addIovaPathology } from './iova-pathology.ts';
import { addReplayCommand } from './replay-command.ts';
import { addScenariosCommand } from './scenarios-command.ts';
import { addSoakCommand } from './soak-command.ts';
import type { Streams } from './streams.ts';
import { addVectorsCommand } from './vectors-command.ts';

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
  const done = (code: number): void => {
    exitCode = code;
  };
  addReplayCommand(program, streams, done);
  addVectorsCommand(program, streams, done);
  addInspectCommand(program, streams, done);
  addIovaPathology(program, streams, done);
  addScenariosCommand(program, streams, done);
  addSoakCommand(program, streams, done);
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

/** The version of this package, from its manifest. */
function version(): string {
  const manifest = readFileSync(new URL('../package.json', import.meta.url), 'utf8');
  return (JSON.parse(manifest) as { version: string }).version;
}

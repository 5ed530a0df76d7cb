import { readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { IommuError } from '@iommukit/bits';
import { readText } from '@iommukit/captures';
import {
  runVectorFile,
  type VectorReport,
  writableVectors,
  writeVectors,
} from '@iommukit/integration';
import { type Command, InvalidArgumentError } from 'commander';
import { writing } from './output-file.ts';
import { withProgress } from './progress.ts';
import { renderVectors, vectorsJson, vectorsResult } from './render-vectors.ts';
import type { Streams } from './streams.ts';

interface CheckFlags {
  readonly json?: boolean;
}

interface WriteFlags {
  readonly output?: string;
  readonly seed: number;
  readonly operations: number;
}

/** Files of vectors in a folder, by name. */
const IN_FOLDER = /\.(?:json|ndjson\.gz)$/;

function wholeNumber(text: string): number {
  if (!/^\d+$/.test(text)) throw new InvalidArgumentError('Expected a whole number.');
  return Number(text);
}

/** The files that the arguments name, folders opened, and how many entries of these folders are none. */
function filesOf(paths: readonly string[]): { files: string[]; skipped: number } {
  const files: string[] = [];
  let skipped = 0;
  for (const path of paths) {
    // What is not there is left to the reading of it.
    if (statSync(path, { throwIfNoEntry: false })?.isDirectory() !== true) {
      files.push(path);
      continue;
    }
    for (const entry of readdirSync(path, { withFileTypes: true }).sort(byName))
      if (!entry.isDirectory() && IN_FOLDER.test(entry.name)) files.push(join(path, entry.name));
      else skipped++;
  }
  return { files, skipped };
}

function byName(a: { name: string }, b: { name: string }): number {
  return a.name < b.name ? -1 : 1;
}

/** Runs every file, then says what could not be run. */
function check(paths: readonly string[], flags: CheckFlags, streams: Streams): number {
  const { files, skipped } = filesOf(paths);
  const reports: VectorReport[] = [];
  const unreadable: { file: string; message: string }[] = [];
  withProgress(streams, flags, 'files', (update) => {
    for (const [i, file] of files.entries()) {
      update(i, files.length);
      try {
        reports.push(runVectorFile(readText(file), file));
      } catch (error) {
        if (!(error instanceof IommuError)) throw error;
        unreadable.push({ file, message: error.message });
      }
    }
  });
  const result = vectorsResult(reports, skipped, unreadable);
  // Where nothing could be run, the message is all there is to say.
  if (reports.length > 0 || unreadable.length === 0)
    streams.out(flags.json === true ? vectorsJson(result) : renderVectors(result));
  for (const { message } of unreadable) streams.err(`${message}\n`);
  if (unreadable.length > 0) return 2;
  return result.ok ? 0 : 1;
}

function write(what: string, flags: WriteFlags, streams: Streams): number {
  const { output, seed, operations } = flags;
  const text = writeVectors({ what, seed, operations });
  if (output === undefined) {
    streams.out(text);
    return 0;
  }
  const content = output.endsWith('.gz') ? gzipSync(text) : text;
  writing(output, () => writeFileSync(output, content));
  return 0;
}

/** Adds `vectors check` and `vectors write`; `done` gets the exit code. */
export function addVectorsCommand(
  program: Command,
  streams: Streams,
  done: (exitCode: number) => void,
): void {
  const vectors = program
    .command('vectors')
    .description('run recorded vectors through the packages; write vectors of our own');
  vectors
    .command('check')
    .description('run files of vectors and compare every recorded result')
    .argument('<path...>', 'files (gzip is read too), or folders: their *.json and *.ndjson.gz')
    .option('--json', 'print one JSON object')
    .action((paths: string[], flags: CheckFlags) => done(check(paths, flags, streams)));
  vectors
    .command('write')
    .description(
      'write vectors of what our code does, marked as ours, so that others can test theirs',
    )
    .argument('<what>', `kind or format: ${writableVectors().join(', ')}`)
    .option('-o, --output <file>', 'file to write, packed when it ends in .gz (default: stdout)')
    .option('--seed <n>', 'the same seed gives the same file', wholeNumber, 1)
    .option('--operations <n>', 'operations in the file', wholeNumber, 500)
    .action((what: string, flags: WriteFlags) => done(write(what, flags, streams)));
}

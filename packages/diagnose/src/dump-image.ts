import { existsSync, readdirSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { InputError, readSnapshot, type Snapshot } from '@iommukit/captures';
import { shippedCapture } from '@iommukit/integration';
import { DumpMemory } from './dump-memory.ts';
import { Programming } from './programming.ts';

/**
 * One dump: sparse memory and the SMMU's registers. `tag` is the part of the capture, such as `idle` or `busy`.
 * @example const image: DumpImage = openDump('linux-6.12-strict-up', 'idle');
 */
export interface DumpImage {
  /** The `.snap.json` file. */
  readonly file: string;
  readonly capture: string;
  readonly tag: string;
  readonly snapshot: Snapshot;
  readonly memory: DumpMemory;
  readonly programming: Programming;
}

const SUFFIX = '.snap.json';
/** Idle comes before busy, and other parts after these. */
const ORDER = ['idle', 'busy'];

/**
 * The dumps that a path names: a `.snap.json` file, every one of a capture's folder (idle first), or those of a capture that comes
 * with `@iommukit/integration`, by its name. Throws `InputError` when there is none.
 * @example dumpFiles('linux-6.12-strict-up').map(({ tag }) => tag) // ['idle', 'busy']
 */
export function dumpFiles(path: string): { readonly file: string; readonly tag: string }[] {
  const shipped = path.includes('/') || existsSync(path) ? undefined : shippedCapture(path);
  const at = shipped ?? path;
  const stat = statSync(at, { throwIfNoEntry: false });
  if (stat?.isFile() === true) {
    if (!at.endsWith(SUFFIX))
      throw new InputError({ file: at, expected: `a name that ends in ${SUFFIX}` });
    return [{ file: at, tag: tagOf(at) }];
  }
  if (stat?.isDirectory() !== true)
    throw new InputError({ file: at, expected: `a capture directory or a ${SUFFIX} file` });
  const dumps = readdirSync(at)
    .filter((name) => name.endsWith(SUFFIX))
    .map((name) => ({ file: join(at, name), tag: tagOf(name) }))
    .sort((a, b) => rank(a.tag) - rank(b.tag) || (a.tag < b.tag ? -1 : 1));
  if (dumps.length === 0)
    throw new InputError({
      file: at,
      expected: `a dump, DUMP-IDLE${SUFFIX} or DUMP-BUSY${SUFFIX}`,
    });
  return dumps;
}

function rank(tag: string): number {
  const at = ORDER.indexOf(tag);
  return at < 0 ? ORDER.length : at;
}

function tagOf(file: string): string {
  return basename(file)
    .slice(0, -SUFFIX.length)
    .replace(/^DUMP-/, '')
    .toLowerCase();
}

/**
 * Opens one dump of a path as {@link dumpFiles} reads it: the part with that tag, or the first. Throws `InputError` when it is missing,
 * cut short, or has no stream table registers.
 * @example openDump('linux-6.12-strict-up', 'busy').snapshot.segments.length
 */
export function openDump(path: string, tag?: string): DumpImage {
  const dumps = dumpFiles(path);
  const found = tag === undefined ? dumps[0] : dumps.find((dump) => dump.tag === tag.toLowerCase());
  if (found === undefined)
    throw new InputError({
      file: path,
      expected: `one of the dumps ${dumps.map((dump) => dump.tag).join(', ')}, not ${tag}`,
    });
  return readDump(found.file, found.tag);
}

/** Reads one `.snap.json` file. */
export function readDump(file: string, tag: string): DumpImage {
  const snapshot = readSnapshot(file);
  return {
    file,
    capture: basename(dirname(file)),
    tag,
    snapshot,
    memory: new DumpMemory(snapshot.segments),
    programming: new Programming(snapshot.registers, file),
  };
}

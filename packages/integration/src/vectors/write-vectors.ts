import { readFileSync } from 'node:fs';
import { createPrng, type Prng } from '@iommukit/platform';
import { writeGenericPt, writtenGenericFormats } from './generic-pt-writer.ts';
import { writeIoPgtable, writtenFormats } from './io-pgtable-writer.lanes.ts';
import { writeIova } from './iova-writer.ts';
import { writeSmmuArchitecture } from './smmu-architecture-writer.ts';
import { type JsonRow, VectorError } from './vector-values.lanes.ts';

const ARCHITECTURE = 'smmu';
const MOST_SEED = 2 ** 32 - 1;
const MOST_OPERATIONS = 1_000_000;

/** What a kind alone stands for. */
const FORMAT_OF_KIND: Readonly<Record<string, string>> = {
  'io-pgtable': 'arm-64-lpae-s1',
  'generic-pt': 'x86_64',
};

/**
 * What {@link writeVectors} is asked for: `what` is one of {@link writableVectors}; the same seed gives the same text.
 * @example const options: WriteOptions = { what: 'arm-64-lpae-s1', seed: 1, operations: 500 };
 */
export interface WriteOptions {
  readonly what: string;
  /** 0 to 2^32 - 1. Without effect on `smmu`, whose vectors are always the same. */
  readonly seed: number;
  /** Operations in the file, 1 to 1,000,000, checkpoints and the last one (which destroys what was made) included; without effect on `smmu`. */
  readonly operations: number;
}

/**
 * What vectors can be written of: the kind `iova`, the kinds `io-pgtable` and `generic-pt` (in one of their formats), page-table formats by name, and `smmu`:
 * architecture vectors of the SMMUv3, for other implementations of it.
 * @example writableVectors().includes('arm-64-lpae-s2') // true
 */
export function writableVectors(): string[] {
  return [
    'iova',
    ...Object.keys(FORMAT_OF_KIND),
    ...writtenFormats(),
    ...writtenGenericFormats(),
    ARCHITECTURE,
  ];
}

function checkNumber(name: string, value: number, least: number, most: number): void {
  if (!Number.isInteger(value) || value < least || value > most)
    throw new VectorError(name, `an integer from ${String(least)} to ${String(most)}`, value);
}

function written(
  what: string,
  prng: Prng,
  operations: number,
): { kind: string; head: JsonRow; rows: JsonRow[] } {
  if (what === 'iova') return { kind: 'iova', ...writeIova(prng, operations) };
  return writtenGenericFormats().includes(what)
    ? { kind: 'generic-pt', ...writeGenericPt(what, prng, operations) }
    : { kind: 'io-pgtable', ...writeIoPgtable(what, prng, operations) };
}

/** The version of this package, from its manifest. */
function version(): string {
  const manifest = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(manifest) as { version: string }).version;
}

/**
 * A file of vectors, as text, made of what our code does: the kernel's file format, with `origin` naming us, one operation a line. It lets others
 * test their implementation against ours; about the kernel it proves nothing. Throws {@link VectorError} for what cannot be written.
 * @example const text = writeVectors({ what: 'iova', seed: 1, operations: 500 });
 */
export function writeVectors(options: WriteOptions): string {
  const { seed, operations } = options;
  const what = Object.hasOwn(FORMAT_OF_KIND, options.what)
    ? (FORMAT_OF_KIND[options.what] as string)
    : options.what;
  checkNumber('seed', seed, 0, MOST_SEED);
  checkNumber('operations', operations, 1, MOST_OPERATIONS);
  if (!writableVectors().includes(what))
    throw new VectorError('kind or format', `one of ${writableVectors().join(', ')}`, what);
  if (what === ARCHITECTURE) return architectureText();
  const { kind, head, rows } = written(what, createPrng(seed), operations);
  const header: JsonRow = {
    kind,
    name: `${what.replaceAll('-', '_')}_${String(seed)}`,
    description: `written by iommukit, not recorded: ${what}, seed ${String(seed)}`,
    origin: `iommukit ${version()}`,
    ...head,
  };
  return textOf(header, 'ops', rows);
}

function textOf(header: JsonRow, member: 'ops' | 'cases', rows: readonly JsonRow[]): string {
  const lines = rows.map((row) => JSON.stringify(row)).join(',\n');
  return `${JSON.stringify(header).slice(0, -1)},"${member}":[\n${lines}\n]}\n`;
}

function architectureText(): string {
  const { head, rows } = writeSmmuArchitecture();
  const header: JsonRow = {
    kind: 'smmu-architecture',
    version: 1,
    name: 'smmu_architecture',
    description:
      'written by iommukit: what the SMMUv3 architecture demands, each case with its section',
    origin: `iommukit ${version()}`,
    ...head,
  };
  return textOf(header, 'cases', rows);
}

import { IommuError } from '@iommukit/bits';
import { runDmaIommu } from './dma-iommu-vectors.ts';
import { runGenericPtMatrix } from './generic-pt-cfg-vectors.ts';
import { runGenericPt } from './generic-pt-vectors.lanes.ts';
import { runIoPgtable, runIoPgtableMatrix } from './io-pgtable-vectors.lanes.ts';
import { runIommuCore } from './iommu-core-vectors.ts';
import { runIova } from './iova-vectors.ts';
import type { ProgramFindings } from './qemu-program-findings.ts';
import { holdsPrograms } from './qemu-program-text.ts';
import { runPrograms } from './qemu-programs.ts';
import { isQtestFile, type QtestFindings, runQtest } from './qtest-files.ts';
import { runSmmuArchitecture } from './smmu-architecture-run.lanes.ts';
import { recordedDriver, SMMU_RUNNERS } from './smmu-vector-kinds.ts';
import { VECTOR_SHAPES } from './vector-kinds.ts';
import { type VectorMismatch, VectorTally } from './vector-tally.ts';
import { parseVectors, type VectorText } from './vector-text.ts';
import { type JsonRow, VectorError } from './vector-values.lanes.ts';

/**
 * What running one file of vectors compared and found. `origin` says whose results the file holds: the kernel's, QEMU's, or ours, which prove
 * nothing about the kernel. `operations` counts what was run, `compared` the values.
 * @example const line = (r: VectorReport) => `${r.file}: ${r.mismatches} of ${r.compared} values differ`;
 */
export interface VectorReport {
  readonly file: string;
  readonly kind: string;
  readonly origin: 'kernel' | 'iommukit' | 'qemu';
  /** True when something was run and compared, and nothing differed. */
  readonly ok: boolean;
  readonly operations: number;
  readonly compared: number;
  readonly mismatches: number;
  readonly first?: VectorMismatch;
  /** Of a file of programs run on QEMU's SMMUv3. */
  readonly programs?: ProgramFindings;
  /** Of a recorded register-level run of QEMU's SMMUv3. */
  readonly qtest?: QtestFindings;
}

type Runner<T> = (file: JsonRow, tally: VectorTally) => T;

const RUNNERS: Readonly<Record<string, Runner<void>>> = {
  'io-pgtable': runIoPgtable,
  'io-pgtable-cfg-matrix': runIoPgtableMatrix,
  'generic-pt': runGenericPt,
  'generic-pt-cfg-matrix': runGenericPtMatrix,
  iova: runIova,
  'dma-iommu': runDmaIommu,
  'iommu-core': runIommuCore,
  'smmu-architecture': runSmmuArchitecture,
  ...SMMU_RUNNERS,
};

/** Version of the format of files; one without a version is of this one. */
const VERSION = 1;
/** Kernels whose behaviour the runners have; a file without a kernel is of 7.3. */
const KERNEL = /^7\.3(?:$|[-.])/;

function originOf(file: JsonRow, at: string): VectorReport['origin'] {
  const origin: unknown = file['origin'];
  if (origin === undefined) return 'kernel';
  if (typeof origin === 'string' && origin.startsWith('iommukit ')) return 'iommukit';
  throw new VectorError(`${at}: origin`, 'none (the kernel) or "iommukit VERSION"', origin);
}

function checkHeader(file: JsonRow, at: string): void {
  const { kind, version = VERSION, kernel } = file;
  if (typeof kind !== 'string' || !Object.hasOwn(RUNNERS, kind))
    throw new VectorError(`${at}: kind`, `one of ${Object.keys(RUNNERS).join(', ')}`, kind);
  if (version !== VERSION) throw new VectorError(`${at}: version`, String(VERSION), version);
  if (Object.hasOwn(SMMU_RUNNERS, kind)) checkDriverKernel(file, at);
  else if (kernel !== undefined && (typeof kernel !== 'string' || !KERNEL.test(kernel)))
    throw new VectorError(`${at}: kernel`, 'none or 7.3', kernel);
}

function checkDriverKernel(file: JsonRow, at: string): void {
  try {
    recordedDriver(file);
  } catch (error) {
    if (!(error instanceof VectorError)) throw error;
    throw new VectorError(`${at}: kernel`, error.operands.expected, error.operands.got);
  }
}

/** Holds the file against the shape of its kind; an error names the line of the operation. */
function checkShape(read: VectorText): void {
  const { file, lineOf } = read;
  const kind = VECTOR_SHAPES[file['kind']];
  try {
    kind?.shape(file, file['kind']);
  } catch (error) {
    if (!(error instanceof VectorError)) throw error;
    const { where, expected, got } = error.operands;
    const row = /^[\w-]+\.(?:ops|cases)\[(\d+)\](.*)/.exec(where);
    const at = row === null ? where.replace(/^[\w-]+\.?/, '') : `operation ${row[1]}${row[2]}`;
    throw new VectorError(
      `${lineOf(row === null ? -1 : Number(row[1]))}: ${at === '' ? 'file' : at}`,
      expected,
      got,
    );
  }
}

/** Runs a checked file. What is thrown is bad input where nothing could be made of the configuration, and a mismatch of an operation. */
function runChecked<T>(read: VectorText, tally: VectorTally, run: Runner<T>): T | undefined {
  const { file, lineOf } = read;
  try {
    return run(file, tally);
  } catch (error) {
    const row = tally.operations - 1;
    if (error instanceof VectorError) {
      const { where, expected, got } = error.operands;
      throw new VectorError(`${lineOf(row)}: ${where}`, expected, got);
    }
    if (error instanceof IommuError && row < 0)
      throw new VectorError(lineOf(row), 'what the packages model', error.code);
    tally.check(row, 'thrown', String(error), 'nothing');
    return undefined;
  }
}

/**
 * Runs a file of vectors through the packages and compares every result that it records. `input` is the file's text, or what
 * `JSON.parse` made of it; `name` stands in the report and in messages. Throws {@link VectorError} for what is no file of a kind, version and kernel that
 * can be run, or does not hold what its kind demands; the message is one line that starts with `name:line`.
 * @example const { ok, operations, mismatches } = runVectorFile(readText('pt_v7s_32.json'), 'pt_v7s_32.json');
 */
export function runVectorFile(input: string | object, name: string): VectorReport {
  const tally = new VectorTally();
  if (typeof input === 'string' && holdsPrograms(input)) {
    const programs = runPrograms(input, name, tally);
    return { ...reportOf(tally, { file: name, kind: 'qemu-program', origin: 'qemu' }), programs };
  }
  const read =
    typeof input === 'string'
      ? parseVectors(input, name)
      : { file: input as JsonRow, lineOf: () => name };
  if (isQtestFile(read.file)) {
    const qtest = runChecked(read, tally, runQtest);
    const report = reportOf(tally, { file: name, kind: 'qtest', origin: 'qemu' });
    return qtest === undefined ? report : { ...report, qtest };
  }
  const at = read.lineOf(-1);
  checkHeader(read.file, at);
  const origin = originOf(read.file, at);
  checkShape(read);
  const { kind } = read.file;
  runChecked(read, tally, RUNNERS[kind] as Runner<void>);
  return reportOf(tally, { file: name, kind, origin });
}

function reportOf(
  { operations, compared, mismatches, first }: VectorTally,
  of: Pick<VectorReport, 'file' | 'kind' | 'origin'>,
): VectorReport {
  return {
    ...of,
    ok: mismatches === 0 && compared > 0 && operations > 0,
    operations,
    compared,
    mismatches,
    ...(first === undefined ? {} : { first }),
  };
}

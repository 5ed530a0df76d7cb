import { existsSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { type PciBridge, parseDmesg } from './dmesg.ts';
import { type FtraceTrace, parseFtrace } from './ftrace.ts';
import { type GuestDigest, parseGuestOps } from './guest-ops.ts';
import { InputError } from './input-error.ts';
import { type IomemRange, parseIomem } from './iomem.ts';
import { RecordError, type Rows, readJson } from './json-record.ts';
import { type LeafRow, readLeaves } from './leaves.ts';
import { parseQemuOps, type QemuDigest } from './qemu-ops.ts';
import { type RegisterDump, readRegs } from './registers.ts';
import { readSnapshot, type Snapshot } from './snapshot.ts';
import { readText } from './text-file.ts';
import { readTruth, type TruthRow } from './truth.ts';
import { readVerdicts, type VerdictRow } from './verdicts.ts';

/**
 * Kernel of a capture: the key of the kernel-version tables.
 * @example const k: KernelVersion = '6.12';
 */
export type KernelVersion = '6.1' | '6.12' | '7.2' | '7.3';

/**
 * Which of a capture's two memory dumps.
 * @example const tag: DumpTag = 'idle';
 */
export type DumpTag = 'idle' | 'busy';

/**
 * A file of a capture: one of three logs, or a kind of dump file and its tag.
 * @example const part: CapturePart = 'truth-idle';
 */
export type CapturePart =
  | 'trace'
  | 'guest-ops'
  | 'qemu-ops'
  | `${'snapshot' | 'regs' | 'truth' | 'verdicts' | 'leaves'}-${DumpTag}`;

const DUMP_FILES = {
  snapshot: 'snap.json',
  regs: 'regs.json',
  truth: 'truth.jsonl',
  verdicts: 'qemu-verdicts.jsonl',
  leaves: 'leaves.jsonl',
} as const;

/**
 * A capture directory. The fields are read when it is opened; each method reads its file when it is called, once per call, and
 * throws {@link InputError} when that file is missing or unusable.
 * `cpus` is QEMU's `-smp`; `pcieWindows` are the `pcie@` rows of iomem (`last` inclusive).
 * @example openCapture('captures/linux-6.12-strict').trace().events.length
 */
export interface Capture {
  readonly dir: string;
  readonly name: string;
  readonly kernel: KernelVersion;
  readonly release: string | undefined;
  readonly cpus: number;
  readonly policy: 'strict' | 'lazy';
  /** QEMU's command line. */
  readonly cmdline: string;
  /** Translations of QEMU up to the busy dump, from check.json; undefined without one. */
  readonly translationCount: number | undefined;
  readonly bridges: readonly PciBridge[];
  readonly pcieWindows: readonly IomemRange[];
  path(part: CapturePart): string;
  missing(part: CapturePart): boolean;
  trace(): FtraceTrace;
  guestOps(): GuestDigest;
  qemuOps(): QemuDigest;
  snapshot(tag: DumpTag): Snapshot;
  regs(tag: DumpTag): RegisterDump;
  truth(tag: DumpTag): Rows<TruthRow>;
  verdicts(tag: DumpTag): Rows<VerdictRow>;
  leaves(tag: DumpTag): Rows<LeafRow>;
}

// Logs are kept packed, but a person may have unpacked one to look at it.
function logPath(dir: string, name: string): string {
  const packed = join(dir, `${name}.gz`);
  const plain = join(dir, name);
  return !existsSync(packed) && existsSync(plain) ? plain : packed;
}

function partPath(dir: string, part: CapturePart): string {
  if (part === 'trace') return logPath(dir, 'guest/trace.txt');
  if (part === 'guest-ops' || part === 'qemu-ops') return logPath(dir, `${part}.txt`);
  const [kind, tag] = part.split('-') as [keyof typeof DUMP_FILES, DumpTag];
  return join(dir, `DUMP-${tag.toUpperCase()}.${DUMP_FILES[kind]}`);
}

function readRun(path: string): { kernel: KernelVersion; cpus: number; cmdline: string } {
  return readJson(path, (r) => {
    const kernel = r.text('kernel');
    if (kernel !== '6.1' && kernel !== '6.12' && kernel !== '7.2' && kernel !== '7.3')
      throw new RecordError('kernel to be 6.1, 6.12, 7.2 or 7.3');
    const cmdline = r.text('cmdline');
    const smp = / -smp (\d+)/.exec(cmdline)?.[1];
    if (smp === undefined) throw new RecordError('cmdline to hold -smp and a number of CPUs');
    return { kernel, cpus: Number(smp), cmdline };
  });
}

function readTranslationCount(path: string): number | undefined {
  return existsSync(path) ? readJson(path, (r) => r.count('qemuTranslations')) : undefined;
}

/**
 * Opens a capture directory: reads `run.json`, the kernel log and iomem at once, everything else on demand.
 * Throws {@link InputError} when the directory or one of these three is missing or unusable.
 * @example openCapture('captures/linux-6.12-strict').kernel // '6.12'
 */
export function openCapture(dir: string): Capture {
  if (!statSync(dir, { throwIfNoEntry: false })?.isDirectory())
    throw new InputError({ file: dir, expected: 'a capture directory' });
  const { kernel, cpus, cmdline } = readRun(join(dir, 'run.json'));
  const dmesgPath = logPath(dir, 'guest/dmesg.txt');
  const { release, policy, bridges } = parseDmesg(readText(dmesgPath));
  if (policy === undefined)
    throw new InputError({
      file: dmesgPath,
      expected: 'a line "DMA domain TLB invalidation policy: strict|lazy mode"',
    });
  const iomemPath = logPath(dir, 'guest/iomem.txt');
  const pcieWindows = parseIomem(readText(iomemPath), iomemPath).ranges.filter(
    (range) => range.depth === 0 && range.name.startsWith('pcie@'),
  );
  if (pcieWindows.length === 0)
    throw new InputError({ file: iomemPath, expected: 'at least one pcie@ range' });
  const path = (part: CapturePart): string => partPath(dir, part);
  return {
    dir,
    name: basename(dir),
    kernel,
    release,
    cpus,
    policy,
    cmdline,
    translationCount: readTranslationCount(join(dir, 'check.json')),
    bridges,
    pcieWindows,
    path,
    missing: (part) => !existsSync(path(part)),
    trace: () => parseFtrace(readText(path('trace')), path('trace')),
    guestOps: () => parseGuestOps(readText(path('guest-ops')), path('guest-ops')),
    qemuOps: () => parseQemuOps(readText(path('qemu-ops')), path('qemu-ops')),
    snapshot: (tag) => readSnapshot(path(`snapshot-${tag}`)),
    regs: (tag) => readRegs(path(`regs-${tag}`)),
    truth: (tag) => readTruth(path(`truth-${tag}`)),
    verdicts: (tag) => readVerdicts(path(`verdicts-${tag}`)),
    leaves: (tag) => readLeaves(path(`leaves-${tag}`)),
  };
}

import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import {
  InputError,
  parseQemuOps,
  type QemuDigest,
  type Rows,
  readLeaves,
  readRegs,
  readText,
  readTruth,
  readVerdicts,
  type UnreadLine,
} from '@iommukit/captures';
import { type DumpImage, dumpFiles, readDump } from '../dump-image.ts';
import { CommandLog } from './command-log.ts';
import { compareConfig } from './config-check.ts';
import { compareEvents, compareUntranslated } from './log-checks.ts';
import { replayStale } from './stale-replay.ts';
import { compareLeaves, compareTruth, compareVerdicts } from './table-checks.ts';
import {
  type VerifyCheck,
  type VerifyCounts,
  type VerifyReason,
  VerifyTally,
} from './verify-tally.ts';

/**
 * What was compared on one dump.
 * @example report.dumps.find(({ tag }) => tag === 'idle')?.checks.truth?.equal
 */
export interface DumpVerification {
  readonly file: string;
  readonly tag: string;
  readonly checks: Readonly<Partial<Record<VerifyCheck, VerifyCounts>>>;
  /** Checks for which this dump has no data. */
  readonly notApplicable: readonly VerifyCheck[];
  /** The first differences of each check, in words. */
  readonly examples: readonly string[];
}

/**
 * What the verification of a capture found. `ok`: something that a device or the kernel did was compared, no difference is unexplained, and
 * every line was read.
 * @example const report: VerifyReport = verifyCapture('linux-6.12-strict-up'); report.summary.unexplained // 0
 */
export interface VerifyReport {
  readonly ok: boolean;
  readonly capture: string;
  readonly summary: {
    readonly dumps: number;
    readonly compared: number;
    readonly equal: number;
    readonly explained: number;
    readonly unexplained: number;
    /** Lines of the input that could not be read. */
    readonly unread: number;
  };
  /** The checks, all dumps together. */
  readonly checks: Readonly<Partial<Record<VerifyCheck, VerifyCounts>>>;
  /** Checks for which no dump has data. */
  readonly notApplicable: readonly VerifyCheck[];
  readonly dumps: readonly DumpVerification[];
  readonly unread: readonly UnreadLine[];
}

const CHECKS: readonly VerifyCheck[] = [
  'truth',
  'stale',
  'verdicts',
  'untranslated',
  'config',
  'leaves',
  'commands',
  'events',
];
/** Those that compare with what a device did; the others compare two readings of the same bytes. */
const ORACLES: readonly VerifyCheck[] = ['truth', 'stale', 'verdicts', 'untranslated'];
const UNREAD_SHOWN = 20;

/**
 * Loads each dump of a capture (a folder, one `.snap.json` file, or the name of a shipped capture) into the model and compares it with
 * everything that was recorded beside it. Throws `InputError` for a dump that cannot be read.
 * @example verifyCapture('linux-6.12-strict-up').checks.verdicts?.equal // 1816
 */
export function verifyCapture(path: string): VerifyReport {
  return new Verification(path).run();
}

class Verification {
  readonly #path: string;
  readonly #unread: UnreadLine[] = [];
  #digest: QemuDigest | undefined;

  constructor(path: string) {
    this.#path = path;
  }

  run(): VerifyReport {
    const files = dumpFiles(this.#path);
    const images = files.map(({ file, tag }) => readDump(file, tag));
    const [first] = images;
    if (first === undefined) throw new InputError({ file: this.#path, expected: 'a dump' });
    this.#digest = this.#readDigest(dirname(first.file));
    let from = 0;
    const dumps: DumpVerification[] = [];
    for (const [i, image] of images.entries()) {
      const log = this.#digest === undefined ? undefined : new CommandLog(image, this.#digest);
      const last = i === images.length - 1;
      const to = last ? (this.#digest?.ops.length ?? 0) : (log?.end ?? 0);
      dumps.push(this.#verify(image, log, { from, to }));
      from = to;
    }
    return this.#report(first.capture, dumps);
  }

  #verify(
    image: DumpImage,
    log: CommandLog | undefined,
    part: { readonly from: number; readonly to: number },
  ): DumpVerification {
    const truth = this.#rows(image, 'truth.jsonl', readTruth);
    const verdicts = this.#rows(image, 'qemu-verdicts.jsonl', readVerdicts);
    const leaves = this.#rows(image, 'leaves.jsonl', readLeaves);
    const matching = truth.filter((row) => row.atSnapshot === 'match');
    const stale = truth.filter((row) => row.atSnapshot === 'not-in-tables');
    const regs = beside(image.file, 'regs.json');
    const run: Record<VerifyCheck, (tally: VerifyTally) => void> = {
      truth: (tally) => compareTruth(image, matching, tally),
      stale: (tally) => {
        if (log !== undefined) replayStale(image, stale, log, tally);
        else for (const row of stale) tally.differ(`truth line ${row.line}: no qemu-ops to replay`);
      },
      verdicts: (tally) => compareVerdicts(image, verdicts, tally),
      untranslated: (tally) => {
        if (log !== undefined) compareUntranslated(image, log, part, tally);
      },
      config: (tally) => compareConfig(image, existsSync(regs) ? readRegs(regs) : undefined, tally),
      leaves: (tally) => {
        if (existsSync(beside(image.file, 'leaves.jsonl'))) compareLeaves(image, leaves, tally);
      },
      commands: (tally) => log?.compare(tally),
      events: (tally) => {
        if (log !== undefined) compareEvents(image, log, tally);
      },
    };
    const checks: Partial<Record<VerifyCheck, VerifyCounts>> = {};
    const notApplicable: VerifyCheck[] = [];
    const examples: string[] = [];
    for (const name of CHECKS) {
      const tally = new VerifyTally();
      image.memory.restore();
      run[name](tally);
      const { counts } = tally;
      if (counts.compared === 0) notApplicable.push(name);
      else checks[name] = counts;
      examples.push(...tally.examples.map((example) => `${name}: ${example}`));
    }
    return { file: image.file, tag: image.tag, checks, notApplicable, examples };
  }

  #report(capture: string, dumps: readonly DumpVerification[]): VerifyReport {
    const checks: Partial<Record<VerifyCheck, VerifyCounts>> = {};
    for (const name of CHECKS) {
      const counts = dumps.flatMap((dump) => dump.checks[name] ?? []);
      if (counts.length > 0) checks[name] = counts.reduce(added);
    }
    const all = Object.values(checks).reduce(added, new VerifyTally().counts);
    const { compared, equal, explained, unexplained } = all;
    const unread = this.#unread.length;
    const judged = ORACLES.reduce((sum, name) => sum + (checks[name]?.compared ?? 0), 0);
    const everyDump = dumps.every((dump) => Object.keys(dump.checks).length > 0);
    return {
      ok: judged > 0 && everyDump && unexplained === 0 && unread === 0,
      capture,
      summary: { dumps: dumps.length, compared, equal, explained, unexplained, unread },
      checks,
      notApplicable: CHECKS.filter((name) => checks[name] === undefined),
      dumps,
      unread: this.#unread.slice(0, UNREAD_SHOWN),
    };
  }

  /** The rows of a file beside the dump; none when it is not there. */
  #rows<T>(image: DumpImage, suffix: string, read: (path: string) => Rows<T>): T[] {
    const path = beside(image.file, suffix);
    if (!existsSync(path)) return [];
    const { rows, unread } = read(path);
    this.#unread.push(...unread);
    return rows;
  }

  #readDigest(dir: string): QemuDigest | undefined {
    const path = ['qemu-ops.txt.gz', 'qemu-ops.txt']
      .map((name) => join(dir, name))
      .find((file) => existsSync(file));
    if (path === undefined) return undefined;
    const digest = parseQemuOps(readText(path), path);
    this.#unread.push(...digest.unread);
    return digest;
  }
}

function beside(file: string, suffix: string): string {
  return file.replace(/snap\.json$/, suffix);
}

function added(a: VerifyCounts, b: VerifyCounts): VerifyCounts {
  const reasons: Partial<Record<VerifyReason, number>> = { ...a.reasons };
  for (const [reason, count] of Object.entries(b.reasons) as [VerifyReason, number][])
    reasons[reason] = (reasons[reason] ?? 0) + count;
  return {
    compared: a.compared + b.compared,
    equal: a.equal + b.equal,
    explained: a.explained + b.explained,
    unexplained: a.unexplained + b.unexplained,
    reasons,
  };
}

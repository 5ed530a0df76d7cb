import type { RegisterName } from '@iommukit/arm-arch';
import { unmodelledCode } from './qemu-program-device.lanes.ts';
import type { DeviationCount } from './qemu-program-findings.ts';
import { QtestProbes } from './qtest-probes.ts';
import { QtestRig } from './qtest-rig.ts';
import { QtestRun } from './qtest-run.ts';
import { count, flag, list, object, oneOf, record, type Shape, text } from './vector-shape.ts';
import type { VectorTally } from './vector-tally.ts';
import { type JsonRow, VectorError } from './vector-values.lanes.ts';

// Compares the recorded register-level runs of data/qtest. What counts: the ID registers and reset values; the first record of every named
// step, or that there was none; the checks that are the SMMU's; in a file of probes, the architecture's expectation. What does not: the number of
// records of a step (the DMA engine retries), PCI and DMA-engine checks, CMDQ_BASE and EVTQ_BASE at reset (UNKNOWN), speeds.

/**
 * What a recorded register-level run compared.
 * @example const counted = ({ steps }: QtestFindings) => steps.events + steps.checks + steps.probes + steps.registers;
 */
export interface QtestFindings {
  readonly stage: '1' | '2' | 'nested';
  /** Steps that count. */
  readonly steps: { registers: number; events: number; checks: number; probes: number };
  /** Rows of the file that are not the SMMU's. */
  readonly notCounted: string[];
  /** Steps at which QEMU is known to differ from the architecture, by code as in `data/qemu-vectors/README.md`. */
  readonly deviations: Record<string, DeviationCount>;
  readonly equalAllTheSame: string[];
  readonly differing: string[];
  /** The code with which the model refused the run; a mismatch too. */
  unmodelled: string | undefined;
}

const RECORD = /^[0-9a-f]{64}$/;
const raw: Shape = (value, at) => {
  if (typeof value !== 'string' || !RECORD.test(value))
    throw new VectorError(at, '64 hexadecimal digits', value);
};

const shape = record(
  {
    stage: oneOf('1', '2', 'nested', '6'),
    root: text,
    tests: list(record({ name: text, ok: flag })),
    events: list(record({ name: text, n: count() }, { ev: record({ raw }) })),
    idr: object,
  },
  {
    overflow: record({ gerrorAfter: text }),
    quirks: list(record({ name: text, spec: text, qemu: text, event: text })),
  },
);

/** Steps whose record on QEMU is not the architecture's. */
const KNOWN: Readonly<Record<string, string>> = {
  'event queue overflow': 'q1',
  'CD pointer to nowhere': 'q2',
  'L2 index past span (span 3 = 4 STEs, SID 8)': 'q3',
  'S1CDMax=2': 'q4',
  // CR2.RECINVSID is 0 in these runs.
  'SID >= 2^LOG2SIZE': 'a3',
  'L1 descriptor span 0': 'a3',
  'S2 write to RO, TLB hit (QEMU bug: aborted but never recorded)': 'q7',
};

/** Names of a run's rows that are about PCI and the DMA devices. */
const NOT_SMMU = /^(?:pci |edu id)/;

/** What the recorder expected of a probe, as an outcome; several where the architecture leaves a choice. */
const EXPECTED: Readonly<Record<string, readonly string[]>> = {
  'abort, no event': ['abort'],
  'may hit (global)': ['ok', 'F_TRANSLATION'],
  'ok (clamped)': ['ok'],
  'ok (linear table used)': ['ok'],
};

const COUNTED_REGISTERS = ['IDR0', 'IDR1', 'IDR2', 'IDR3', 'IDR4', 'IDR5', 'IIDR', 'AIDR', 'GBPA'];
const RESET_ZERO = ['CR0', 'GERROR', 'IRQ_CTRL'];

/** True for what was read from a file of a register-level run. */
export function isQtestFile(file: JsonRow): boolean {
  return 'idr' in file && 'tests' in file && 'stage' in file;
}

/** Compares one file. */
class QtestComparison {
  readonly findings: QtestFindings;
  readonly #file: JsonRow;
  readonly #tally: VectorTally;
  readonly #failed: ReadonlySet<string>;

  constructor(file: JsonRow, tally: VectorTally) {
    this.#file = file;
    this.#tally = tally;
    this.#failed = new Set(
      (file['tests'] as JsonRow[]).filter(({ ok }) => ok === false).map(({ name }) => name),
    );
    this.findings = {
      stage: file['stage'] === '6' ? 'nested' : file['stage'],
      steps: { registers: 0, events: 0, checks: 0, probes: 0 },
      notCounted: [],
      deviations: {},
      equalAllTheSame: [],
      differing: [],
      unmodelled: undefined,
    };
  }

  run(): void {
    const reset: Record<string, number> = {};
    for (const name of [...COUNTED_REGISTERS, ...RESET_ZERO]) {
      const value: unknown = this.#file['idr'][name];
      if (typeof value !== 'string' || !/^0x[0-9a-f]{1,8}$/.test(value))
        throw new VectorError(`idr.${name}`, 'a 32-bit word', value);
      reset[name] = Number(value);
    }
    const rig = new QtestRig(reset);
    this.#registers(rig, reset);
    const run = new QtestRun(rig);
    run.reset();
    const { stage } = this.findings;
    if (stage === '2') run.stage2();
    else run.stage1(stage);
    this.#events(run);
    this.#checks(run);
    if (this.#file['quirks'] !== undefined) this.#probes(rig);
  }

  #registers(rig: QtestRig, reset: Record<string, number>): void {
    for (const [name, value] of Object.entries(reset)) {
      this.findings.steps.registers++;
      this.#compare(name, rig.read(name as RegisterName), value);
    }
  }

  #events(run: QtestRun): void {
    for (const row of this.#file['events'] as JsonRow[]) {
      const name = row['name'] as string;
      const got = run.events.get(name);
      if (got === undefined) throw new VectorError('events', 'a step of qtest-edu.mjs', name);
      this.findings.steps.events++;
      const recorded = (row['ev']?.['raw'] as string | undefined) ?? 'none';
      const code = this.#failed.has(`event ${name}`) ? 'not-in-7.2' : KNOWN[name];
      if (code !== undefined) this.#deviation(name, code, got === recorded ? 'equal' : 'other');
      else if (withoutClass(recorded) && got !== recorded) {
        if (clearClass(got) === recorded) this.#deviation(name, 'class-7.2', 'other');
        else this.#compare(name, 'another record', 'the same but for CLASS');
      } else this.#compare(name, got, recorded);
    }
  }

  #checks(run: QtestRun): void {
    const { overflow, tests } = this.#file;
    if (overflow !== undefined) {
      this.findings.steps.checks++;
      const ours = run.checks.get('event queue overflow') === true ? 'overflow' : 'none';
      this.#compare('event queue overflow', ours, 'overflow');
      const deviates = overflow.gerrorAfter === '0x0' ? 'equal' : 'other';
      this.#deviation('event queue overflow', 'q1', deviates);
    }
    for (const { name, ok } of tests as JsonRow[]) {
      if (name.startsWith('event ')) continue;
      if (NOT_SMMU.test(name)) {
        this.findings.notCounted.push(name);
        continue;
      }
      const got = run.checks.get(name);
      if (got === undefined) throw new VectorError('tests', 'a check of qtest-edu.mjs', name);
      this.findings.steps.checks++;
      this.#compare(name, got, ok);
    }
  }

  #probes(rig: QtestRig): void {
    const probes = new QtestProbes(rig);
    probes.run();
    for (const { name, spec, qemu, event } of this.#file['quirks'] as JsonRow[]) {
      const got = probes.outcomes.get(name);
      if (got === undefined) throw new VectorError('quirks', 'a probe of qtest-edu.mjs', name);
      this.findings.steps.probes++;
      const expected = EXPECTED[spec] ?? [spec];
      this.#compare(name, expected.includes(got) ? spec : got, spec);
      const recorded = event !== 'none' ? event : qemu === 'TX_FAIL' ? 'abort' : 'ok';
      if (!expected.includes(recorded))
        this.#deviation(name, 'probe', got === recorded ? 'equal' : 'other');
    }
  }

  #deviation(name: string, code: string, ours: 'equal' | 'other'): void {
    const { deviations, equalAllTheSame } = this.findings;
    deviations[code] ??= { count: 0, equal: 0 };
    deviations[code].count++;
    if (ours === 'other') return;
    deviations[code].equal++;
    equalAllTheSame.push(name);
  }

  #compare(name: string, got: unknown, expected: unknown): void {
    const { mismatches } = this.#tally;
    this.#tally.check(this.#tally.operations++, name, got, expected);
    if (this.#tally.mismatches > mismatches) this.findings.differing.push(name);
  }
}

/** Where byte 13 of a record of QEMU 7.2, which never fills CLASS, would hold it. */
const CLASS_DIGIT = 27;
const WITH_CLASS = /^(?:10|11|12|13)/;

function withoutClass(record: string): boolean {
  return WITH_CLASS.test(record) && record[CLASS_DIGIT - 1] === '0' && record[CLASS_DIGIT] === '0';
}

function clearClass(record: string): string {
  return `${record.slice(0, CLASS_DIGIT)}0${record.slice(CLASS_DIGIT + 1)}`;
}

/** Runs a recorded register-level run on the model. Throws {@link VectorError} for what is none. */
export function runQtest(file: JsonRow, tally: VectorTally): QtestFindings {
  shape(file, 'file');
  const comparison = new QtestComparison(file, tally);
  try {
    comparison.run();
  } catch (error) {
    const code = unmodelledCode(error);
    if (code === undefined) throw error;
    comparison.findings.unmodelled = code;
    tally.check(tally.operations, 'unmodelled', code, 'nothing');
  }
  return comparison.findings;
}

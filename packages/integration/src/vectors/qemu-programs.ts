import { OPCODE, REGISTER_OFFSET as R } from '@iommukit/arm-arch';
import {
  CACHE_EVERYTHING,
  CACHE_NOTHING,
  type CachePolicy,
  type DmaResult,
  type FeaturePreset,
  PRESET_INTERFACE,
} from '@iommukit/smmu-v3-model';
import { ProgramDevice, resultName, unmodelledCode } from './qemu-program-device.lanes.ts';
import { emptyFindings, type ProgramFindings, type ProgramPlace } from './qemu-program-findings.ts';
import { ProgramMemory } from './qemu-program-memory.lanes.ts';
import { ReadRules } from './qemu-program-reads.lanes.ts';
import type {
  AccessOutcome,
  AccessStep,
  CommandOutcome,
  CommandStep,
  ReadStep,
} from './qemu-program-step.ts';
import { type Program, type ProgramHeader, readPrograms } from './qemu-program-text.ts';
import { sameJson, type VectorTally } from './vector-tally.ts';
import { hex, hexOfLanes } from './vector-values.lanes.ts';

// Runs programs recorded on QEMU's SMMUv3, each without caches and again with everything kept.

/** Mismatches that are listed; all are counted. */
const LISTED = 20;

const NO_CACHE: CachePolicy = { ...CACHE_NOTHING, detectStale: false };

/** The legal choices of the device that a preset names; a plain reading of the architecture for others. */
function choicesOf(preset: string): Partial<CachePolicy> {
  return Object.hasOwn(PRESET_INTERFACE, preset) ? PRESET_INTERFACE[preset as FeaturePreset] : {};
}

/** What an access did without caches. */
interface Seen {
  readonly outcome: AccessOutcome;
  /** Without the state of the queue, which an earlier stale use may have changed. */
  readonly device: unknown;
}

type Outcomes = Map<number, AccessOutcome>;

/** Cached entries in a row that one access may have to lose. */
const MOST_ROUNDS = 6;

/** A stale outcome of QEMU that is neither memory's nor the kept copy's. */
interface Unexplained {
  readonly step: AccessStep;
  readonly at: number;
  readonly memory: AccessOutcome;
  readonly copy: AccessOutcome;
}

function deviceView(result: DmaResult): unknown {
  if ('paddr' in result) return result.paddr;
  if (result.outcome === 'abort') return result.reason;
  return [resultName(result), result.event];
}

function add(counts: Record<string, number>, key: string): void {
  counts[key] = (counts[key] ?? 0) + 1;
}

function words(outcome: CommandOutcome): Record<'cons' | 'gerror', string> {
  return { cons: hex(outcome.cons), gerror: hex(outcome.gerror) };
}

/** Runs the programs of one file. */
class ProgramRunner {
  readonly findings: ProgramFindings;
  readonly #header: ProgramHeader;
  readonly #tally: VectorTally;
  readonly #memory: ProgramMemory;
  readonly #choices: Partial<CachePolicy>;
  #program: Program = { id: '', category: '', base: [], steps: [] };
  #row = -1;

  constructor(header: ProgramHeader, tally: VectorTally) {
    this.#header = header;
    this.#tally = tally;
    this.#memory = new ProgramMemory(...header.ram);
    this.#choices = choicesOf(header.preset);
    this.findings = emptyFindings(header.preset);
  }

  run(program: Program): void {
    this.#program = program;
    this.#row++;
    this.findings.programs++;
    const first: Seen[] = [];
    if (!this.#guarded(() => this.#uncached(first))) return;
    const unexplained: Unexplained[] = [];
    this.#guarded(() => this.#keeping(first, unexplained));
    if (unexplained.length > 0) this.#guarded(() => this.#explain(unexplained));
  }

  /** What the model refuses or throws is a mismatch of the program; false then. */
  #guarded(run: () => void): boolean {
    try {
      run();
      return true;
    } catch (error) {
      const code = unmodelledCode(error);
      if (code !== undefined) add(this.findings.unmodelled, code);
      this.#check(
        -1,
        code === undefined ? 'thrown' : 'unmodelled',
        code ?? String(error),
        'nothing',
      );
      return false;
    }
  }

  #start(policy: CachePolicy): ProgramDevice {
    const device = new ProgramDevice(this.#memory, this.#header.reset, {
      ...policy,
      ...this.#choices,
    });
    for (const step of this.#program.base) {
      if (step.kind === 'mem') device.store(step);
      else if (step.kind === 'reg') device.write(step);
      else if (step.kind === 'cmd') device.command(step.words);
    }
    return device;
  }

  #uncached(seen: Seen[]): void {
    const device = this.#start(NO_CACHE);
    const rules = new ReadRules(device.model.features);
    for (const [i, step] of this.#program.steps.entries()) {
      switch (step.kind) {
        case 'mem':
          device.store(step);
          break;
        case 'reg':
          rules.wrote(step);
          device.write(step);
          break;
        case 'read':
          this.#read(device, rules, step, i);
          break;
        case 'cmd':
          this.#command(device, step, i);
          break;
        default:
          seen.push(this.#access(device, step, i));
      }
    }
  }

  #read(device: ProgramDevice, rules: ReadRules, step: ReadStep, at: number): void {
    this.#tally.operations++;
    const { reads } = this.findings;
    const got = device.read(step);
    const [seen, recorded] = [hexOfLanes(got.lo, got.hi), hexOfLanes(step.lo, step.hi)];
    const rule = seen === recorded ? undefined : rules.excepted(step);
    if (rule !== undefined) {
      add(reads.excepted, rule);
      return;
    }
    reads.compared++;
    const partly = seen === recorded ? undefined : partlyEqual(device, rules, step, got);
    if (partly !== undefined) add(reads.partly, partly);
    this.#check(at, `read ${step.name}`, partly === undefined ? seen : recorded, recorded);
  }

  #command(device: ProgramDevice, step: CommandStep, at: number): void {
    this.#tally.operations++;
    this.findings.commands++;
    const comparable = ({ cons, gerror }: CommandOutcome): CommandOutcome => ({
      cons,
      gerror: device.comparable(R.GERROR, gerror),
    });
    const got = words(comparable(device.command(step.words)));
    const recorded = words(comparable(step));
    if (step.deviation.length === 0) {
      this.#check(at, 'command', got, recorded);
      return;
    }
    const equal = sameJson(got, recorded);
    this.#deviation(step.deviation, equal ? 'equal' : 'other', at);
    if (!equal) device.followCommand(step);
  }

  #deviation(codes: readonly string[], ours: 'equal' | 'other', step: number): void {
    const { deviations, equalAllTheSame } = this.findings;
    for (const code of codes) {
      deviations[code] ??= { count: 0, equal: 0 };
      deviations[code].count++;
      if (ours === 'equal') deviations[code].equal++;
    }
    if (ours === 'equal') equalAllTheSame.push({ ...this.#place(step), codes: codes.join('+') });
  }

  #access(device: ProgramDevice, step: AccessStep, at: number): Seen {
    this.#tally.operations++;
    this.findings.accesses++;
    const { prod } = device;
    const { outcome, result } = device.access(step);
    const { expected, deviation, stale } = step;
    const [got, recorded] = [comparable(device, outcome), comparable(device, expected)];
    if (deviation.length > 0)
      this.#deviation(deviation, sameJson(got, recorded) ? 'equal' : 'other', at);
    if (deviation.length === 0 && !stale) this.#check(at, 'access', got, recorded);
    else device.followAccess(prod, expected);
    return { outcome: got, device: deviceView(result) };
  }

  #keeping(first: readonly Seen[], unexplained: Unexplained[]): void {
    const device = this.#start(CACHE_EVERYTHING);
    let access = 0;
    for (const [i, step] of this.#program.steps.entries()) {
      if (step.kind === 'access') {
        const { prod } = device;
        this.#kept(device, step, { at: i, first: first[access++] as Seen, unexplained });
        device.followAccess(prod, step.expected);
      } else this.#setUp(device, step);
    }
  }

  /** A step of a run after the first one, whose results were compared there. */
  #setUp(device: ProgramDevice, step: Program['steps'][number]): void {
    if (step.kind === 'mem') device.store(step);
    else if (step.kind === 'reg') device.write(step);
    else if (step.kind === 'cmd') {
      const { cons } = device.command(step.words);
      if (step.deviation.length > 0 && cons !== step.cons) device.followCommand(step);
    }
  }

  #kept(
    device: ProgramDevice,
    step: AccessStep,
    run: { at: number; first: Seen; unexplained: Unexplained[] },
  ): void {
    const { kept, stale } = this.findings;
    const { at, first, unexplained } = run;
    const before = device.model.staleUseCount;
    const { outcome, result } = device.access(step);
    const copy = comparable(device, outcome);
    const view = deviceView(result);
    const differs = !sameJson(view, first.device);
    if (differs && device.model.staleUseCount === before)
      this.#check(at, 'kept copy used without a report', view, first.device);
    else {
      this.#tally.compared++;
      if (differs) kept.reported++;
      else kept.equal++;
    }
    if (!step.stale) return;
    stale.recorded++;
    const recorded = comparable(device, step.expected);
    if (sameJson(first.outcome, recorded)) stale.fromMemory++;
    else if (sameJson(copy, recorded)) stale.fromCopy++;
    else if (step.deviation.length > 0) stale.deviating++;
    else {
      unexplained.push({ step, at, memory: first.outcome, copy });
      return;
    }
    this.#tally.compared++;
  }

  /** Looks for another legal choice of the caches, then for a deviation that the file does not flag. */
  #explain(unexplained: readonly Unexplained[]): void {
    const refilled = this.#refilled();
    const left = unexplained.filter(({ step, at }) => !sameJson(refilled.get(at), step.expected));
    this.findings.stale.refilled += unexplained.length - left.length;
    this.#tally.compared += unexplained.length - left.length;
    if (left.length === 0) return;
    const withheld = this.#globalsLeft();
    for (const { step, at, memory, copy } of left) {
      if (sameJson(withheld.get(at), step.expected)) this.#unflagged('n26', at);
      else this.#check(at, 'stale outcome', { memory, copy }, step.expected);
    }
  }

  /** Outcomes by step with caches that keep, and drop what an access used that QEMU answered from memory. */
  #refilled(): Outcomes {
    const device = this.#start(CACHE_EVERYTHING);
    const outcomes: Outcomes = new Map();
    for (const [i, step] of this.#program.steps.entries()) {
      if (step.kind !== 'access') {
        this.#setUp(device, step);
        continue;
      }
      const { prod } = device;
      // An entry above the one that was dropped may be stale too.
      for (let round = 0; round < MOST_ROUNDS; round++) {
        const before = new Map(device.model.staleUses.map((use) => [use, use.uses]));
        outcomes.set(i, device.access(step).outcome);
        const used = device.model.staleUses.filter((use) => before.get(use) !== use.uses);
        if (step.stale || used.length === 0) break;
        for (const use of used) device.drop(use);
      }
      device.followAccess(prod, step.expected);
    }
    return outcomes;
  }

  /** Outcomes by step, those alone that used a global translation, with TLBI_NH_VA withheld: n26 leaves global entries of another ASID. */
  #globalsLeft(): Outcomes {
    const device = this.#start(CACHE_EVERYTHING);
    const outcomes: Outcomes = new Map();
    for (const [i, step] of this.#program.steps.entries()) {
      if (step.kind === 'cmd' && step.words[0] % 256 === OPCODE.TLBI_NH_VA)
        device.command([OPCODE.SYNC, 0, 0, 0]);
      else if (step.kind !== 'access') this.#setUp(device, step);
      else {
        const { prod } = device;
        const before = device.model.staleUseCount;
        const { outcome } = device.access(step);
        const global = device.model.staleUses.some(
          ({ kind, asid }) => kind === 'tlb' && asid === undefined,
        );
        if (global && device.model.staleUseCount > before) outcomes.set(i, outcome);
        device.followAccess(prod, step.expected);
      }
    }
    return outcomes;
  }

  #unflagged(code: string, step: number): void {
    const { unflagged } = this.findings;
    unflagged[code] ??= [];
    unflagged[code].push(this.#place(step));
  }

  #place(step: number): ProgramPlace {
    const { id, category } = this.#program;
    return { program: id, category, step };
  }

  #check(step: number, what: string, got: unknown, expected: unknown): void {
    const { id, category } = this.#program;
    const { mismatches } = this.#tally;
    const at = step < 0 ? id : `${id}, step ${String(step)}`;
    this.#tally.check(this.#row, `${at} (${category}): ${what}`, got, expected);
    if (this.#tally.mismatches === mismatches) return;
    add(this.findings.mismatchesBy, `${category}: ${what}`);
    if (this.findings.mismatches.length < LISTED)
      this.findings.mismatches.push({ ...this.#place(step), what, expected, got });
  }
}

/** The rule that excepts the bits in which a read differs; all others are equal. */
function partlyEqual(
  device: ProgramDevice,
  rules: ReadRules,
  step: ReadStep,
  got: { readonly lo: number; readonly hi: number },
): string | undefined {
  const low = (value: number): number => device.comparable(step.offset, value);
  if (low(got.lo) === low(step.lo) && got.hi === step.hi) return 'after-deviation';
  return rules.reservedBits(step, got);
}

/** The outcome without the bits of GERROR that an earlier deviation made incomparable. */
function comparable(device: ProgramDevice, outcome: AccessOutcome): AccessOutcome {
  const gerror = device.comparable(R.GERROR, outcome.gerror);
  return gerror === outcome.gerror ? outcome : { ...outcome, gerror };
}

/**
 * Runs a file of programs recorded on QEMU's SMMUv3. Without caches every outcome that is neither stale nor a deviation has to be ours; with
 * everything kept, every other outcome has to be reported as a stale use. Throws `VectorError` for what is no such file.
 */
export function runPrograms(input: string, name: string, tally: VectorTally): ProgramFindings {
  let runner: ProgramRunner | undefined;
  readPrograms(input, name, (header) => {
    const made = new ProgramRunner(header, tally);
    runner = made;
    return (program) => made.run(program);
  });
  // Without a header the reading has thrown.
  return (runner as unknown as ProgramRunner).findings;
}

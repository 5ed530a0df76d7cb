import { CMDQ_PROD, REGISTER_OFFSET } from '@iommukit/arm-arch';
import {
  type Capture,
  type DumpTag,
  type FtraceTrace,
  InputError,
  type Snapshot,
  type UnreadLine,
} from '@iommukit/captures';
import { IO_PGTABLE_PROFILES } from '@iommukit/io-pgtable';
import type { MemoryView } from '@iommukit/platform';
import { CACHE_EVERYTHING, type SmmuV3Model } from '@iommukit/smmu-v3-model';
import { type KernelProfile, kernelProfile } from '../kernel-profile.ts';
import { Machine, MEMORY_OF_CAPTURES } from '../machine.ts';
import { planCalls } from './call-plan.ts';
import { type CheckName, type CheckResult, CheckTally } from './check-tally.ts';
import { type CommandList, compareLists, tracedLists } from './command-lists.ts';
import { compareQueues } from './command-queue-merge.ts';
import {
  compareEvents,
  comparePending,
  compareTruth,
  compareVerdicts,
  idrWords,
  modelOfDump,
} from './dump-checks.ts';
import { idleLine } from './dump-lines.ts';
import { plannedAccesses, RecordedMemory } from './environment.ts';
import { planEvents } from './event-plan.ts';
import { FlushProbesNeeded, hasFlushProbes } from './flush-probes.ts';
import { flushedAsids } from './flushed-asids.ts';
import { compareConfig, compareLeaves, queueImage, snapshotMemory } from './idle-checks.ts';
import { LazyTranslationIndex } from './lazy-translation-index.ts';
import type { Operation } from './operation.ts';
import { ReplayDriver } from './replay-driver.ts';
import {
  type TranslationFeed,
  TranslationIndex,
  type TranslationWindow,
} from './translation-index.ts';

/**
 * How a capture is replayed.
 * @example const options: ReplayOptions = { feed: 'events', until: 'end' };
 */
export interface ReplayOptions {
  /** `events`: each event drives the layer that made it; `calls`: whole DMA calls. Absent: events where the trace has the probes. */
  readonly feed?: 'events' | 'calls';
  /** Where to stop: at the idle mark, at the busy dump, or at the end of the trace. Absent: the end. */
  readonly until?: 'idle' | 'busy' | 'end';
  /** Kernel to behave as. Absent: the capture's own. */
  readonly kernel?: string;
  /** Told how many of how many operations are done, every few thousand. */
  readonly onProgress?: (done: number, total: number) => void;
}

/**
 * What a replay found.
 * @example const report: ReplayReport = replayCapture(openCapture(dir)); report.ok
 */
export interface ReplayReport {
  readonly capture: string;
  readonly kernel: string;
  readonly feed: 'events' | 'calls';
  readonly until: 'idle' | 'busy' | 'end';
  readonly checks: Readonly<Partial<Record<CheckName, CheckResult>>>;
  /** Checks for which the capture holds no data, or which the feed cannot make. */
  readonly notApplicable: readonly CheckName[];
  readonly summary: {
    readonly compared: number;
    readonly equal: number;
    readonly explained: number;
    readonly unexplained: number;
  };
  /** Work done, and lines that were not read. */
  readonly counters: Readonly<Record<string, number>>;
  /** The first lines of the input that were not read or joined to nothing, each with what was expected. */
  readonly unread: readonly UnreadLine[];
  /** First differences of each check, in words. */
  readonly examples: Readonly<Partial<Record<CheckName, readonly string[]>>>;
  /** True when at least two checks compared something and nothing is unexplained. */
  readonly ok: boolean;
}

/** More lines than this are only counted. */
const UNREAD_SHOWN = 20;

const ALL_CHECKS: readonly CheckName[] = [
  'iova',
  'frees',
  'commands',
  'cmdq',
  'leaves',
  'config',
  'translations',
  'truth',
  'pending',
  'verdicts',
  'events',
];

/**
 * Replays a capture of a real kernel through every layer and compares what both did. Open loop: nothing of the kernel's answers is
 * fed back. Throws `InputError` for a capture that cannot be read or lacks the mark to stop at, `UnknownKernel` for a kernel without a profile,
 * {@link FlushProbesNeeded} for one in lazy mode without the probes of the flush queue or with `feed: 'calls'`.
 * @example const { checks } = replayCapture(openCapture('data/linux-6.12-strict-up')); checks.iova?.equal
 */
export function replayCapture(capture: Capture, options: ReplayOptions = {}): ReplayReport {
  return new Replay(capture, options).run();
}

class Replay {
  readonly #capture: Capture;
  readonly #options: ReplayOptions;
  readonly #until: 'idle' | 'busy' | 'end';
  readonly #tallies = new Map<CheckName, CheckTally>();
  readonly #counters: Record<string, number> = {};
  readonly #unread: UnreadLine[] = [];
  readonly #snapshots = new Map<DumpTag, Snapshot>();
  readonly #dumpMemories = new Map<DumpTag, MemoryView>();

  constructor(capture: Capture, options: ReplayOptions) {
    this.#capture = capture;
    this.#options = options;
    this.#until = options.until ?? 'end';
  }

  run(): ReplayReport {
    const capture = this.#capture;
    const profile = kernelProfile(this.#options.kernel ?? capture.kernel);
    if (this.#options.feed === 'calls') this.#refuseLazy('calls');
    // A dump that cannot be used is an error before anything runs.
    for (const tag of ['idle', 'busy'] as const)
      if (!capture.missing(`snapshot-${tag}`)) this.#snapshot(tag);
    const trace = capture.trace();
    const feed = this.#feed(trace);
    const plan = feed === 'events' ? planEvents(trace, capture.policy) : planCalls(trace);
    const tracePath = capture.path('trace');
    if (this.#until === 'idle' && !plan.operations.some(isIdleMark))
      throw new InputError({
        file: tracePath,
        expected: `the mark ${IDLE_MARK}, where a replay until idle stops`,
      });
    this.#count('events', trace.events.length);
    this.#unreadLines(trace.unread);
    this.#count('unjoinedLines', plan.unjoined.length);
    this.#note(plan.unjoined.map((line) => ({ ...line, file: tracePath })));
    const registers = capture.regs('idle').registers;

    const machine = new Machine({
      idr: idrWords(registers),
      profile,
      cpus: capture.cpus,
      memory: MEMORY_OF_CAPTURES,
      coherent: new RecordedMemory(trace, tracePath),
      // The worst that the architecture allows: a forgotten invalidation shows as a stale use.
      policy: CACHE_EVERYTHING,
      defaultDomainType: capture.policy === 'lazy' ? 'dma-fq' : 'dma',
    });
    const lists: CommandList[] = [];
    const index = this.#translations(plan.operations, profile, trace);
    const driver = new ReplayDriver(machine, capture, index);
    machine.boot((smmu) => {
      driver.enterFirst(trace);
      smmu.trace.listen((event) => {
        if (event.name !== 'cmdlist') return;
        lists.push({ n: event.n, sync: event.sync, first: event.first, ...driver.where });
        driver.issued(event.first);
      });
    });

    this.#execute(plan.operations, driver, { machine, lists, feed, trace });
    driver.finish();
    const iova = this.#tally('iova');
    driver.reportIova(iova);
    if (capture.policy === 'lazy') driver.reportFrees(this.#tally('frees'));
    if (feed === 'calls' || driver.hasTranslations)
      driver.reportTranslations(this.#tally('translations'), feed, this.#until);
    if (feed === 'events') this.#compareCommands(lists, trace, driver);
    this.#compareDumps();
    Object.assign(this.#counters, driver.counters(), {
      commands: machine.driver.cmdq.issued,
      syncs: machine.driver.cmdq.syncs,
      tableFrames: machine.frames.used,
    });
    // After the counters: these uses are the dump's, not the run's.
    this.#comparePending(machine.model);
    return this.#report(profile.kernel, feed);
  }

  #feed(trace: FtraceTrace): 'events' | 'calls' {
    const hasProbes = trace.events.some((event) => event.event === 'alloc_fast');
    const feed = this.#options.feed ?? (hasProbes ? 'events' : 'calls');
    if (feed === 'calls' || !hasFlushProbes(trace)) this.#refuseLazy(feed);
    return feed;
  }

  #refuseLazy(feed: 'events' | 'calls'): void {
    const { name: capture, policy } = this.#capture;
    if (policy === 'lazy') throw new FlushProbesNeeded({ capture, feed });
  }

  #execute(
    operations: readonly Operation[],
    driver: ReplayDriver,
    run: {
      readonly machine: Machine;
      readonly lists: readonly CommandList[];
      readonly feed: 'events' | 'calls';
      readonly trace: FtraceTrace;
    },
  ): void {
    const stopProd = this.#until === 'busy' ? this.#snapshot('busy').meta.cmdq.prod : -1;
    const { onProgress } = this.#options;
    for (let i = 0; i < operations.length; i++) {
      const operation = operations[i] as Operation;
      if (i % 4096 === 0) onProgress?.(i, operations.length);
      if (isIdleMark(operation)) {
        this.#atIdle(run);
        if (this.#until === 'idle') break;
      }
      // The queue stands at the busy dump: only what issues no command may still happen before it.
      if (
        stopProd >= 0 &&
        run.machine.driver.cmdq.issued >= stopProd &&
        issues(operation, this.#capture.policy)
      )
        break;
      driver.execute(operation);
    }
    onProgress?.(operations.length, operations.length);
  }

  /** Checks of our state against the idle dump. */
  #atIdle(run: {
    readonly machine: Machine;
    readonly lists: readonly CommandList[];
    readonly feed: 'events' | 'calls';
    readonly trace: FtraceTrace;
  }): void {
    const capture = this.#capture;
    const { machine, lists, feed, trace } = run;
    if (capture.missing('snapshot-idle')) return;
    const snapshot = this.#snapshot('idle');
    const registers = capture.regs('idle').registers;
    const { memory, model, driver } = machine;
    if (feed === 'events') {
      const { cmdq } = snapshot.meta;
      const prod = CMDQ_PROD.get.WR([model.registers.read32(REGISTER_OFFSET.CMDQ_PROD), 0]);
      const kernel = snapshot.segments.find((segment) => segment.kind === 'cmdq');
      if (kernel !== undefined && !cmdq.wrapped)
        compareQueues(
          queueImage(memory, driver.cmdq.base, prod),
          { words: toWords(kernel.bytes), entries: cmdq.prod },
          { cpus: capture.cpus, issued: lists },
          this.#tally('cmdq'),
        );
      if (!capture.missing('leaves-idle')) {
        const { rows, unread } = capture.leaves('idle');
        this.#unreadLines(unread);
        compareLeaves(memory, snapshot, rows, this.#tally('leaves'));
      }
    }
    const aborts = compareConfig(
      memory,
      model.registers,
      { snapshot, memory: this.#dumpMemory('idle'), registers },
      this.#tally('config'),
    );
    this.#count('abortStes', aborts);
    const accesses = plannedAccesses(trace, capture);
    if (accesses.length === 0) return;
    for (const { streamId, address, rw } of accesses) model.translate({ streamId, address, rw });
    const prod = model.registers.read32(REGISTER_OFFSET.EVENTQ_PROD);
    compareEvents(
      { memory, base: driver.evtq.base, prod },
      { snapshot, memory: this.#dumpMemory('idle') },
      this.#tally('events'),
    );
  }

  #compareCommands(lists: readonly CommandList[], trace: FtraceTrace, driver: ReplayDriver): void {
    const all = tracedLists(trace);
    // A run that stops early compares the kernel's lists up to the same number in each context.
    const theirs = this.#until === 'end' ? all : driver.upTo(all, lists);
    const order = this.#capture.cpus === 1 ? 'total' : 'context';
    compareLists(lists, theirs, order, this.#tally('commands'));
  }

  /** Our model over the kernel's dumps. */
  #compareDumps(): void {
    const capture = this.#capture;
    const tags = this.#until === 'idle' ? (['idle'] as const) : (['idle', 'busy'] as const);
    for (const tag of tags) {
      if (capture.missing(`snapshot-${tag}`) || capture.missing(`regs-${tag}`)) continue;
      const model = modelOfDump(this.#dumpMemory(tag), capture.regs(tag).registers);
      if (!capture.missing(`truth-${tag}`)) {
        const { rows, unread } = capture.truth(tag);
        this.#unreadLines(unread);
        compareTruth(model, rows, this.#tally('truth'));
      }
      if (!capture.missing(`verdicts-${tag}`)) {
        const { rows, unread } = capture.verdicts(tag);
        this.#unreadLines(unread);
        compareVerdicts(model, rows, this.#tally('verdicts'));
      }
    }
  }

  /** A lazy machine that stopped at the busy dump against what QEMU could still translate there. */
  #comparePending(model: SmmuV3Model): void {
    const capture = this.#capture;
    if (capture.policy === 'strict' || this.#until !== 'busy' || capture.missing('truth-busy'))
      return;
    comparePending(model, capture.truth('busy').rows, this.#tally('pending'));
  }

  #translations(
    operations: readonly Operation[],
    profile: KernelProfile,
    trace: FtraceTrace,
  ): TranslationFeed | null {
    const capture = this.#capture;
    if (capture.missing('qemu-ops')) return null;
    const digest = capture.qemuOps();
    this.#unreadLines(digest.unread);
    const asids = ReplayDriver.asidOfStream(operations, capture);
    const window = this.#window(profile);
    return capture.policy === 'lazy'
      ? new LazyTranslationIndex(digest, asids, window, flushedAsids(trace, capture))
      : new TranslationIndex(digest, asids, window);
  }

  /** QEMU's translations up to the busy dump; or up to the idle dump for a run that stops there. */
  #window(profile: KernelProfile): TranslationWindow {
    const capture = this.#capture;
    const none = Number.POSITIVE_INFINITY;
    const tag = this.#until === 'idle' ? 'idle' : 'busy';
    // The log is that of the recorded kernel, whatever we behave as.
    const recorded = Object.hasOwn(IO_PGTABLE_PROFILES, capture.kernel)
      ? kernelProfile(capture.kernel)
      : profile;
    const walks = recorded.pgtable.tableUnmapGathers ? 'before-leaves' : 'alone';
    const lastProd = capture.missing(`snapshot-${tag}`) ? none : this.#snapshot(tag).meta.cmdq.prod;
    if (tag === 'busy')
      return { limit: capture.translationCount ?? none, lastLine: none, lastProd, walks };
    return { limit: none, lastLine: idleLine(capture.name) ?? none, lastProd, walks };
  }

  #snapshot(tag: DumpTag): Snapshot {
    let snapshot = this.#snapshots.get(tag);
    if (snapshot === undefined) {
      snapshot = this.#capture.snapshot(tag);
      this.#snapshots.set(tag, snapshot);
    }
    return snapshot;
  }

  #dumpMemory(tag: DumpTag): MemoryView {
    let memory = this.#dumpMemories.get(tag);
    if (memory === undefined) {
      memory = snapshotMemory(this.#snapshot(tag));
      this.#dumpMemories.set(tag, memory);
    }
    return memory;
  }

  #tally(name: CheckName): CheckTally {
    let tally = this.#tallies.get(name);
    if (tally === undefined) {
      tally = new CheckTally();
      this.#tallies.set(name, tally);
    }
    return tally;
  }

  #unreadLines(lines: readonly UnreadLine[]): void {
    this.#count('unreadLines', lines.length);
    this.#note(lines);
  }

  #note(lines: readonly UnreadLine[]): void {
    for (const line of lines) if (this.#unread.length < UNREAD_SHOWN) this.#unread.push(line);
  }

  #count(name: string, by: number): void {
    this.#counters[name] = (this.#counters[name] ?? 0) + by;
  }

  #report(kernel: string, feed: 'events' | 'calls'): ReplayReport {
    const checks: Partial<Record<CheckName, CheckResult>> = {};
    const examples: Partial<Record<CheckName, readonly string[]>> = {};
    const notApplicable: CheckName[] = [];
    const summary = { compared: 0, equal: 0, explained: 0, unexplained: 0 };
    for (const name of ALL_CHECKS) {
      const tally = this.#tallies.get(name);
      if (tally === undefined) {
        // There is no flush queue in strict mode, and only a machine at the busy dump has its caches.
        const lazy = this.#capture.policy === 'lazy';
        if (
          (name === 'frees' && !lazy) ||
          (name === 'pending' && !(lazy && this.#until === 'busy'))
        )
          continue;
        notApplicable.push(name);
        continue;
      }
      const { result } = tally;
      checks[name] = result;
      if (tally.examples.length > 0) examples[name] = tally.examples;
      summary.compared += result.compared;
      summary.equal += result.equal;
      summary.explained += result.explained;
      summary.unexplained += result.unexplained;
    }
    const results = Object.values(checks);
    const ok =
      results.length >= 2 &&
      results.every((check) => check.compared > 0 && check.unexplained === 0);
    return {
      capture: this.#capture.name,
      kernel,
      feed,
      until: this.#until,
      checks,
      notApplicable,
      summary,
      counters: this.#counters,
      unread: this.#unread,
      examples,
      ok,
    };
  }
}

/** What the captured guest wrote into its trace right before the idle dump. */
const IDLE_MARK = 'PHASE:dump-idle';

function isIdleMark(operation: Operation): boolean {
  return operation.op === 'mark' && operation.text === IDLE_MARK;
}

/** True for operations that put commands into the queue. */
function issues({ op }: Operation, policy: Capture['policy']): boolean {
  if (op === 'unmap' || op === 'uncall') return policy === 'strict';
  return op === 'attach' || op === 'flush';
}

/** Words of memory, as the SMMU reads them. */
const LITTLE_ENDIAN = true;

function toWords(bytes: Uint8Array): Uint32Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const words = new Uint32Array(bytes.byteLength / 4);
  for (let i = 0; i < words.length; i++) words[i] = view.getUint32(i * 4, LITTLE_ENDIAN);
  return words;
}

import { type Capture, InputError, type UnreadLine } from '@iommukit/captures';
import { kernelProfile } from '../kernel-profile.ts';
import type { ModeCounts, ModeLeaks } from './mode-counts.ts';
import { modePolicy, type ReplayMode } from './mode-policy.ts';
import { ModeRun } from './mode-run.ts';
import { captureSource, type ModeSource, traceSource } from './mode-source.ts';
import type { Operation } from './operation.ts';

/**
 * How the modes are run.
 * @example const options: ModeOptions = { modes: ['strict', 'lazy-percpu'] };
 */
export interface ModeOptions {
  readonly modes: readonly ReplayMode[];
  /** Kernel to behave as. Absent: the one that wrote the trace, as far as it can be told. */
  readonly kernel?: string;
  /** A trace file: device of the maps that no dma event names, which are those of the two-step calls. Absent: they are counted as not joined. */
  readonly twoStepDevice?: string;
  /** Where to stop. Absent: the end. */
  readonly until?: 'idle' | 'end';
  /** Told how many of how many operations are done, of all modes together. */
  readonly onProgress?: (done: number, total: number) => void;
}

/** One mode's figures. @example const { commands, leaks }: ModeResult = report.modes.strict; */
export interface ModeResult extends ModeCounts {
  readonly leaks: ModeLeaks;
}

/**
 * The same DMA requests in several modes, side by side.
 * @example const report: ModeReport = replayModes(openCapture(dir), { modes: ['strict', 'handle'] }); report.ok
 */
export interface ModeReport {
  /** Every piece leads to the same place in every mode, and to that of the trace; nothing leaks; where unmap invalidates, nothing stays in reach. */
  readonly ok: boolean;
  readonly source: string;
  readonly kernel: string;
  readonly summary: {
    readonly modes: number;
    readonly compared: number;
    readonly equal: number;
    readonly broken: number;
  };
  readonly modes: Readonly<Partial<Record<ReplayMode, ModeResult>>>;
  /** Broken invariants, in words. */
  readonly broken: readonly string[];
  /** What cannot be compared or was not read. */
  readonly notApplicable: readonly string[];
  readonly counters: {
    readonly events: number;
    readonly operations: number;
    readonly unreadLines: number;
    readonly unjoinedLines: number;
  };
  /** The first lines of the input that were not read or joined to nothing. */
  readonly unread: readonly UnreadLine[];
}

/** More lines than this are only counted. */
const UNREAD_SHOWN = 20;

/** What a capture or a trace cannot say about modes in which it was not recorded. */
const NOT_OF_MODES = 'IOVAs and commands of the recorded kernel: compared without --mode';
const NOT_OF_TRACES =
  'commands, page tables, descriptors, device translations: a trace without capture does not hold them';

/**
 * Runs the whole DMA calls of a capture, or of a trace file with `dma:*` and `iommu:*` events, once per mode through every layer. Throws
 * `InputError` for input that cannot be read, `UnknownKernel` for a kernel without a profile.
 * @example replayModes('trace.txt.gz', { modes: ['strict', 'lazy'], kernel: '6.12' }).modes.lazy?.exposure.pageMilliseconds
 */
export function replayModes(input: Capture | string, options: ModeOptions): ModeReport {
  const source =
    typeof input === 'string' ? traceSource(input, options.twoStepDevice) : captureSource(input);
  const kernel = options.kernel ?? source.kernel;
  const profile = kernelProfile(kernel);
  const operations = until(source, options.until ?? 'end');
  const modes: Partial<Record<ReplayMode, ModeResult>> = {};
  options.modes.forEach((mode, nth) => {
    const run = new ModeRun(source, mode, profile);
    const total = operations.length * options.modes.length;
    operations.forEach((operation, i) => {
      if (i % 4096 === 0) options.onProgress?.(operations.length * nth + i, total);
      run.execute(operation);
    });
    run.settle();
    const counts = run.counts();
    modes[mode] = { ...counts, leaks: run.release() };
  });
  return report(source, kernel, modes, operations.length);
}

/** What the captured guest wrote into its trace right before the idle dump. */
const IDLE_MARK = 'PHASE:dump-idle';

function until(source: ModeSource, stop: 'idle' | 'end'): readonly Operation[] {
  const { operations } = source.plan;
  if (stop === 'end') return operations;
  const at = operations.findIndex((one) => one.op === 'mark' && one.text === IDLE_MARK);
  if (at < 0)
    throw new InputError({
      file: source.traceFile,
      expected: `the mark ${IDLE_MARK}, where a replay until idle stops`,
    });
  return operations.slice(0, at);
}

function report(
  source: ModeSource,
  kernel: string,
  modes: ModeReport['modes'],
  operations: number,
): ModeReport {
  const broken: string[] = [];
  let compared = 0;
  let equal = 0;
  const results = Object.entries(modes) as [ReplayMode, ModeResult][];
  for (const [mode, result] of results) {
    compared += result.translations.compared;
    equal += result.translations.equal;
    for (const text of brokenIn(mode, result)) broken.push(`${mode}: ${text}`);
  }
  const unjoined = source.plan.unjoined.map((line) => ({ ...line, file: source.traceFile }));
  return {
    ok: compared > 0 && broken.length === 0,
    source: source.name,
    kernel,
    summary: { modes: results.length, compared, equal, broken: broken.length },
    modes,
    broken,
    notApplicable: [source.kind === 'trace' ? NOT_OF_TRACES : NOT_OF_MODES],
    counters: {
      events: source.events,
      operations,
      unreadLines: source.unread.length,
      unjoinedLines: unjoined.length,
    },
    unread: [...source.unread, ...unjoined].slice(0, UNREAD_SHOWN),
  };
}

/** Invariants that a mode broke. */
function* brokenIn(mode: ReplayMode, result: ModeResult): Iterable<string> {
  const { translations, leaks, exposure, staleUses, failed } = result;
  const { stillMapped: _trace, ...left } = leaks;
  if (failed > 0) yield `${failed} requests failed`;
  if (translations.equal !== translations.compared)
    yield `${translations.compared - translations.equal} pieces lead elsewhere`;
  for (const text of translations.examples) yield text;
  for (const [what, count] of Object.entries(left))
    if (count !== 0) yield `${count} ${what} are left at the end`;
  if (staleUses > 0) yield `${staleUses} live mappings were found by stale entries`;
  if (modePolicy(mode).queue !== null) return;
  if (translations.reachable > 0)
    yield `${translations.reachable} pieces are within reach after their unmap`;
  if (exposure.pages > 0) yield `${exposure.pages} pages are exposed`;
}

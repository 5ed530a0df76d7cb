import { createPrng } from '@iommukit/platform';
import { SoakChecks } from './soak-checks.ts';
import { SoakMachine } from './soak-machine.ts';
import { drawOperation, type SoakOperation } from './soak-operation.ts';
import { SoakPrivate } from './soak-private.ts';
import { SoakShared } from './soak-shared.ts';
import { SoakStreaming } from './soak-streaming.ts';
import type { SoakViolation } from './soak-violation.ts';

/** Steps between two looks at everything. */
const WHOLE_EVERY = 4096;
/** What the unmaps at the end are told. */
const LAST: SoakOperation = {
  op: 'map',
  cpu: 0,
  device: 0,
  slot: 0,
  way: 'single',
  dir: 'BIDIRECTIONAL',
  pages: 1,
  at: 0,
  seed: 0,
};

/**
 * What a run came to.
 * @example outcome.violation === null // nothing was broken
 */
export interface SoakOutcome {
  /** Operations done, the failing one included. */
  readonly steps: number;
  readonly violation: SoakViolation | null;
  /** SHA-256 over addresses, bytes, commands and events in order, in hex. */
  readonly digest: string;
  /** Accesses of devices, commands and events that were looked at; uses of stale entries that a flush was to come for. */
  readonly counts: {
    readonly accesses: number;
    readonly commands: number;
    readonly events: number;
    readonly pending: number;
    readonly faults: number;
  };
}

/**
 * How a run is watched.
 * @example const watch: SoakWatch = { prepare: ({ machine }) => void machine.coreTrace.listen(log) };
 */
export interface SoakWatch {
  /** Called with the machine before the first step. */
  readonly prepare?: (on: SoakMachine) => void;
  readonly progress?: (step: number) => void;
}

/** Operations from a seed, without end. */
export function* operationsOf(seed: number): Generator<SoakOperation, never, void> {
  const random = createPrng(seed);
  for (;;) yield drawOperation(random);
}

/** Does operations on a new machine until one breaks an invariant, then undoes all; the undoing must leave nothing. */
export function runOperations(
  operations: Iterable<SoakOperation>,
  most: number,
  watch: SoakWatch = {},
): SoakOutcome {
  const on = new SoakMachine();
  watch.prepare?.(on);
  const run = new Run(on);
  let steps = 0;
  for (const operation of operations) {
    if (steps >= most) break;
    steps++;
    run.guarded(() => run.step(operation, steps));
    if (on.violation.found !== null) break;
    if (steps % WHOLE_EVERY === 0) watch.progress?.(steps);
  }
  if (on.violation.found === null) run.guarded(() => run.end());
  const { machine, events, pendingUses: pending } = on;
  return {
    steps,
    violation: on.violation.found,
    digest: on.digest.text(),
    counts: {
      accesses: machine.model.counters.accesses,
      commands: machine.driver.cmdq.issued,
      events,
      pending,
      faults: machine.faults?.counts.groups ?? 0,
    },
  };
}

/** The parts of a soak on one machine. */
class Run {
  readonly #on: SoakMachine;
  readonly #streaming: SoakStreaming;
  readonly #private: SoakPrivate;
  readonly #shared: SoakShared;
  readonly #checks: SoakChecks;
  readonly #do: Readonly<Record<SoakOperation['op'], (operation: SoakOperation) => void>>;

  constructor(on: SoakMachine) {
    this.#on = on;
    const streaming = new SoakStreaming(on);
    const own = new SoakPrivate(on);
    const shared = new SoakShared(on);
    this.#streaming = streaming;
    this.#private = own;
    this.#shared = shared;
    this.#checks = new SoakChecks(on, streaming, own);
    const { clock } = on.machine.platform;
    this.#do = {
      map: (operation) => streaming.map(operation),
      dma: (operation) => streaming.dma(operation),
      sync: (operation) => streaming.sync(operation),
      stray: (operation) => streaming.stray(operation),
      time: ({ at }) => clock.advance(at),
      space: (operation) => own.space(operation),
      'space-map': (operation) => own.map(operation),
      'space-dma': (operation) => own.dma(operation),
      process: (operation) => shared.process(operation),
      'process-dma': (operation) => shared.dma(operation),
      'process-cpu': (operation) => shared.cpu(operation),
      faults: (operation) => shared.faults(operation),
      reclaim: (operation) => shared.reclaim(operation),
      discard: (operation) => shared.discard(operation),
    };
  }

  step(operation: SoakOperation, index: number): void {
    this.#on.machine.platform.cpu = operation.cpu;
    this.#do[operation.op](operation);
    this.#checks.cheap();
    if (index % WHOLE_EVERY === 0) this.#checks.whole();
  }

  end(): void {
    this.#checks.whole();
    this.#streaming.end(LAST);
    // Before the device forgets what it was prepared with.
    this.#shared.end();
    this.#private.end();
    for (const { dev } of this.#on.devices) dev.space?.flushQueue?.expire();
    this.#checks.end();
  }

  /** What a layer throws is a violation, and the rest of the run is of no use. */
  guarded(work: () => void): void {
    try {
      work();
    } catch (error) {
      this.#on.violation.report('threw', String(error));
    }
  }
}

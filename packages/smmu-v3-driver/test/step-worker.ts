// A producer or the consumer of a small command queue, each access to shared memory a step; see queue-schedules.test.ts.
import { workerData } from 'node:worker_threads';
import { SharedMemory, TraceChannel } from '@iommukit/platform';
import { CommandBatch, CommandQueue, type DriverEvent, type SyncSignal } from '../src/index.ts';
import { Consumer, fillBatch, SharedRegisters } from './shared-queue.lanes.ts';
import { Gate, SteppedRegisters, SteppedView, SteppedWords } from './step-gate.lanes.ts';

export const RING_BASE = 0x8000_0000;
/** The queue's words have addresses 0 to 4, two registers follow, then the ring. */
const REGISTERS_AT = 5;
const RING_AT = 7;

/** What a run does, in words of shared memory so that the threads stay. */
export const SCRIPT = { lg2: 0, signal: 1, burst: 2, entries: 3, torn: 4, lists: 5 } as const;
/** Lists of each producer, two words each: commands, and 1 with a SYNC; commands and SYNC 0 end them. */
export const MOST_LISTS = 4;
export const SCRIPT_WORDS: number = SCRIPT.lists + 2 * MOST_LISTS * 2;
export const SIGNALS: readonly SyncSignal[] = ['sev', 'msi', 'none'];

export interface StepTask {
  /** 0 and 1 produce, 2 consumes. */
  readonly who: number;
  readonly stage: SharedArrayBuffer;
  readonly script: SharedArrayBuffer;
  readonly ram: SharedArrayBuffer;
  readonly registers: SharedArrayBuffer;
  readonly words: SharedArrayBuffer;
  readonly seen: SharedArrayBuffer;
  /** What went wrong, a word a thread. */
  readonly wrong: SharedArrayBuffer;
}

function work(task: StepTask): void {
  const { who } = task;
  const gate = new Gate(task.stage, who);
  const script = new Int32Array(task.script);
  const seen = new Int32Array(task.seen);
  const wrong = new Int32Array(task.wrong);
  const inner = new SharedMemory({ base: RING_BASE, buffer: task.ram });
  const memory = new SteppedView(gate, inner, RING_BASE, RING_AT);
  const registers = new SteppedRegisters(gate, new SharedRegisters(task.registers), REGISTERS_AT);
  const words = new SteppedWords(gate, task.words);
  const batch = new CommandBatch();
  const produce = (): void => {
    words.torn = script[SCRIPT.torn] === 1;
    const queue = new CommandQueue({
      memory,
      registers,
      platform: gate,
      trace: new TraceChannel<DriverEvent>(),
      log: () => {},
      base: RING_BASE,
      lg2: script[SCRIPT.lg2] as number,
      words,
      signal: SIGNALS[script[SCRIPT.signal] as number] as SyncSignal,
    });
    let seq = 0;
    for (let list = 0; list < MOST_LISTS; list++) {
      const at = SCRIPT.lists + (who * MOST_LISTS + list) * 2;
      const count = script[at] as number;
      const sync = script[at + 1] === 1;
      fillBatch(batch, who, seq, count);
      seq += count;
      if (!sync) queue.issue(batch);
      else if (queue.issueSync(batch) !== 0 || (seen[who] as number) < seq)
        wrong[who] = (wrong[who] as number) + 1;
    }
  };
  const consume = (): void => {
    const lg2 = script[SCRIPT.lg2] as number;
    const consumer = new Consumer({ memory, registers, base: RING_BASE, lg2, seen });
    let left = script[SCRIPT.entries] as number;
    while (left > 0) {
      let pending = 0;
      gate.pollUntil(() => {
        pending = consumer.pending();
        return pending > 0;
      });
      const count = Math.min(pending, script[SCRIPT.burst] as number);
      consumer.take(count);
      left -= count;
    }
    const { torn, outOfOrder, overrun } = consumer.found;
    wrong[who] = torn + outOfOrder + overrun - left;
  };
  for (;;) {
    gate.awaitRun();
    let how: 'done' | 'failed' = 'done';
    try {
      if (who === 2) consume();
      else produce();
    } catch {
      how = 'failed';
    }
    gate.finish(how);
  }
}

if (workerData !== null && (workerData as Partial<StepTask>).stage !== undefined)
  work(workerData as StepTask);

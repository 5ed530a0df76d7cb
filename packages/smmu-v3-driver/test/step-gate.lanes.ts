// Lets exactly one of several worker threads do exactly one access to shared memory at a time, in an order that the main thread chose.
// The threads run the shipped code; what they get is a view, registers and words each access of which passes `Gate.step`.
//
// Waiting is part of it: a thread whose poll has failed comes back only when another has changed something that the poll had read. The
// exclusive lock of the queue is taken and given back by polls that fail; such a change wakes only who saw it in between.
import type { MemoryView, MmioFrame, Platform } from '@iommukit/platform';
import { SimClock } from '@iommukit/platform';
import type { QueueWords } from '../src/index.ts';

/** Addresses 0 to 29; more than a small queue has. */
export const MOST_ADDRESSES = 30;
/** Word of the lock among the queue's words, and so its address. */
const LOCK_ADDRESS = 2;

/** What a thread is about to do: nothing that another could see, or an access. */
export const NO_ACCESS = 31;
export const ACCESS = { read: 0, write: 1, flip: 2 } as const;
export type Access = (typeof ACCESS)[keyof typeof ACCESS];
const opOf = (address: number, access: Access): number => address * 4 + access;

/** Whether the order of two accesses of different threads can matter. */
export function conflict(a: number, b: number): boolean {
  const address = a >> 2;
  // Reads, and flips that tell nobody what was there before, give the same in either order.
  const harmless = (a & 3) === (b & 3) && (a & 3) !== ACCESS.write;
  return address === b >> 2 && address !== NO_ACCESS && !harmless;
}

/** The threads of `sleep` whose next access is the same whether it comes before or after that of `moved`. */
export function stillAsleep(sleep: number, moved: number, pending: readonly number[]): number {
  let left = 0;
  for (let t = 0; t < pending.length; t++)
    if (
      ((sleep >> t) & 1) === 1 &&
      t !== moved &&
      !conflict(pending[t] as number, pending[moved] as number)
    )
      left |= 1 << t;
  return left;
}

const STATUS = { away: 0, ready: 1, waiting: 2, done: 3 } as const;
const MOST_THREADS = 4;
const MOST_STEPS = 2048;

// Words of the stage.
const TURN = 0;
const RUN = 1;
const ARRIVED = 2;
const THREADS = 3;
const PREFIX = 4;
const LENGTH = 5;
const OVER = 6;
const SEQ = 7;
const SLEEP = 8;
const STATUS_AT = 9;
const PENDING_AT = STATUS_AT + MOST_THREADS;
const WATCH_AT = PENDING_AT + MOST_THREADS;
const WOKEN_AT = WATCH_AT + MOST_THREADS;
/** When each thread last read the lock. */
const LOCK_READ_AT = WOKEN_AT + MOST_THREADS;
const SCHEDULE_AT = LOCK_READ_AT + MOST_THREADS;
const LOG_AT = SCHEDULE_AT + MOST_STEPS;
/** A log entry: who moved, who could have, and what each was about to do. */
const LOG_WORDS = 2 + MOST_THREADS;

export const STAGE_BYTES: number = (LOG_AT + MOST_STEPS * LOG_WORDS) * 4;

/** How long the main thread waits for a run that takes a millisecond. */
const PATIENCE_MS = 60_000;

/** How a run ended. */
export const OUTCOME = { running: 0, finished: 1, deadlock: 2, failed: 3 } as const;

/** One step of a finished run. */
export interface Step {
  readonly thread: number;
  readonly enabled: number;
  readonly pending: readonly number[];
}

/** The main thread's side. */
export class Stage {
  readonly #words: Int32Array;
  readonly #threads: number;
  /** Threads of a run that did not finish stay where they are: nothing can be run after it. */
  #stuck = false;

  constructor(buffer: SharedArrayBuffer, threads: number) {
    this.#words = new Int32Array(buffer);
    this.#threads = threads;
    this.#words[THREADS] = threads;
  }

  /** Runs all threads once: in the order of `prefix`, then each as long as it can, those of `sleep` last. */
  run(prefix: readonly number[], sleep: number): { outcome: number; steps: Step[] } {
    if (this.#stuck) throw new Error('an earlier run did not finish');
    const words = this.#words;
    words.fill(0, ARRIVED, THREADS);
    words.fill(0, LENGTH, SCHEDULE_AT);
    words[PREFIX] = prefix.length;
    words[SLEEP] = sleep;
    words[TURN] = -1;
    words.set(prefix, SCHEDULE_AT);
    Atomics.add(words, RUN, 1);
    Atomics.notify(words, RUN);
    for (;;) {
      const arrived = Atomics.load(words, ARRIVED);
      if (arrived === this.#threads) break;
      Atomics.wait(words, ARRIVED, arrived);
    }
    choose(words, 0);
    if (Atomics.wait(words, OVER, OUTCOME.running, PATIENCE_MS) === 'timed-out')
      words[OVER] = OUTCOME.failed;
    this.#stuck = Atomics.load(words, OVER) !== OUTCOME.finished;
    const steps = Array.from({ length: words[LENGTH] as number }, (_, i) => {
      const at = LOG_AT + i * LOG_WORDS;
      return {
        thread: words[at] as number,
        enabled: words[at + 1] as number,
        pending: [...words.subarray(at + 2, at + 2 + this.#threads)],
      };
    });
    return { outcome: Atomics.load(words, OVER), steps };
  }
}

/** Writes down the next step and gives its thread the turn; `last` goes on while it can. */
function choose(words: Int32Array, last: number): void {
  const threads = words[THREADS] as number;
  const step = words[LENGTH] as number;
  let enabled = 0;
  let done = 0;
  for (let t = 0; t < threads; t++) {
    if (words[STATUS_AT + t] === STATUS.ready) enabled |= 1 << t;
    if (words[STATUS_AT + t] === STATUS.done) done++;
  }
  const finish = (outcome: number): void => {
    Atomics.store(words, OVER, outcome);
    Atomics.notify(words, OVER);
  };
  if (enabled === 0) {
    finish(done === threads ? OUTCOME.finished : OUTCOME.deadlock);
    return;
  }
  if (step === MOST_STEPS) {
    finish(OUTCOME.failed);
    return;
  }
  let next = last;
  const planned = step < (words[PREFIX] as number);
  const awake = enabled & ~(words[SLEEP] as number);
  const choice = awake === 0 ? enabled : awake;
  if (planned) next = words[SCHEDULE_AT + step] as number;
  else
    for (let i = 0; ((choice >> next) & 1) === 0 && i < threads; i++) next = (next + 1) % threads;
  if (((enabled >> next) & 1) === 0) {
    finish(OUTCOME.failed);
    return;
  }
  const at = LOG_AT + step * LOG_WORDS;
  words[at] = next;
  words[at + 1] = enabled;
  for (let t = 0; t < threads; t++)
    words[at + 2 + t] =
      words[STATUS_AT + t] === STATUS.ready
        ? (words[PENDING_AT + t] as number)
        : opOf(NO_ACCESS, ACCESS.read);
  words[LENGTH] = step + 1;
  if (!planned) {
    const pending = [...words.subarray(at + 2, at + 2 + threads)];
    words[SLEEP] = stillAsleep(words[SLEEP] as number, next, pending);
  }
  Atomics.store(words, TURN, next);
  Atomics.notify(words, TURN);
}

/** A thread's side. */
export class Gate implements Platform {
  readonly clock: SimClock = new SimClock();
  cpu = 0;
  readonly #words: Int32Array;
  readonly #me: number;
  #generation = 0;
  #mine = false;
  #polling = false;
  /** When this poll first wrote the lock, and what it was before. */
  #lockWritten = 0;
  #lockBefore = 0;
  #lockNow = 0;

  constructor(buffer: SharedArrayBuffer, me: number) {
    this.#words = new Int32Array(buffer);
    this.#me = me;
  }

  /** Waits until the main thread starts the next run. */
  awaitRun(): void {
    Atomics.wait(this.#words, RUN, this.#generation);
    this.#generation = Atomics.load(this.#words, RUN);
    this.#mine = false;
  }

  /** The thread has nothing more to do in this run. */
  finish(how: 'done' | 'failed'): void {
    const words = this.#words;
    words[STATUS_AT + this.#me] = STATUS.done;
    if (how === 'failed') {
      Atomics.store(words, OVER, OUTCOME.failed);
      Atomics.notify(words, OVER);
    } else this.#rest();
  }

  /** Comes back when it is this thread's turn to make an access. */
  step(address: number, access: Access): void {
    const words = this.#words;
    const me = this.#me;
    words[PENDING_AT + me] = opOf(address, access);
    words[STATUS_AT + me] = STATUS.ready;
    this.#rest();
    this.#awaitTurn();
    const now = (words[SEQ] as number) + 1;
    words[SEQ] = now;
    if (!this.#polling || address === NO_ACCESS) return;
    words[WATCH_AT + me] = (words[WATCH_AT + me] as number) | (1 << address);
    if (address === LOCK_ADDRESS) words[LOCK_READ_AT + me] = now;
  }

  /** Says what a write did; wakes who had read the old value. */
  wrote(address: number, before: number, after: number): void {
    if (this.#polling && address === LOCK_ADDRESS) {
      if (this.#lockWritten === 0) {
        this.#lockWritten = this.#words[SEQ] as number;
        this.#lockBefore = before;
      }
      this.#lockNow = after;
      return;
    }
    if (before !== after) this.#wake(address, 0);
  }

  pollUntil(condition: () => boolean): boolean {
    const words = this.#words;
    const me = this.#me;
    for (;;) {
      words[WATCH_AT + me] = 0;
      words[WOKEN_AT + me] = 0;
      this.#polling = true;
      this.#lockWritten = 0;
      const holds = condition();
      this.#polling = false;
      if (this.#lockWritten > 0)
        this.#wake(LOCK_ADDRESS, this.#lockBefore === this.#lockNow ? this.#lockWritten : 0);
      if (holds) {
        words[WATCH_AT + me] = 0;
        return true;
      }
      if (words[WOKEN_AT + me] === 1) continue;
      words[STATUS_AT + me] = STATUS.waiting;
      words[PENDING_AT + me] = opOf(NO_ACCESS, ACCESS.read);
      this.#rest();
      this.#awaitTurn();
    }
  }

  /** Wakes those that watch an address; of the lock, those that read it since `since`. */
  #wake(address: number, since: number): void {
    const words = this.#words;
    for (let t = 0; t < (words[THREADS] as number); t++) {
      if (t === this.#me || (((words[WATCH_AT + t] as number) >> address) & 1) === 0) continue;
      if (since > 0 && (words[LOCK_READ_AT + t] as number) < since) continue;
      words[WOKEN_AT + t] = 1;
      if (words[STATUS_AT + t] === STATUS.waiting) words[STATUS_AT + t] = STATUS.ready;
    }
  }

  /** Gives the turn away; before the first step of a run there is none to give. */
  #rest(): void {
    const words = this.#words;
    if (this.#mine) {
      choose(words, this.#me);
      return;
    }
    this.#mine = true;
    Atomics.add(words, ARRIVED, 1);
    Atomics.notify(words, ARRIVED);
  }

  #awaitTurn(): void {
    const words = this.#words;
    for (let turn = Atomics.load(words, TURN); turn !== this.#me; turn = Atomics.load(words, TURN))
      Atomics.wait(words, TURN, turn);
    words[STATUS_AT + this.#me] = STATUS.away;
  }
}

/** The queue's words, each access a step; addresses 0 and up. */
export class SteppedWords implements QueueWords {
  /** True: compare and swap are two accesses, as they must not be. */
  torn = false;
  readonly #gate: Gate;
  readonly #words: Int32Array;

  constructor(gate: Gate, buffer: SharedArrayBuffer) {
    this.#gate = gate;
    this.#words = new Int32Array(buffer);
  }

  load(index: number): number {
    this.#gate.step(index, ACCESS.read);
    return Atomics.load(this.#words, index);
  }

  store(index: number, value: number): void {
    this.#change(index, () => value);
  }

  cas(index: number, old: number, value: number): boolean {
    if (this.torn) {
      if (this.load(index) !== old) return false;
      this.store(index, value);
      return true;
    }
    return this.#change(index, (before) => (before === old ? value : before)) === old;
  }

  add(index: number, by: number): number {
    return this.#change(index, (before) => before + by);
  }

  and(index: number, mask: number): number {
    return this.#change(index, (before) => before & mask);
  }

  xor(index: number, mask: number): void {
    this.#change(index, (before) => before ^ mask, ACCESS.flip);
  }

  #change(index: number, next: (before: number) => number, access: Access = ACCESS.write): number {
    this.#gate.step(index, access);
    const before = Atomics.load(this.#words, index);
    Atomics.store(this.#words, index, next(before) | 0);
    this.#gate.wrote(index, before, Atomics.load(this.#words, index));
    return before;
  }
}

/** Registers, each access a step; those of the command queue follow the queue's words. */
export class SteppedRegisters implements MmioFrame {
  readonly hi = 0;
  readonly #gate: Gate;
  readonly #inner: MmioFrame;
  readonly #first: number;

  constructor(gate: Gate, inner: MmioFrame, first: number) {
    this.#gate = gate;
    this.#inner = inner;
    this.#first = first;
  }

  read32(offset: number): number {
    this.#gate.step(this.#address(offset), ACCESS.read);
    return this.#inner.read32(offset);
  }

  write32(offset: number, value: number): void {
    this.#gate.step(this.#address(offset), ACCESS.write);
    const before = this.#inner.read32(offset);
    this.#inner.write32(offset, value);
    this.#gate.wrote(this.#address(offset), before, value);
  }

  read64(offset: number): number {
    return this.read32(offset);
  }

  write64(offset: number, lo: number, _hi: number): void {
    this.write32(offset, lo);
  }

  #address(offset: number): number {
    return this.#first + ((offset & 0xf) === 8 ? 0 : 1);
  }
}

/** Memory of the ring, each access a step, a doubleword an address. */
export class SteppedView implements MemoryView {
  hi = 0;
  readonly blockBytes: number;
  readonly #gate: Gate;
  readonly #inner: MemoryView;
  readonly #base: number;
  readonly #first: number;

  constructor(gate: Gate, inner: MemoryView, base: number, first: number) {
    this.#gate = gate;
    this.#inner = inner;
    this.#base = base;
    this.#first = first;
    this.blockBytes = inner.blockBytes;
  }

  load64(pa: number): number {
    this.#gate.step(this.#address(pa), ACCESS.read);
    const lo = this.#inner.load64(pa);
    this.hi = this.#inner.hi;
    return lo;
  }

  store64(pa: number, lo: number, hi: number): void {
    this.#gate.step(this.#address(pa), ACCESS.write);
    const before = this.#inner.load64(pa);
    this.#inner.store64(pa, lo, hi);
    this.#gate.wrote(this.#address(pa), before, lo);
  }

  cas64(): boolean {
    throw new Error('the queue has no such access');
  }

  load32(pa: number): number {
    this.#gate.step(this.#address(pa), ACCESS.read);
    return this.#inner.load32(pa);
  }

  store32(pa: number, value: number): void {
    this.#gate.step(this.#address(pa), ACCESS.write);
    const before = this.#inner.load32(pa);
    this.#inner.store32(pa, value);
    this.#gate.wrote(this.#address(pa), before, value);
  }

  clean(): void {}

  isBacked(pa: number): boolean {
    return this.#inner.isBacked(pa);
  }

  lanes(): undefined {
    return undefined;
  }

  block(): undefined {
    return undefined;
  }

  #address(pa: number): number {
    return this.#first + Math.floor((pa - this.#base) / 8);
  }
}

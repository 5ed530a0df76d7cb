import {
  CMDQ_CONS,
  COMMAND_BYTES,
  queueIndex,
  queueNext,
  queueWrap,
  REGISTER_OFFSET,
} from '@iommukit/arm-arch';
import { hex, IommuError } from '@iommukit/bits';
import {
  ERRNO,
  type MemoryView,
  type MmioFrame,
  type Platform,
  type TraceChannel,
} from '@iommukit/platform';
import { COMMAND_LANES, type CommandBatch } from './command-batch.ts';
import { CommandRing } from './command-ring.lanes.ts';
import type { DriverEvent } from './driver-event.ts';
import type { LogSink } from './driver-log.ts';
import { hex8 } from './event-line.ts';
import { PrivateQueueWords, type QueueWords } from './queue-words.lanes.ts';
import { SYNC_WORDS, syncCommand } from './sync-command.ts';

/** How long the kernel polls before it prints a line (`ARM_SMMU_POLL_TIMEOUT_US`). */
const TIMEOUT_US = 1_000_000;
/** Timeouts until `CMDQ_STUCK`: the kernel waits for ever; a simulation says what is wrong instead. */
const GIVE_UP_AFTER = 16;

/**
 * How the SMMU tells a producer that its SYNC is done: an event for a CPU that polls CONS (`sev`), zero written over the SYNC itself
 * (`msi`, option MSIPOLL), or nothing, for a producer that polls CONS without rest (`none`).
 * @example const signal: SyncSignal = 'sev';
 */
export type SyncSignal = 'sev' | 'msi' | 'none';

/**
 * What a command queue works with.
 * @example const parts: CommandQueueParts = { memory, registers, platform, trace, log, base: 0x8000_0000, lg2: 8 };
 */
export interface CommandQueueParts {
  readonly memory: MemoryView;
  readonly registers: MmioFrame;
  readonly platform: Platform;
  readonly trace: TraceChannel<DriverEvent>;
  readonly log: LogSink;
  /** Physical address of the ring. */
  readonly base: number;
  /** log2 of its entries. */
  readonly lg2: number;
  /** What producers in several workers share; absent: this instance is the only producer. */
  readonly words?: QueueWords;
  /** Absent: `sev`. */
  readonly signal?: SyncSignal;
}

/**
 * The command queue in memory (`arm_smmu_cmdq_issue_cmdlist`): producers reserve entries, write them and mark them valid in any order;
 * the owner of a run of reservations waits until all before and in it are valid and moves PROD once; who has a SYNC waits for that.
 * Producers in several workers each have an instance on the same ring, registers and {@link QueueWords}.
 * @example driver.cmdq.issued - before // commands that an operation cost
 */
export class CommandQueue {
  /** Commands written by this instance since reset, SYNCs included. */
  issued = 0;
  /** CMD_SYNCs written by this instance since reset. */
  syncs = 0;
  /** Times that this producer found the queue full. */
  fullWaits = 0;
  readonly base: number;
  readonly lg2: number;
  readonly #parts: CommandQueueParts;
  readonly #ring: CommandRing;
  readonly #signal: SyncSignal;
  /** CONS as last read. */
  #cons = 0;

  constructor(parts: CommandQueueParts) {
    this.#parts = parts;
    this.base = parts.base;
    this.lg2 = parts.lg2;
    this.#ring = new CommandRing(parts.words ?? new PrivateQueueWords(parts.lg2), parts.lg2);
    this.#signal = parts.signal ?? 'sev';
  }

  /** The producer index with its wrap bit, as in CMDQ_PROD once all that is reserved is published. */
  get prod(): number {
    return this.#ring.prod;
  }

  /** Starts again from index 0, as the registers do after reset; no other producer may be at work. */
  reset(): void {
    this.#ring.reset();
    this.issued = 0;
    this.syncs = 0;
    this.fullWaits = 0;
  }

  /** Issues a list followed by CMD_SYNC and waits until it is consumed: 0 or -ETIMEDOUT. */
  issueSync(batch: CommandBatch): number {
    return this.#issue(batch, 1);
  }

  /** Issues a list and does not wait. */
  issue(batch: CommandBatch): void {
    if (batch.num > 0) this.#issue(batch, 0);
  }

  #issue(batch: CommandBatch, sync: 0 | 1): number {
    const { trace, memory } = this.#parts;
    const { words, num } = batch;
    const ring = this.#ring;
    if (trace.on) {
      const [a, b, c, d] = num > 0 ? words : ([0, 0, 0, 0] as const);
      const first = [a ?? 0, b ?? 0, c ?? 0, d ?? 0] as const;
      trace.emit({ name: 'cmdlist', n: num, sync, first });
    }
    const entries = num + sync;
    if (!ring.tryReserve(entries)) this.#waitForRoom(entries);
    const { start, owner } = ring;
    for (let i = 0; i < num; i++)
      this.#write(memory, ring.advance(start, i), words, i * COMMAND_LANES);
    const slot = ring.advance(start, num);
    if (sync === 1) {
      this.#write(memory, slot, this.#syncWords(slot), 0);
      // Before the entries are valid: from here on CONS must not pass them unseen.
      if (!ring.tryLockShared()) this.#waitForLock();
    }
    this.issued += entries;
    this.syncs += sync;
    this.#clean(memory, ring.register(start), entries);
    ring.setValid(start, entries);
    if (owner === 1) this.#publish(start, ring.advance(start, entries));
    return sync === 1 ? this.#waitSync(ring.register(slot)) : 0;
  }

  #write(memory: MemoryView, position: number, words: Uint32Array, at: number): void {
    const pa = this.#entry(position);
    memory.store64(pa, words[at] as number, words[at + 1] as number);
    memory.store64(pa + 8, words[at + 2] as number, words[at + 3] as number);
  }

  #entry(position: number): number {
    return this.base + queueIndex(position, this.lg2) * COMMAND_BYTES;
  }

  #syncWords(prod: number): Uint32Array {
    if (this.#signal === 'sev') return SYNC_WORDS;
    const { base, lg2 } = this;
    const msiPolling = this.#signal === 'msi';
    return syncCommand({ base, lg2, prod, msiPolling, busyPolling: !msiPolling });
  }

  /** Makes `entries` slots from `start` visible to the SMMU: one run, or two when they go over the end of the ring. */
  #clean(memory: MemoryView, start: number, entries: number): void {
    const index = queueIndex(start, this.lg2);
    const untilEnd = Math.min(entries, 2 ** this.lg2 - index);
    memory.clean(this.base + index * COMMAND_BYTES, untilEnd * COMMAND_BYTES);
    if (untilEnd < entries) memory.clean(this.base, (entries - untilEnd) * COMMAND_BYTES);
  }

  /** Moves PROD over this reservation, which ends at `own`, and all made since, when every entry of them is written. */
  #publish(start: number, own: number): void {
    const ring = this.#ring;
    if (!ring.isOwnersTurn(start)) this.#waitForTurn(start);
    const end = ring.closeRun();
    if (end !== own) this.#waitForOthers(own, end);
    this.#parts.registers.write32(REGISTER_OFFSET.CMDQ_PROD, ring.register(end));
    ring.passOwnership(end);
  }

  // Waiting is apart from the rest, which then needs no closures.

  #waitForLock(): void {
    this.#waitOrGiveUp(() => this.#ring.retryLockShared());
  }

  #waitForTurn(start: number): void {
    this.#waitOrGiveUp(() => this.#ring.isOwnersTurn(start));
  }

  #waitForOthers(start: number, end: number): void {
    let at = start;
    this.#waitOrGiveUp(() => {
      at = this.#ring.firstInvalid(at, end);
      return at === end;
    });
  }

  #waitForRoom(entries: number): void {
    this.fullWaits++;
    const ring = this.#ring;
    this.#waitOrGiveUp(() => {
      if (ring.tryReserve(entries)) return true;
      if (!ring.tryLockExclusive()) return false;
      this.#readCons();
      ring.unlockExclusive(this.#cons);
      return ring.tryReserve(entries);
    }, entries);
  }

  /** Waits for other producers or for room. */
  #waitOrGiveUp(condition: () => boolean, entries = 0): void {
    const { platform, log } = this.#parts;
    for (let tries = 0; tries < GIVE_UP_AFTER; tries++) {
      if (platform.pollUntil(condition, TIMEOUT_US)) return;
      if (entries > 0) log({ level: 'err', text: 'CMDQ timeout' });
    }
    throw new CommandQueueStuck({ prod: this.#ring.prod, cons: this.#ring.cons, entries });
  }

  #readCons(): void {
    const value = this.#parts.registers.read32(REGISTER_OFFSET.CMDQ_CONS);
    this.#cons = CMDQ_CONS.get.RD([value, 0]);
  }

  /** True when the consumer has passed the slot `slot` (both with wrap bit; `queue_consumed`). */
  #consumed(slot: number): boolean {
    this.#readCons();
    const { lg2 } = this;
    const at = queueIndex(slot, lg2);
    const cons = queueIndex(this.#cons, lg2);
    return queueWrap(slot, lg2) === queueWrap(this.#cons, lg2) ? cons > at : cons <= at;
  }

  #waitSync(slot: number): number {
    return this.#signal === 'msi' ? this.#waitMessage(slot) : this.#waitConsumed(slot);
  }

  #waitConsumed(slot: number): number {
    const done = this.#consumed(slot) || this.#pollConsumed(slot);
    if (!done) this.#complain(slot);
    this.#ring.unlockShared(this.#cons);
    return done ? 0 : -ERRNO.ETIMEDOUT;
  }

  #pollConsumed(slot: number): boolean {
    return this.#parts.platform.pollUntil(() => this.#consumed(slot), TIMEOUT_US);
  }

  #waitMessage(slot: number): number {
    const { memory, platform } = this.#parts;
    const pa = this.#entry(slot);
    const done = platform.pollUntil(() => memory.load32(pa) === 0, TIMEOUT_US);
    if (!done) this.#complain(slot);
    // Nobody read CONS, but the SYNC's own place in the queue is known.
    this.#ring.unlockShared(done ? queueNext(slot, this.lg2) : slot);
    return done ? 0 : -ERRNO.ETIMEDOUT;
  }

  #complain(slot: number): void {
    const { registers, log } = this.#parts;
    const text = [
      `CMD_SYNC timeout at ${hex8(slot)}`,
      `[hwprod ${hex8(registers.read32(REGISTER_OFFSET.CMDQ_PROD))},`,
      `hwcons ${hex8(registers.read32(REGISTER_OFFSET.CMDQ_CONS))}]`,
    ].join(' ');
    log({ level: 'err', text });
  }
}

/**
 * For 16 seconds of the platform's clock the SMMU freed no room in a full queue, or (`entries` 0) another producer did not finish what
 * it had reserved; code `CMDQ_STUCK`. The kernel would wait for ever.
 * @example try { driver.reset(); } catch (e) { (e as CommandQueueStuck).operands.cons; }
 */
export class CommandQueueStuck extends IommuError<{ prod: number; cons: number; entries: number }> {
  override readonly name = 'CommandQueueStuck';
  constructor(operands: { prod: number; cons: number; entries: number }) {
    super(
      'CMDQ_STUCK',
      operands,
      `${operands.entries > 0 ? `no room for ${operands.entries} commands` : 'a producer never finished'}, PROD ${hex(operands.prod)} CONS ${hex(operands.cons)}`,
      'Register the SMMU model with the platform, and acknowledge GERROR',
    );
  }
}

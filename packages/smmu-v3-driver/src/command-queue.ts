import {
  CMDQ_CONS,
  queueAdvance,
  queueIndex,
  queueSpace,
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
import { COMMAND_LANES, type CommandBatch, SYNC_WORDS } from './command-batch.ts';
import type { DriverEvent } from './driver-event.ts';
import type { LogSink } from './driver-log.ts';

const TIMEOUT_US = 1_000_000;
/** The kernel waits for ever; a simulation says what is wrong instead. */
const GIVE_UP_AFTER = 16;
const COMMAND_BYTES = 16;

/** What a command queue works with. */
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
}

/**
 * The command queue in memory (`arm_smmu_cmdq_issue_cmdlist`): writes a list and its SYNC, publishes PROD with one register write,
 * waits for CONS. One producer at a time, as on one CPU.
 * @example driver.cmdq.issued - before // commands that an operation cost
 */
export class CommandQueue {
  /** Commands written since reset, SYNCs included. */
  issued = 0;
  /** CMD_SYNCs written since reset. */
  syncs = 0;
  /** Times that a producer found the queue full. */
  fullWaits = 0;
  readonly base: number;
  readonly lg2: number;
  readonly #parts: CommandQueueParts;
  #prod = 0;
  #cons = 0;

  constructor(parts: CommandQueueParts) {
    this.#parts = parts;
    this.base = parts.base;
    this.lg2 = parts.lg2;
  }

  /** The producer index with its wrap bit, as in CMDQ_PROD. */
  get prod(): number {
    return this.#prod;
  }

  /** Starts again from index 0, as the registers do after reset. */
  reset(): void {
    this.#prod = 0;
    this.#cons = 0;
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
    const { trace, registers, memory } = this.#parts;
    const { words, num } = batch;
    if (trace.on) {
      const [a, b, c, d] = num > 0 ? words : ([0, 0, 0, 0] as const);
      const first = [a ?? 0, b ?? 0, c ?? 0, d ?? 0] as const;
      trace.emit({ name: 'cmdlist', n: num, sync, first });
    }
    this.#reserve(num + sync);
    const start = this.#prod;
    for (let i = 0; i < num; i++) this.#write(memory, words, i * COMMAND_LANES);
    const syncAt = this.#prod;
    if (sync === 1) this.#write(memory, SYNC_WORDS, 0);
    this.issued += num + sync;
    this.syncs += sync;
    this.#clean(memory, start, num + sync);
    registers.write32(REGISTER_OFFSET.CMDQ_PROD, this.#prod);
    return sync === 1 ? this.#waitConsumed(syncAt) : 0;
  }

  #write(memory: MemoryView, words: Uint32Array, at: number): void {
    const pa = this.base + queueIndex(this.#prod, this.lg2) * COMMAND_BYTES;
    memory.store64(pa, words[at] as number, words[at + 1] as number);
    memory.store64(pa + 8, words[at + 2] as number, words[at + 3] as number);
    this.#prod = queueAdvance(this.#prod, 1, this.lg2);
  }

  /** Makes `entries` slots from `start` visible to the SMMU: one run, or two when they go over the end of the ring. */
  #clean(memory: MemoryView, start: number, entries: number): void {
    const index = queueIndex(start, this.lg2);
    const untilEnd = Math.min(entries, 2 ** this.lg2 - index);
    memory.clean(this.base + index * COMMAND_BYTES, untilEnd * COMMAND_BYTES);
    if (untilEnd < entries) memory.clean(this.base, (entries - untilEnd) * COMMAND_BYTES);
  }

  #reserve(entries: number): void {
    if (queueSpace(this.#prod, this.#cons, this.lg2) >= entries) return;
    const { platform, log } = this.#parts;
    this.fullWaits++;
    for (let tries = 0; tries < GIVE_UP_AFTER; tries++) {
      const freed = platform.pollUntil(() => {
        this.#readCons();
        return queueSpace(this.#prod, this.#cons, this.lg2) >= entries;
      }, TIMEOUT_US);
      if (freed) return;
      log({ level: 'err', text: 'CMDQ timeout' });
    }
    throw new CommandQueueStuck({ prod: this.#prod, cons: this.#cons, entries });
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

  #waitConsumed(slot: number): number {
    if (this.#consumed(slot)) return 0;
    const { platform, log, registers } = this.#parts;
    if (platform.pollUntil(() => this.#consumed(slot), TIMEOUT_US)) return 0;
    const text = [
      `CMD_SYNC timeout at ${hex8(slot)}`,
      `[hwprod ${hex8(registers.read32(REGISTER_OFFSET.CMDQ_PROD))},`,
      `hwcons ${hex8(registers.read32(REGISTER_OFFSET.CMDQ_CONS))}]`,
    ].join(' ');
    log({ level: 'err', text });
    return -ERRNO.ETIMEDOUT;
  }
}

function hex8(value: number): string {
  return `0x${value.toString(16).padStart(8, '0')}`;
}

/**
 * The SMMU consumed nothing for 16 simulated seconds while the queue was full; code `CMDQ_STUCK`.
 * @example try { driver.reset(); } catch (e) { (e as CommandQueueStuck).operands.cons; }
 */
export class CommandQueueStuck extends IommuError<{ prod: number; cons: number; entries: number }> {
  override readonly name = 'CommandQueueStuck';
  constructor(operands: { prod: number; cons: number; entries: number }) {
    super(
      'CMDQ_STUCK',
      operands,
      `no room for ${operands.entries} commands, PROD ${hex(operands.prod)} CONS ${hex(operands.cons)}`,
      'Register the SMMU model with the platform, and acknowledge GERROR',
    );
  }
}

/*
 * Consumption of the command queue and its errors (IHI 0070 3.5.1, 4, 6.3.26-6.3.28, 7.1).
 * Not modelled: ECMDQ, commands prefetched before an error; each command is read when it is consumed.
 */
import {
  CERROR,
  CMDQ_BASE,
  CMDQ_CONS,
  COMMAND_BYTES,
  CR0,
  queueEmpty,
  queueIndex,
  queueNext,
  queueUsed,
  REGISTER_OFFSET as R,
} from '@iommukit/arm-arch';
import type { MemoryView } from '@iommukit/platform';
import type { Features } from './features.ts';
import type { Interrupts } from './interrupts.ts';

/** Executes the command in `words` (4 lanes); the CERROR that stops the queue, CERROR.NONE for none. */
export type CommandExecutor = (words: Uint32Array) => number;

/** The command queue as the SMMU sees it. */
export class CommandQueue {
  readonly #words: Uint32Array;
  readonly #memory: MemoryView;
  readonly #features: Features;
  readonly #interrupts: Interrupts;
  readonly #execute: CommandExecutor;
  readonly #command: Uint32Array = new Uint32Array(4);
  readonly #peeked: Uint32Array = new Uint32Array(4);
  #busy = false;

  constructor(
    parts: { words: Uint32Array; memory: MemoryView; features: Features; interrupts: Interrupts },
    execute: CommandExecutor,
  ) {
    this.#words = parts.words;
    this.#memory = parts.memory;
    this.#features = parts.features;
    this.#interrupts = parts.interrupts;
    this.#execute = execute;
  }

  /** Consumes what is queued, until it is empty or an error stops it; true when anything was done. */
  consumeAll(): boolean {
    // An interrupt handler may write registers: the loop that is running takes what it adds.
    if (this.#busy) return false;
    let worked = false;
    while (this.consumeOne()) worked = true;
    return worked;
  }

  /** Consumes one command; false when there was nothing to do. */
  consumeOne(): boolean {
    if (this.#busy || !this.#runnable()) return false;
    this.#busy = true;
    try {
      this.#step();
    } finally {
      this.#busy = false;
    }
    return true;
  }

  /** Calls back with each command that is queued and not consumed, until it returns true; true if it did. */
  somePending(test: (words: Uint32Array) => boolean): boolean {
    if (!this.#runnable()) return false;
    const lg2 = this.#lg2();
    const prod = this.#words[R.CMDQ_PROD / 4] as number;
    let cons = this.#words[R.CMDQ_CONS / 4] as number;
    while (!queueEmpty(prod, cons, lg2)) {
      if (!this.#load(cons, lg2, this.#peeked)) return false;
      if (test(this.#peeked)) return true;
      cons = queueNext(cons, lg2);
    }
    return false;
  }

  #runnable(): boolean {
    const words = this.#words;
    if (CR0.get.CMDQEN(words, R.CR0ACK / 4) === 0 || this.#interrupts.isActive('CMDQ_ERR'))
      return false;
    const lg2 = this.#lg2();
    const used = queueUsed(words[R.CMDQ_PROD / 4] as number, words[R.CMDQ_CONS / 4] as number, lg2);
    // More than the queue holds is an inconsistency; the SMMU may stop (3.5.1).
    return used > 0 && used <= 2 ** lg2;
  }

  #step(): void {
    const words = this.#words;
    const lg2 = this.#lg2();
    const cons = CMDQ_CONS.get.RD(words, R.CMDQ_CONS / 4);
    if (!this.#load(cons, lg2, this.#command)) {
      this.#fail(CERROR.ABT);
      return;
    }
    const error = this.#execute(this.#command);
    if (error !== CERROR.NONE) {
      this.#fail(error);
      return;
    }
    CMDQ_CONS.set.RD(words, queueNext(cons, lg2), R.CMDQ_CONS / 4);
  }

  #fail(reason: number): void {
    // ERR is written before the error becomes active (7.1).
    CMDQ_CONS.set.ERR(this.#words, reason, R.CMDQ_CONS / 4);
    this.#interrupts.raise('CMDQ_ERR');
  }

  #load(cons: number, lg2: number, into: Uint32Array): boolean {
    const bytes = 2 ** lg2 * COMMAND_BYTES;
    const base = CMDQ_BASE.get.ADDR(this.#words, R.CMDQ_BASE / 4);
    const at = base - (base % Math.max(bytes, 32)) + queueIndex(cons, lg2) * COMMAND_BYTES;
    if (!this.#memory.isBacked(at)) return false;
    into[0] = this.#memory.load64(at);
    into[1] = this.#memory.hi;
    into[2] = this.#memory.load64(at + 8);
    into[3] = this.#memory.hi;
    return true;
  }

  #lg2(): number {
    return Math.min(
      CMDQ_BASE.get.LOG2SIZE(this.#words, R.CMDQ_BASE / 4),
      this.#features.cmdqMaxLg2,
    );
  }
}

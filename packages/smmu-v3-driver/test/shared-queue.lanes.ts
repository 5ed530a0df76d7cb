// A command queue between workers: registers and a consumer over shared memory, and commands that show whom they come from.
import { REGISTER_OFFSET } from '@iommukit/arm-arch';
import { type MemoryView, type MmioFrame, type Platform, SimClock } from '@iommukit/platform';
import type { CommandBatch } from '../src/command-batch.ts';

const at = REGISTER_OFFSET;
/** Bytes of the register file: page 1 lies over page 0, as the event queue's indexes are all it has. */
export const REGISTER_BYTES = 0x200;
/** Word 3 of every test command; a CMD_SYNC has 0 there. */
const MARK = 0xc0de_0000;
const ECHO = new Map<number, number>([
  [at.CR0, at.CR0ACK],
  [at.IRQ_CTRL, at.IRQ_CTRLACK],
]);

/** Registers in shared memory that acknowledge at once. */
export class SharedRegisters implements MmioFrame {
  readonly hi = 0;
  readonly #words: Int32Array;

  constructor(buffer: SharedArrayBuffer) {
    this.#words = new Int32Array(buffer);
  }

  read32(offset: number): number {
    return Atomics.load(this.#words, (offset & 0xfff) / 4) >>> 0;
  }

  write32(offset: number, value: number): void {
    Atomics.store(this.#words, (offset & 0xfff) / 4, value | 0);
    const echo = ECHO.get(offset);
    if (echo !== undefined) Atomics.store(this.#words, echo / 4, value | 0);
  }

  read64(offset: number): number {
    return this.read32(offset);
  }

  write64(offset: number, lo: number, hi: number): void {
    this.write32(offset, lo);
    this.write32(offset + 4, hi);
  }
}

/** Waits in real time, so that other threads come to work; its clock stands still, so that nothing times out. */
export class WorkerPlatform implements Platform {
  readonly clock: SimClock = new SimClock();
  cpu = 0;
  readonly #sleeper = new Int32Array(new SharedArrayBuffer(4));

  pollUntil(condition: () => boolean): boolean {
    for (let spin = 1; ; spin++) {
      if (condition()) return true;
      if (spin % 64 === 0) Atomics.wait(this.#sleeper, 0, 0, 0.02);
    }
  }
}

/** Fills a list with `count` commands of a producer, numbered from `first`; every word depends on both. */
export function fillBatch(
  batch: CommandBatch,
  producer: number,
  first: number,
  count: number,
): void {
  batch.reset();
  for (let i = 0; i < count; i++) {
    const seq = first + i;
    const { words } = batch;
    words[i * 4] = seq;
    words[i * 4 + 1] = ~seq;
    words[i * 4 + 2] = seq ^ 0x5a5a_5a5a;
    words[i * 4 + 3] = MARK + producer;
  }
  batch.num = count;
}

/** What a consumer found. */
export interface Consumed {
  /** Commands without SYNCs. */
  commands: number;
  syncs: number;
  /** Commands that no producer wrote as they stand. */
  torn: number;
  /** Commands that are not the next of their producer: lost, doubled or reordered. */
  outOfOrder: number;
  /** Times that PROD was further ahead of CONS than the ring is long, or behind. */
  overrun: number;
}

/** Takes commands as an SMMU does: reads PROD, the entry, moves CONS; a SYNC with an MSI address has zero written there. */
export class Consumer {
  readonly found: Consumed = { commands: 0, syncs: 0, torn: 0, outOfOrder: 0, overrun: 0 };
  readonly #memory: MemoryView;
  readonly #registers: MmioFrame;
  readonly #base: number;
  readonly #lg2: number;
  /** For each producer how many of its commands were consumed; written before CONS moves. */
  readonly #seen: Int32Array;
  #cons = 0;

  constructor(parts: {
    readonly memory: MemoryView;
    readonly registers: MmioFrame;
    readonly base: number;
    readonly lg2: number;
    readonly seen: Int32Array;
    readonly cons?: number;
  }) {
    this.#memory = parts.memory;
    this.#registers = parts.registers;
    this.#base = parts.base;
    this.#lg2 = parts.lg2;
    this.#seen = parts.seen;
    this.#cons = parts.cons ?? 0;
  }

  /** Entries that PROD shows. */
  pending(): number {
    const mask = 2 ** (this.#lg2 + 1) - 1;
    const prod = this.#registers.read32(at.CMDQ_PROD);
    const pending = (prod - this.#cons) & mask;
    if (pending > 2 ** this.#lg2) this.found.overrun++;
    return pending;
  }

  /** Takes `count` entries, and only then moves CONS. */
  take(count: number): void {
    const memory = this.#memory;
    const mask = 2 ** (this.#lg2 + 1) - 1;
    for (let i = 0; i < count; i++) {
      const pa = this.#base + (this.#cons & (2 ** this.#lg2 - 1)) * 16;
      const a = memory.load64(pa);
      const b = memory.hi;
      const c = memory.load64(pa + 8);
      const d = memory.hi;
      this.#count([a, b, c, d]);
      if (d === 0 && c !== 0) memory.store32(c, 0);
      this.#cons = (this.#cons + 1) & mask;
    }
    this.#registers.write32(at.CMDQ_CONS, this.#cons);
  }

  #count([a, b, c, d]: readonly [number, number, number, number]): void {
    const { found } = this;
    if (d === 0 && (a & 0xff) === 0x46) {
      found.syncs++;
      return;
    }
    const producer = d - MARK;
    const whole = b === ~a >>> 0 && c === (a ^ 0x5a5a_5a5a) >>> 0;
    if (!whole || producer < 0 || producer >= this.#seen.length) {
      found.torn++;
      return;
    }
    found.commands++;
    if (Atomics.load(this.#seen, producer) !== a) found.outOfOrder++;
    Atomics.store(this.#seen, producer, a + 1);
  }
}

/*
 * Writing of event records (IHI 0070 3.5.1, 7.2, 7.4).
 * Does not model: merging of records, stall records, delayed visibility, asynchronous write aborts.
 */
import {
  CR0,
  EVENT_BYTES,
  EVENTQ_BASE,
  QUEUE_OVERFLOW,
  queueEmpty,
  queueFull,
  queueIndex,
  queueNext,
  REGISTER_OFFSET as R,
} from '@iommukit/arm-arch';
import type { MemoryView } from '@iommukit/platform';
import { encodeEvent, type SmmuEvent } from './event.ts';
import type { Features } from './features.ts';
import type { Interrupts } from './interrupts.ts';

const PROD = (R.EVENTQ_PROD - 0x10000) / 4;
const CONS = (R.EVENTQ_CONS - 0x10000) / 4;

/** The event queue as the SMMU sees it. */
export class EventQueue {
  readonly #words: Uint32Array;
  readonly #memory: MemoryView;
  readonly #features: Features;
  readonly #interrupts: Interrupts;
  readonly #record: Uint32Array = new Uint32Array(EVENT_BYTES / 4);

  constructor(parts: {
    words: Uint32Array;
    memory: MemoryView;
    features: Features;
    interrupts: Interrupts;
  }) {
    this.#words = parts.words;
    this.#memory = parts.memory;
    this.#features = parts.features;
    this.#interrupts = parts.interrupts;
  }

  /** Records an event; false when the queue was not writable and it was dropped. */
  write(event: SmmuEvent): boolean {
    const words = this.#words;
    if (CR0.get.EVENTQEN(words, R.CR0ACK / 4) === 0 || this.#interrupts.isActive('EVENTQ_ABT_ERR'))
      return false;
    const lg2 = Math.min(
      EVENTQ_BASE.get.LOG2SIZE(words, R.EVENTQ_BASE / 4),
      this.#features.eventqMaxLg2,
    );
    const prod = words[PROD] as number;
    const cons = words[CONS] as number;
    if (queueFull(prod, cons, lg2)) {
      // OVFLG toggles once and stays until software makes OVACKFLG equal (7.4).
      if (prod >= QUEUE_OVERFLOW === cons >= QUEUE_OVERFLOW)
        words[PROD] = prod >= QUEUE_OVERFLOW ? prod - QUEUE_OVERFLOW : prod + QUEUE_OVERFLOW;
      return false;
    }
    const base = EVENTQ_BASE.get.ADDR(words, R.EVENTQ_BASE / 4);
    const bytes = 2 ** lg2 * EVENT_BYTES;
    const at = base - (base % bytes) + queueIndex(prod, lg2) * EVENT_BYTES;
    if (!this.#memory.isBacked(at)) {
      this.#interrupts.raise('EVENTQ_ABT_ERR');
      return false;
    }
    encodeEvent(event, this.#record);
    const record = this.#record;
    for (let i = 0; i < EVENT_BYTES / 4; i += 2)
      this.#memory.store64(at + i * 4, record[i] as number, record[i + 1] as number);
    const wasEmpty = queueEmpty(prod, cons, lg2);
    // The index is visible before the interrupt (3.18).
    words[PROD] = queueNext(prod, lg2);
    if (wasEmpty) this.#interrupts.eventQueueNotEmpty();
    return true;
  }
}

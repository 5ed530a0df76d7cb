/*
 * Transactions that a fault holds without an answer (IHI 0070 3.12.2, 4.7.1, 4.7.2, 7.2.1).
 * Not modelled: retries that no command asks for, but those of records that had to wait; order between stalled transactions; time
 * between a command and its effect.
 */
import type { DmaAccess, DmaResult } from './dma-access.ts';
import type { TranslationEvent } from './event.ts';
import type { EventQueue } from './event-queue.ts';
import type { InterfacePolicy } from './interface-policy.ts';

/**
 * A stalled transaction. `held`: its record has found no room in the event queue yet, or repeats another's; `recorded`: software can
 * know it.
 * @example smmu.stalled.filter(({ state }) => state === 'recorded').map(({ stag }) => stag);
 */
export interface StalledTransaction {
  readonly streamId: number;
  /** Tag; that of the first one for a repeated stall, -1 while it waits for a free one. */
  readonly stag: number;
  readonly access: DmaAccess;
  readonly state: 'recorded' | 'held' | 'duplicate';
}

/**
 * How a stall ended: with the result of a retry, or without one.
 * @example if (end.outcome === 'terminated') end.response; // 'abort'
 */
export type StallEnd =
  | DmaResult
  | {
      readonly outcome: 'terminated';
      readonly response: 'abort' | 'raz-wi';
      readonly by: 'CMD_RESUME' | 'CMD_STALL_TERM' | 'SMMUEN';
      readonly streamId: number;
    };

/**
 * Takes the end of a stall.
 * @example const onStallEnd: StallEndSink = ({ stag }, end) => ends.set(stag, end.outcome);
 */
export type StallEndSink = (transaction: StalledTransaction, end: StallEnd) => void;

interface Entry {
  readonly streamId: number;
  stag: number;
  readonly access: DmaAccess;
  event: TranslationEvent;
  state: 'recorded' | 'held' | 'duplicate';
  /** An invalidation and its CMD_SYNC came after the fault. */
  touched: boolean;
  /** The stall that this one repeats. */
  first: Entry | undefined;
}

const NO_STAG = -1;

/** Holds stalled transactions and gives them back. */
export class StallTable {
  readonly #entries: Set<Entry> = new Set();
  readonly #tags: Set<number> = new Set();
  readonly #capacity: number;
  readonly #queue: EventQueue;
  readonly #policy: Pick<InterfacePolicy, 'duplicateStalls' | 'stallsBeyondMaximum' | 'heldStalls'>;
  readonly #retry: (access: DmaAccess) => DmaResult;
  readonly #onEnd: StallEndSink;
  #draining = false;

  constructor(parts: {
    capacity: number;
    queue: EventQueue;
    policy: Pick<InterfacePolicy, 'duplicateStalls' | 'stallsBeyondMaximum' | 'heldStalls'>;
    /** Sends a transaction through the SMMU as if it had just arrived. */
    retry: (access: DmaAccess) => DmaResult;
    onEnd: StallEndSink;
  }) {
    this.#capacity = parts.capacity;
    this.#queue = parts.queue;
    this.#policy = parts.policy;
    this.#retry = parts.retry;
    this.#onEnd = parts.onEnd;
  }

  /** Stalled transactions, oldest first. */
  get transactions(): readonly StalledTransaction[] {
    return [...this.#entries];
  }

  /** Takes over copies of another table's stalls. */
  adopt(other: StallTable): void {
    for (const entry of other.#entries) this.#entries.add({ ...entry });
    for (const tag of other.#tags) this.#tags.add(tag);
  }

  /** A fault under CD.S=1 or STE.S2S=1: holds the transaction, records the event, and says so (3.12.2). */
  stall(access: DmaAccess, event: TranslationEvent): DmaResult {
    const { streamId } = access;
    const first = this.#policy.duplicateStalls === 'suppressed' ? this.#like(event) : undefined;
    if (first !== undefined) {
      this.#entries.add({ ...entryOf(access, event, first.stag), state: 'duplicate', first });
      return { outcome: 'stall', event: first.event, stag: first.stag, record: 'held', streamId };
    }
    const stag = this.#freeTag();
    if (stag === NO_STAG && this.#policy.stallsBeyondMaximum === 'abort') {
      // The device is one that does not stall: terminated with abort, and the record says STALL=0 (3.12).
      const written = this.#queue.write(event);
      const record = written ? 'written' : 'dropped';
      return { outcome: 'fault', event, response: 'abort', record, streamId };
    }
    const entry = entryOf(access, event, stag);
    this.#entries.add(entry);
    if (stag !== NO_STAG) this.#tags.add(stag);
    const recorded = this.#record(entry);
    return {
      outcome: 'stall',
      event: entry.event,
      stag,
      record: recorded ? 'written' : 'held',
      streamId,
    };
  }

  /** CMD_RESUME: acts only on a recorded stall whose tag and StreamID both match (4.7.1). */
  resume(streamId: number, stag: number, action: 'retry' | 'abort' | 'raz-wi'): void {
    const entry = [...this.#entries].find(
      (each) => each.stag === stag && each.streamId === streamId && each.state === 'recorded',
    );
    if (entry === undefined) return;
    this.#release(entry);
    if (action === 'retry') this.#again(entry);
    else this.#end(entry, terminated(entry, action, 'CMD_RESUME'));
    this.#retryRepeats(entry);
    this.drain();
  }

  /** CMD_STALL_TERM (4.7.2). Records that wait are dropped with their transactions. */
  terminateStream(streamId: number): void {
    this.#terminate('CMD_STALL_TERM', (entry) => entry.streamId === streamId);
    this.drain();
  }

  /** SMMUEN 1 -> 0: every stall is aborted, every tag is free (6.3.9). */
  terminateAll(): void {
    this.#terminate('SMMUEN', () => true);
  }

  /** A CMD_SYNC completed invalidations: stalls without a record meet the new state when the queue is writable (7.2.1). */
  touch(): void {
    for (const entry of this.#entries) entry.touched = true;
  }

  /** Records what waits, as far as there is room. */
  drain(): void {
    if (this.#draining) return;
    this.#draining = true;
    try {
      for (const entry of [...this.#entries]) {
        if (entry.state !== 'held' || !this.#entries.has(entry)) continue;
        if (!this.#queue.isWritable) return;
        if (entry.stag === NO_STAG) {
          entry.stag = this.#freeTag();
          if (entry.stag === NO_STAG) continue;
          this.#tags.add(entry.stag);
        }
        if (!entry.touched && this.#policy.heldStalls === 'record') this.#record(entry);
        else {
          this.#release(entry);
          this.#again(entry);
          this.#retryRepeats(entry);
        }
      }
    } finally {
      this.#draining = false;
    }
  }

  #terminate(by: 'CMD_STALL_TERM' | 'SMMUEN', which: (entry: Entry) => boolean): void {
    const ended = [...this.#entries].filter(which);
    for (const entry of ended) this.#release(entry);
    for (const entry of ended) this.#end(entry, terminated(entry, 'abort', by));
  }

  /** What repeated a stall is retried when that is gone, whatever became of it (3.12.2.1). */
  #retryRepeats(first: Entry): void {
    for (const each of [...this.#entries])
      if (each.first === first && this.#entries.delete(each)) this.#again(each);
  }

  #again(entry: Entry): void {
    const result = this.#retry(entry.access);
    if (result.outcome !== 'stall') this.#end(entry, result);
  }

  #end(entry: Entry, end: StallEnd): void {
    this.#onEnd(entry, end);
  }

  #release(entry: Entry): void {
    this.#entries.delete(entry);
    if (entry.state !== 'duplicate') this.#tags.delete(entry.stag);
  }

  #record(entry: Entry): boolean {
    if (entry.stag === NO_STAG) return false;
    entry.event = { ...entry.event, stag: entry.stag };
    // The state first: an interrupt handler may resume it at once.
    entry.state = 'recorded';
    if (this.#queue.writeStall(entry.event)) return true;
    entry.state = 'held';
    return false;
  }

  #freeTag(): number {
    const most = Math.min(this.#capacity, 2 ** 16);
    if (this.#tags.size >= most) return NO_STAG;
    let stag = 0;
    while (this.#tags.has(stag)) stag++;
    return stag;
  }

  /** A stall of the same page, stream, kind and privilege that still holds (3.12.2.1). */
  #like(event: TranslationEvent): Entry | undefined {
    return [...this.#entries].find(
      ({ state, event: held }) => state !== 'duplicate' && repeats(held, event),
    );
  }
}

function entryOf(access: DmaAccess, event: TranslationEvent, stag: number): Entry {
  const { streamId } = access;
  return { streamId, stag, access, event, state: 'held', touched: false, first: undefined };
}

function repeats(held: TranslationEvent, event: TranslationEvent): boolean {
  return (
    held.streamId === event.streamId &&
    held.substreamId === event.substreamId &&
    held.address.hi === event.address.hi &&
    held.address.lo - (held.address.lo % 4096) === event.address.lo - (event.address.lo % 4096) &&
    held.rw === event.rw &&
    held.privileged === event.privileged &&
    held.instruction === event.instruction
  );
}

function terminated(
  entry: Entry,
  response: 'abort' | 'raz-wi',
  by: 'CMD_RESUME' | 'CMD_STALL_TERM' | 'SMMUEN',
): StallEnd {
  return { outcome: 'terminated', response, by, streamId: entry.streamId };
}

/*
 * Writing of event records (IHI 0070 3.5.1, 7.2, 7.3.1, 7.4).
 * Not modelled: delayed visibility, asynchronous write aborts; merging with any record but the newest.
 */
import { CR0, EVENT_BYTES, EVENTQ_BASE, REGISTER_OFFSET as R } from '@iommukit/arm-arch';
import type { MemoryView } from '@iommukit/platform';
import type { Features } from './features.ts';
import type { InterfacePolicy } from './interface-policy.ts';
import type { Interrupts } from './interrupts.ts';
import { OutputQueue } from './output-queue.ts';
import { encodeRecord, type RecordedEvent } from './port-event.ts';
import { EVENTQ_CONS, EVENTQ_PROD } from './queue-index.ts';

const LANES = EVENT_BYTES / 4;

/** Events that may be merged whatever STE.MEV says: there is no STE to say it (7.3.1). */
const ALWAYS_MERGEABLE: ReadonlySet<string> = new Set([
  'F_UUT',
  'C_BAD_STREAMID',
  'F_STE_FETCH',
  'C_BAD_STE',
]);
/** Those whose InputAddr[11:0] does not count in the comparison. */
const PAGE_COMPARED: ReadonlySet<string> = new Set([
  'F_TRANSL_FORBIDDEN',
  'F_WALK_EABT',
  'F_TRANSLATION',
  'F_ADDR_SIZE',
  'F_ACCESS',
  'F_PERMISSION',
]);

/** The event queue as the SMMU sees it. */
export class EventQueue {
  readonly #words: Uint32Array;
  readonly #interrupts: Interrupts;
  readonly #queue: OutputQueue;
  readonly #merges: boolean;
  readonly #record: Uint32Array = new Uint32Array(LANES);
  /** The newest record, as compared; a length of 0 when there is none. */
  #newest: number[] = [];
  /** Records that were merged with the one before. */
  merged = 0;

  constructor(parts: {
    words: Uint32Array;
    memory: MemoryView;
    features: Features;
    interrupts: Interrupts;
    policy: Pick<InterfacePolicy, 'mergeEvents'>;
  }) {
    const { words, memory, features } = parts;
    this.#words = words;
    this.#interrupts = parts.interrupts;
    this.#merges = parts.policy.mergeEvents === 'newest';
    this.#queue = new OutputQueue(words, memory, {
      prod: EVENTQ_PROD / 4,
      cons: EVENTQ_CONS / 4,
      recordBytes: EVENT_BYTES,
      lg2: () =>
        Math.min(EVENTQ_BASE.get.LOG2SIZE(words, R.EVENTQ_BASE / 4), features.eventqMaxLg2),
      base: () => EVENTQ_BASE.get.ADDR(words, R.EVENTQ_BASE / 4),
    });
  }

  /** Takes over what another queue's records may merge with. */
  adopt(other: EventQueue): void {
    this.#newest = other.#newest;
  }

  /** Enabled, not full, and without an unacknowledged write abort (7.2.1). */
  get isWritable(): boolean {
    return this.#isOpen() && !this.#queue.isFull;
  }

  /**
   * Records the event of a terminated transaction; false when it was dropped. `merging` is STE.MEV of its stream, which allows the
   * record to be merged with an equal one.
   */
  write(event: RecordedEvent, merging: 'mev' | 'no-mev' = 'no-mev'): boolean {
    if (!this.#isOpen()) return false;
    encodeRecord(event, this.#record);
    if (this.#merges && this.#mergesWith(event, merging)) {
      this.merged++;
      return true;
    }
    const result = this.#append();
    if (result === 'full') this.#queue.overflow();
    if (result === 'full' || result === 'aborted') return false;
    if (this.#merges) this.#newest = comparable(event, this.#record);
    return true;
  }

  /** Records a stall; false when it has to wait. It never shows as overflow, and is never merged (7.3.1, 7.4). */
  writeStall(event: RecordedEvent): boolean {
    if (!this.isWritable) return false;
    encodeRecord(event, this.#record);
    this.#newest = [];
    return this.#append() === 'written';
  }

  #isOpen(): boolean {
    return (
      CR0.get.EVENTQEN(this.#words, R.CR0ACK / 4) === 1 &&
      !this.#interrupts.isActive('EVENTQ_ABT_ERR')
    );
  }

  #append(): 'written' | 'full' | 'aborted' {
    const result = this.#queue.write(this.#record);
    if (result === 'aborted') this.#interrupts.raise('EVENTQ_ABT_ERR');
    // The index is visible before the interrupt (3.18).
    if (result === 'first') this.#interrupts.eventQueueNotEmpty();
    return result === 'first' ? 'written' : result;
  }

  #mergesWith(event: RecordedEvent, merging: 'mev' | 'no-mev'): boolean {
    if (merging === 'no-mev' && !ALWAYS_MERGEABLE.has(event.event)) return false;
    if (this.#newest.length === 0 || this.#queue.isEmpty) return false;
    const now = comparable(event, this.#record);
    return now.every((lane, i) => lane === this.#newest[i]);
  }
}

function comparable(event: RecordedEvent, record: Uint32Array): number[] {
  const lanes = [...record];
  if (PAGE_COMPARED.has(event.event))
    lanes[4] = (lanes[4] as number) - ((lanes[4] as number) % 4096);
  return lanes;
}

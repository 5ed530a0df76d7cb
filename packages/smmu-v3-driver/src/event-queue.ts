import { queueEmpty, queueIndex, queueNext, REGISTER_OFFSET } from '@iommukit/arm-arch';
import type { MemoryView, MmioFrame, Platform, TraceChannel } from '@iommukit/platform';
import type { DriverEvent } from './driver-event.ts';
import type { LogSink } from './driver-log.ts';
import type { DriverProfile } from './driver-profile.ts';
import { eventLines } from './event-line.ts';
import { decodeEvent, type EventRecord } from './event-record.ts';

const EVENT_BYTES = 32;
const OVERFLOW = 2 ** 31;

/** What an event queue works with. */
export interface EventQueueParts {
  readonly memory: MemoryView;
  readonly registers: MmioFrame;
  readonly platform: Platform;
  readonly trace: TraceChannel<DriverEvent>;
  readonly log: LogSink;
  readonly profile: DriverProfile;
  readonly base: number;
  readonly lg2: number;
  /** True when somebody answered the event, so that it is not printed. */
  handle(record: EventRecord): boolean;
  /** Name of the device that sends a stream, null without one. */
  clientOf(streamId: number): string | null;
}

/**
 * The event queue in memory and the thread that drains it (`arm_smmu_evtq_thread`).
 * @example driver.evtq.thread();
 */
export class EventQueue {
  readonly base: number;
  readonly lg2: number;
  /** Records taken from the queue. */
  drained = 0;
  readonly #parts: EventQueueParts;
  // What the driver last read of PROD.
  #prod = 0;
  #cons = 0;
  #windowStart = Number.NEGATIVE_INFINITY;
  #printed = 0;
  #suppressed = 0;

  constructor(parts: EventQueueParts) {
    this.#parts = parts;
    this.base = parts.base;
    this.lg2 = parts.lg2;
  }

  /** Starts again from index 0, as the registers do after reset. */
  reset(): void {
    this.#prod = 0;
    this.#cons = 0;
  }

  /** Takes every record that the SMMU has published; what nobody handles is printed, at most a burst in each window. */
  thread(): void {
    const { registers, trace, log } = this.#parts;
    if (trace.on) trace.emit({ name: 'evtq_thread' });
    do {
      while (!queueEmpty(this.#prod, this.#cons, this.lg2)) {
        const index = queueIndex(this.#cons, this.lg2);
        const record = this.#read(index);
        this.#cons = queueNext(this.#cons, this.lg2);
        registers.write32(REGISTER_OFFSET.EVENTQ_CONS, this.#cons);
        if (!this.#parts.handle(record)) this.#print(record);
      }
      this.#prod = registers.read32(REGISTER_OFFSET.EVENTQ_PROD);
      // Linux says so at each look until the overflow is acknowledged below: twice when there was something to drain.
      if (this.#overflown) log({ level: 'err', text: 'EVTQ overflow detected -- events lost' });
    } while (!queueEmpty(this.#prod, this.#cons, this.lg2));
    if (!this.#overflown) return;
    // Acknowledges the overflow: the flag of PROD goes into CONS.
    this.#cons = (this.#cons % OVERFLOW) + (this.#prod >= OVERFLOW ? OVERFLOW : 0);
    registers.write32(REGISTER_OFFSET.EVENTQ_CONS, this.#cons);
  }

  get #overflown(): boolean {
    return this.#prod >= OVERFLOW !== this.#cons >= OVERFLOW;
  }

  #read(index: number): EventRecord {
    const { memory } = this.#parts;
    const words = new Uint32Array(EVENT_BYTES / 4);
    for (let q = 0; q < EVENT_BYTES / 8; q++) {
      words[q * 2] = memory.load64(this.base + index * EVENT_BYTES + q * 8);
      words[q * 2 + 1] = memory.hi;
    }
    this.drained++;
    return decodeEvent(words);
  }

  #print(record: EventRecord): void {
    const { platform, profile, log } = this.#parts;
    const now = platform.clock.nowUs;
    if (now - this.#windowStart > profile.printWindowUs) {
      if (this.#suppressed > 0)
        log({
          level: 'warn',
          text: `${profile.printLimiter}: ${this.#suppressed} callbacks suppressed`,
        });
      this.#windowStart = now;
      this.#printed = 0;
      this.#suppressed = 0;
    }
    if (this.#printed === profile.printBurst) {
      this.#suppressed++;
      return;
    }
    this.#printed++;
    const client = this.#parts.clientOf(record.streamId);
    for (const line of eventLines(record, client, profile)) log(line);
  }
}

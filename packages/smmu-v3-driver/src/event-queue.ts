import { EVENT_BYTES, REGISTER_OFFSET } from '@iommukit/arm-arch';
import type { MemoryView, MmioFrame, Platform, TraceChannel } from '@iommukit/platform';
import type { DriverEvent } from './driver-event.ts';
import type { LogSink } from './driver-log.ts';
import type { DriverProfile } from './driver-profile.ts';
import { eventLines } from './event-line.ts';
import { decodeEvent, type EventRecord } from './event-record.ts';
import { QueueDrain } from './queue-drain.ts';

/**
 * What an event queue works with.
 * @example const parts: EventQueueParts = { memory, registers, platform, trace, log, profile, base: 0x8000_0000, lg2: 7, handle: () => false, clientOf: () => null };
 */
export interface EventQueueParts {
  readonly memory: MemoryView;
  readonly registers: MmioFrame;
  readonly platform: Platform;
  readonly trace: TraceChannel<DriverEvent>;
  readonly log: LogSink;
  readonly profile: DriverProfile;
  /** Physical address of the ring. */
  readonly base: number;
  /** log2 of its records. */
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
  /** Physical address of the ring. */
  readonly base: number;
  /** log2 of its records. */
  readonly lg2: number;
  readonly #parts: EventQueueParts;
  readonly #drain: QueueDrain;
  #windowStart = Number.NEGATIVE_INFINITY;
  #printed = 0;
  #suppressed = 0;

  constructor(parts: EventQueueParts) {
    const { memory, registers, log, base, lg2 } = parts;
    this.#parts = parts;
    this.base = base;
    this.lg2 = lg2;
    this.#drain = new QueueDrain({
      memory,
      registers,
      log,
      base,
      lg2,
      recordBytes: EVENT_BYTES,
      prodAt: REGISTER_OFFSET.EVENTQ_PROD,
      consAt: REGISTER_OFFSET.EVENTQ_CONS,
      overflowText: 'EVTQ overflow detected -- events lost',
    });
  }

  /** Records taken from the queue. */
  get drained(): number {
    return this.#drain.drained;
  }

  /** Starts again from index 0, as the registers do after reset. */
  reset(): void {
    this.#drain.reset();
  }

  /** Takes every record that the SMMU has published; what nobody handles is printed, at most a burst in each window. */
  thread(): void {
    const { trace } = this.#parts;
    if (trace.on) trace.emit({ name: 'evtq_thread' });
    this.#drain.run((words) => {
      const record = decodeEvent(words);
      if (!this.#parts.handle(record)) this.#print(record);
    });
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

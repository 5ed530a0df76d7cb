import { PAGE_REQUEST_BYTES, REGISTER_OFFSET } from '@iommukit/arm-arch';
import type { DeviceFault } from '@iommukit/iommu-core';
import type { MemoryView, MmioFrame } from '@iommukit/platform';
import type { PriResponse } from './command-batch.ts';
import type { LogSink } from './driver-log.ts';
import { pageRequestOf, unexpectedPageRequest } from './page-request.ts';
import { QueueDrain } from './queue-drain.ts';

/**
 * What a page request queue works with.
 * @example const parts: PageRequestQueueParts = { memory, registers, log, base: 0x8000_0000, lg2: 8, respond: (r) => stream.room().priResponse(r) };
 */
export interface PageRequestQueueParts {
  readonly memory: MemoryView;
  readonly registers: MmioFrame;
  readonly log: LogSink;
  /** Physical address of the ring. */
  readonly base: number;
  /** log2 of its records. */
  readonly lg2: number;
  /** Issues a CMD_PRI_RESP without SYNC. */
  respond(response: PriResponse): void;
  /**
   * Beyond Linux: takes a request and will see to the answer of its group: 0, or a negative errno, and the request is denied as Linux
   * denies all. Absent: none is taken.
   */
  route?(streamId: number, fault: DeviceFault): number;
  /** Requests were lost, perhaps the last ones of groups. */
  lost?(): void;
}

/**
 * The page request queue in memory and the thread that drains it (`arm_smmu_priq_thread`). Linux expects no request: it prints each and
 * denies the group. With `route`, requests go to the page-fault layer first.
 * @example driver.priq?.thread();
 */
export class PageRequestQueue {
  /** Physical address of the ring. */
  readonly base: number;
  /** log2 of its records. */
  readonly lg2: number;
  readonly #parts: PageRequestQueueParts;
  readonly #drain: QueueDrain;

  constructor(parts: PageRequestQueueParts) {
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
      recordBytes: PAGE_REQUEST_BYTES,
      prodAt: REGISTER_OFFSET.PRIQ_PROD,
      consAt: REGISTER_OFFSET.PRIQ_CONS,
      overflowText: 'PRIQ overflow detected -- requests lost',
      onOverflow: () => parts.lost?.(),
    });
  }

  /** Requests taken from the queue. */
  get drained(): number {
    return this.#drain.drained;
  }

  /** Starts again from index 0, as the registers do after reset. */
  reset(): void {
    this.#drain.reset();
  }

  /** Takes and answers every request that the SMMU has published. */
  thread(): void {
    this.#drain.run((words) => this.#answer(words));
  }

  #answer(words: Uint32Array): void {
    const { streamId, fault } = pageRequestOf(words);
    if (this.#parts.route?.(streamId, fault) === 0) return;
    const { lines, response } = unexpectedPageRequest(words);
    for (const line of lines) this.#parts.log(line);
    if (response !== null) this.#parts.respond(response);
  }
}

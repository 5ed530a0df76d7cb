import { queueEmpty, queueIndex, queueNext, REGISTER_OFFSET } from '@iommukit/arm-arch';
import type { DeviceFault } from '@iommukit/iommu-core';
import type { MemoryView, MmioFrame } from '@iommukit/platform';
import type { PriResponse } from './command-batch.ts';
import type { LogSink } from './driver-log.ts';
import { pageRequestOf, unexpectedPageRequest } from './page-request.ts';

/** Bytes of a page request. */
export const REQUEST_BYTES = 16;
const OVERFLOW = 2 ** 31;

/**
 * What a page request queue works with.
 * @example const parts: PageRequestQueueParts = { memory, registers, log, base: 0x8000_0000, lg2: 8, respond: (r) => stream.room().priResponse(r) };
 */
export interface PageRequestQueueParts {
  readonly memory: MemoryView;
  readonly registers: MmioFrame;
  readonly log: LogSink;
  readonly base: number;
  readonly lg2: number;
  /** Issues a CMD_PRI_RESP without SYNC. */
  respond(response: PriResponse): void;
  /**
   * Beyond Linux: takes a request and will see to the answer of its group: 0, or a negative errno, and the request is denied as Linux
   * denies all. Absent: none is taken.
   */
  route?(streamId: number, fault: DeviceFault): number;
}

/**
 * The page request queue in memory and the thread that drains it (`arm_smmu_priq_thread`). Linux expects no request: it prints each and
 * denies the group. With `route`, requests go to the page-fault layer first.
 * @example driver.priq?.thread();
 */
export class PageRequestQueue {
  readonly base: number;
  readonly lg2: number;
  /** Requests taken from the queue. */
  drained = 0;
  readonly #parts: PageRequestQueueParts;
  // What the driver last read of PROD.
  #prod = 0;
  #cons = 0;

  constructor(parts: PageRequestQueueParts) {
    this.#parts = parts;
    this.base = parts.base;
    this.lg2 = parts.lg2;
  }

  /** Starts again from index 0, as the registers do after reset. */
  reset(): void {
    this.#prod = 0;
    this.#cons = 0;
  }

  /** Takes and answers every request that the SMMU has published. */
  thread(): void {
    const { registers, log } = this.#parts;
    do {
      while (!queueEmpty(this.#prod, this.#cons, this.lg2)) {
        const words = this.#read(queueIndex(this.#cons, this.lg2));
        this.#cons = queueNext(this.#cons, this.lg2);
        registers.write32(REGISTER_OFFSET.PRIQ_CONS, this.#cons);
        this.#answer(words);
      }
      this.#prod = registers.read32(REGISTER_OFFSET.PRIQ_PROD);
      if (this.#overflown) log({ level: 'err', text: 'PRIQ overflow detected -- requests lost' });
    } while (!queueEmpty(this.#prod, this.#cons, this.lg2));
    if (!this.#overflown) return;
    // Acknowledges the overflow: the flag of PROD goes into CONS.
    this.#cons = (this.#cons % OVERFLOW) + (this.#prod >= OVERFLOW ? OVERFLOW : 0);
    registers.write32(REGISTER_OFFSET.PRIQ_CONS, this.#cons);
  }

  get #overflown(): boolean {
    return this.#prod >= OVERFLOW !== this.#cons >= OVERFLOW;
  }

  #read(index: number): Uint32Array {
    const { memory } = this.#parts;
    const words = new Uint32Array(REQUEST_BYTES / 4);
    for (let q = 0; q < REQUEST_BYTES / 8; q++) {
      words[q * 2] = memory.load64(this.base + index * REQUEST_BYTES + q * 8);
      words[q * 2 + 1] = memory.hi;
    }
    this.drained++;
    return words;
  }

  #answer(words: Uint32Array): void {
    const { streamId, fault } = pageRequestOf(words);
    if (this.#parts.route?.(streamId, fault) === 0) return;
    const { lines, response } = unexpectedPageRequest(words);
    for (const line of lines) this.#parts.log(line);
    if (response !== null) this.#parts.respond(response);
  }
}

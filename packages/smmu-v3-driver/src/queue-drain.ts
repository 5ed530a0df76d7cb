import { queueEmpty, queueIndex, queueNext } from '@iommukit/arm-arch';
import type { MemoryView, MmioFrame } from '@iommukit/platform';
import type { LogSink } from './driver-log.ts';

/** Bit 31: OVFLG of PROD tells an overflow, OVACKFLG of CONS that it was seen (IHI 0070 7.4, 8.1). */
const OVERFLOW = 2 ** 31;

/** A queue that the SMMU fills and the driver empties. */
export interface QueueDrainParts {
  readonly memory: MemoryView;
  readonly registers: MmioFrame;
  readonly log: LogSink;
  /** Physical address of the ring. */
  readonly base: number;
  /** log2 of its records. */
  readonly lg2: number;
  /** Bytes of a record, a multiple of 8. */
  readonly recordBytes: number;
  /** Offsets of its index registers. */
  readonly prodAt: number;
  readonly consAt: number;
  /** What the kernel prints when records were lost. */
  readonly overflowText: string;
  /** Told that records were lost, once for each overflow, after all that are left were taken. */
  onOverflow?(): void;
}

/**
 * The consumer of an event or page request queue: the loop that `arm_smmu_evtq_thread` and `arm_smmu_priq_thread` share. CONS moves over a
 * record before it is handled; an overflow is printed, and acknowledged once the queue is empty.
 */
export class QueueDrain {
  /** Records taken. */
  drained = 0;
  readonly #parts: QueueDrainParts;
  // What the driver last read of PROD.
  #prod = 0;
  #cons = 0;

  constructor(parts: QueueDrainParts) {
    this.#parts = parts;
  }

  /** Starts again from index 0, as the registers do after reset. */
  reset(): void {
    this.#prod = 0;
    this.#cons = 0;
  }

  /** Takes every record that the SMMU has published. `take` gets the lanes of each, and keeps them. */
  run(take: (words: Uint32Array) => void): void {
    const { registers, log, lg2, prodAt, consAt, overflowText } = this.#parts;
    do {
      while (!queueEmpty(this.#prod, this.#cons, lg2)) {
        const words = this.#read(queueIndex(this.#cons, lg2));
        this.#cons = queueNext(this.#cons, lg2);
        registers.write32(consAt, this.#cons);
        take(words);
      }
      const before = this.#prod;
      this.#prod = registers.read32(prodAt);
      // Compared with PROD as last read, not with CONS: each overflow is printed once (`queue_sync_prod_in`).
      if (before >= OVERFLOW !== this.#prod >= OVERFLOW) log({ level: 'err', text: overflowText });
    } while (!queueEmpty(this.#prod, this.#cons, lg2));
    if (!this.#overflown) return;
    // Acknowledges the overflow: the flag of PROD goes into CONS.
    this.#cons = (this.#cons % OVERFLOW) + (this.#prod >= OVERFLOW ? OVERFLOW : 0);
    registers.write32(consAt, this.#cons);
    this.#parts.onOverflow?.();
  }

  get #overflown(): boolean {
    return this.#prod >= OVERFLOW !== this.#cons >= OVERFLOW;
  }

  #read(index: number): Uint32Array {
    const { memory, base, recordBytes } = this.#parts;
    const words = new Uint32Array(recordBytes / 4);
    const pa = base + index * recordBytes;
    for (let q = 0; q < recordBytes / 8; q++) {
      words[q * 2] = memory.load64(pa + q * 8);
      words[q * 2 + 1] = memory.hi;
    }
    this.drained++;
    return words;
  }
}

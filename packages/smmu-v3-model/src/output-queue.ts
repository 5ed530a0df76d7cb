/*
 * The queues that the SMMU writes: where the next record goes, when there is room, and overflow (IHI 0070 3.5.1, 7.2, 7.4, 8.1).
 * Not modelled: asynchronous write aborts: every abort is synchronous, so that PROD never passes an entry that is not there;
 * delayed visibility of entries. Inconsistent indices count as a full queue, which 3.5.1 allows.
 */
import { QUEUE_OVERFLOW, queueEmpty, queueIndex, queueNext, queueUsed } from '@iommukit/arm-arch';
import type { MemoryView } from '@iommukit/platform';

/** The registers of one queue, as indices of the register words, and its geometry. */
export interface OutputQueuePlace {
  readonly prod: number;
  readonly cons: number;
  /** Bytes of a record: a power of two, whole doublewords. */
  readonly recordBytes: number;
  /** log2 of the number of entries in force. */
  lg2(): number;
  /** BASE.ADDR as written. */
  base(): number;
}

/** What became of a record. */
export type OutputResult = 'written' | 'first' | 'full' | 'aborted';

/** Writes records and moves PROD. */
export class OutputQueue {
  readonly #words: Uint32Array;
  readonly #memory: MemoryView;
  readonly #place: OutputQueuePlace;

  constructor(words: Uint32Array, memory: MemoryView, place: OutputQueuePlace) {
    this.#words = words;
    this.#memory = memory;
    this.#place = place;
  }

  get isFull(): boolean {
    const { prod, cons } = this.#place;
    const lg2 = this.#place.lg2();
    return queueUsed(this.#words[prod] as number, this.#words[cons] as number, lg2) >= 2 ** lg2;
  }

  get isEmpty(): boolean {
    const { prod, cons } = this.#place;
    return queueEmpty(this.#words[prod] as number, this.#words[cons] as number, this.#place.lg2());
  }

  /** OVFLG differs from OVACKFLG. */
  get isOverflowing(): boolean {
    const { prod, cons } = this.#place;
    return (
      (this.#words[prod] as number) >= QUEUE_OVERFLOW !==
      (this.#words[cons] as number) >= QUEUE_OVERFLOW
    );
  }

  /** Toggles OVFLG, unless an overflow is already shown (7.4). */
  overflow(): void {
    if (this.isOverflowing) return;
    const { prod } = this.#place;
    const now = this.#words[prod] as number;
    this.#words[prod] = now >= QUEUE_OVERFLOW ? now - QUEUE_OVERFLOW : now + QUEUE_OVERFLOW;
  }

  /** Appends a record; `first` when the queue was empty. The index is visible last (3.5.2). */
  write(record: Uint32Array): OutputResult {
    if (this.isFull) return 'full';
    const { prod, recordBytes } = this.#place;
    const lg2 = this.#place.lg2();
    const now = this.#words[prod] as number;
    const base = this.#place.base();
    const bytes = Math.max(2 ** lg2 * recordBytes, 32);
    const at = base - (base % bytes) + queueIndex(now, lg2) * recordBytes;
    if (!this.#memory.isBacked(at)) return 'aborted';
    for (let i = 0; i < recordBytes / 4; i += 2)
      this.#memory.store64(at + i * 4, record[i] as number, record[i + 1] as number);
    const wasEmpty = this.isEmpty;
    this.#words[prod] = queueNext(now, lg2);
    return wasEmpty ? 'first' : 'written';
  }
}

import { hex } from '@iommukit/bits';
import type { DmaDevice } from './dma-device.ts';
import { DmaError, type DmaErrorCode } from './dma-error.ts';
import { DMA_HANDLE_BYTES, type DmaHandle } from './dma-handle.ts';
import type { DmaDirection } from './dma-prot.ts';

const DIRECTIONS: readonly DmaDirection[] = ['BIDIRECTIONAL', 'TO_DEVICE', 'FROM_DEVICE', 'NONE'];
const SIZE_LIMIT = 2 ** 32;
const FIRST_CAPACITY = 64;
const FREE = 0;
// Doubles of a record, and its 32-bit words by their index among eight.
const DOUBLES = DMA_HANDLE_BYTES / 8;
const WORDS = DMA_HANDLE_BYTES / 4;
const SIZE = 4;
const GENERATION = 5;
const DEVICE = 6;
const DIRECTION = 7;

/**
 * The records of the live handles of a `DmaApi`, 32 bytes each, against which every use is compared. Beside them an index of 8 bytes a
 * record: plain calls must leave alone what a handle owns.
 */
export class HandleTable {
  #capacity = FIRST_CAPACITY;
  #doubles = new Float64Array(FIRST_CAPACITY * DOUBLES);
  #words = new Uint32Array(this.#doubles.buffer);
  /** First slot of each chain, and the next of each slot, plus 1; 0 ends a chain. A chain is chosen by the granule's number. */
  #heads = new Uint32Array(FIRST_CAPACITY);
  #next = new Uint32Array(FIRST_CAPACITY);
  readonly #free: number[] = [];
  #used = 0;
  readonly #devices: (DmaDevice | null)[] = [null];
  readonly #numbers = new Map<DmaDevice, number>();
  /** Usually the device of the next map too, and cheaper to compare than to look up. */
  #lastDevice: DmaDevice | null = null;
  #lastNumber = 0;

  /** Handles that are not unmapped yet. */
  get live(): number {
    return this.#used - this.#free.length;
  }

  /** Bytes of the records of live handles. */
  get bytes(): number {
    return this.live * DMA_HANDLE_BYTES;
  }

  /** Throws {@link DmaError} `HANDLE_SIZE` for what does not fit a record, before anything is mapped. */
  checkSize(dev: DmaDevice, size: number): void {
    if (size >= SIZE_LIMIT)
      throw refusal('HANDLE_SIZE', dev, `a handle for ${hex(size)} bytes`, 'Map less than 4 GiB');
  }

  add(dev: DmaDevice, dmaAddr: number, paddr: number, size: number, dir: DmaDirection): DmaHandle {
    const slot = this.#free.pop() ?? this.#grow();
    const at = slot * WORDS;
    const words = this.#words;
    this.#doubles[slot * DOUBLES] = dmaAddr;
    this.#doubles[slot * DOUBLES + 1] = paddr;
    words[at + SIZE] = size;
    const generation = ((words[at + GENERATION] as number) + 1) >>> 0;
    words[at + GENERATION] = generation;
    words[at + DEVICE] = this.#number(dev);
    words[at + DIRECTION] = DIRECTIONS.indexOf(dir);
    if (dev.space !== null) this.#chain(slot, dmaAddr / dev.space.granule);
    return { dmaAddr, paddr, size, dir, device: dev, generation, slot };
  }

  /** Throws {@link DmaError} `HANDLE_*` unless this is a live handle of the device, unaltered. */
  check(dev: DmaDevice, handle: DmaHandle): void {
    const { slot } = handle;
    const at = slot * WORDS;
    const words = this.#words;
    if (
      handle.device === dev &&
      slot < this.#used &&
      words[at + DEVICE] !== FREE &&
      words[at + GENERATION] === handle.generation &&
      this.#devices[words[at + DEVICE] as number] === dev &&
      words[at + SIZE] === handle.size &&
      DIRECTIONS[words[at + DIRECTION] as number] === handle.dir &&
      this.#doubles[slot * DOUBLES] === handle.dmaAddr &&
      this.#doubles[slot * DOUBLES + 1] === handle.paddr
    )
      return;
    const [code, fix] = this.#reason(dev, handle);
    throw refusal(code, dev, `the handle of ${hex(handle.dmaAddr)}`, fix);
  }

  /** What is wrong with a handle, and what to do about it. */
  #reason(dev: DmaDevice, handle: DmaHandle): [code: DmaErrorCode, fix: string] {
    const at = handle.slot * WORDS;
    const words = this.#words;
    const device = handle.slot < this.#used ? words[at + DEVICE] : undefined;
    if (handle.device !== dev || device === undefined)
      return ['HANDLE_FOREIGN', 'Pass the device and the DMA layer that it was made for'];
    if (device === FREE) return ['HANDLE_UNMAPPED', 'Unmap once, and last'];
    if (words[at + GENERATION] !== handle.generation)
      return ['HANDLE_STALE', 'Use the handle that the last map returned'];
    if (this.#devices[device] !== dev)
      return ['HANDLE_FOREIGN', 'Pass the device that it was made for'];
    if (words[at + SIZE] !== handle.size) return ['HANDLE_SIZE', 'Leave its size as it was'];
    if (DIRECTIONS[words[at + DIRECTION] as number] !== handle.dir)
      return ['HANDLE_DIRECTION', 'Leave its direction as it was'];
    return ['HANDLE_ADDRESS', 'Leave its addresses as they were'];
  }

  /** Throws {@link DmaError} `HANDLE_SIZE` unless [offset, offset + size) lies in the mapping. */
  checkPart(dev: DmaDevice, handle: DmaHandle, offset: number, size: number): void {
    if (offset >= 0 && size >= 0 && offset + size <= handle.size) return;
    const part = `bytes ${hex(offset)} to ${hex(offset + size)} of ${hex(handle.size)}`;
    throw refusal('HANDLE_SIZE', dev, part, 'Stay inside the mapping');
  }

  /** Ends a live handle. */
  remove(handle: DmaHandle): void {
    const { slot, device, dmaAddr } = handle;
    this.#words[slot * WORDS + DEVICE] = FREE;
    this.#free.push(slot);
    if (device.space === null) return;
    const head = this.#headOf(dmaAddr / device.space.granule);
    const next = this.#next;
    if (this.#heads[head] === slot + 1) {
      this.#heads[head] = next[slot] as number;
      return;
    }
    let at = (this.#heads[head] as number) - 1;
    while (next[at] !== slot + 1) at = (next[at] as number) - 1;
    next[at] = next[slot] as number;
  }

  /** Throws {@link DmaError} `HANDLE_OWNED` when the address belongs to the first granule of a live handle of the same space. */
  checkPlain(dev: DmaDevice, dmaAddr: number): void {
    const { space } = dev;
    if (space === null || this.live === 0) return;
    const first = dmaAddr - (dmaAddr % space.granule);
    let slot = (this.#heads[this.#headOf(dmaAddr / space.granule)] as number) - 1;
    for (; slot >= 0; slot = (this.#next[slot] as number) - 1) {
      const owned = this.#doubles[slot * DOUBLES] as number;
      if (owned < first || owned >= first + space.granule) continue;
      if (this.#devices[this.#words[slot * WORDS + DEVICE] as number]?.space === space)
        throw refusal('HANDLE_OWNED', dev, `the address ${hex(dmaAddr)}`, 'Unmap it by its handle');
    }
  }

  #number(dev: DmaDevice): number {
    if (dev === this.#lastDevice) return this.#lastNumber;
    let number = this.#numbers.get(dev);
    if (number === undefined) {
      number = this.#devices.push(dev) - 1;
      this.#numbers.set(dev, number);
    }
    this.#lastDevice = dev;
    this.#lastNumber = number;
    return number;
  }

  #headOf(pfn: number): number {
    return pfn & (this.#capacity - 1);
  }

  #chain(slot: number, pfn: number): void {
    const head = this.#headOf(pfn);
    this.#next[slot] = this.#heads[head] as number;
    this.#heads[head] = slot + 1;
  }

  #grow(): number {
    if (this.#used < this.#capacity) return this.#used++;
    this.#capacity *= 2;
    const doubles = new Float64Array(this.#capacity * DOUBLES);
    doubles.set(this.#doubles);
    this.#doubles = doubles;
    this.#words = new Uint32Array(doubles.buffer);
    this.#heads = new Uint32Array(this.#capacity);
    this.#next = new Uint32Array(this.#capacity);
    for (let slot = 0; slot < this.#used; slot++) {
      const space = this.#devices[this.#words[slot * WORDS + DEVICE] as number]?.space ?? null;
      if (space !== null) this.#chain(slot, (doubles[slot * DOUBLES] as number) / space.granule);
    }
    return this.#used++;
  }
}

const REASONS: Partial<Record<DmaErrorCode, string>> = {
  HANDLE_UNMAPPED: 'whose mapping is gone',
  HANDLE_STALE: 'whose place another mapping took',
  HANDLE_FOREIGN: 'which is not its own',
  HANDLE_SIZE: 'which does not fit the mapping',
  HANDLE_DIRECTION: 'which is not the direction of the mapping',
  HANDLE_ADDRESS: 'whose addresses were altered',
  HANDLE_OWNED: 'which a live handle owns',
};

function refusal(code: DmaErrorCode, dev: DmaDevice, what: string, fix: string): DmaError {
  return new DmaError(code, dev.name, `was given ${what}, ${REASONS[code]}`, fix);
}

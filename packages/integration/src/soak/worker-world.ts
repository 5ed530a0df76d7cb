/* What the threads of a worker soak share: memory, registers of the command queue, and what is mapped where. */
import { REGISTER_OFFSET } from '@iommukit/arm-arch';
import { SZ_1G, SZ_2M } from '@iommukit/bits';
import {
  FrameAllocator,
  type MmioFrame,
  type Platform,
  SharedMemory,
  SimClock,
} from '@iommukit/platform';
import { queueWordsBytes, SharedQueueWords } from '@iommukit/smmu-v3-driver';

const PAGE = 4096;
const BASE = 0x8000_0000;
const RAM = 0x40_0000;
/** Queues, stream table and CDs in the lower half, tables in the upper one. */
const HALF = RAM / 2;
const REGISTERS = 0x200;
/** Commands that the ring holds, log2. */
export const QUEUE_LG2 = 8;
/** Pages of a worker among those of the others, and in a region of its own. */
export const SHARED_PAGES = 48;
export const OWN_PAGES = 16;
const PAGES = SHARED_PAGES + OWN_PAGES;
/** Where the device finds what: far beyond memory, since no byte is moved. */
const TARGET = 0x8_0000_0000;
const GENERATIONS = 64;

/** What a page is going through: its state is a generation times four and one of these. */
export const PAGE_PHASE = { unmapped: 0, mapping: 1, mapped: 2, unmapping: 3 } as const;

/** Buffers that all threads have. */
export interface SharedBuffers {
  readonly workers: number;
  readonly ram: SharedArrayBuffer;
  readonly frames: SharedArrayBuffer;
  readonly registers: SharedArrayBuffer;
  readonly words: SharedArrayBuffer;
  /** States of all pages. */
  readonly states: SharedArrayBuffer;
  /** Word 0: workers that are done. */
  readonly gate: SharedArrayBuffer;
}

/** Where the SMMU's thread has put what the others need. */
export interface QueuePlace {
  readonly queue: number;
  /** Top table of the domain, and its tag. */
  readonly table: number;
  readonly asid: number;
}

/** New buffers for a number of workers. */
export function sharedBuffers(workers: number): SharedBuffers {
  return {
    workers,
    ram: new SharedArrayBuffer(RAM),
    frames: new SharedArrayBuffer(FrameAllocator.stateBytes(HALF)),
    registers: new SharedArrayBuffer(REGISTERS),
    words: new SharedArrayBuffer(queueWordsBytes(QUEUE_LG2)),
    states: new SharedArrayBuffer(workers * PAGES * 4),
    gate: new SharedArrayBuffer(4),
  };
}

/** One thread's view of the buffers. */
export class WorkerWorld {
  readonly workers: number;
  readonly memory: SharedMemory;
  readonly coherent: FrameAllocator = new FrameAllocator({ base: BASE, size: HALF });
  readonly frames: FrameAllocator;
  readonly registers: SharedRegisters;
  readonly words: SharedQueueWords;
  readonly #states: Int32Array;
  readonly #gate: Int32Array;

  constructor(buffers: SharedBuffers) {
    this.workers = buffers.workers;
    this.memory = new SharedMemory({ base: BASE, buffer: buffers.ram });
    this.frames = new FrameAllocator({ base: BASE + HALF, size: HALF, state: buffers.frames });
    this.registers = new SharedRegisters(buffers.registers);
    this.words = new SharedQueueWords(buffers.words);
    this.#states = new Int32Array(buffers.states);
    this.#gate = new Int32Array(buffers.gate);
  }

  /** Pages of all workers. */
  get pages(): number {
    return this.workers * PAGES;
  }

  state(page: number): number {
    return Atomics.load(this.#states, page);
  }

  setState(page: number, state: number): void {
    Atomics.store(this.#states, page, state);
  }

  /** A worker is done. */
  leave(): void {
    Atomics.add(this.#gate, 0, 1);
  }

  get done(): boolean {
    return Atomics.load(this.#gate, 0) === this.workers;
  }
}

/** Number of a page of a worker among all. */
export function pageOf(worker: number, index: number): number {
  return worker * PAGES + index;
}

/** Its IOVA: shared pages lie between those of the other workers, own ones in 2 MiB that nobody else uses. */
export function iovaOf(workers: number, page: number): number {
  const worker = Math.floor(page / PAGES);
  const index = page % PAGES;
  if (index < SHARED_PAGES) return (index * workers + worker) * PAGE;
  return regionOf(worker) + (index - SHARED_PAGES) * 31 * PAGE;
}

/** The 2 MiB of a worker. */
export function regionOf(worker: number): number {
  return SZ_1G + worker * SZ_2M;
}

/** Where a page is mapped to in a generation; no two are the same. */
export function targetOf(page: number, generation: number): number {
  return TARGET + (page * GENERATIONS + (generation % GENERATIONS)) * PAGE;
}

/** The registers of the command queue between threads. */
export class SharedRegisters implements MmioFrame {
  readonly hi = 0;
  readonly #words: Uint32Array;

  constructor(buffer: SharedArrayBuffer) {
    this.#words = new Uint32Array(buffer);
  }

  read32(offset: number): number {
    return Atomics.load(this.#words, offset / 4);
  }

  write32(offset: number, value: number): void {
    Atomics.store(this.#words, offset / 4, value);
  }

  read64(offset: number): number {
    return this.read32(offset);
  }

  write64(offset: number, lo: number, hi: number): void {
    this.write32(offset, lo);
    this.write32(offset + 4, hi);
  }
}

/** Waits in real time, so that other threads come to work; its clock stands still, so that nothing times out. */
export class ThreadPlatform implements Platform {
  readonly clock: SimClock = new SimClock();
  cpu = 0;
  readonly #sleeper = new Int32Array(new SharedArrayBuffer(4));

  pollUntil(condition: () => boolean): boolean {
    for (let spin = 1; ; spin++) {
      if (condition()) return true;
      if (spin % 64 === 0) Atomics.wait(this.#sleeper, 0, 0, 0.02);
    }
  }
}

/** PROD and CONS of the command queue. */
export const QUEUE_REGISTERS: { readonly prod: number; readonly cons: number } = {
  prod: REGISTER_OFFSET.CMDQ_PROD,
  cons: REGISTER_OFFSET.CMDQ_CONS,
};

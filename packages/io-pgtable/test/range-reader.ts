import { parentPort, workerData } from 'node:worker_threads';
import { SZ_1G, SZ_2M, SZ_4K } from '@iommukit/bits';
import { FrameAllocator, SharedMemory } from '@iommukit/platform';
import { arm64LpaeS1, IO_PGTABLE_PROFILES, type PageTableConfig } from '../src/index.ts';

/** What the reader is given; `gate` holds the batch that may be read and the one that was. */
export interface ReaderTask {
  readonly base: number;
  readonly buffer: SharedArrayBuffer;
  readonly state: SharedArrayBuffer;
  readonly gate: SharedArrayBuffer;
  readonly top: number;
  readonly batches: number;
}

/** Where lists are mapped: one in every 2 MiB, so that each needs a table of its own. */
export const FIRST = 0x1_0000_0000;
export const SLOTS = 512;
export const PAGES = 16;

/** Tables of pages that were seen, and how many of them in part only. */
export interface ReaderAnswer {
  readonly seen: number;
  readonly partial: number;
}

/** The configuration of both threads' handles. */
export function readerConfig(memory: SharedMemory, frames: FrameAllocator): PageTableConfig {
  return {
    pgsizeBitmap: SZ_4K + SZ_2M + SZ_1G,
    ias: 48,
    oas: 48,
    coherentWalk: true,
    memory,
    frames,
    flush: { tlbFlushAll() {}, tlbFlushWalk() {}, tlbAddPage() {} },
    profile: IO_PGTABLE_PROFILES['7.3'],
  };
}

function read(task: ReaderTask): ReaderAnswer {
  const memory = new SharedMemory({ base: task.base, buffer: task.buffer });
  const frames = new FrameAllocator({
    base: task.base,
    size: task.buffer.byteLength,
    state: task.state,
  });
  const table = arm64LpaeS1.attach(readerConfig(memory, frames), task.top);
  if (typeof table === 'number') throw new Error(`refused: ${table}`);
  const gate = new Int32Array(task.gate);
  let seen = 0;
  let partial = 0;
  for (let batch = 1; batch <= task.batches; batch++) {
    while (Atomics.load(gate, 0) < batch) Atomics.wait(gate, 0, batch - 1, 1000);
    for (let slot = 0; slot < SLOTS; slot++) {
      const iova = FIRST + slot * SZ_2M;
      const first = iova + (slot % PAGES) * SZ_4K;
      while (table.iovaToPhys(first) === 0);
      let mapped = 0;
      for (let page = 0; page < PAGES; page++)
        if (table.iovaToPhys(iova + page * SZ_4K) !== 0) mapped++;
      seen++;
      if (mapped < PAGES) partial++;
    }
    Atomics.store(gate, 1, batch);
    Atomics.notify(gate, 1);
  }
  return { seen, partial };
}

if (parentPort !== null) parentPort.postMessage(read(workerData as ReaderTask));

// S0-7 with a second thread that walks while the first one maps. With a call for each page instead it sees thousands in part.
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { SZ_1G, SZ_2M } from '@iommukit/bits';
import { FrameAllocator, SharedMemory } from '@iommukit/platform';
import { expect, test } from 'vitest';
import { arm64LpaeS1, createPageTable, RangeGather } from '../src/index.ts';
import {
  FIRST,
  PAGES,
  type ReaderAnswer,
  type ReaderTask,
  readerConfig,
  SLOTS,
} from './range-reader.ts';
import { PROT, scat } from './range-rig.lanes.ts';

const BOOT = new URL('../../../tools/worker-boot.mjs', import.meta.url);
const ENTRY = new URL('./range-reader.ts', import.meta.url).href;
const BASE = 0x8000_0000;
const POOL = 0x80_0000;
const ROUNDS = process.env['IOMMUKIT_SOAK'] === undefined ? 5_000 : 100_000;

test('S0-7 a second thread never sees a table in part', async () => {
  const buffer = new SharedArrayBuffer(POOL);
  const state = new SharedArrayBuffer(FrameAllocator.stateBytes(POOL));
  const gate = new SharedArrayBuffer(8);
  const turns = new Int32Array(gate);
  const memory = new SharedMemory({ base: BASE, buffer });
  const frames = new FrameAllocator({ base: BASE, size: POOL, state });
  const table = createPageTable(arm64LpaeS1, readerConfig(memory, frames));
  if (typeof table === 'number') throw new Error(`refused: ${table}`);
  const batches = Math.ceil(ROUNDS / SLOTS);
  const task: ReaderTask = { base: BASE, buffer, state, gate, top: table.base, batches };
  const worker = new Worker(BOOT, {
    workerData: { entry: ENTRY, ...task },
    execArgv: ['--conditions=@iommukit/source'],
  });
  const answer = once(worker, 'message');
  const runs = scat(PAGES);
  const pending = new RangeGather();
  for (let batch = 1; batch <= batches; batch++) {
    Atomics.store(turns, 0, batch);
    Atomics.notify(turns, 0);
    for (let slot = 0; slot < SLOTS; slot++)
      expect(table.mapRange(FIRST + slot * SZ_2M, runs, PROT)).toBe(0);
    // The reader is done with the batch, as a device is after a completed invalidation.
    while (Atomics.load(turns, 1) < batch) Atomics.wait(turns, 1, batch - 1, 1000);
    expect(table.unmapRange(FIRST, SZ_1G, pending)).toBe(SZ_1G);
    pending.releaseDetached(table);
  }
  const [{ seen, partial }] = (await answer) as [ReaderAnswer];
  expect(seen).toBe(batches * SLOTS);
  expect(partial).toBe(0);
  table.free();
  expect(frames.used).toBe(0);
}, 120_000);

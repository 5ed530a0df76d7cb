import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { expect, test } from 'vitest';
import { FrameAllocator, SharedMemory } from '../src/index.ts';

const BOOT = new URL('../../../tools/worker-boot.mjs', import.meta.url);
const ENTRY = new URL('./memory-worker.ts', import.meta.url).href;
const BASE = 0x8000_0000;

function start(data: object): { worker: Worker; answer: Promise<number[]> } {
  const worker = new Worker(BOOT, {
    workerData: { entry: ENTRY, base: BASE, ...data },
    execArgv: ['--conditions=@iommukit/source'],
  });
  return { worker, answer: once(worker, 'message').then(([list]) => list as number[]) };
}

test('cas64 increments of two workers lose nothing, over the carry into the high lane', async () => {
  const buffer = new SharedArrayBuffer(4096);
  const gate = new SharedArrayBuffer(8);
  const memory = new SharedMemory({ base: BASE, buffer });
  const count = 20_000;
  memory.store64(BASE, 2 ** 32 - count, 0);
  const data = { task: 'increment', buffer, gate, count };
  await Promise.all([start(data).answer, start(data).answer]);
  expect([memory.load64(BASE), memory.hi]).toEqual([count, 1]);
});

test('a doubleword never tears', async () => {
  const buffer = new SharedArrayBuffer(4096);
  const gate = new SharedArrayBuffer(8);
  const memory = new SharedMemory({ base: BASE, buffer });
  memory.store64(BASE, 0, ~0);
  const flags = new Int32Array(gate);
  Atomics.store(flags, 0, 1);
  const { answer } = start({ task: 'write', buffer, gate });
  let torn = 0;
  let changes = 0;
  let last = -1;
  while (Atomics.load(flags, 0) < 2) await new Promise(setImmediate);
  for (let loads = 0; loads < 200_000 || changes < 100; loads++) {
    const lo = memory.load64(BASE);
    if (memory.hi !== ~lo >>> 0) torn++;
    if (lo !== last) changes++;
    last = lo;
  }
  Atomics.store(flags, 1, 1);
  await answer;
  expect(torn).toBe(0);
  expect(changes).toBeGreaterThanOrEqual(100);
});

test('workers that share a pool never get the same frame', async () => {
  const poolSize = 0x100_0000;
  const buffer = new SharedArrayBuffer(poolSize);
  const gate = new SharedArrayBuffer(8);
  const state = new SharedArrayBuffer(FrameAllocator.stateBytes(poolSize));
  const data = { task: 'frames', buffer, gate, state, poolSize, count: 2000 };
  const kept = (await Promise.all([start(data).answer, start(data).answer])).flat();
  const owned = new Set<number>();
  for (let i = 0; i < kept.length; i += 2)
    for (let frame = 0; frame < (kept[i + 1] as number); frame++)
      owned.add((kept[i] as number) + frame * 4096);
  const frames = new FrameAllocator({ base: BASE, size: poolSize, state });
  // Each keeps every fourth run; of those every third (i % 12 === 0) is two frames: 500 runs, 167 doubled.
  expect(owned.size).toBe(2 * (500 + 167));
  expect(frames.used).toBe(owned.size);
  expect(frames.leakReport().frames).toBe(owned.size);
});

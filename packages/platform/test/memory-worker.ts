import { parentPort, workerData } from 'node:worker_threads';
import { FrameAllocator, SharedMemory } from '../src/index.ts';

const { task, base, buffer, gate, count, state, poolSize } = workerData as {
  task: 'increment' | 'write' | 'frames';
  base: number;
  buffer: SharedArrayBuffer;
  gate: SharedArrayBuffer;
  count: number;
  state: SharedArrayBuffer;
  poolSize: number;
};
const memory = new SharedMemory({ base, buffer });
const flags = new Int32Array(gate);
const answer: number[] = [];

// Both sides start together: the first word counts who is ready, the second is the stop sign.
Atomics.add(flags, 0, 1);
Atomics.notify(flags, 0);
while (Atomics.load(flags, 0) < 2) Atomics.wait(flags, 0, Atomics.load(flags, 0));

if (task === 'increment') {
  for (let i = 0; i < count; i++) {
    for (;;) {
      const lo = memory.load64(base);
      const hi = memory.hi;
      const carry = lo === 0xffff_ffff ? 1 : 0;
      if (memory.cas64(base, lo, hi, lo + 1, hi + carry)) break;
    }
  }
} else if (task === 'write') {
  for (let i = 0; Atomics.load(flags, 1) === 0; i = (i + 1) % 0x7fff_ffff)
    memory.store64(base, i, -1 - i);
} else {
  const frames = new FrameAllocator({ base, size: poolSize, state });
  for (let i = 0; i < count; i++) {
    const pa = frames.alloc(i % 3 === 0 ? 8192 : 4096);
    // A second owner of the same frame would make the compare fail, or be failed by it.
    if (!memory.cas64(pa, 0, 0, i + 1, 1)) throw new Error(`frame ${pa} has two owners`);
    if (i % 4 !== 0) {
      memory.store64(pa, 0, 0);
      frames.free(pa, i % 3 === 0 ? 8192 : 4096);
    } else answer.push(pa, i % 3 === 0 ? 2 : 1);
  }
}
parentPort?.postMessage(answer);

import { Worker } from 'node:worker_threads';
import type { Case } from './bench-table.ts';
import { PAGES, unmapRounds } from './one-callback.ts';

// Unmaps one at a time, each with a callback. Once the engine has seen two implementations it no longer inlines them; the reference
// runs in an engine that has seen one. A batch of rounds hides the hand-over between the two.
const ROUNDS = 256;
const lanes = new Int32Array(new SharedArrayBuffer(12));
lanes[2] = ROUNDS;
const entry = new URL('./one-callback-worker.ts', import.meta.url).href;
const worker = new Worker(new URL('../../../tools/worker-boot.mjs', import.meta.url), {
  workerData: { entry, lanes },
});
worker.unref();

let pages = 0;
const first = unmapRounds();
const second = unmapRounds({
  tlbFlushAll() {
    pages = 0;
  },
  tlbFlushWalk() {
    pages++;
  },
  tlbAddPage(gather, iova, granule, count) {
    pages += count;
    gather.addRange(iova, granule * count);
  },
});

export const cases: Case[] = [
  {
    name: 'unmapPages, one implementation seen',
    reference: true,
    ops: ROUNDS * PAGES,
    run() {
      const answered = Atomics.load(lanes, 1);
      Atomics.add(lanes, 0, 1);
      Atomics.notify(lanes, 0);
      Atomics.wait(lanes, 1, answered);
      return answered;
    },
  },
  {
    name: 'unmapPages, two implementations seen',
    ops: ROUNDS * PAGES,
    run: () => first(ROUNDS / 2) + second(ROUNDS / 2) + pages,
  },
];

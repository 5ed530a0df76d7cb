import type { Mutation } from './mutation.ts';

const QUEUE = 'smmu-v3-driver/src/command-queue.ts';

/** The command queue. */
export const QUEUE_MUTATIONS: readonly Mutation[] = [
  {
    number: 34,
    defect: 'SYNC treated as complete at submission',
    edits: [
      {
        module: QUEUE,
        find: 'return sync === 1 ? this.#waitSync(ring.register(slot)) : 0;',
        replace: 'if (sync === 1) ring.unlockShared(ring.cons);\n    return 0;',
      },
    ],
    caughtBy: [
      { row: 'S0-11', way: 'R coh, one command a step', by: 'readsOfFree: expected 0' },
      { row: 'SX-2', way: 'K, between TLBI and SYNC', by: 'an invalidation that is not complete' },
    ],
  },
  {
    number: 35,
    defect: 'queue wrap compared without the wrap bit',
    edits: [
      {
        module: QUEUE,
        find: 'return queueWrap(slot, lg2) === queueWrap(this.#cons, lg2) ? cons > at : cons <= at;',
        replace: 'return cons > at;',
      },
    ],
    caughtBy: [
      { row: 'SX-9', way: '128 entries, 511 VA and a SYNC', by: 'consumed: expected 512, got 384' },
    ],
  },
];

import type { Mutation } from './mutation.ts';

const BATCH = 'iommu-core/src/range-batch.ts';
const MAPPER = 'iommu-core/src/domain-mapper.ts';

const UNDO = 'if (errno === 0) return mapped;\n    this.unmap(domain, iova, mapped);';

/** Batches, and maps that fail half way. */
export const BATCH_MUTATIONS: readonly Mutation[] = [
  {
    number: 22,
    defect: 'batch map over a pending unmap without early flush',
    edits: [{ module: BATCH, find: "return this.#invalidate('early');", replace: 'return 0;' }],
    caughtBy: [{ row: 'S0-10', way: 'R', by: 'earlyVA: expected 1, got 0' }],
  },
  {
    number: 23,
    defect: 'flush drops records after an error',
    edits: [
      {
        module: BATCH,
        find: 'this.failures++;',
        replace: 'this.failures++; this.#pending.releaseDetached(this.#ops);',
      },
    ],
    caughtBy: [
      {
        row: 'S0-12',
        way: 'R, second of three operations fails',
        by: 'records: expected 1, got 0',
      },
    ],
  },
  {
    number: 24,
    defect: 'rollback unmaps too much',
    edits: [
      {
        module: MAPPER,
        find: UNDO,
        replace: 'if (errno === 0) return mapped;\n    this.unmap(domain, iova, mapped + length);',
      },
    ],
    caughtBy: [{ row: 'S0-14', way: 'K (b) scattered', by: 'the device reads 100005000 at -1' }],
  },
  {
    number: 25,
    defect: 'rollback forgets the sync',
    edits: [
      {
        module: MAPPER,
        find: UNDO,
        replace:
          'if (errno === 0) return mapped;\n    this.unmapFast(domain, iova, mapped, new IotlbGather());',
      },
    ],
    caughtBy: [
      {
        row: 'SX-3',
        way: '25: unwinding forgets the sync: right',
        by: 'missing: expected false, got true',
      },
      { row: 'S0-12', way: 'K scattered, k = 4', by: 'SYNC: expected 2, got 1' },
      { row: 'S0-14', way: 'K (b) scattered', by: 'SYNC: expected 1, got 0' },
    ],
  },
];

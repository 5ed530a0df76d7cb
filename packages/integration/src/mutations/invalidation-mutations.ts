import type { Mutation } from './mutation.ts';

const MAPPER = 'iommu-core/src/domain-mapper.ts';
const DOMAIN = 'smmu-v3-driver/src/paging-domain.ts';
const RANGE = 'smmu-v3-driver/src/range-invalidation.ts';
const BATCH = 'smmu-v3-driver/src/command-batch.ts';

const COVERAGE = 'n = 1..5000, and 1000 random n below 2^27';
const CELLS = 'num x 2^scale';

/** Which commands invalidate an unmap, and what stands in them. */
export const INVALIDATION_MUTATIONS: readonly Mutation[] = [
  {
    number: 6,
    defect: 'unmap without sync',
    edits: [
      {
        module: MAPPER,
        find: 'this.iotlbSync(domain, gather);\n    this.#spare = gather;',
        replace: 'this.#spare = gather;',
      },
    ],
    caughtBy: [
      { row: 'SX-3', way: '6: unmap without sync: right', by: 'missing: expected false, got true' },
      { row: 'SX-2', way: 'K, strict', by: 'missing: expected 0' },
      { row: 'S2-7', way: 'remark: sync must be true: 16 x unmap', by: 'reached: expected 0' },
      {
        row: 'S0-6',
        way: 'K, 64 unmaps coh',
        by: ', expected -1',
      },
    ],
  },
  {
    number: 12,
    variant: 'a',
    defect: 'LEAF=1 when a table was detached, in a batch',
    edits: [
      {
        module: DOMAIN,
        find: 'granule, leaf });',
        replace: 'granule, leaf: true });',
      },
    ],
    caughtBy: [
      { row: 'S0-6', way: 'R, one unmap coh', by: 'stale entries without an invalidation' },
      { row: 'S0-9', way: 'R coh', by: 'fields: expected 1x NUM=0 SCALE=9 TG=1 TTL=0 LEAF=0, got' },
    ],
  },
  {
    number: 12,
    variant: 'b',
    defect: 'LEAF=1 when a table was detached, in an unmap',
    edits: [{ module: DOMAIN, find: 'granule, leaf: false }]', replace: 'granule, leaf: true }]' }],
    caughtBy: [
      {
        row: 'SX-3',
        way: '12: LEAF=1 when a table was detached: right',
        by: 'missing: expected false, got true',
      },
      { row: 'S0-6', way: 'K, one unmap coh', by: 'stale entries without an invalidation' },
      { row: 'S0-9', way: 'K coh', by: 'stale entries without an invalidation' },
    ],
  },
  {
    number: 14,
    variant: 'a',
    defect: 'TTL 3 for a block',
    edits: [
      {
        module: RANGE,
        find: 'command.ttl = 4 - Math.trunc((log2Floor(granule) - 3) / (tg - 3));',
        replace: 'command.ttl = 3;',
      },
    ],
    caughtBy: [
      { row: 'SX-3', way: '14: TTL 3 for a block: right', by: 'missing: expected false, got true' },
      { row: 'S4-3', way: 'U coh', by: ', expected -1' },
      { row: 'S4-8', way: 'U coh', by: ', expected -1' },
      { row: 'S4-14', way: 'U three page sizes', by: ', expected -1' },
    ],
  },
  {
    number: 14,
    variant: 'b',
    defect: 'TTL 2 for pages',
    edits: [
      {
        module: RANGE,
        find: 'command.ttl = 4 - Math.trunc((log2Floor(granule) - 3) / (tg - 3));',
        replace: 'command.ttl = 2;',
      },
    ],
    caughtBy: [
      { row: 'SX-3', way: '14: TTL 2 for pages: right', by: 'missing: expected false, got true' },
      { row: 'S4-14', way: 'U three page sizes', by: 'stale entries without an invalidation' },
    ],
  },
  {
    number: 15,
    variant: 'a',
    defect: 'NUM not minus one',
    edits: [{ module: BATCH, find: 'command.num - 1, at', replace: 'command.num, at' }],
    caughtBy: [{ row: 'S4-15', way: COVERAGE, by: 'losses: expected 0' }],
  },
  {
    number: 15,
    variant: 'b',
    defect: 'SCALE off by one',
    edits: [
      {
        module: BATCH,
        find: 'command.scale % 32, at',
        replace: '(command.scale + 1) % 32, at',
      },
    ],
    caughtBy: [{ row: 'S4-15', way: COVERAGE, by: 'losses: expected 0' }],
  },
  {
    number: 15,
    variant: 'c',
    defect: 'SCALE off by one, downwards',
    edits: [
      {
        module: BATCH,
        find: 'command.scale % 32, at',
        replace: 'Math.max(command.scale - 1, 0) % 32, at',
      },
    ],
    caughtBy: [
      {
        row: 'SX-3',
        way: '15: SCALE too small by one: right',
        by: 'missing: expected false, got true',
      },
      { row: 'S4-15', way: COVERAGE, by: 'survivors: expected 0' },
    ],
  },
  {
    number: 16,
    defect: 'second range command dropped',
    edits: [
      {
        module: RANGE,
        find: 'pages -= units * 2 ** scale;',
        replace: 'break;',
      },
    ],
    caughtBy: [
      {
        row: 'SX-3',
        way: '16: second range command dropped: right',
        by: 'missing: expected false, got true',
      },
      { row: 'S4-5', way: 'U coh', by: 'VA: expected 2, got 1' },
      { row: 'S4-15', way: CELLS, by: '33: expected 1x0, 1x5, got' },
    ],
  },
  {
    number: 17,
    defect: 'gather not synced on a page-size change',
    edits: [
      {
        module: MAPPER,
        find: '(gather.pgsize !== 0 && gather.pgsize !== pgsize) || ',
        replace: '',
      },
    ],
    caughtBy: [{ row: 'S4-14', way: 'U three page sizes', by: 'SYNC: expected 3, got 2' }],
  },
  {
    number: 18,
    variant: 'a',
    defect: 'gather end taken as the last page: it survives',
    edits: [
      {
        module: DOMAIN,
        find: 'size: end - start, granule: pgsize',
        replace: 'size: Math.max(end - start - pgsize, pgsize), granule: pgsize',
      },
    ],
    caughtBy: [
      {
        row: 'SX-3',
        way: '15, 18: NUM too small by one: right',
        by: 'missing: expected false, got true',
      },
      { row: 'S4-14', way: 'U 64 pages descending', by: 'stale entries without an invalidation' },
      { row: 'S4-15', way: COVERAGE, by: 'wrong: expected 0' },
    ],
  },
  {
    number: 18,
    variant: 'b',
    defect: 'gather end exclusive for inclusive: adjacent ranges sync early',
    edits: [
      {
        module: 'io-pgtable/src/iotlb-gather.ts',
        find: '((end === NOTHING ? 0 : end) < this.start || iova > ',
        replace: '((end === NOTHING ? 0 : end) <= this.start || iova >= ',
      },
    ],
    caughtBy: [{ row: 'S4-14', way: 'U 64 pages descending', by: 'SYNC: expected 1, got 64' }],
  },
  {
    number: 37,
    defect: 'ASID threshold at > instead of >=',
    edits: [
      {
        module: RANGE,
        find: 'return range.size >= range.granule * (range.granule / 8);',
        replace: 'return range.size > range.granule * (range.granule / 8);',
      },
    ],
    caughtBy: [{ row: 'S4-16', way: 'U 512 pages', by: 'ASID: expected 1, got 0' }],
  },
];

import type { Mutation } from './mutation.ts';

const TABLES = 'io-pgtable/src/lpae/lpae-tables.lanes.ts';
const PAGES = 'io-pgtable/src/lpae/lpae-page-table.lanes.ts';
const MAP_RANGE = 'io-pgtable/src/lpae/lpae-map-range.lanes.ts';
const UNMAP_RANGE = 'io-pgtable/src/lpae/lpae-unmap-range.lanes.ts';
const BATCH = 'iommu-core/src/range-batch.ts';

const FLUSH_WALK = 'this.flush.tlbFlushWalk(iova, this.spans[level] as number, this.granule);';
const FREE = 'this.freeTable(level + 1, table);';
const UNMAP_RUN = 'const n = Math.min(pgcount, this.#leftInTable(iova, leafLevel));\n    return';
const HOLE = 'this.raiseConflict(WARN_HOLE);\n        break;';
const FILL_CLEAN =
  'for (let i = 0; i < made; i++) tables.clean(plan.frames[i] as number, granule);';

/** Stores to page tables, their order, and the frames. */
export const TABLE_MUTATIONS: readonly Mutation[] = [
  {
    number: 10,
    variant: 'a',
    defect: 'table page freed before the TLBI, in an unmap',
    edits: [
      {
        module: TABLES,
        find: `${FLUSH_WALK}\n    ${FREE}`,
        replace: `${FREE}\n    ${FLUSH_WALK}`,
      },
    ],
    caughtBy: [
      { row: 'S4-9', way: 'U coh', by: 'words of free frames' },
      { row: 'S0-19', way: 'K, one unmap', by: 'words of free frames' },
    ],
  },
  {
    number: 10,
    variant: 'b',
    defect: 'table page freed before the TLBI, in a batch',
    edits: [
      {
        module: BATCH,
        find: 'const { records, detached: tables } = pending;',
        replace:
          'const { records, detached: tables } = pending; pending.forEachDetached((table) => this.#ops.releaseTable(table));',
      },
      {
        module: BATCH,
        find: 'pending.releaseDetached(this.#ops);\n    this.flushes++;',
        replace: 'pending.releaseDetached({ releaseTable() {} });\n    this.flushes++;',
      },
    ],
    caughtBy: [
      { row: 'S0-11', way: 'R coh', by: 'freesBeforeSync: expected 0' },
      { row: 'S0-19', way: 'R, one unmap', by: 'words of free frames' },
    ],
  },
  {
    number: 11,
    defect: 'free-list pointer stored in the detached page',
    edits: [
      {
        module: UNMAP_RANGE,
        find: 'pending.detach(table);',
        replace:
          'let last = 0; pending.forEachDetached((one) => { last = one; }); tables.memory.store64(table, last % 2 ** 32, Math.floor(last / 2 ** 32)); pending.detach(table);',
      },
    ],
    caughtBy: [{ row: 'S0-11', way: 'R coh', by: 'written: expected 0, got 8' }],
  },
  {
    number: 13,
    variant: 'a',
    defect: 'no invalidation when a block replaces a table',
    edits: [
      {
        module: PAGES,
        find: 'this.dropTable(level, at, iova + i * (this.spans[level] as number), this.address(lo, hi));',
        replace:
          'memory.store64(at, 0, 0); this.counters.stores++; if (!this.coherent) this.clean(at, 8); this.freeTable(level + 1, this.address(lo, hi));',
      },
    ],
    caughtBy: [
      {
        row: 'SX-3',
        way: '13: no invalidation when a block replaces a table: right',
        by: 'missing: expected false, got true',
      },
      { row: 'S0-14', way: 'K (c) a block over an empty table', by: 'VA: expected 1, got 0' },
      { row: 'S4-19', way: 'U at the page size, then a block', by: 'VA: expected 1, got 0' },
    ],
  },
  {
    number: 13,
    variant: 'b',
    defect: 'no invalidation when a block of a range replaces a table',
    edits: [
      {
        module: MAP_RANGE,
        find: 'tables.dropTable(level, entry + i * 8, iova + i * size, tables.address(lo, hi));',
        replace:
          '{ memory.store64(entry + i * 8, 0, 0); tables.counters.stores++; tables.freeTable(level + 1, tables.address(lo, hi)); }',
      },
    ],
    caughtBy: [
      { row: 'S0-14', way: 'R (c) a block over an empty table', by: 'VA: expected 1, got 0' },
    ],
  },
  {
    number: 13,
    variant: 'c',
    defect: 'no invalidation when pages replace a block in a batch',
    edits: [
      {
        module: 'io-pgtable/src/range-gather.ts',
        find: 'const kind = this.#kinds[i] as number;',
        replace:
          'const kind = this.#kinds[i] as number; if (kind > 4096) { i = this.#firstEndingFrom(kind, Infinity); continue; }',
      },
    ],
    caughtBy: [{ row: 'S0-10', way: 'R, a block before', by: 'earlyVA: expected 1, got 0' }],
  },
  {
    number: 19,
    variant: 'a',
    defect: 'link before fill',
    edits: [
      {
        module: MAP_RANGE,
        find: 'plan.linkTables[link] = table;',
        replace:
          'plan.linkTables[link] = table; publish(tables, level - 1, plan.entries[span] as number, table);',
      },
      { module: MAP_RANGE, find: 'i < plan.links;', replace: 'i < 0;' },
    ],
    caughtBy: [
      { row: 'SX-7', way: 'S0-5 R', by: 'unclean: expected 0' },
      { row: 'S0-7', way: 'R, 512 pages', by: 'late: expected 0' },
    ],
  },
  {
    number: 19,
    variant: 'b',
    defect: 'clean before fill',
    edits: [
      {
        module: MAP_RANGE,
        find: 'zeroWords(memory, table, granule);',
        replace:
          'zeroWords(memory, table, granule); if (!tables.coherent) tables.clean(table, granule);',
      },
      { module: MAP_RANGE, find: FILL_CLEAN, replace: 'made = 0;' },
    ],
    caughtBy: [
      { row: 'SX-7', way: 'S0-5 R', by: 'tables map 0 pages, reported were 2048' },
      { row: 'S0-8', way: 'R, scattered 2 MiB', by: 'dirty: expected 0' },
    ],
  },
  {
    number: 20,
    defect: 'link line not cleaned',
    edits: [
      { module: TABLES, find: 'if (done) {\n      this.clean(entry, 8);', replace: 'if (done) {' },
    ],
    caughtBy: [
      { row: 'SX-7', way: 'S0-5 R', by: 'at -1, expected 880000000' },
      { row: 'S0-8', way: 'R, scattered 2 MiB', by: 'cmc: expected 4' },
      { row: 'S0-8', way: 'K, scattered 2 MiB', by: 'cmc: expected 518' },
    ],
  },
  {
    number: 21,
    defect: 'software mark set before the clean',
    edits: [
      { module: TABLES, find: 'if (done) {\n      this.clean(entry, 8);', replace: 'if (done) {' },
      {
        module: TABLES,
        find: 'this.counters.stores++;\n    } else {',
        replace: 'this.counters.stores++;\n      this.clean(entry, 8);\n    } else {',
      },
    ],
    caughtBy: [{ row: 'S0-8', way: 'K, scattered 2 MiB', by: 'earlyMarks: expected 0' }],
  },
  {
    number: 26,
    defect: 'unmap runs past the table end',
    edits: [{ module: PAGES, find: UNMAP_RUN, replace: 'const n = pgcount;\n    return' }],
    caughtBy: [
      { row: 'S4-17', way: 'past the end of a table', by: 'bytes: expected 8192' },
      { row: 'S4-6', way: 'U coh', by: 'fmt: expected 2' },
    ],
  },
  {
    number: 27,
    variant: 'a',
    defect: 'unmap continues after a hole',
    edits: [
      {
        module: PAGES,
        find: HOLE,
        replace: 'this.raiseConflict(WARN_HOLE); done++; continue;',
      },
    ],
    caughtBy: [{ row: 'S4-12', way: 'U (a) in a run', by: 'bytes: expected 409600' }],
  },
  {
    number: 27,
    variant: 'b',
    defect: 'unmap reports the whole size after a hole',
    edits: [{ module: PAGES, find: 'return done * size;', replace: 'return n * size;' }],
    caughtBy: [{ row: 'S4-12', way: 'U (a) in a run', by: 'bytes: expected 409600' }],
  },
  {
    number: 36,
    defect: 'write permission not dropped for read-only',
    edits: [
      {
        module: 'io-pgtable/src/lpae/arm-64-lpae-s1.lanes.ts',
        find: 'lo |= PTE_LO_AP_RDONLY;',
        replace: 'lo |= 0;',
      },
    ],
    caughtBy: [
      { row: 'SX-4', way: 'a write to a read-only page', by: 'events: expected 1, got 0' },
    ],
  },
  {
    number: 38,
    defect: '16K or 64K table treated as 512 entries',
    edits: [
      {
        module: TABLES,
        find: 'this.mask = (geometry.granule >>> 3) - 1;',
        replace: 'this.mask = 511;',
      },
      {
        module: TABLES,
        find: 'zeroWords(this.memory, table, this.granule);\n    if (!this.coherent) this.clean(table, this.granule);',
        replace:
          'zeroWords(this.memory, table, 4096);\n    if (!this.coherent) this.clean(table, 4096);',
      },
    ],
    caughtBy: [
      { row: 'S0-15', way: 'K 16K nc', by: 'cml: expected 1027' },
      { row: 'S0-16', way: 'K 64K nc', by: 'cml: expected 2114' },
      { row: 'S4-10', way: 'U format coh', by: 'fmt: expected 32' },
      { row: 'S4-11', way: 'U format coh', by: 'st: expected 16384, got 512' },
    ],
  },
];

import type { CellSource } from './summary-tables.ts';

/** Where the numbers of a cell come from. */
export type CellSpec = readonly CellSource[];

/** A table as it is to be computed. */
export interface TableSpec {
  readonly id: string;
  readonly title: string;
  readonly columns: readonly string[];
  readonly rows: readonly {
    readonly name: string;
    readonly cells: readonly (CellSpec | null)[];
  }[];
}

/** The same count of each way; null: the way has none. */
function line(
  name: string,
  scenario: string,
  counts: string | readonly string[],
  ways: readonly (string | null)[],
): TableSpec['rows'][number] {
  const names = typeof counts === 'string' ? [counts] : counts;
  return {
    name,
    cells: ways.map((way) =>
      way === null ? null : names.map((count) => ({ scenario, way, count })),
    ),
  };
}

/** The same, divided by the number of operations of a run. */
function each(
  name: string,
  scenario: string,
  count: string,
  ways: readonly string[],
  per: number,
): TableSpec['rows'][number] {
  return { name, cells: ways.map((way) => [{ scenario, way, count, per }]) };
}

const BATCH = ['P coh', 'K coh', 'R coh'] as const;
const S0: TableSpec = {
  id: 'T1',
  title: 'S0: ranges, and batches with one flush',
  columns: ['P', 'K', 'R'],
  rows: [
    line('commands for 32 unmaps and 32 maps', 'S0-5', 'cmd', BATCH),
    line('the same, one ASID', 'S0-5', 'cmd', [null, null, 'R, one ASID for the batch']),
    line('walk levels', 'S0-5', 'lvl', BATCH),
    line('lines cleaned, 512 scattered pages, not coherent', 'S0-8', 'cml', [
      'P, scattered 2 MiB',
      'K, scattered 2 MiB',
      'R, scattered 2 MiB',
    ]),
    line('clean calls, the same', 'S0-8', 'cmc', [
      'P, scattered 2 MiB',
      'K, scattered 2 MiB',
      'R, scattered 2 MiB',
    ]),
    line('partly mapped states seen', 'S0-7', 'partial', [
      'P, 512 pages',
      'K, 512 pages',
      'R, 512 pages',
    ]),
    line(
      'tables allocated / freed on replacing 2 MiB',
      'S0-9',
      ['alloc', 'free'],
      ['P coh', 'K coh', 'R reuseTables coh'],
    ),
    line('commands to unmap 16 MiB of 4K pages', 'S0-6', 'cmd', [
      'P',
      'K, one unmap coh',
      'R, one unmap coh',
    ]),
    line('bytes remembered in the batch', 'S0-17', 'bytes', [null, 'K, one gather', 'R, S0-5']),
  ],
};

const REQUEST = ['map_page coh', 'map_sg coh', 'two-step coh'] as const;
const S1: TableSpec = {
  id: 'T2',
  title: 'S1: a request of 128 KiB',
  columns: ['map_page x 32', 'map_sg', 'T'],
  rows: [
    line('IOVA allocations', 'S1-1', 'iovas', REQUEST),
    line('request memory, bytes', 'S1-1', 'bytes', REQUEST),
    line('map calls / levels, scattered', 'S1-1', ['fmt', 'lvl'], REQUEST),
    line('undo commands, strict', 'S1-2', 'cmd', REQUEST),
    {
      name: 'undo walks, coherent / not',
      cells: ['map_page', 'map_sg', 'two-step'].map((way) =>
        ['coh', 'nc'].map((mode) => ({
          ...{ scenario: 'S1-2', way: `${way} ${mode}`, count: 'walk' },
        })),
      ),
    },
    line('commands of 1024 requests, lazy, 7.3', 'S1-9', 'cmd', [
      'map_page, 7.3',
      'map_sg, 7.3',
      'two-step, 7.3',
    ]),
    line('the same, 7.2 (as 6.16 and 6.17)', 'S1-9', 'cmd', [null, null, 'two-step, 7.2']),
  ],
};

const S2: TableSpec = {
  id: 'T3',
  title: 'S2: private PASIDs',
  columns: ['int', 'handle'],
  rows: [
    line('commands to attach', 'S2-4', 'cmd', [null, 'remark: attach_domain is true: 1 streams']),
    line('commands to detach', 'S2-8', 'cmd', [null, 'remark: detach_domain is true']),
    line('commands to replace', 'S2-14', 'cmd', [null, 'old, refused, or new; never a mixture']),
    each(
      'lookups for each map or unmap',
      'S2-11',
      'lookups',
      ['int interface', 'remark: no pasid-to-io_mm look-up: handle'],
      2000,
    ),
    line('left by a failing alloc', 'S2-13', 'left', [
      null,
      'attach: the second device of the group, after the first',
    ]),
  ],
};

const WAYS = ['K', 'Q', 'H'] as const;
const S3: TableSpec = {
  id: 'T4',
  title: 'S3: 1000 buffers, levels of lookups',
  columns: [...WAYS],
  rows: [
    line('coherent', 'S3-1', 'wl', WAYS),
    line('two syncs, not coherent', 'S3-3', 'wl', WAYS),
    line('bounced', 'S3-4', 'wl', WAYS),
    line('sg', 'S3-5', 'wl', ['K coherent', 'Q coherent', 'H coherent']),
    line('VA / SYNC', 'S3-1', ['VA', 'SYNC'], WAYS),
    each('bytes kept for each mapping', 'S3-1', 'memory', WAYS, 1000),
  ],
};

const BOTH = ['L coh', 'U coh'] as const;
const FORMAT = ['L format coh', 'U format coh'] as const;
const CORE = ['L pages coh', 'U pages coh'] as const;
const S4: TableSpec = {
  id: 'T5',
  title: 'S4: format calls for 1 GiB',
  columns: ['L', 'U'],
  rows: [
    line('4K leaves', 'S4-2', 'fmt', BOTH),
    line('2M blocks', 'S4-3', 'fmt', BOTH),
    line('16K', 'S4-10', 'fmt', FORMAT),
    line('64K', 'S4-11', 'fmt', FORMAT),
    line('aligned, through the core', 'S4-4', 'fmt', CORE),
    line('TLBI / SYNC, 4K leaves', 'S4-2', ['VA', 'SYNC'], BOTH),
    line('TLBI / SYNC, 2M blocks', 'S4-3', ['VA', 'SYNC'], BOTH),
    line('TLBI / SYNC, 16K', 'S4-10', ['VA', 'SYNC'], FORMAT),
    line('TLBI / SYNC, 64K', 'S4-11', ['VA', 'SYNC'], FORMAT),
    line('TLBI / SYNC, through the core', 'S4-4', ['VA', 'SYNC'], CORE),
    line('lines cleaned, 4K leaves, not coherent', 'S4-2', 'cml', ['L nc', 'U nc']),
  ],
};

const SX: TableSpec = {
  id: 'T6',
  title: 'SX: across the layers',
  columns: ['before', 'after'],
  rows: [
    line('most pages in reach, lazy and strict', 'SX-1', 'peakPages', ['lazy', 'strict']),
    line('commands, strict and lazy', 'SX-1', 'cmd', ['strict', 'lazy']),
    line('walker reads, IOVAs apart and contiguous', 'SX-5', 'reads', [
      '64 leaf tables',
      'contiguous',
    ]),
    line('walker reads, LEAF=0 and LEAF=1', 'SX-5', 'reads', [
      'contiguous, each page at once, LEAF=0',
      'contiguous',
    ]),
  ],
};

/** The summaries, in order. */
export const TABLES: readonly TableSpec[] = [S0, S1, S2, S3, S4, SX];

import { DMA_IOMMU_SHAPE } from './dma-iommu-vectors.ts';
import { IOMMU_CORE_SHAPE } from './iommu-core-vectors.ts';
import { RECORDED_FORMATS } from './recorded-formats.ts';
import { SMMU_ARCHITECTURE_SHAPE } from './smmu-architecture-run.lanes.ts';
import { SMMU_SHAPES } from './smmu-vector-kinds.ts';
import {
  count,
  flag,
  integer,
  list,
  type Members,
  nullOr,
  object,
  oneOf,
  operation,
  plainOr,
  record,
  type Shape,
  text,
  tuple,
  word,
} from './vector-shape.ts';

// What a file of each kind has to hold before it is run: as `data/golden/README.md` of @iommukit/vectors documents it.

/** Items of the largest table that any format has, and more than any list of a recording. */
const MOST_ENTRIES = 2 ** 20;
const size = count(MOST_ENTRIES);

const calls = list(list(plainOr((value, at) => scalar(value, at), object)));
const outcome: Members = { calls, warns: count() };

function scalar(value: unknown, at: string): void {
  if (typeof value === 'number') integer(value, at);
  else text(value, at);
}

const tableEntry = record({ table: count(), attrs: word, raw: word });
const walkedEntry = record({ table: count(), attrs: word }, { raw: word });
const tables = list(
  tuple(3, count(), integer, list(tuple(2, size, plainOr(word, tableEntry), size, word))),
);
const checkpoint = record({ tables });
const freed = record({ ret: record({ tables_left: count() }) }, outcome);
const mapped = record({ errno: integer, mapped: word });
const touched = record({ changed: integer, level: integer, pte: word });
const errno = record({ errno: integer });

const armConfig = record(
  {
    cpu_page_size: word,
    pgsize_bitmap: word,
    ias: count(64),
    oas: count(64),
    coherent_walk: flag,
    quirks: list(text),
    table_base: word,
  },
  { table_stride: word },
);

const genericConfig = record(
  {
    features: list(text),
    hw_max_vasz_lg2: count(255),
    hw_max_oasz_lg2: count(255),
    table_base: word,
    table_stride: word,
  },
  {
    starting_level: count(255),
    top_level: count(255),
    sme_me_mask: word,
    pgsize_mask: word,
    cache_maintenance: oneOf('flush', 'dma'),
    fail_alloc: count(),
    fail_dma_map: count(),
  },
);

const header: Members = { name: text };

const armFormat: Shape = (value, at) => oneOf(...Object.keys(RECORDED_FORMATS))(value, at);
const genericFormat = oneOf('amdv1', 'amdv1_mock', 'x86_64', 'vtdss', 'riscv_64');

const ioPgtable = record({
  ...header,
  format: armFormat,
  cfg: armConfig,
  init: record({ result: nullOr(object) }, outcome),
  ops: list(
    operation({
      map: record(
        { iova: word, paddr: word, pgsize: word, pgcount: count(), prot: count(), ret: mapped },
        { fail_alloc: count(), ...outcome },
      ),
      unmap: record(
        { iova: word, pgsize: word, pgcount: count(), ret: record({ unmapped: word }) },
        { gather: oneOf('queued', 'none'), ...outcome },
      ),
      iova_to_phys: record({ iova: word, ret: word }, outcome),
      pgtable_walk: record(
        { iova: word, ret: record({ errno: integer, ptes: list(plainOr(word, walkedEntry)) }) },
        outcome,
      ),
      read_and_clear_dirty: record(
        { iova: word, size: word, flags: count(), ret: errno },
        { dirty: list(tuple(2, word, word)), ...outcome },
      ),
      hw_dirty: record({ iova: word, ret: touched }),
      checkpoint,
      free: freed,
    }),
  ),
});

const ioPgtableMatrix = record({
  ...header,
  cases: list(
    record(
      { format: armFormat, cfg: armConfig, result: nullOr(object) },
      { warns: count(), allocs: list(count()) },
    ),
  ),
});

const gather = record(
  { start: word, end: word },
  { freelist: list(count()), leaf_levels: count(), table_levels: count() },
);

const genericPt = record({
  ...header,
  format: genericFormat,
  cfg: genericConfig,
  init: record({ errno: integer }, { result: object, ...outcome }),
  ops: list(
    operation({
      map: record(
        { iova: word, paddr: word, len: word, prot: count(), ret: mapped },
        {
          fail_alloc: count(),
          fail_dma_map: count(),
          pages: list(tuple(2, count(64), count())),
          ...outcome,
        },
      ),
      unmap: record(
        { iova: word, len: word, ret: record({ unmapped: word }) },
        { queued: flag, hold: flag, gather, ...outcome },
      ),
      iova_to_phys: record({ iova: word, ret: word }, outcome),
      read_and_clear_dirty: record(
        { iova: word, size: word, flags: count(), ret: errno },
        { bitmap: oneOf('none'), dirty: list(tuple(2, word, word, size)), gather, ...outcome },
      ),
      set_dirty: record({ iova: word, ret: errno }, outcome),
      hw_dirty: record({ iova: word, ret: touched }),
      checkpoint,
      free: freed,
    }),
  ),
});

const genericPtMatrix = record({
  ...header,
  cases: list(
    record(
      { format: genericFormat, cfg: genericConfig, errno: integer },
      { result: object, ...outcome },
    ),
  ),
});

const pfnRange = tuple(2, word, word);
const magazine = plainOr(nullOr(count()), list(word));
const pages = count(2 ** 52);
const cpu = count(255);
const failing: Members = { fail_alloc: count(), warns: count() };

const iova = record({
  ...header,
  cfg: record({
    granule: word,
    start_pfn: word,
    possible_cpus: count(256),
    online_mask: word,
    rcaches: flag,
  }),
  init: record({ ret: errno, dma_32bit_pfn: word, max32_alloc_size: word }),
  ops: list(
    operation({
      alloc_fast: record({ cpu, size: pages, limit: word, flush: flag, pfn: word }, failing),
      free_fast: record({ cpu, pfn: word, size: pages }, failing),
      alloc: record({ size: pages, limit: word, aligned: flag, ret: nullOr(pfnRange) }, failing),
      free: record({ pfn: word }, failing),
      find: record({ pfn: word, ret: nullOr(pfnRange) }, failing),
      reserve: record({ lo: word, hi: word, ret: nullOr(pfnRange) }, failing),
      cpu_dead: record({ cpu, online: word }, failing),
      cpu_online: record({ cpu, online: word }, failing),
      depot_work: record({
        ran: list(
          record({ order: count(), depot_before: count(), depot_after: count(), pending: count() }),
        ),
      }),
      checkpoint: record({
        tree: list(tuple(2, word, word, size)),
        cached_node: word,
        cached32_node: word,
        max32_alloc_size: word,
        rcaches: list(
          record({
            order: count(5),
            depot: count(),
            work_pending: count(1),
            cpus: list(record({ loaded: magazine, prev: magazine })),
          }),
        ),
      }),
      put: record({}, failing),
    }),
  ),
});

/** The kinds of recordings that can be run: shape of a file, and the member that lists its operations. */
export const VECTOR_SHAPES: Readonly<
  Record<string, { readonly shape: Shape; readonly rows: 'ops' | 'cases' }>
> = {
  'io-pgtable': { shape: ioPgtable, rows: 'ops' },
  'io-pgtable-cfg-matrix': { shape: ioPgtableMatrix, rows: 'cases' },
  'generic-pt': { shape: genericPt, rows: 'ops' },
  'generic-pt-cfg-matrix': { shape: genericPtMatrix, rows: 'cases' },
  iova: { shape: iova, rows: 'ops' },
  'iommu-core': { shape: IOMMU_CORE_SHAPE, rows: 'cases' },
  'dma-iommu': { shape: DMA_IOMMU_SHAPE, rows: 'cases' },
  'smmu-architecture': { shape: SMMU_ARCHITECTURE_SHAPE, rows: 'cases' },
  ...SMMU_SHAPES,
};

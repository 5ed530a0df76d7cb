import { dmaProt } from '@iommukit/dma-api';
import { attrsOf, DmaVectorRun } from './dma-iommu-steps.ts';
import { CORE_MOCK_SHAPE } from './iommu-core-vectors.ts';
import {
  count,
  flag,
  integer,
  list,
  type Members,
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
import type { VectorTally } from './vector-tally.ts';
import type { JsonRow } from './vector-values.lanes.ts';

// Runs recordings of kind `dma-iommu`. Every recorded field is compared; a field that this file does not know is a mismatch too.

/** The inputs of each step; whatever else it holds is a result. */
const INPUTS: Readonly<Record<string, readonly string[]>> = {
  iova_alloc: ['size', 'limit'],
  iova_free: ['iova', 'size'],
  phys_map: ['phys', 'size', 'dir', 'attrs'],
  phys_unmap: ['dma', 'size', 'dir', 'attrs'],
  single_sync: ['dma', 'size', 'dir', 'cpu'],
  msi: ['addr'],
  sg_map: ['sg', 'dir', 'attrs'],
  sg_unmap: ['dir', 'attrs'],
  sg_sync: ['dir', 'cpu'],
  try_alloc: ['phys', 'size'],
  link: ['phys', 'offset', 'size', 'dir', 'attrs'],
  sync: ['offset', 'size'],
  unlink: ['offset', 'size', 'dir', 'attrs'],
  destroy: ['size', 'dir', 'attrs'],
  free: [],
  fq_init: ['fq_size', 'fail_alloc'],
  queue: ['cpu', 'pfn', 'pages', 'pages_list', 'nest_cpu', 'nest_pfn', 'nest_pages'],
  timer: ['nest_cpu', 'nest_pfn', 'nest_pages'],
  fq_free: [],
};

/** One protection, recorded without a domain. */
function protOf(row: JsonRow): JsonRow {
  const coherence = row['coherent'] === true ? 'coherent' : 'non-coherent';
  return { ret: dmaProt(row['dir'], attrsOf(row['attrs']), coherence) };
}

function resultsIn(row: JsonRow, inputs: readonly string[]): JsonRow {
  return Object.fromEntries(
    Object.entries(row).filter(([key]) => key !== 'op' && !inputs.includes(key)),
  );
}

/** Runs a file of kind `dma-iommu`: IOVAs, mappings, scatter lists, two-step ranges, flush queues. */
export function runDmaIommu(file: JsonRow, tally: VectorTally): void {
  const rows: readonly JsonRow[] = file['cases'];
  for (const row of rows) {
    const at = tally.operations++;
    if (row['domain'] === undefined) {
      const recorded = resultsIn(row, ['dir', 'coherent', 'attrs']);
      tally.checkMembers(at, protOf(row), recorded);
      continue;
    }
    const run = new DmaVectorRun(row);
    const steps: readonly JsonRow[] = row['steps'];
    for (const [k, step] of steps.entries()) {
      const op: string = step['op'];
      const recorded = resultsIn(step, INPUTS[op] ?? []);
      tally.checkMembers(at, run.step(step), recorded, (key) => `step ${String(k)} ${op}: ${key}`);
    }
  }
}

const scalar: Shape = (value, at) => (typeof value === 'number' ? integer : text)(value, at);
const call = list(plainOr(scalar, list(count())));
const outcome: Members = { calls: list(call), log: list(tuple(2, text, text)), warns: count() };
const dir = oneOf('BIDIRECTIONAL', 'TO_DEVICE', 'FROM_DEVICE', 'NONE');
const attrs = list(oneOf('MMIO', 'PRIVILEGED', 'SKIP_CPU_SYNC', 'REQUIRE_COHERENT'));
const state = record({
  start: count(),
  finish: count(),
  timer_on: count(1),
  rings: list(tuple(2, count(), count())),
});
const nested: Members = { nest_cpu: count(3), nest_pfn: word, nest_pages: word };
const bit = count(1);

function step(needed: Members, optional: Members = {}): Shape {
  return record(needed, { ...optional, ...outcome });
}

const steps = list(
  operation({
    iova_alloc: step({ size: word, ret: word, pci_32bit: bit }, { limit: word }),
    iova_free: step({ iova: word, size: word }),
    phys_map: step({ phys: word, size: word, dir, ret: word }, { attrs }),
    phys_unmap: step({ dma: word, size: word, dir }, { attrs }),
    single_sync: step({ dma: word, size: word, dir }, { cpu: bit }),
    msi: step({ addr: word, ret: integer, iova: word, shift: count(63) }),
    sg_map: step(
      {
        sg: list(tuple(3, word, word, word, oneOf('bus', 'host_bridge', 'unsupported'))),
        dir,
        ret: integer,
      },
      { attrs, out: list(tuple(2, word, word, oneOf('bus', 'bounced'))), list_after: list(object) },
    ),
    sg_unmap: step({ dir }, { attrs }),
    sg_sync: step({ dir }, { cpu: bit }),
    try_alloc: step({ phys: word, size: word, ret: bit, addr: word, state_size: word }),
    link: step(
      { phys: word, offset: word, size: word, dir, ret: integer },
      { attrs, state_size: word },
    ),
    sync: step({ offset: word, size: word, ret: integer }),
    unlink: step({ offset: word, size: word, dir }, { attrs }),
    destroy: step({ size: word, dir }, { attrs }),
    free: step({}),
    fq_init: step(
      { ret: integer },
      {
        ...{ fq_size: count(65_536), fail_alloc: bit },
        ...{ size: count(), timeout: count(), single: bit, state },
      },
    ),
    queue: step(
      { pfn: word, pages: word },
      { cpu: count(3), pages_list: list(count()), state, ...nested },
    ),
    timer: step({}, { state, not_armed: bit, ...nested }),
    fq_free: step({}),
  }),
);

const domain = record(
  { pgsize_bitmap: word, mask: word, aperture_end: word },
  {
    ...{ bus_dma_limit: word, start_pfn: word, min_align_mask: word, max_seg: word },
    ...{ seg_boundary: word, reserve: list(tuple(2, word, word)) },
    ...{ coherent: flag, untrusted: flag, pci: flag, sync_map_op: flag, no_bounce: flag },
    ...{ bounce_fail: count(), mock: CORE_MOCK_SHAPE },
  },
);
const onDomain = record({ domain, steps });
const prot = operation({ prot: record({ dir, ret: count() }, { coherent: flag, attrs }) });

/** What a file of kind `dma-iommu` has to hold. */
export const DMA_IOMMU_SHAPE: Shape = record({
  name: text,
  cases: list((value, at) => {
    const alone = typeof value === 'object' && value !== null && 'op' in value;
    (alone ? prot : onDomain)(value, at);
  }),
});

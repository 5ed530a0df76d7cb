import type { Mutation } from './mutation.ts';

const QUEUE = 'dma-api/src/flush-queue.ts';
const SPACE = 'dma-api/src/iova-space.ts';
const TWO_STEP = 'dma-api/src/two-step.ts';

/** The DMA layer: lazy flushes, two-step mappings, bounce slots, handles. */
export const DMA_MUTATIONS: readonly Mutation[] = [
  {
    number: 28,
    defect: 'stale IOVA reused before the lazy flush',
    edits: [
      {
        module: SPACE,
        find: 'space.flushQueue?.queue(iova',
        replace: 'this.free(space, iova, size); space.flushQueue?.queue(iova',
      },
      {
        module: SPACE,
        find: 'freeIova: (pfn, pages) => this.#freePfn(space, pfn, pages),',
        replace: 'freeIova: () => {},',
      },
    ],
    caughtBy: [
      { row: 'SX-1', way: 'lazy', by: 'reused: expected 0' },
      { row: 'S1-9', way: 'map_sg, 7.3', by: 'held: expected 4' },
    ],
  },
  {
    number: 29,
    defect: 'flush queue frees entries younger than the flush',
    edits: [{ module: QUEUE, find: '>= finish) return;', replace: '> finish) return;' }],
    caughtBy: [
      { row: 'SX-1', way: 'lazy', by: 'peakRequests: expected 256' },
      { row: 'S1-9', way: 'map_sg, 7.3', by: 'held: expected 4' },
    ],
  },
  {
    number: 30,
    defect: 'destroy frees only the mapped part of the IOVA',
    edits: [
      {
        module: TWO_STEP,
        find: 'this.unlink(dev, state, unlink);',
        replace: 'this.unlink(dev, state, unlink);\n      state.assign(state.addr, mapped);',
      },
    ],
    caughtBy: [
      {
        row: 'S1-5',
        way: 'destroy of the 2 MiB that are linked',
        by: '512 granules freed of 1024',
      },
    ],
  },
  {
    number: 31,
    defect: 'link error loses the bounce slot',
    edits: [
      {
        module: TWO_STEP,
        find: 'if (errno !== 0 && mapped > 0) this.unlink(dev, state, { offset, size: mapped, dir, attrs });',
        replace:
          'if (errno !== 0 && mapped > 0) this.#ranges.unmapNow(dev, state.addr + offset - head, ceilTo(mapped + head, granule)); void dir; void attrs;',
      },
    ],
    caughtBy: [{ row: 'S1-10', way: 'no slot for the tail', by: 'slots: expected 0' }],
  },
  {
    number: 32,
    defect: 'unmap hands the original page to the bounce code',
    edits: [
      {
        module: 'dma-api/src/streaming.ts',
        find: 'const known = page !== undefined && !this.#bouncer.bounces(dev, page, size, dir);',
        replace: 'const known = page !== undefined;',
      },
    ],
    caughtBy: [{ row: 'S3-4', way: 'Q', by: 'filled: expected 1000, got 0' }],
  },
  {
    number: 33,
    defect: 'handle without generation',
    edits: [
      {
        module: 'dma-api/src/handle-table.lanes.ts',
        find: '((words[at + GENERATION] as number) + 1) >>> 0',
        replace: '(words[at + GENERATION] as number) >>> 0',
      },
    ],
    caughtBy: [
      {
        row: 'S3-9',
        way: 'H stale: its slot and IOVA are another mapping now',
        by: 'refused: expected HANDLE_STALE',
      },
    ],
  },
];

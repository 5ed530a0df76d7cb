/* S1: two-step DMA mapping. */
import { line, shown, type Thread } from './evidence.ts';

const COH = ['map_page coh', 'map_sg coh', 'two-step coh'];
const NC = ['map_page nc', 'map_sg nc', 'two-step nc'];

export const twoStep: Thread = {
  prefix: 'S1-',
  title: 'Two-step DMA mapping',
  year: '2024',
  claim:
    'Allocating the IOVA apart from linking pages to it makes the intermediate list unnecessary, simplifies mapping on page faults and takes less memory.',
  missing:
    'Counts of the work that is saved; undoing for a device that does not snoop; lazy domains; raw against joined vectors.',
  later:
    'In Linux since 6.16 (2025); the block layer and NVMe use it, RDMA since 2026. At first a destroy in a lazy domain went through the flush queue; in 7.3 it is always strict.',
  tables: [
    {
      title: 'Commands',
      columns: ['map_page each', 'map_sg', 'two-step'],
      plot: 'log',
      lines: [
        line('undo of 32 pages, strict', 'S1-2', 'cmd', COH),
        line('1000 storage requests, strict', 'S1-7', 'cmd', [
          '1000 requests, an address each',
          '1000 requests, map_sg',
          '1000 requests, two-step',
        ]),
        line('1024 requests, lazy, 7.3', 'S1-9', 'cmd', [null, 'map_sg, 7.3', 'two-step, 7.3']),
        line('1024 requests, lazy, as in 6.16', 'S1-9', 'cmd', [null, null, 'two-step, 7.2']),
      ],
    },
    {
      title: 'Walks to look up a physical address',
      columns: ['map_page each', 'map_sg', 'two-step'],
      plot: 'linear',
      lines: [
        line('undo of 32 pages, coherent device', 'S1-2', 'walk', COH),
        line('undo of 32 pages, device not coherent', 'S1-2', 'walk', NC),
        line('1000 pages mapped by fault, undone', 'S1-8', 'walk', [
          'single: 1000 invalidations',
          null,
          'two-step: 1000 invalidations',
        ]),
      ],
    },
    {
      title: 'Memory and IOVAs',
      columns: ['map_page each', 'map_sg', 'two-step'],
      lines: [
        line('bytes for a request of 32 pages', 'S1-1', 'bytes', COH),
        line('IOVA allocations, 32 pages', 'S1-1', 'iovas', COH),
        line('IOVA allocations, 1000 faults', 'S1-8', 'iovas', [
          'single: 1000 faults',
          null,
          'two-step: 1000 faults',
        ]),
        line('bytes of the address list, 1 GiB by fault', 'S1-8', 'list', [
          'single: 1000 faults',
          null,
          'two-step: 1000 faults',
        ]),
      ],
    },
  ],
  identical: [
    {
      says: 'map_sg and two steps end with the same tables at the same IOVA when the pieces are the same.',
      shown: shown('S1-1', ['map_sg coh', 'two-step coh'], 'first', 'st', 'lvl'),
    },
    {
      says: 'With vectors joined first, contiguous memory becomes the same block in both.',
      shown: shown('S1-3', ['map_sg', 'two-step, joined'], 'st', 'alloc'),
    },
  ],
  notGained: [
    {
      says: 'Linking scattered pages saves no walk: calls and levels of the format are those of map_sg.',
      shown: shown('S1-1', COH, 'fmt', 'lvl'),
    },
    {
      says: 'Undoing for a device that does not snoop walks once for each granule, which unmap_sg never does.',
      shown: shown('S1-2', ['map_sg nc', 'two-step nc'], 'walk', 'wl'),
    },
    {
      says: 'Raw contiguous vectors are linked one by one, where map_sg joins them first.',
      shown: shown('S1-3', ['map_sg', 'two-step, a link for each vector'], 'fmt', 'st'),
    },
    {
      says: 'In a lazy domain of 7.3 a destroy is never queued: every request pays its own commands.',
      shown: shown('S1-9', ['map_sg, 7.3', 'two-step, 7.3'], 'cmd'),
    },
  ],
};

/* S0: ranges and batches. */
import { at, line, shown, type Thread } from './evidence.ts';

const BATCH = ['P coh', 'K coh', 'G coh', 'R coh'];
const LISTS = ['P nc', 'K nc', 'G nc', 'R nc'];

export const batches: Thread = {
  prefix: 'S0-',
  title: 'Ranges, and batches with one flush',
  year: '2014',
  claim:
    'Mapping and unmapping whole lists needs one TLB operation at the end, not one for each page; with several lists in a batch, lower tables are built before they are linked, and tables are used again.',
  missing:
    'Counts of any kind; which drivers have TLB work to do when they map; how much a batch must remember; what happens when one operation of a batch fails.',
  later:
    'iommu_map_sg came at the end of 2014, the batch did not. The gather and the hook after a map came in 2019. Linux 7.3 has map_range and unmap_range in its generic page tables, with a list of pages that are freed after the flush.',
  tables: [
    {
      title: 'Commands',
      columns: ['page at a time', 'kernel', 'one gather', 'batch'],
      plot: 'log',
      lines: [
        line('32 buffers unmapped, 32 mapped', 'S0-5', 'cmd', BATCH),
        line('the same without range invalidation', 'S0-5', 'cmd', [
          ...['P no RIL', 'K no RIL', 'G no RIL', 'R no RIL'],
        ]),
        {
          what: '16 MiB of 4 KiB pages unmapped',
          cells: [
            at('S0-6', 'P', 'cmd'),
            at('S0-6', 'K, one unmap coh', 'cmd'),
            at('S0-6', 'G, 64 unmaps coh', 'cmd'),
            at('S0-6', 'R, one unmap coh', 'cmd'),
          ],
        },
        line('2 MiB replaced', 'S0-9', 'cmd', ['P coh', 'K coh', null, 'R coh']),
        line('100 frames of a renderer', 'S0-20', 'cmd', ['P', 'K', null, 'R']),
      ],
    },
    {
      title: 'Table levels walked',
      columns: ['page at a time', 'kernel', 'one gather', 'batch'],
      plot: 'log',
      lines: [
        line('scattered 1 MiB mapped', 'S0-1', 'lvl', ['P coh', 'K coh', null, 'R coh']),
        line('contiguous 1 MiB mapped', 'S0-2', 'lvl', ['P coh', 'K coh', null, 'R coh']),
        line('32 buffers unmapped, 32 mapped', 'S0-5', 'lvl', BATCH),
        line('2 MiB replaced', 'S0-9', 'lvl', ['P coh', 'K coh', null, 'R coh']),
      ],
    },
    {
      title: 'Cache lines cleaned for a walker that does not snoop',
      columns: ['page at a time', 'kernel', 'one gather', 'batch'],
      plot: 'log',
      lines: [
        line('scattered 1 MiB mapped', 'S0-1', 'cml', ['P nc', 'K nc', null, 'R nc']),
        line('scattered 2 MiB mapped', 'S0-8', 'cml', [
          ...['P, scattered 2 MiB', 'K, scattered 2 MiB', null, 'R, scattered 2 MiB'],
        ]),
        line('32 buffers unmapped, 32 mapped', 'S0-5', 'cml', LISTS),
        line('2 MiB replaced', 'S0-9', 'cml', [null, 'K nc', null, 'R nc']),
      ],
    },
    {
      title: 'What a walker can see in between, and what a failure leaves',
      columns: ['page at a time', 'kernel', 'one gather', 'batch'],
      lines: [
        line('partly mapped states, 512 pages', 'S0-7', 'partial', [
          ...['P, 512 pages', 'K, 512 pages', null, 'R, 512 pages'],
        ]),
        line('tables left when the third is missing', 'S0-12', 'left', [
          ...[null, 'K scattered, k = 3', null, 'R scattered, k = 3'],
        ]),
        line('tables allocated to replace 2 MiB, tables used again', 'S0-9', 'alloc', [
          ...['P coh', 'K coh', null, 'R reuseTables coh'],
        ]),
        line('bytes remembered until the flush', 'S0-5', 'bytes', [null, null, null, 'R coh']),
      ],
    },
  ],
  identical: [
    {
      says: 'Page at a time, kernel, one gather and batch write the same number of descriptors and end with the same tables.',
      shown: shown('S0-5', BATCH, 'st', 'alloc'),
    },
    {
      says: 'With one range command for each record, the commands of kernel and batch have the same fields; only the SYNCs are fewer.',
      shown: shown('S0-5', ['K coh', 'R coh'], 'VA', 'SYNC', 'fields'),
    },
  ],
  notGained: [
    {
      says: 'Mapping costs no TLB command on SMMUv3 in any way, so none is saved there. The exception: a block that replaces a table.',
      shown: [
        ...shown('S0-1', ['P coh', 'K coh', 'R coh'], 'cmd'),
        at('S0-14', 'R (c) a block over an empty table', 'cmd'),
      ],
    },
    {
      says: 'iommu_map_sg saves calls of the hook, not walks, when pages are scattered; only a format that takes the list does.',
      shown: shown('S0-1', ['P coh', 'K coh', 'R coh'], 'hook', 'lvl'),
    },
    {
      says: 'A batch for a quiet device holds old and new tables at once: the peak is higher.',
      shown: shown('S0-18', ['K', 'R quiesced'], 'peak'),
    },
    {
      says: 'Using tables again costs more stores, and partly mapped states can be seen again.',
      shown: [
        ...shown('S0-9', ['R coh', 'R reuseTables coh'], 'st'),
        at('S0-7', 'R, reused table', 'partial'),
      ],
    },
    {
      says: 'A range over two leaf tables is complete table by table, not at once.',
      shown: shown('S0-7', ['R, 768 pages, upper tables present'], 'partial', 'live'),
    },
  ],
};

/* S3: unmapping without asking the page table. */
import { line, shown, type Thread } from './evidence.ts';

const KQH = ['K', 'Q', 'H'];

export const handles: Thread = {
  prefix: 'S3-',
  title: 'Unmap without asking the page table',
  year: '2014',
  claim:
    'The caller knows the page, so walking the table for the physical address on unmap and sync is waste. One side wants the page as a parameter, the other a second interface with a handle.',
  missing:
    'How many walks there are, and on which paths; what bouncing does to the idea; what a handle costs to carry.',
  later:
    'Dropped for lack of interest. Linux 7.3 does not walk for a sync of a coherent device, nor for two attributes; unmapping a single page still walks. The state of two-step mapping is the nearest relative of the handle.',
  tables: [
    {
      title: 'Walks to look up a physical address, 1000 buffers',
      columns: ['kernel', 'page parameter', 'handle'],
      plot: 'linear',
      lines: [
        line('coherent, 4 KiB', 'S3-1', 'walk', KQH),
        line('coherent, 2 MiB', 'S3-2', 'walk', KQH),
        line('not coherent, with two syncs', 'S3-3', 'walk', KQH),
        line('bounced', 'S3-4', 'walk', KQH),
        line('lazy', 'S3-12', 'walk', KQH),
      ],
    },
    {
      title: 'Levels of those walks',
      columns: ['kernel', 'page parameter', 'handle'],
      plot: 'linear',
      lines: [
        line('coherent, 4 KiB', 'S3-1', 'wl', KQH),
        line('coherent, 2 MiB', 'S3-2', 'wl', KQH),
        line('not coherent, with two syncs', 'S3-3', 'wl', KQH),
        line('bounced', 'S3-4', 'wl', KQH),
      ],
    },
    {
      title: 'Commands and memory',
      columns: ['kernel', 'page parameter', 'handle'],
      plot: 'linear',
      lines: [
        line('SYNC, 1000 buffers strict', 'S3-1', 'SYNC', KQH),
        line('SYNC, 1000 buffers lazy', 'S3-12', 'SYNC', KQH),
        line('bytes the driver remembers', 'S3-1', 'memory', KQH),
      ],
    },
  ],
  identical: [
    {
      says: 'Commands, format calls and freed IOVAs are the same in all three ways; every call was compared with the same call of the others.',
      shown: shown('S3-1', KQH, 'VA', 'SYNC', 'fmt', 'same'),
    },
    {
      says: 'In checking mode the address in the handle equals what the table says, on every unmap.',
      shown: shown('S3-1', ['H checking'], 'checks', 'iovasFreed'),
    },
  ],
  notGained: [
    {
      says: 'A page parameter saves nothing where the buffer was bounced: the page names the original, not the slot.',
      shown: shown('S3-4', KQH, 'walk'),
    },
    {
      says: 'Scatter lists never walk, in any way, unless bounced.',
      shown: shown('S3-5', ['K coherent', 'H coherent', 'K bounced', 'H bounced'], 'walk'),
    },
    {
      says: 'A sync of a coherent device does not walk in 7.3: nothing to gain.',
      shown: shown('S3-7', KQH, 'walk'),
    },
    {
      says: 'A handle takes 16 more bytes for each mapping.',
      shown: shown('S3-10', ['K 1000 live', 'H 1000 live'], 'memory'),
    },
    {
      says: 'No way changes the number of invalidations.',
      shown: shown('S3-1', KQH, 'VA', 'SYNC'),
    },
  ],
};

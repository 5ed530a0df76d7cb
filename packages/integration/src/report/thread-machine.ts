/* SX: what only the whole machine shows. */
import { at, line, shown, type Thread } from './evidence.ts';

const LOCALITY = [
  '64 leaf tables',
  'contiguous',
  'contiguous, whole descriptor',
  'contiguous, whole descriptor, LEAF=0',
  'contiguous, each page at once, LEAF=0',
];

export const wholeMachine: Thread = {
  prefix: 'SX-',
  title: 'Across the layers',
  year: '2014 to 2024',
  claim:
    'What one thread saves, another pays: lazy invalidation trades commands for exposure, and where IOVAs lie decides what a walker reads.',
  missing:
    'Exposure in pages and operations instead of a "small window"; reads of the walker by arrangement of IOVAs and by the LEAF bit.',
  later:
    'The 2024 work on fast and safe I/O memory protection measured both on real servers; its throughput model is used below, with our counts.',
  tables: [
    {
      title: 'Commands of 1024 unmaps, and pages within reach afterwards',
      columns: ['strict', 'lazy'],
      plot: 'log',
      lines: [
        line('invalidations by address', 'SX-1', 'VA', ['strict', 'lazy']),
        line('invalidations by ASID', 'SX-1', 'ASID', ['strict', 'lazy']),
        line('SYNC', 'SX-1', 'SYNC', ['strict', 'lazy']),
        line('most pages within reach', 'SX-1', 'peakPages', ['strict', 'lazy']),
        line('pages within reach at the end', 'SX-1', 'leftPages', ['strict', 'lazy']),
      ],
    },
    {
      title: "The walker's reads and the commands, 64,000 pages read once",
      columns: ['64 tables', 'contiguous', 'one range', 'one range, LEAF=0', 'each page, LEAF=0'],
      plot: 'linear',
      lines: [
        line('memory reads', 'SX-5', 'reads', LOCALITY),
        line('invalidations by address', 'SX-5', 'VA', LOCALITY),
        line('SYNC', 'SX-5', 'SYNC', LOCALITY),
      ],
    },
    {
      title: 'All five threads in one machine',
      columns: ['buffers looked up', 'buffers by handle'],
      lines: [
        line('commands', 'SX-6', 'cmd', ['buffers K', 'buffers H']),
        line('walks to look up a physical address', 'SX-6', 'walks', ['buffers K', 'buffers H']),
        line('accesses compared with a second SMMU', 'SX-6', 'accesses', [
          'buffers K',
          'buffers H',
        ]),
        line('accesses with another verdict there', 'SX-6', 'differ', ['buffers K', 'buffers H']),
      ],
    },
  ],
  identical: [
    {
      says: 'In every arrangement the device finds each page where it is, and none after its unmap.',
      shown: shown('SX-5', LOCALITY, 'wrong'),
    },
  ],
  notGained: [
    {
      says: 'Lazy invalidation is not a small window: thousands of pages are within reach at once, just before a flush.',
      shown: shown('SX-1', ['lazy'], 'peakPages', 'peakRequests'),
    },
    {
      says: 'Contiguous IOVAs save reads, not commands; one range for a descriptor saves commands, not reads.',
      shown: [
        ...shown('SX-5', ['64 leaf tables', 'contiguous'], 'reads', 'SYNC'),
        at('SX-5', 'contiguous, whole descriptor', 'reads'),
        at('SX-5', 'contiguous, whole descriptor', 'SYNC'),
      ],
    },
  ],
};

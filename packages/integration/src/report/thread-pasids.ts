/* S2: private PASIDs. */
import { line, shown, type Thread } from './evidence.ts';

export const pasids: Thread = {
  prefix: 'S2-',
  title: 'Private PASIDs with a handle',
  year: '2018',
  claim:
    'A device can have several private page tables, chosen by PASID. The review asked for a handle in place of an int, for checks, for a context descriptor that is really written, for syncs and for cleanup.',
  missing: 'Any test on hardware with PASIDs beyond that it works; any test of failures.',
  later:
    'Not merged in this form. Auxiliary domains were in 5.2 to 5.17; attaching a domain to a PASID came in 6.2, stage-1 domains on PASIDs for SMMUv3 in 6.11, replacing them later. The main point of the review, an object and not an int, prevailed.',
  tables: [
    {
      title: 'Commands',
      columns: ['as proposed', 'as reviewed'],
      plot: 'linear',
      lines: [
        line('attach: commands', 'S2-4', 'cmd', [
          'mutation: attach_domain is false',
          'remark: attach_domain is true: 1 streams',
        ]),
        line('free: commands', 'S2-8', 'cmd', [null, 'remark: detach_domain is true']),
        line('replace: commands', 'S2-14', 'cmd', [null, 'old, refused, or new; never a mixture']),
        line('16 pages, 16 x unmap', 'S2-7', 'cmd', [
          null,
          'remark: sync must be true: 16 x unmap',
        ]),
        line('16 pages, unmap_fast and one sync', 'S2-7', 'cmd', [
          null,
          'remark: and false in unmap_fast: 16 x unmap_fast, one sync',
        ]),
      ],
    },
    {
      title: 'Lookups of an id, and what is left',
      columns: ['as proposed', 'as reviewed'],
      plot: 'linear',
      lines: [
        line('1000 maps and unmaps: lookups', 'S2-11', 'lookups', [
          'int interface',
          'remark: no pasid-to-io_mm look-up: handle',
        ]),
        line('valid CDs after unbind', 'S2-9', 'valid', [
          'mutation: a handle that is not on the list',
          'a process among them',
        ]),
      ],
    },
  ],
  identical: [
    {
      says: 'Handle and int interface issue the same commands and stores; the lookups alone differ.',
      shown: shown(
        'S2-11',
        ['int interface', 'remark: no pasid-to-io_mm look-up: handle'],
        'cmd',
        'st',
      ),
    },
    {
      says: 'Two PASIDs map the same IOVA to two pages, each with an ASID of its own; unmapping in one leaves the other cached and walks nothing.',
      shown: shown('S2-12', ['the same IOVA, two pages'], 'asids', 'cached', 'walks'),
    },
  ],
  notGained: [
    {
      says: 'A domain on a PASID costs commands whenever it comes or goes, more of them for each stream.',
      shown: shown(
        'S2-4',
        ['remark: attach_domain is true: 1 streams', 'remark: attach_domain is true: 2 streams'],
        'cmd',
      ),
    },
    {
      says: 'unmap_fast without a sync sends nothing: a warm page stays reachable, and is reported so.',
      shown: shown('S2-7', ['unmap_fast, and no sync yet'], 'cmd', 'stale'),
    },
  ],
};

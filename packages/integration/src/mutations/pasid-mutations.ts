import type { Mutation } from './mutation.ts';

const ENTRIES = 'smmu-v3-driver/src/entry-install.ts';
const DEVICE = 'smmu-v3-driver/src/smmu-device.ts';
const ALLOCATOR = 'sva-pasid/src/pasid-allocator.ts';
const PRIVATE = 'sva-pasid/src/private-pasid.ts';

const ATTACH = 'remark: attach_domain is true: 1 streams';
const DETACH = 'remark: detach_domain is true';

/** Stream table entries, context descriptors, PASIDs. */
export const PASID_MUTATIONS: readonly Mutation[] = [
  {
    number: 1,
    defect: 'no CFGI_CD after a CD write',
    edits: [
      {
        module: ENTRIES,
        find: 'for (const id of streamIds) stream.room().cfgiCd(id, ssid, leaf);',
        replace: '',
      },
    ],
    caughtBy: [
      { row: 'SX-3', way: '1: no CFGI_CD, attach: right', by: 'missing: expected false, got true' },
      { row: 'SX-3', way: '1: no CFGI_CD, detach: right', by: 'missing: expected false, got true' },
      { row: 'S2-4', way: ATTACH, by: 'reads: expected' },
      { row: 'S2-8', way: DETACH, by: 'access: expected C_BAD_CD' },
    ],
  },
  {
    number: 2,
    defect: 'no CFGI_STE after an STE write',
    edits: [{ module: ENTRIES, find: 'stream.room().cfgiSte(id);', replace: '' }],
    caughtBy: [
      { row: 'SX-3', way: '2: no CFGI_STE: right', by: 'missing: expected false, got true' },
      { row: 'S2-6', way: 'untagged DMA bypasses at every step', by: 'reads: expected' },
    ],
  },
  {
    number: 3,
    defect: 'CD word 0 written before TTB0',
    edits: [
      {
        module: 'smmu-v3-driver/src/entry-writer.lanes.ts',
        find: 'store(target, unused, 0, QWORDS) +',
        replace: '',
      },
    ],
    caughtBy: [{ row: 'S2-4', way: ATTACH, by: 'torn: expected 0' }],
  },
  {
    number: 4,
    defect: 'PASID freed without TLBI by ASID',
    edits: [
      {
        module: DEVICE,
        find: "if (tag !== undefined && tag.users === 0 && lastFlush === 'detach') invalidateTag(tag);",
        replace: '',
      },
    ],
    caughtBy: [
      {
        row: 'SX-3',
        way: '4: PASID freed without TLBI by ASID: right',
        by: 'missing: expected false, got true',
      },
      { row: 'S2-8', way: DETACH, by: 'entries: expected 0' },
      {
        row: 'S2-8',
        way: 'the ASID and the PASID are used again, by nothing old',
        by: 'wrong: expected 0',
      },
      {
        row: 'S2-12',
        way: 'the same IOVA, two pages',
        by: '1 translations outlive their domains',
      },
    ],
  },
  {
    number: 5,
    defect: 'attach_domain false',
    edits: [{ module: PRIVATE, find: 'contextOps.attach(ioMm)', replace: '0' }],
    caughtBy: [{ row: 'S2-4', way: ATTACH, by: 'reads: expected' }],
  },
  {
    number: 7,
    defect: "the domain's ASID in a PASID's TLBI",
    edits: [
      {
        module: DEVICE,
        find: 'id: domain.id,',
        replace: 'id: (ssid > 0 ? this.#links.get(0)?.domain.id : undefined) ?? domain.id,',
      },
    ],
    caughtBy: [
      {
        row: 'SX-3',
        way: '7: the domain’s ASID in a PASID’s TLBI: right',
        by: 'missing: expected false, got true',
      },
      { row: 'S2-7', way: 'remark: sync must be true: 16 x unmap', by: 'own: expected true' },
      { row: 'S2-12', way: 'the same IOVA, two pages', by: 'gone: expected F_TRANSLATION' },
    ],
  },
  {
    number: 8,
    variant: 'a',
    defect: 'PASID range exclusive at the top',
    edits: [
      {
        module: ALLOCATOR,
        find: 'pasid = this.#taken.firstFree(min, max);',
        replace: 'pasid = this.#taken.firstFree(min, max - 1);',
      },
      {
        module: ALLOCATOR,
        find: 'pasid = this.#taken.firstFree(this.#next, max);',
        replace: 'pasid = this.#taken.firstFree(this.#next, max - 1);',
      },
    ],
    caughtBy: [
      { row: 'S2-10', way: 'remark: the range is inclusive', by: 'first: expected 5 6 7 8' },
    ],
  },
  {
    number: 8,
    variant: 'b',
    defect: 'PASID: lowest free instead of cyclic',
    edits: [{ module: ALLOCATOR, find: "this.order === 'cyclic' &&", replace: 'false &&' }],
    caughtBy: [{ row: 'S2-10', way: 'remark: cyclic', by: 'later: expected 6 7 8' }],
  },
  {
    number: 9,
    defect: 'io_mm not on the list',
    edits: [
      { module: PRIVATE, find: 'sva.track(ioMm, domain, () => release(sva, ioMm));', replace: '' },
    ],
    caughtBy: [
      {
        row: 'S2-9',
        way: 'remark: contexts are on the list, and cleaned up',
        by: 'bound: expected 3',
      },
    ],
  },
];

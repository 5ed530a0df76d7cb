import type { FramePool, MemoryView } from '@iommukit/platform';
import type { FlushOps } from '../flush-ops.ts';
import type { IotlbGather } from '../iotlb-gather.ts';
import type { PageTable } from '../page-table.ts';
import type { TableFrames } from '../page-table-config.ts';

/**
 * What a table under test is built on. Frames come filled with garbage, and memory, frames and flushes are watched.
 * @example create: ({ memory, frames, flush, warn }) => createPageTable(format, { ...config, memory, frames, flush, warn })
 */
export interface ContractParts {
  readonly memory: MemoryView;
  readonly frames: TableFrames;
  readonly flush: FlushOps;
  /** For formats that have a gather synced rather than use the flush ops: the range of this one was invalidated. */
  readonly invalidated: (gather: IotlbGather) => void;
  /** To be told every warning. */
  readonly warn: (text: string) => void;
}

/**
 * Where the families of page tables legally differ. Errnos are negative.
 * @example const traits: ContractTraits = { ...IO_PGTABLE_TRAITS, emptyTables: 'freed' };
 */
export interface ContractTraits {
  /** Errno of a map where something is mapped. */
  readonly occupied: number;
  /** Errno of an IOVA, of an output address, out of range; null: such a call is not defined. */
  readonly iovaOutOfRange: number | null;
  readonly paddrOutOfRange: number | null;
  /** Errno of a page size that is not configured; null: such a call is not defined. */
  readonly badSize: number | null;
  /** Errno, or 0, of a map of no pages. */
  readonly zeroCount: number;
  /** Errno of a map that permits neither reads nor writes. */
  readonly noDirection: number;
  /** One call maps and unmaps no further than the table that holds its first entry. */
  readonly stopsAtTable: boolean;
  /** When a page of several is in the way: none of the call's pages is mapped, or those before it are. */
  readonly conflict: 'nothing' | 'before';
  /** A map of a large page where a table with mapped pages is. */
  readonly overTable: 'replaces' | 'refuses';
  /** An unmap that starts at a larger page and is smaller than it. */
  readonly partialUnmap: 'nothing' | 'whole' | 'split';
  /** An unmap of a large page where smaller ones are: clears all below and counts it whole, or only pages up to the first hole. */
  readonly coarseUnmap: 'whole' | 'pages';
  /** Tables without pages stay until something larger replaces them, go when one unmap covers all of them, or go at once. */
  readonly emptyTables: 'kept' | 'covered' | 'freed';
  /** Conflicting maps, and unmaps of holes, raise a warning. */
  readonly warns: { readonly conflict: boolean; readonly hole: boolean };
  /** One call maps a run with larger pages where they fit; if not, with the page size that it was given. */
  readonly choosesSize: boolean;
  /** `free` invalidates everything before it frees; if not, its caller has. */
  readonly freeFlushes: boolean;
}

/**
 * `io-pgtable-arm.c` since Linux 6.12; the other io-pgtable formats differ in a few fields.
 * @example const traits: ContractTraits = { ...IO_PGTABLE_TRAITS, warns: { conflict: false, hole: false } };
 */
export const IO_PGTABLE_TRAITS: ContractTraits = {
  occupied: -17,
  iovaOutOfRange: -34,
  paddrOutOfRange: -34,
  badSize: -22,
  zeroCount: 0,
  noDirection: -22,
  stopsAtTable: true,
  conflict: 'nothing',
  overTable: 'replaces',
  partialUnmap: 'nothing',
  coarseUnmap: 'whole',
  emptyTables: 'kept',
  warns: { conflict: true, hole: true },
  choosesSize: false,
  freeFlushes: true,
};

/**
 * `generic_pt`.
 * @example const subject = { ...rest, traits: GENERIC_PT_TRAITS };
 */
export const GENERIC_PT_TRAITS: ContractTraits = {
  occupied: -98,
  iovaOutOfRange: -34,
  paddrOutOfRange: -34,
  badSize: -22,
  zeroCount: 0,
  noDirection: -22,
  stopsAtTable: false,
  conflict: 'before',
  overTable: 'refuses',
  partialUnmap: 'whole',
  coarseUnmap: 'pages',
  emptyTables: 'covered',
  warns: { conflict: false, hole: false },
  choosesSize: true,
  freeFlushes: false,
};

/**
 * IOVAs [start, end), bytes.
 * @example const lower: IovaSpace = { start: 0, end: 2 ** 48 };
 */
export interface IovaSpace {
  readonly start: number;
  readonly end: number;
}

/**
 * A configured format, as the contract tests it.
 * @example
 * const subject: ContractSubject = { name: 'mine', coherentWalk: true, spaces: [{ start: 0, end: 2 ** 39 }], endPaddr: 2 ** 40,
 *   prots: [IOMMU_READ, IOMMU_READ + IOMMU_WRITE], traits: IO_PGTABLE_TRAITS, create: (parts) => createPageTable(mine, parts) };
 */
export interface ContractSubject<T extends PageTable = PageTable> {
  readonly name: string;
  /** The tables are made for a device that snoops the CPU's caches; if not, the memory has a cache that hides what is not cleaned. */
  readonly coherentWalk: boolean;
  /** What the table translates, ascending. */
  readonly spaces: readonly IovaSpace[];
  /** IOVAs that must be refused. Absent: those next to the spaces. */
  readonly outside?: readonly number[];
  /** End of the output addresses, bytes. */
  readonly endPaddr: number;
  /** Values of `prot` that the format accepts; the first is used where it does not matter. */
  readonly prots: readonly number[];
  readonly traits: ContractTraits;
  /** Page sizes to test, ascending. Absent: all that the table accepts. */
  readonly pageSizes?: readonly number[];
  /** Where tables may lie. Absent: 64 MiB at 2 GiB. */
  readonly pool?: FramePool;
  /** A new empty table, or a negative errno. */
  create(parts: ContractParts): T | number;
  /** Ends a gather: for formats that leave tables to be freed in it. Absent: its range is invalidated, and it must hold no tables. */
  sync?(table: T, gather: IotlbGather): void;
}

import type { MemoryView } from '@iommukit/platform';
import type { FlushOps } from './flush-ops.ts';
import type { IoPgtableProfile } from './profile.ts';

/**
 * Departures from the plain format that a caller asks for (`IO_PGTABLE_QUIRK_*`). A format refuses those it does not list.
 * @example const quirks: PageTableQuirks = { ttbr1: true };
 */
export interface PageTableQuirks {
  /** The table translates the upper half of the space, through TTBR1 (`ARM_TTBR1`). */
  readonly ttbr1?: boolean;
  /** Writable leaves carry DBM, so that the device records dirty pages itself (`ARM_HD`). */
  readonly hd?: boolean;
  /** Leaves and tables point to non-secure memory (`ARM_NS`). */
  readonly ns?: boolean;
  /** Conflicting maps and unmaps of holes raise no warning (`NO_WARN`). */
  readonly noWarn?: boolean;
  /** Walks allocate in the outer cache; only with a non-coherent walk (`ARM_OUTER_WBWA`). */
  readonly outerWbwa?: boolean;
  /** Stage 2 decides the memory type alone (FEAT_S2FWB), so that cacheable leaves say so in its own encoding (`ARM_S2FWB`). */
  readonly s2fwb?: boolean;
  /** Short descriptors: entries carry no permissions (`NO_PERMS`). */
  readonly noPerms?: boolean;
  /** Short descriptors: MediaTek's address bits 32 to 34 (`ARM_MTK_EXT`); needs `noPerms`. */
  readonly mtkExt?: boolean;
  /** Short descriptors: the top table may lie above 4 GiB too (`ARM_MTK_TTBR_EXT`); needs `mtkExt`. */
  readonly mtkTtbrExt?: boolean;
}

/** Name of a quirk. @example const name: QuirkName = 'ttbr1'; */
export type QuirkName = keyof PageTableQuirks;

/**
 * Where table pages come from; `FrameAllocator` of `@iommukit/platform` is one. Sizes and addresses in bytes.
 * @example const frames: TableFrames = new FrameAllocator({ base: 0x8000_0000, size: 0x10_0000 });
 */
export interface TableFrames {
  /** Memory aligned to its size, content undefined; -1 when there is none. */
  alloc(bytes: number): number;
  /** Takes back exactly what `alloc(bytes)` returned. */
  free(pa: number, bytes: number): void;
}

/**
 * What a page table is made from (`struct io_pgtable_cfg`, the fields that a driver fills in).
 * @example
 * const config: PageTableConfig = { pgsizeBitmap: SZ_4K + SZ_2M + SZ_1G, ias: 48, oas: 48, coherentWalk: true,
 *   memory, frames, flush, profile: IO_PGTABLE_PROFILES['7.3'] };
 */
export interface PageTableConfig {
  /** Page sizes on offer: the sum of powers of two, bytes. The format keeps those of one granule. */
  readonly pgsizeBitmap: number;
  /** Input address size, bits; capped by the format. */
  readonly ias: number;
  /** Output address size, bits; capped by the format. */
  readonly oas: number;
  /** The device's walks snoop the CPU's caches. If not, every change is cleaned to memory before anything relies on it. */
  readonly coherentWalk: boolean;
  /** Absent: none. */
  readonly quirks?: PageTableQuirks;
  /** The page size of the kernel, bytes, which chooses the granule when several are on offer. Absent: 4096. */
  readonly cpuPageSize?: number;
  /** The CPU's view of the memory that tables are written to. */
  readonly memory: MemoryView;
  /** Source of table pages. */
  readonly frames: TableFrames;
  /** Invalidation. */
  readonly flush: FlushOps;
  /** Kernel version to behave as. */
  readonly profile: IoPgtableProfile;
  /** Told the text of every `WARN_ON` that the kernel would raise. */
  readonly warn?: (text: string) => void;
}

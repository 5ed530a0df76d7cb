import { IommuError, type U64 } from '@iommukit/bits';
import type { MemoryView } from '@iommukit/platform';
import type { IotlbGather } from '../iotlb-gather.ts';
import type { TableFrames } from '../page-table-config.ts';

/**
 * Features of the generic page tables, in the order of their bits: those of all formats, then those of one (the names of Linux
 * without the prefix `PT_FEAT_`).
 * @example GENERIC_FEATURES.indexOf('DYNAMIC_TOP') // 2
 */
export const GENERIC_FEATURES = [
  'DMA_INCOHERENT',
  'FULL_VA',
  'DYNAMIC_TOP',
  'SIGN_EXTEND',
  'FLUSH_RANGE',
  'FLUSH_RANGE_NO_GAPS',
  'DETAILED_GATHER',
  'AMDV1_ENCRYPT_TABLES',
  'AMDV1_FORCE_COHERENCE',
  'X86_64_AMD_ENCRYPT_TABLES',
  'VTDSS_FORCE_COHERENCE',
  'VTDSS_FORCE_WRITEABLE',
  'RISCV_SVNAPOT_64K',
  'RISCV_SVPBMT',
] as const;

/** Name of a feature. @example const name: GenericFeature = 'SIGN_EXTEND'; */
export type GenericFeature = (typeof GENERIC_FEATURES)[number];

/**
 * Table memory of a machine whose device does not snoop: pages are handed to it and taken back (`dma_map_single`,
 * `dma_unmap_single`). Only `cacheMaintenance: 'dma'` calls these.
 * @example const frames: DmaTableFrames = { alloc, free, dmaMap: () => true, dmaUnmap() {} };
 */
export interface DmaTableFrames extends TableFrames {
  /** Makes the content of a new table visible to the device; false when it cannot be mapped for it. Absent: it is cleaned. */
  dmaMap?(pa: number, bytes: number): boolean;
  /** Takes a table back from the device. */
  dmaUnmap?(pa: number, bytes: number): void;
}

/**
 * What a generic page table asks of its driver (`struct pt_iommu_driver_ops`, `iotlb_sync`).
 * @example const driver: GenericDriver = { iotlbSync() {}, changeTop(top, level) { device.setRoot(top, level); } };
 */
export interface GenericDriver {
  /** Invalidates what the gather holds, tables walks included. The page table frees the gather's tables and empties it afterwards. */
  iotlbSync(gather: IotlbGather): void;
  /** A new top table is in force: points the device to it. Only with `DYNAMIC_TOP`. */
  changeTop?(top: number, level: number): void;
}

/**
 * What a generic page table is made from (`struct pt_iommu_cfg` and what each format adds to it). Sizes as exponents of two.
 * @example
 * const config: GenericConfig = { features: ['FLUSH_RANGE'], hwMaxVaszLg2: 48, hwMaxOaszLg2: 52, topLevel: 3,
 *   memory, frames, driver: { iotlbSync() {} } };
 */
export interface GenericConfig {
  /** What is asked for; a name that the format lacks, or one that it insists on and that is missing, is refused (-EOPNOTSUPP). */
  readonly features: readonly GenericFeature[];
  /** Bits of an input address. */
  readonly hwMaxVaszLg2: number;
  /** Bits of an output address. */
  readonly hwMaxOaszLg2: number;
  /** Level of the top table, 0 = the level of leaves only. RISC-V takes it from `hwMaxVaszLg2`. */
  readonly topLevel?: number;
  /** The memory-encryption bit of AMD machines; absent: none. */
  readonly smeMeMask?: U64 | number;
  /** The caller narrows the page sizes with it; absent: all that the format offers. */
  readonly pgsizeMask?: U64 | number;
  /** With `DMA_INCOHERENT`: lines are cleaned directly (x86; the default), or tables pass through the DMA API. */
  readonly cacheMaintenance?: 'flush' | 'dma';
  /** As a kernel built with the debug checks: every format takes every feature that it can express. */
  readonly debug?: boolean;
  /** The CPU's view of the memory that tables are written to. */
  readonly memory: MemoryView;
  /** Source of table pages, 4 KiB each. */
  readonly frames: DmaTableFrames;
  readonly driver: GenericDriver;
  /** Told the text of every `WARN_ON` that the kernel would raise. */
  readonly warn?: (text: string) => void;
}

/**
 * A request that the kernel does not survive; code `GENERIC_LENGTH`: a map whose length is no multiple of the smallest page, for which
 * the kernel descends below its last level without end. The table is unchanged.
 * @example try { table.map(0, 0, 0x1800, IOMMU_READ); } catch (e) { (e as GenericTableError).code; } // 'GENERIC_LENGTH'
 */
export class GenericTableError extends IommuError<{ length: number; granule: number }> {
  override readonly name = 'GenericTableError';
  constructor(operands: { length: number; granule: number }) {
    super(
      'GENERIC_LENGTH',
      operands,
      `a map of ${operands.length} bytes is no multiple of the smallest page, ${operands.granule} bytes`,
      'Round the length to the smallest page size of pgsizeBitmap',
    );
  }
}

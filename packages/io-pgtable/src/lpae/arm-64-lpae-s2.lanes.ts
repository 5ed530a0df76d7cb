import {
  oasCode,
  PTE_HI_XN,
  PTE_LO_AF,
  PTE_LO_MEMATTR_SHIFT,
  PTE_LO_S2AP_READ,
  PTE_LO_S2AP_WRITE,
  PTE_LO_SH_ISH,
  PTE_LO_SH_OSH,
  PTE_TYPE_BLOCK,
  PTE_TYPE_PAGE,
  tg0Code,
} from '@iommukit/arm-arch';
import { SZ_4K, SZ_16K, type U64, u64 } from '@iommukit/bits';
import type { PageTableConfig, PageTableQuirks } from '../page-table-config.ts';
import { IOMMU_CACHE, IOMMU_MMIO, IOMMU_NOEXEC, IOMMU_READ, IOMMU_WRITE } from '../prot.ts';
import { type LpaeEntries, type LpaeFormat, lpaeFormat } from './lpae-format.ts';
import { type GeometryRequest, type LpaeGeometry, lpaeGeometry } from './lpae-geometry.ts';
import { type WalkMemory, walkMemory } from './walk-memory.ts';

const MEMATTR_DEVICE = 0x1 << PTE_LO_MEMATTR_SHIFT;
const MEMATTR_NC = 0x5 << PTE_LO_MEMATTR_SHIFT;
const MEMATTR_WB = 0xf << PTE_LO_MEMATTR_SHIFT;
/** Write-back in the encoding of FEAT_S2FWB, which overrides what stage 1 says. */
const MEMATTR_FORCED_WB = 0x6 << PTE_LO_MEMATTR_SHIFT;
/** Tables that may stand side by side at the start level (DDI 0487 D8.2.2). */
const MAX_CONCATENATED = 16;

/**
 * Fields of VTCR, as they stand in a stream table entry too.
 * @example table.registers.vtcr.sl // 1: a 4 KiB granule's walk starts at level 1
 */
export interface VtcrFields extends WalkMemory {
  /** Output address size, encoded. */
  readonly ps: number;
  /** Granule, in the encoding of TG0. */
  readonly tg: number;
  /** Start level, in the granule's encoding. */
  readonly sl: number;
  /** 64 minus the input address bits. */
  readonly tsz: number;
}

/**
 * Register values of a stage-2 table (`arm_lpae_s2_cfg`).
 * @example const { vttbr, vtcr }: StageTwoRegisters = table.registers;
 */
export interface StageTwoRegisters {
  /** Physical address of the first top table. */
  readonly vttbr: number;
  readonly vtcr: VtcrFields;
}

/** Whether the architecture leaves no choice but to start one level lower (`arm_lpae_concat_mandatory`). */
function mustConcatenate({ granule, startLevel, ias, oas }: LpaeGeometry): boolean {
  if (granule === SZ_16K && startLevel === 0) return oas === 48 || ias === 48;
  if (granule === SZ_4K && startLevel === 0) return oas === 40 || oas === 42;
  return granule === SZ_16K && startLevel === 1 && oas === 40;
}

function geometry(
  request: GeometryRequest,
  warn: (text: string) => void,
): LpaeGeometry | undefined {
  const plain = lpaeGeometry(request);
  if (plain === undefined || !mustConcatenate(plain)) return plain;
  const { startLevel, topEntries, bitsPerLevel } = plain;
  if (topEntries > MAX_CONCATENATED) {
    warn('stage 2: too many tables to concatenate');
    return undefined;
  }
  return { ...plain, startLevel: startLevel + 1, topEntries: topEntries * 2 ** bitsPerLevel };
}

function registers(
  { granule, startLevel, ias, oas }: LpaeGeometry,
  config: PageTableConfig,
): ((base: number) => StageTwoRegisters) | undefined {
  const ps = oasCode(oas);
  const tg = tg0Code(granule);
  const memory = walkMemory(config);
  if (ps === undefined || tg === undefined || memory === undefined) return undefined;
  const sl = ~(granule === SZ_4K ? startLevel + 1 : startLevel) & 3;
  const vtcr = { ...memory, ps, tg, sl, tsz: 64 - ias };
  return (vttbr) => ({ vttbr, vtcr });
}

function memoryAttribute(prot: number, quirks: PageTableQuirks): number {
  if ((prot & IOMMU_MMIO) !== 0) return MEMATTR_DEVICE;
  if ((prot & IOMMU_CACHE) === 0) return MEMATTR_NC;
  return quirks.s2fwb ? MEMATTR_FORCED_WB : MEMATTR_WB;
}

function leafAttributes(prot: number, quirks: PageTableQuirks): U64 {
  let lo = memoryAttribute(prot, quirks) | PTE_LO_AF;
  lo |= (prot & IOMMU_CACHE) !== 0 ? PTE_LO_SH_ISH : PTE_LO_SH_OSH;
  if ((prot & IOMMU_READ) !== 0) lo |= PTE_LO_S2AP_READ;
  if ((prot & IOMMU_WRITE) !== 0) lo |= PTE_LO_S2AP_WRITE;
  return u64(lo, (prot & IOMMU_NOEXEC) !== 0 ? PTE_HI_XN : 0);
}

/** What the stage-2 formats share. @internal */
export const stageTwoEntries: LpaeEntries<StageTwoRegisters> = {
  name: 'arm-64-lpae-s2',
  quirks: ['s2fwb', 'noWarn'],
  leafTypes: [PTE_TYPE_BLOCK, PTE_TYPE_BLOCK, PTE_TYPE_BLOCK, PTE_TYPE_PAGE],
  geometry,
  registers,
  leafAttributes,
  tableAttributes: () => u64(0, 0),
};

/**
 * Arm 64-bit long descriptors, stage 2 (`ARM_64_LPAE_S2`), granules of 4, 16 and 64 KiB. Where the architecture demands it, up
 * to 16 top tables stand side by side (`arm_lpae_concat_mandatory`); a space that would need more is refused with a warning.
 * @example const table = createPageTable(arm64LpaeS2, config);
 */
export const arm64LpaeS2: LpaeFormat<StageTwoRegisters> = lpaeFormat(stageTwoEntries);

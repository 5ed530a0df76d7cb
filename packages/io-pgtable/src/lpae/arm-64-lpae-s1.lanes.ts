import {
  MAIR_ATTR,
  oasCode,
  PTE_HI_DBM,
  PTE_HI_NSTABLE,
  PTE_HI_XN,
  PTE_LO_AF,
  PTE_LO_AP_RDONLY,
  PTE_LO_AP_UNPRIV,
  PTE_LO_ATTRINDX_SHIFT,
  PTE_LO_NG,
  PTE_LO_NS,
  PTE_LO_SH_ISH,
  PTE_LO_SH_OSH,
  PTE_TYPE_BLOCK,
  PTE_TYPE_PAGE,
  tg0Code,
  tg1Code,
} from '@iommukit/arm-arch';
import { type U64, u64 } from '@iommukit/bits';
import type { PageTableConfig, PageTableQuirks } from '../page-table-config.ts';
import {
  IOMMU_CACHE,
  IOMMU_MMIO,
  IOMMU_NOEXEC,
  IOMMU_PRIV,
  IOMMU_READ,
  IOMMU_WRITE,
} from '../prot.ts';
import { type LpaeEntries, type LpaeFormat, lpaeFormat } from './lpae-format.ts';
import { type LpaeGeometry, lpaeGeometry } from './lpae-geometry.ts';
import { type WalkMemory, walkMemory } from './walk-memory.ts';

// Linux's use of AttrIndx; index 0 is normal non-cacheable memory, index 3 serves no leaf.
const ATTRINDX_CACHE = 1 << PTE_LO_ATTRINDX_SHIFT;
const ATTRINDX_DEVICE = 2 << PTE_LO_ATTRINDX_SHIFT;

/** The kernel computes the low word as a signed int, so that the high word is all ones. */
const MAIR_VALUE = u64(
  MAIR_ATTR.NC |
    (MAIR_ATTR.WBRWA << 8) |
    (MAIR_ATTR.DEVICE_nGnRE << 16) |
    (MAIR_ATTR.INC_OWBRWA << 24),
  0xffff_ffff,
);

/**
 * Fields of TCR for one half of the space, as they stand in a context descriptor too.
 * @example table.registers.tcr.tsz // 16 for 48 input address bits
 */
export interface TcrFields extends WalkMemory {
  /** Granule, in the encoding of TG0, or of TG1 with the `ttbr1` quirk. */
  readonly tg: number;
  /** 64 minus the input address bits. */
  readonly tsz: number;
  /** Output address size, encoded. */
  readonly ips: number;
}

/**
 * Register values of a stage-1 table (`arm_lpae_s1_cfg`).
 * @example const { ttbr, tcr, mair }: StageOneRegisters = table.registers;
 */
export interface StageOneRegisters {
  /** Physical address of the top table, as TTBR0 or TTBR1 take it. */
  readonly ttbr: number;
  readonly tcr: TcrFields;
  /** Memory attributes, eight bytes by AttrIndx. */
  readonly mair: U64;
}

function registers(
  geometry: LpaeGeometry,
  config: PageTableConfig,
): ((base: number) => StageOneRegisters) | undefined {
  const { quirks = {} } = config;
  const ips = oasCode(geometry.oas);
  const tg = quirks.ttbr1 ? tg1Code(geometry.granule) : tg0Code(geometry.granule);
  const memory = walkMemory(config);
  if (ips === undefined || tg === undefined || memory === undefined) return undefined;
  const tcr = { ...memory, tg, tsz: 64 - geometry.ias, ips };
  return (ttbr) => ({ ttbr, tcr, mair: MAIR_VALUE });
}

/** AttrIndx of a leaf, in place. @internal */
export function attributeIndex(prot: number): number {
  if ((prot & IOMMU_MMIO) !== 0) return ATTRINDX_DEVICE;
  return (prot & IOMMU_CACHE) !== 0 ? ATTRINDX_CACHE : 0;
}

function leafAttributes(prot: number, quirks: PageTableQuirks): U64 {
  let lo = PTE_LO_NG | PTE_LO_AF | ((prot & IOMMU_CACHE) !== 0 ? PTE_LO_SH_ISH : PTE_LO_SH_OSH);
  let hi = 0;
  // Stage 1 knows no write-only: such a leaf can be read too.
  if ((prot & IOMMU_READ) !== 0 && (prot & IOMMU_WRITE) === 0) lo |= PTE_LO_AP_RDONLY;
  else if (quirks.hd) hi |= PTE_HI_DBM;
  if ((prot & IOMMU_PRIV) === 0) lo |= PTE_LO_AP_UNPRIV;
  lo |= attributeIndex(prot);
  if ((prot & IOMMU_NOEXEC) !== 0) hi |= PTE_HI_XN;
  if (quirks.ns) lo |= PTE_LO_NS;
  return u64(lo, hi);
}

/** What the stage-1 formats share. @internal */
export const stageOneEntries: LpaeEntries<StageOneRegisters> = {
  name: 'arm-64-lpae-s1',
  quirks: ['ns', 'ttbr1', 'outerWbwa', 'hd', 'noWarn'],
  leafTypes: [PTE_TYPE_BLOCK, PTE_TYPE_BLOCK, PTE_TYPE_BLOCK, PTE_TYPE_PAGE],
  dirtyTracking: true,
  geometry: (request) => lpaeGeometry(request),
  registers,
  leafAttributes,
  tableAttributes: (quirks) => u64(0, quirks.ns ? PTE_HI_NSTABLE : 0),
};

/**
 * Arm 64-bit long descriptors, stage 1 (`ARM_64_LPAE_S1`), granules of 4, 16 and 64 KiB.
 * @example const table = createPageTable(arm64LpaeS1, config);
 */
export const arm64LpaeS1: LpaeFormat<StageOneRegisters> = lpaeFormat(stageOneEntries);

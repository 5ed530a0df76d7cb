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
  SHAREABILITY,
  tg0Code,
  tg1Code,
  WALK_CACHEABILITY,
} from '@iommukit/arm-arch';
import { type U64, u64 } from '@iommukit/bits';
import { type LpaeGeometry, lpaeGeometry } from './lpae-geometry.ts';
import type { PageTableConfig, PageTableQuirks } from './page-table-config.ts';
import type { PageTableFormat, TableRegisters } from './page-table-format.ts';
import {
  IOMMU_CACHE,
  IOMMU_MMIO,
  IOMMU_NOEXEC,
  IOMMU_PRIV,
  IOMMU_READ,
  IOMMU_WRITE,
} from './prot.ts';

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

function registers(geometry: LpaeGeometry, config: PageTableConfig): TableRegisters | undefined {
  const { coherentWalk, quirks = {} } = config;
  const ips = oasCode(geometry.oas);
  const tg = quirks.ttbr1 ? tg1Code(geometry.granule) : tg0Code(geometry.granule);
  if (ips === undefined || tg === undefined) return undefined;
  // Coherent walks use write-back memory as it is: a wish about the outer cache contradicts that.
  if (coherentWalk && quirks.outerWbwa) return undefined;
  const { NC, WBRAWA } = WALK_CACHEABILITY;
  const tsz = 64 - geometry.ias;
  const tcr = coherentWalk
    ? { tg, tsz, irgn: WBRAWA, orgn: WBRAWA, sh: SHAREABILITY.ISH, ips }
    : { tg, tsz, irgn: NC, orgn: quirks.outerWbwa ? WBRAWA : NC, sh: SHAREABILITY.OSH, ips };
  return { tcr, mair: MAIR_VALUE };
}

function leafAttributes(prot: number, quirks: PageTableQuirks): U64 {
  let lo = PTE_LO_NG | PTE_LO_AF | ((prot & IOMMU_CACHE) !== 0 ? PTE_LO_SH_ISH : PTE_LO_SH_OSH);
  let hi = 0;
  // Stage 1 knows no write-only: such a leaf can be read too.
  if ((prot & IOMMU_READ) !== 0 && (prot & IOMMU_WRITE) === 0) lo |= PTE_LO_AP_RDONLY;
  else if (quirks.hd) hi |= PTE_HI_DBM;
  if ((prot & IOMMU_PRIV) === 0) lo |= PTE_LO_AP_UNPRIV;
  if ((prot & IOMMU_MMIO) !== 0) lo |= ATTRINDX_DEVICE;
  else if ((prot & IOMMU_CACHE) !== 0) lo |= ATTRINDX_CACHE;
  if ((prot & IOMMU_NOEXEC) !== 0) hi |= PTE_HI_XN;
  if (quirks.ns) lo |= PTE_LO_NS;
  return u64(lo, hi);
}

/**
 * Arm 64-bit long descriptors, stage 1 (`ARM_64_LPAE_S1`), granules of 4, 16 and 64 KiB.
 * @example const table = createPageTable(arm64LpaeS1, config);
 */
export const arm64LpaeS1: PageTableFormat = {
  name: 'arm-64-lpae-s1',
  quirks: ['ns', 'ttbr1', 'outerWbwa', 'hd', 'noWarn'],
  leafTypes: [PTE_TYPE_BLOCK, PTE_TYPE_BLOCK, PTE_TYPE_BLOCK, PTE_TYPE_PAGE],
  geometry: lpaeGeometry,
  registers,
  leafAttributes,
  tableAttributes: (quirks) => u64(0, quirks.ns ? PTE_HI_NSTABLE : 0),
};

import { u64 } from '@iommukit/bits';
import { ERRNO } from '@iommukit/platform';
import type { PageTableFormat } from '../page-table-format.ts';
import { IOMMU_READ, IOMMU_WRITE } from '../prot.ts';
import type { GenericConfig } from './generic-config.ts';
import { genericFormat } from './generic-format.ts';
import type { GenericPageTable } from './generic-page-table.lanes.ts';

// Intel VT-d specification, 9.8 "Second-Stage Paging Entries": R 0, W 1, PS 7, A 8, D 9, SNP 11, address 51:12. Bit 10 is ignored.
const READ = 1;
const WRITE = 1 << 1;
const LARGE = 1 << 7;
const DIRTY = 1 << 9;
const FLUSHED = 1 << 10;
const SNOOP = 1 << 11;

/**
 * What the driver writes into the PASID entry of a table (`pt_iommu_vtdss_hw_info`).
 * @example const { ssptptr, aw }: VtdssHwInfo = table.hwInfo;
 */
export interface VtdssHwInfo {
  /** Address of the top table. */
  readonly ssptptr: number;
  /** Address width code: 1, 39 bits; 2, 48 bits; 3, 57 bits. */
  readonly aw: number;
}

/**
 * Intel VT-d second-stage tables (`fmt/vtdss.h`): 3 to 5 levels, pages of 4 KiB, 2 MiB and 1 GiB, dirty tracking.
 * @example const table = createPageTable(vtdss, { ...config, features: ['FLUSH_RANGE'], hwMaxVaszLg2: 48, topLevel: 3 });
 */
export const vtdss: PageTableFormat<GenericConfig, GenericPageTable<VtdssHwInfo>> = genericFormat({
  name: 'vtdss',
  granuleLg2: 12,
  maxVaszLg2: 57,
  maxOaszLg2: 52,
  maxTopLevel: 4,
  maxLeafLevel: 2,
  supported: ['DMA_INCOHERENT', 'FLUSH_RANGE', 'VTDSS_FORCE_COHERENCE', 'VTDSS_FORCE_WRITEABLE'],
  forced: [],
  address: { lo: 0xffff_f000, hi: 0xf_ffff, scale: 1 },
  presentWhenNotZero: true,
  dirty: DIRTY,
  flushed: FLUSHED,
  itemsLg2: () => 9,
  geometry({ topLevel = 0, hwMaxVaszLg2 }) {
    if (topLevel < 2 || topLevel > 4) return -ERRNO.EOPNOTSUPP;
    return { topLevel, maxVaszLg2: hwMaxVaszLg2 };
  },
  pageSizes: (level) => 2 ** (12 + 9 * level),
  kind(level, low) {
    if (low === 0) return 'empty';
    return level <= 2 && (low & LARGE) !== 0 ? 'leaf' : 'table';
  },
  leafBits: (level) => u64(level > 0 ? LARGE : 0, 0),
  leafAttributes(prot, has) {
    const write = (prot & IOMMU_WRITE) !== 0;
    if (!write && has('VTDSS_FORCE_WRITEABLE')) return -ERRNO.EINVAL;
    const lo =
      ((prot & IOMMU_READ) !== 0 ? READ : 0) |
      (write ? WRITE : 0) |
      (has('VTDSS_FORCE_COHERENCE') ? SNOOP : 0);
    return u64(lo, 0);
  },
  tableAttributes: () => u64(READ | WRITE, 0),
  hwInfo: (top, topLevel) => ({ ssptptr: top, aw: topLevel - 1 }),
});

import { u64 } from '@iommukit/bits';
import { ERRNO } from '@iommukit/platform';
import type { PageTableFormat } from '../page-table-format.ts';
import { IOMMU_MMIO, IOMMU_WRITE } from '../prot.ts';
import type { GenericConfig } from './generic-config.ts';
import { genericFormat } from './generic-format.ts';
import type { GenericPageTable } from './generic-page-table.lanes.ts';

// Intel SDM volume 3, 5.5 "4-level paging and 5-level paging", as VT-d first-stage tables (VT-d 3.6) use it too: P 0, R/W 1, U/S 2,
// A 5, D 6, PS 7, address 51:12. Bit 9 is ignored by hardware.
const PRESENT = 1;
const WRITE = 1 << 1;
const USER = 1 << 2;
const ACCESSED = 1 << 5;
const DIRTY = 1 << 6;
const LARGE = 1 << 7;
const FLUSHED = 1 << 9;

/**
 * What the driver tells the device of a table (`pt_iommu_x86_64_hw_info`).
 * @example const { gcr3Pt, levels }: X8664HwInfo = table.hwInfo;
 */
export interface X8664HwInfo {
  /** Address of the top table. */
  readonly gcr3Pt: number;
  /** Levels of tables. */
  readonly levels: number;
}

/**
 * The tables of x86-64 processors (`fmt/x86_64.h`), as AMD and Intel IOMMUs walk them for guest and first-stage translation: 4 or 5
 * levels, pages of 4 KiB, 2 MiB and 1 GiB. No read permission, no execute permission, no dirty tracking.
 * @example const table = createPageTable(x8664, { ...config, features: ['SIGN_EXTEND'], hwMaxVaszLg2: 48, topLevel: 3 });
 */
export const x8664: PageTableFormat<GenericConfig, GenericPageTable<X8664HwInfo>> = genericFormat({
  name: 'x86_64',
  granuleLg2: 12,
  maxVaszLg2: 57,
  maxOaszLg2: 52,
  maxTopLevel: 4,
  maxLeafLevel: 2,
  supported: [
    'DMA_INCOHERENT',
    'SIGN_EXTEND',
    'FLUSH_RANGE',
    'FLUSH_RANGE_NO_GAPS',
    'X86_64_AMD_ENCRYPT_TABLES',
  ],
  forced: [],
  address: { lo: 0xffff_f000, hi: 0xf_ffff, scale: 1 },
  presentWhenNotZero: false,
  dirty: 0,
  flushed: FLUSHED,
  itemsLg2: () => 9,
  geometry({ topLevel, hwMaxVaszLg2 }) {
    if (topLevel !== 3 && topLevel !== 4) return -ERRNO.EOPNOTSUPP;
    return { topLevel, maxVaszLg2: hwMaxVaszLg2 };
  },
  pageSizes: (level) => 2 ** (12 + 9 * level),
  kind(level, low) {
    if ((low & PRESENT) === 0) return 'empty';
    return level <= 2 && (low & LARGE) !== 0 ? 'leaf' : 'table';
  },
  leafBits: (level) => u64(level > 0 ? LARGE : 0, 0),
  leafAttributes(prot, has, sme) {
    const write = (prot & IOMMU_WRITE) !== 0 ? WRITE | DIRTY : 0;
    const lo = PRESENT | USER | ACCESSED | write;
    const encrypted = has('X86_64_AMD_ENCRYPT_TABLES') && (prot & IOMMU_MMIO) === 0;
    return encrypted ? u64(lo | sme.lo, sme.hi) : u64(lo, 0);
  },
  tableAttributes(_level, has, sme) {
    const lo = PRESENT | WRITE | USER | ACCESSED;
    return has('X86_64_AMD_ENCRYPT_TABLES') ? u64(lo | sme.lo, sme.hi) : u64(lo, 0);
  },
  hwInfo: (top, topLevel) => ({ gcr3Pt: top, levels: topLevel + 1 }),
});

import { u64 } from '@iommukit/bits';
import { ERRNO } from '@iommukit/platform';
import type { PageTableFormat } from '../page-table-format.ts';
import { IOMMU_CACHE, IOMMU_MMIO, IOMMU_NOEXEC, IOMMU_READ, IOMMU_WRITE } from '../prot.ts';
import type { GenericConfig } from './generic-config.ts';
import { genericFormat } from './generic-format.ts';
import type { GenericPageTable } from './generic-page-table.lanes.ts';

// RISC-V privileged architecture, "Sv39" to "Sv57", "Svnapot", "Svpbmt": V 0, R 1, W 2, X 3, U 4, A 6, D 7, PPN 53:10, PBMT 62:61, N 63.
const VALID = 1;
const READ = 1 << 1;
const WRITE = 1 << 2;
const EXECUTE = 1 << 3;
const USER = 1 << 4;
const ACCESSED = 1 << 6;
const DIRTY = 1 << 7;
const HI_NON_CACHEABLE = 1 << 29;
const HI_IO = 1 << 30;
const HI_NAPOT = 0x8000_0000;
/** 64 KiB: the lowest four bits of the page number are 1000b. */
const LO_NAPOT_64K = 1 << 13;
const NAPOT_64K_LG2 = 16;

/**
 * What the driver writes into the device context of a table (`pt_iommu_riscv_64_hw_info`).
 * @example const { ppn, fscIosatpMode }: Riscv64HwInfo = table.hwInfo;
 */
export interface Riscv64HwInfo {
  /** Page number of the top table. */
  readonly ppn: number;
  /** 8, Sv39; 9, Sv48; 10, Sv57. */
  readonly fscIosatpMode: number;
}

/**
 * RISC-V 64-bit tables (`fmt/riscv.h`): Sv39, Sv48 or Sv57 by `hwMaxVaszLg2`, pages at every level, with `RISCV_SVNAPOT_64K` also
 * pages of 64 KiB. No dirty tracking. `RISCV_SVPBMT` is refused by a kernel without debug checks.
 * @example const table = createPageTable(riscv64, { ...config, features: ['SIGN_EXTEND', 'DETAILED_GATHER'], hwMaxVaszLg2: 48 });
 */
export const riscv64: PageTableFormat<
  GenericConfig,
  GenericPageTable<Riscv64HwInfo>
> = genericFormat({
  name: 'riscv_64',
  granuleLg2: 12,
  maxVaszLg2: 57,
  maxOaszLg2: 56,
  maxTopLevel: 4,
  maxLeafLevel: 4,
  supported: ['SIGN_EXTEND', 'FLUSH_RANGE', 'DETAILED_GATHER', 'RISCV_SVNAPOT_64K'],
  forced: ['DETAILED_GATHER'],
  address: { lo: 0xffff_fc00, hi: 0x3f_ffff, scale: 1 / 4 },
  presentWhenNotZero: false,
  contiguous: { lo: 0, hi: HI_NAPOT, lowest: 'one' },
  dirty: 0,
  flushed: 0,
  itemsLg2: () => 9,
  geometry({ hwMaxVaszLg2 }) {
    if (hwMaxVaszLg2 !== 39 && hwMaxVaszLg2 !== 48 && hwMaxVaszLg2 !== 57) return -ERRNO.EINVAL;
    return { topLevel: (hwMaxVaszLg2 - 21) / 9, maxVaszLg2: hwMaxVaszLg2 };
  },
  pageSizes: (level, has) =>
    2 ** (12 + 9 * level) + (level === 0 && has('RISCV_SVNAPOT_64K') ? 2 ** NAPOT_64K_LG2 : 0),
  kind(_level, low) {
    if ((low & VALID) === 0) return 'empty';
    return (low & (READ | WRITE | EXECUTE)) !== 0 ? 'leaf' : 'table';
  },
  leafBits: (_level, sizeLg2) =>
    sizeLg2 === NAPOT_64K_LG2 ? u64(LO_NAPOT_64K, HI_NAPOT) : u64(0, 0),
  leafAttributes(prot, has) {
    const lo =
      ((prot & IOMMU_WRITE) !== 0 ? READ | WRITE | DIRTY : 0) |
      ((prot & IOMMU_READ) !== 0 ? READ : 0) |
      ((prot & IOMMU_NOEXEC) === 0 ? EXECUTE : 0);
    if (lo === 0) return -ERRNO.EOPNOTSUPP;
    let hi = 0;
    if (has('RISCV_SVPBMT')) {
      if ((prot & IOMMU_MMIO) !== 0) hi = HI_IO;
      else if ((prot & IOMMU_CACHE) === 0) hi = HI_NON_CACHEABLE;
    }
    return u64(VALID | USER | ACCESSED | lo, hi);
  },
  tableAttributes: () => u64(VALID, 0),
  hwInfo: (top, topLevel) => ({ ppn: top / 4096, fscIosatpMode: topLevel + 6 }),
});

/** Lane constants of VMSAv8-64 descriptors for hot paths: LO is bits 31:0, HI is bits 63:32. DDI 0487 D8.3. */

/** Bits 1:0. @example (lo & PTE_TYPE_MASK) === PTE_TYPE_TABLE */
export const PTE_TYPE_MASK = 3;
/** Valid block, above level 3. Linux: `ARM_LPAE_PTE_TYPE_BLOCK`. @example lo | PTE_TYPE_BLOCK */
export const PTE_TYPE_BLOCK = 1;
/** Valid table, above level 3. Linux: `ARM_LPAE_PTE_TYPE_TABLE`. @example lo | PTE_TYPE_TABLE */
export const PTE_TYPE_TABLE = 3;
/** Valid page, at level 3. Linux: `ARM_LPAE_PTE_TYPE_PAGE`. @example lo | PTE_TYPE_PAGE */
export const PTE_TYPE_PAGE = 3;
/** Valid. Linux: `ARM_LPAE_PTE_VALID`. @example (lo & PTE_VALID) !== 0 */
export const PTE_VALID = 1;

/** Shift of stage 1 AttrIndx. @example (lo >>> PTE_LO_ATTRINDX_SHIFT) & 7 */
export const PTE_LO_ATTRINDX_SHIFT = 2;
/** Shift of stage 2 MemAttr. @example (lo >>> PTE_LO_MEMATTR_SHIFT) & 15 */
export const PTE_LO_MEMATTR_SHIFT = 2;
/** NS. Linux: `ARM_LPAE_PTE_NS`. @example lo | PTE_LO_NS */
export const PTE_LO_NS = 0x20;
/** AP[1], unprivileged access. Linux: `ARM_LPAE_PTE_AP_UNPRIV`. @example lo | PTE_LO_AP_UNPRIV */
export const PTE_LO_AP_UNPRIV = 0x40;
/** AP[2], read-only. Linux: `ARM_LPAE_PTE_AP_RDONLY`. @example lo | PTE_LO_AP_RDONLY */
export const PTE_LO_AP_RDONLY = 0x80;
/** S2AP[0], read. Linux: `ARM_LPAE_PTE_HAP_READ`. @example lo | PTE_LO_S2AP_READ */
export const PTE_LO_S2AP_READ = 0x40;
/** S2AP[1], write. Linux: `ARM_LPAE_PTE_HAP_WRITE`. @example lo | PTE_LO_S2AP_WRITE */
export const PTE_LO_S2AP_WRITE = 0x80;
/** SH, both bits. @example (lo & PTE_LO_SH_MASK) === PTE_LO_SH_ISH */
export const PTE_LO_SH_MASK = 0x300;
/** SH Outer Shareable. Linux: `ARM_LPAE_PTE_SH_OS`. @example lo | PTE_LO_SH_OSH */
export const PTE_LO_SH_OSH = 0x200;
/** SH Inner Shareable. Linux: `ARM_LPAE_PTE_SH_IS`. @example lo | PTE_LO_SH_ISH */
export const PTE_LO_SH_ISH = 0x300;
/** AF. Linux: `ARM_LPAE_PTE_AF`. @example lo | PTE_LO_AF */
export const PTE_LO_AF = 0x400;
/** nG. Linux: `ARM_LPAE_PTE_nG`. @example lo | PTE_LO_NG */
export const PTE_LO_NG = 0x800;
/** nT of a block. @example (lo & PTE_LO_NT) !== 0 */
export const PTE_LO_NT = 0x10000;
/** Address bits 31:12. @example (lo & PTE_LO_ADDRESS_MASK) >>> 0 */
export const PTE_LO_ADDRESS_MASK = 0xfffff000;
/** Address bits 47:32. @example (hi & PTE_HI_ADDRESS_MASK) * 2 ** 32 */
export const PTE_HI_ADDRESS_MASK = 0xffff;
/** DBM, bit 51. Linux: `ARM_LPAE_PTE_DBM`. @example hi | PTE_HI_DBM */
export const PTE_HI_DBM = 0x80000;
/** Contiguous, bit 52. @example (hi & PTE_HI_CONTIGUOUS) !== 0 */
export const PTE_HI_CONTIGUOUS = 0x100000;
/** PXN, bit 53. @example (hi & PTE_HI_PXN) !== 0 */
export const PTE_HI_PXN = 0x200000;
/** UXN, bit 54. @example (hi & PTE_HI_UXN) !== 0 */
export const PTE_HI_UXN = 0x400000;
/** PXN and UXN, or both bits of stage 2 XN. Linux: `ARM_LPAE_PTE_XN`. @example hi | PTE_HI_XN */
export const PTE_HI_XN = 0x600000;
/** Bit 55, free for software. Linux: `ARM_LPAE_PTE_SW_SYNC`. @example hi | PTE_HI_SW_SYNC */
export const PTE_HI_SW_SYNC = 0x800000;
/** PXNTable, bit 59. @example (hi & PTE_HI_PXNTABLE) !== 0 */
export const PTE_HI_PXNTABLE = 0x8000000;
/** UXNTable, bit 60. @example (hi & PTE_HI_UXNTABLE) !== 0 */
export const PTE_HI_UXNTABLE = 0x10000000;
/** APTable[0], bit 61: no unprivileged access. @example (hi & PTE_HI_APTABLE_NO_UNPRIV) !== 0 */
export const PTE_HI_APTABLE_NO_UNPRIV = 0x20000000;
/** APTable[1], bit 62: no writes. @example (hi & PTE_HI_APTABLE_NO_WRITE) !== 0 */
export const PTE_HI_APTABLE_NO_WRITE = 0x40000000;
/** NSTable, bit 63, as an unsigned lane. Linux: `ARM_LPAE_PTE_NSTABLE`. @example (hi | PTE_HI_NSTABLE) >>> 0 */
export const PTE_HI_NSTABLE = 0x80000000;

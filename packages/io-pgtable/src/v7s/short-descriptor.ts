// Short-descriptor entries, 32 bits wide: DDI 0406 B3.5.1 (formats), B3.5.2 (attributes), and Linux's use of them
// (`io-pgtable-arm-v7s.c`). Level 1 entries span 1 MiB, level 2 entries 4 KiB.

/** Bits 1:0: 0 is invalid. */
export const SHORT_TYPE_MASK = 3;
/** Level 1: a table. */
export const SHORT_TYPE_TABLE = 1;
/** Level 1: a section; level 2: a small page (bit 0 is XN there). */
export const SHORT_TYPE_PAGE = 2;
/** Level 2: a large page, 16 equal entries. */
export const SHORT_TYPE_LARGE = 1;
/** Level 1, section: a supersection, 16 equal entries. */
export const SHORT_SUPERSECTION = 0x40000;
/** Entries of a large page and of a supersection. */
export const SHORT_COPIES = 16;

/** B, on both levels. */
export const SHORT_B = 0x4;
/** C, on both levels. */
export const SHORT_C = 0x8;
/** NS of a section. */
export const SHORT_NS_SECTION = 0x80000;
/** NS of what a table entry leads to. */
export const SHORT_NS_TABLE = 0x8;

/** Where the block of AP[0], AP[1], TEX, AP[2], S, nG begins, by level; the fields below count from there. */
export const SHORT_ATTR_SHIFT: readonly number[] = [0, 10, 4];
/** AP[0], which is the access flag with SCTLR.AFE (`ARM_V7S_PTE_AF`). */
export const SHORT_AF = 1;
/** AP[1]: unprivileged accesses too. */
export const SHORT_AP_UNPRIV = 0x2;
/** TEX[0], the value 1 of the field at bit 2: with C and B this selects normal memory. */
export const SHORT_TEX_NORMAL = 0x4;
/** AP[2]: read-only. */
export const SHORT_AP_RDONLY = 0x20;
/** S: shareable. */
export const SHORT_S = 0x40;
/** nG: the entry belongs to an ASID. */
export const SHORT_NG = 0x80;

/** XN of a section, of a small page and of a large page. */
export const SHORT_XN_SECTION = 0x10;
export const SHORT_XN_PAGE = 1;
export const SHORT_XN_LARGE = 0x8000;
/** TEX of a small page, and how much higher it stands in a large page. */
export const SHORT_TEX_PAGE = 0x1c0;
export const SHORT_TEX_LARGE_SHIFT = 6;

/**
 * Address masks of a section, supersection, small page, large page and second-level table. Signed: small integers, where the
 * unsigned values would be doubles.
 */
export const SHORT_SECTION_ADDRESS = -0x10_0000;
export const SHORT_SUPERSECTION_ADDRESS = -0x100_0000;
export const SHORT_PAGE_ADDRESS = -0x1000;
export const SHORT_LARGE_ADDRESS = -0x1_0000;
export const SHORT_TABLE_ADDRESS = -0x400;

/** TTBR0 (DDI 0406 B4.1.154): S; the same with NOS and write-back write-allocate walks, inner (IRGN 01) and outer (RGN 01). */
export const SHORT_TTBR_S = 0x02;
export const SHORT_TTBR_COHERENT = 0x6a;
/**
 * TEX remapping (DDI 0406 B3.8.3), by the index TEX[0] C B. PRRR: 1 is device memory, 4 and 7 normal memory, shareable as the entry
 * says (NS1, DS0, DS1), 7 not outer shareable. NMRR: 7 is write-back write-allocate, 4 not cached.
 */
export const SHORT_PRRR = 0x800b_8204;
export const SHORT_NMRR = 0x4000_4000;

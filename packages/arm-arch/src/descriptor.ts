import { layout } from '@iommukit/bits';
import { SHAREABILITY_NAMES } from './memory-attribute.ts';
import { addr, bool, choice, impdef, res0, uint } from './row.ts';

/**
 * Stage 1 table descriptor. Source: DDI 0487 D8.3.
 * @example VMSAV8_64_TABLE.get.NSTable(words)
 */
export const VMSAV8_64_TABLE = layout(
  'VMSAV8_64_TABLE',
  { dwords: 1, spec: 'DDI 0487 D8.3' },
  {
    Valid: bool(0, 0, 'the descriptor is valid', 'ARM_LPAE_PTE_VALID'),
    Type: bool(0, 1, '1 in a table'),
    IGNORED_9_2: impdef(0, 9, 2, 'ignored'),
    AF: bool(0, 10, 'access flag of the table, with HAFT'),
    IGNORED_11: impdef(0, 11, 11, 'ignored'),
    NextTable: addr(
      0,
      47,
      12,
      'next-level table; 64 KiB granule with 52-bit addresses: bits 15:12 are bits 51:48',
    ),
    RES0_50_48: res0(0, 50, 48),
    IGNORED_58_51: impdef(0, 58, 51, 'ignored; Linux keeps ARM_LPAE_PTE_SW_SYNC in bit 55'),
    PXNTable: bool(0, 59, 'privileged execute never below'),
    UXNTable: bool(0, 60, 'unprivileged execute never below, XNTable at EL2'),
    APTable: choice(0, 62, 61, 'access limits below', {
      of: { 0: 'none', 1: 'no unprivileged access', 2: 'no writes', 3: 'both' },
    }),
    NSTable: bool(0, 63, 'Non-secure below, only for Secure streams', 'ARM_LPAE_PTE_NSTABLE'),
  },
);

/**
 * Stage 2 table descriptor: carries no limits. Source: DDI 0487 D8.3.
 * @example S2_TABLE.get.IGNORED_63_51(words)
 */
export const S2_TABLE = layout(
  'S2_TABLE',
  { dwords: 1, spec: 'DDI 0487 D8.3' },
  {
    Valid: bool(0, 0, 'the descriptor is valid', 'ARM_LPAE_PTE_VALID'),
    Type: bool(0, 1, '1 in a table'),
    IGNORED_9_2: impdef(0, 9, 2, 'ignored'),
    AF: bool(0, 10, 'access flag of the table, with HAFT'),
    IGNORED_11: impdef(0, 11, 11, 'ignored'),
    NextTable: addr(
      0,
      47,
      12,
      'next-level table; 64 KiB granule with 52-bit addresses: bits 15:12 are bits 51:48',
    ),
    RES0_50_48: res0(0, 50, 48),
    IGNORED_63_51: impdef(0, 63, 51, 'ignored; Linux keeps ARM_LPAE_PTE_SW_SYNC in bit 55'),
  },
);

/**
 * Stage 1 page descriptor, level 3. Source: DDI 0487 D8.3.
 * @example S1_LEAF.get.IGNORED_63(words)
 */
export const S1_LEAF = layout(
  'S1_LEAF',
  { dwords: 1, spec: 'DDI 0487 D8.3' },
  {
    Valid: bool(0, 0, 'the descriptor is valid', 'ARM_LPAE_PTE_VALID'),
    Type: bool(0, 1, '1 in a page'),
    AttrIndx: uint(0, 4, 2, 'index into MAIR', 'ARM_LPAE_PTE_ATTRINDX_SHIFT'),
    NS: bool(0, 5, 'Non-secure output, only for Secure streams', 'ARM_LPAE_PTE_NS'),
    AP: choice(0, 7, 6, 'access permissions AP[2:1]', {
      of: {
        0: 'privileged read-write',
        1: 'read-write',
        2: 'privileged read-only',
        3: 'read-only',
      },
      linux: 'ARM_LPAE_PTE_AP_MASK',
    }),
    SH: choice(0, 9, 8, 'shareability', { of: SHAREABILITY_NAMES, linux: 'ARM_LPAE_PTE_SH_IS' }),
    AF: bool(0, 10, 'access flag', 'ARM_LPAE_PTE_AF'),
    nG: bool(0, 11, 'entry belongs to its ASID only', 'ARM_LPAE_PTE_nG'),
    OA: addr(
      0,
      47,
      12,
      'output address; 64 KiB granule with 52-bit addresses: bits 15:12 are bits 51:48',
    ),
    RES0_50_48: res0(0, 50, 48),
    DBM: bool(0, 51, 'dirty state is updated by hardware', 'ARM_LPAE_PTE_DBM'),
    Contiguous: bool(0, 52, 'one of a run of equal entries'),
    PXN: bool(0, 53, 'privileged execute never', 'ARM_LPAE_PTE_XN'),
    UXN: bool(0, 54, 'unprivileged execute never, XN at EL2', 'ARM_LPAE_PTE_XN'),
    SW: uint(0, 58, 55, 'free for software', 'ARM_LPAE_PTE_SW_SYNC'),
    PBHA: uint(0, 62, 59, 'page-based hardware attributes'),
    IGNORED_63: impdef(0, 63, 63, 'ignored'),
  },
);

/**
 * Stage 1 block descriptor, above level 3. Source: DDI 0487 D8.3.
 * @example S1_BLOCK.get.IGNORED_63(words)
 */
export const S1_BLOCK = layout(
  'S1_BLOCK',
  { dwords: 1, spec: 'DDI 0487 D8.3' },
  {
    Valid: bool(0, 0, 'the descriptor is valid', 'ARM_LPAE_PTE_VALID'),
    Type: bool(0, 1, '0 in a block'),
    AttrIndx: uint(0, 4, 2, 'index into MAIR', 'ARM_LPAE_PTE_ATTRINDX_SHIFT'),
    NS: bool(0, 5, 'Non-secure output, only for Secure streams', 'ARM_LPAE_PTE_NS'),
    AP: choice(0, 7, 6, 'access permissions AP[2:1]', {
      of: {
        0: 'privileged read-write',
        1: 'read-write',
        2: 'privileged read-only',
        3: 'read-only',
      },
      linux: 'ARM_LPAE_PTE_AP_MASK',
    }),
    SH: choice(0, 9, 8, 'shareability', { of: SHAREABILITY_NAMES, linux: 'ARM_LPAE_PTE_SH_IS' }),
    AF: bool(0, 10, 'access flag', 'ARM_LPAE_PTE_AF'),
    nG: bool(0, 11, 'entry belongs to its ASID only', 'ARM_LPAE_PTE_nG'),
    OA_51_48: uint(0, 15, 12, '64 KiB granule with 52-bit addresses: address bits 51:48'),
    nT: bool(0, 16, 'block is not cached with other sizes, break-before-make level 1'),
    OA: addr(0, 47, 17, 'output address; bits below the size of the block are reserved'),
    RES0_50_48: res0(0, 50, 48),
    DBM: bool(0, 51, 'dirty state is updated by hardware', 'ARM_LPAE_PTE_DBM'),
    Contiguous: bool(0, 52, 'one of a run of equal entries'),
    PXN: bool(0, 53, 'privileged execute never', 'ARM_LPAE_PTE_XN'),
    UXN: bool(0, 54, 'unprivileged execute never, XN at EL2', 'ARM_LPAE_PTE_XN'),
    SW: uint(0, 58, 55, 'free for software', 'ARM_LPAE_PTE_SW_SYNC'),
    PBHA: uint(0, 62, 59, 'page-based hardware attributes'),
    IGNORED_63: impdef(0, 63, 63, 'ignored'),
  },
);

/**
 * Stage 2 page descriptor, level 3. Source: DDI 0487 D8.3.
 * @example S2_LEAF.get.IGNORED_63(words)
 */
export const S2_LEAF = layout(
  'S2_LEAF',
  { dwords: 1, spec: 'DDI 0487 D8.3' },
  {
    Valid: bool(0, 0, 'the descriptor is valid', 'ARM_LPAE_PTE_VALID'),
    Type: bool(0, 1, '1 in a page'),
    MemAttr: uint(0, 5, 2, 'memory type', 'ARM_LPAE_PTE_MEMATTR_OIWB'),
    S2AP: choice(0, 7, 6, 'access permissions', {
      of: { 0: 'none', 1: 'read', 2: 'write', 3: 'read-write' },
      linux: 'ARM_LPAE_PTE_HAP_READ',
    }),
    SH: choice(0, 9, 8, 'shareability', { of: SHAREABILITY_NAMES, linux: 'ARM_LPAE_PTE_SH_IS' }),
    AF: bool(0, 10, 'access flag', 'ARM_LPAE_PTE_AF'),
    RES0_11: res0(0, 11, 11),
    OA: addr(
      0,
      47,
      12,
      'output address; 64 KiB granule with 52-bit addresses: bits 15:12 are bits 51:48',
    ),
    RES0_50_48: res0(0, 50, 48),
    DBM: bool(0, 51, 'dirty state is updated by hardware'),
    Contiguous: bool(0, 52, 'one of a run of equal entries'),
    XN: choice(0, 54, 53, 'execute never, both bits with XNX', {
      of: { 0: 'execute', 1: 'EL0 only', 2: 'none', 3: 'EL1 only' },
      linux: 'ARM_LPAE_PTE_XN',
    }),
    SW: uint(0, 58, 55, 'free for software', 'ARM_LPAE_PTE_SW_SYNC'),
    PBHA: uint(0, 62, 59, 'page-based hardware attributes'),
    IGNORED_63: impdef(0, 63, 63, 'ignored'),
  },
);

/**
 * Stage 2 block descriptor, above level 3. Source: DDI 0487 D8.3.
 * @example S2_BLOCK.get.IGNORED_63(words)
 */
export const S2_BLOCK = layout(
  'S2_BLOCK',
  { dwords: 1, spec: 'DDI 0487 D8.3' },
  {
    Valid: bool(0, 0, 'the descriptor is valid', 'ARM_LPAE_PTE_VALID'),
    Type: bool(0, 1, '0 in a block'),
    MemAttr: uint(0, 5, 2, 'memory type', 'ARM_LPAE_PTE_MEMATTR_OIWB'),
    S2AP: choice(0, 7, 6, 'access permissions', {
      of: { 0: 'none', 1: 'read', 2: 'write', 3: 'read-write' },
      linux: 'ARM_LPAE_PTE_HAP_READ',
    }),
    SH: choice(0, 9, 8, 'shareability', { of: SHAREABILITY_NAMES, linux: 'ARM_LPAE_PTE_SH_IS' }),
    AF: bool(0, 10, 'access flag', 'ARM_LPAE_PTE_AF'),
    RES0_11: res0(0, 11, 11),
    OA_51_48: uint(0, 15, 12, '64 KiB granule with 52-bit addresses: address bits 51:48'),
    nT: bool(0, 16, 'block is not cached with other sizes, break-before-make level 1'),
    OA: addr(0, 47, 17, 'output address; bits below the size of the block are reserved'),
    RES0_50_48: res0(0, 50, 48),
    DBM: bool(0, 51, 'dirty state is updated by hardware'),
    Contiguous: bool(0, 52, 'one of a run of equal entries'),
    XN: choice(0, 54, 53, 'execute never, both bits with XNX', {
      of: { 0: 'execute', 1: 'EL0 only', 2: 'none', 3: 'EL1 only' },
      linux: 'ARM_LPAE_PTE_XN',
    }),
    SW: uint(0, 58, 55, 'free for software', 'ARM_LPAE_PTE_SW_SYNC'),
    PBHA: uint(0, 62, 59, 'page-based hardware attributes'),
    IGNORED_63: impdef(0, 63, 63, 'ignored'),
  },
);

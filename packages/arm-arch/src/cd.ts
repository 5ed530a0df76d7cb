import { layout } from '@iommukit/bits';
import {
  OAS_NAMES,
  SHAREABILITY_NAMES,
  TG0_NAMES,
  TG1_NAMES,
  WALK_CACHEABILITY_NAMES,
} from './memory-attribute.ts';
import { addr, bool, choice, impdef, res0, u64, uint } from './row.ts';

/**
 * Context descriptor, 64 bytes. Source: IHI 0070 5.4.
 * @example CD.get.ASID(words)
 */
export const CD = layout(
  'CD',
  { dwords: 8, spec: 'IHI 0070 5.4', linux: 'struct arm_smmu_cd' },
  {
    T0SZ: uint(0, 5, 0, '64 minus the bits of the lower half', 'CTXDESC_CD_0_TCR_T0SZ'),
    TG0: choice(0, 7, 6, 'granule of the lower half', {
      of: TG0_NAMES,
      linux: 'CTXDESC_CD_0_TCR_TG0',
    }),
    IR0: choice(0, 9, 8, 'inner cacheability of walks of the lower half', {
      of: WALK_CACHEABILITY_NAMES,
      linux: 'CTXDESC_CD_0_TCR_IRGN0',
    }),
    OR0: choice(0, 11, 10, 'outer cacheability of walks of the lower half', {
      of: WALK_CACHEABILITY_NAMES,
      linux: 'CTXDESC_CD_0_TCR_ORGN0',
    }),
    SH0: choice(0, 13, 12, 'shareability of walks of the lower half', {
      of: SHAREABILITY_NAMES,
      linux: 'CTXDESC_CD_0_TCR_SH0',
    }),
    EPD0: bool(0, 14, 'no walks in the lower half', 'CTXDESC_CD_0_TCR_EPD0'),
    ENDI: bool(0, 15, 'tables are big-endian', 'CTXDESC_CD_0_ENDI'),
    T1SZ: uint(0, 21, 16, '64 minus the bits of the upper half'),
    TG1: choice(0, 23, 22, 'granule of the upper half', { of: TG1_NAMES }),
    IR1: choice(0, 25, 24, 'inner cacheability of walks of the upper half', {
      of: WALK_CACHEABILITY_NAMES,
    }),
    OR1: choice(0, 27, 26, 'outer cacheability of walks of the upper half', {
      of: WALK_CACHEABILITY_NAMES,
    }),
    SH1: choice(0, 29, 28, 'shareability of walks of the upper half', { of: SHAREABILITY_NAMES }),
    EPD1: bool(0, 30, 'no walks in the upper half', 'CTXDESC_CD_0_TCR_EPD1'),
    V: bool(0, 31, 'the descriptor is valid', 'CTXDESC_CD_0_V'),
    IPS: choice(0, 34, 32, 'output size', { of: OAS_NAMES, linux: 'CTXDESC_CD_0_TCR_IPS' }),
    AFFD: bool(0, 35, 'access flag faults are disabled'),
    WXN: bool(0, 36, 'writable pages are not executable'),
    UWXN: bool(0, 37, 'unprivileged writable pages are not privileged executable'),
    TBI0: bool(0, 38, 'top byte is ignored in the lower half', 'CTXDESC_CD_0_TCR_TBI0'),
    TBI1: bool(0, 39, 'top byte is ignored in the upper half'),
    PAN: bool(0, 40, 'privileged access never'),
    AA64: bool(0, 41, 'tables are VMSAv8-64', 'CTXDESC_CD_0_AA64'),
    HD: bool(0, 42, 'hardware updates of dirty state', 'CTXDESC_CD_0_TCR_HD'),
    HA: bool(0, 43, 'hardware updates of the access flag', 'CTXDESC_CD_0_TCR_HA'),
    S: bool(0, 44, 'faults stall', 'CTXDESC_CD_0_S'),
    R: bool(0, 45, 'faults are recorded', 'CTXDESC_CD_0_R'),
    A: bool(0, 46, 'faults abort, else RAZ/WI', 'CTXDESC_CD_0_A'),
    ASET: bool(0, 47, 'ASID is private to the SMMU', 'CTXDESC_CD_0_ASET'),
    ASID: uint(0, 63, 48, 'ASID', 'CTXDESC_CD_0_ASID'),
    NSCFG0: bool(1, 0, 'TTB0 walks are Non-secure (Secure streams)'),
    HAD0: bool(1, 1, 'hierarchical attributes are off in the lower half'),
    E0PD0: bool(1, 2, 'unprivileged access to the lower half faults'),
    HAFT: bool(1, 3, 'hardware updates of the access flag of tables'),
    TTB0: addr(1, 55, 4, 'table of the lower half', 'CTXDESC_CD_1_TTB0_MASK'),
    RES0_121_120: res0(1, 57, 56),
    PnCH: bool(1, 58, 'protected attribute on contiguous hint'),
    EPAN: bool(1, 59, 'enhanced privileged access never'),
    HWU059: bool(1, 60, 'descriptor bit 59 of half 0 is for hardware use'),
    HWU060: bool(1, 61, 'descriptor bit 60 of half 0 is for hardware use'),
    HWU061: bool(1, 62, 'descriptor bit 61 of half 0 is for hardware use'),
    HWU062: bool(1, 63, 'descriptor bit 62 of half 0 is for hardware use'),
    NSCFG1: bool(2, 0, 'TTB1 walks are Non-secure (Secure streams)'),
    HAD1: bool(2, 1, 'hierarchical attributes are off in the upper half'),
    E0PD1: bool(2, 2, 'unprivileged access to the upper half faults'),
    AIE: bool(2, 3, 'memory attribute index enhancement'),
    TTB1: addr(2, 55, 4, 'table of the upper half'),
    RES0_185_184: res0(2, 57, 56),
    DS: bool(2, 58, '52-bit addresses with 4 KiB and 16 KiB granules'),
    PIE: bool(2, 59, 'permission indirection'),
    HWU159: bool(2, 60, 'descriptor bit 59 of half 1 is for hardware use'),
    HWU160: bool(2, 61, 'descriptor bit 60 of half 1 is for hardware use'),
    HWU161: bool(2, 62, 'descriptor bit 61 of half 1 is for hardware use'),
    HWU162: bool(2, 63, 'descriptor bit 62 of half 1 is for hardware use'),
    MAIR0: uint(3, 31, 0, 'memory attributes 3 to 0'),
    MAIR1: uint(3, 63, 32, 'memory attributes 7 to 4'),
    AMAIR0: uint(4, 31, 0, 'auxiliary memory attributes 3 to 0'),
    AMAIR1: uint(4, 63, 32, 'auxiliary memory attributes 7 to 4'),
    IMPDEF5: impdef(5, 31, 0, 'implementation defined'),
    PARTID: uint(5, 47, 32, 'memory partition'),
    PMG: uint(5, 55, 48, 'performance monitoring group'),
    RES0_383_376: res0(5, 63, 56),
    PIIU: u64(6, 'unprivileged permission interpretation, 16 fields'),
    PIIP: u64(7, 'privileged permission interpretation, 16 fields'),
  },
);

/**
 * Level 1 context descriptor, 8 bytes. Source: IHI 0070 5.3.
 * @example L1CD.get.L2Ptr(words)
 */
export const L1CD = layout(
  'L1CD',
  { dwords: 1, spec: 'IHI 0070 5.3', linux: 'struct arm_smmu_cdtab_l1' },
  {
    V: bool(0, 0, 'the descriptor is valid', 'CTXDESC_L1_DESC_V'),
    RES0_11_1: res0(0, 11, 1),
    L2Ptr: addr(0, 55, 12, 'address of the array of CDs', 'CTXDESC_L1_DESC_L2PTR_MASK'),
    RES0_63_56: res0(0, 63, 56),
  },
);

/** Bytes of a context descriptor, IHI 0070 5.4. @example CD_BYTES * substreamId */
export const CD_BYTES = 64;

/** Bytes of a level 1 context descriptor, IHI 0070 5.3. @example L1CD_BYTES * (substreamId >>> 10) */
export const L1CD_BYTES = 8;

/** log2 of the CDs of an array by STE.S1Fmt, IHI 0070 5.2. @example CD_SPLIT[2] // 10 */
export const CD_SPLIT = { 1: 6, 2: 10 } as const;

import { layout } from '@iommukit/bits';
import { INSTCFG_NAMES, PRIVCFG_NAMES, SHCFG_NAMES } from './attribute-override.ts';
import {
  CACHEABILITY_NAMES,
  OAS_NAMES,
  SHAREABILITY_NAMES,
  TG0_NAMES,
  WALK_CACHEABILITY_NAMES,
} from './memory-attribute.ts';
import { addr, bool, choice, impdef, res0, u64, uint } from './row.ts';

/**
 * Stream table entry, 64 bytes. Source: IHI 0070 5.2.
 * @example STE.get.S_S2SKL(words)
 */
export const STE = layout(
  'STE',
  { dwords: 8, spec: 'IHI 0070 5.2', linux: 'struct arm_smmu_ste' },
  {
    V: bool(0, 0, 'the entry is valid', 'STRTAB_STE_0_V'),
    Config: choice(0, 3, 1, 'stages', {
      of: { 0: 'abort', 4: 'bypass', 5: 'stage 1', 6: 'stage 2', 7: 'nested' },
      linux: 'STRTAB_STE_0_CFG',
    }),
    S1Fmt: choice(0, 5, 4, 'format of the CD table', {
      of: { 0: 'linear', 1: 'two-level 4 KiB leaves', 2: 'two-level 64 KiB leaves' },
      linux: 'STRTAB_STE_0_S1FMT',
    }),
    S1ContextPtr: addr(0, 55, 6, 'address of the CD table', 'STRTAB_STE_0_S1CTXPTR_MASK'),
    RES0_58_56: res0(0, 58, 56),
    S1CDMax: uint(0, 63, 59, 'log2 of the number of CDs', 'STRTAB_STE_0_S1CDMAX'),
    S1DSS: choice(1, 1, 0, 'transactions without SubstreamID', {
      of: { 0: 'terminate', 1: 'bypass stage 1', 2: 'CD 0' },
      linux: 'STRTAB_STE_1_S1DSS',
    }),
    S1CIR: choice(1, 3, 2, 'inner cacheability of CD accesses', {
      of: CACHEABILITY_NAMES,
      linux: 'STRTAB_STE_1_S1CIR',
    }),
    S1COR: choice(1, 5, 4, 'outer cacheability of CD accesses', {
      of: CACHEABILITY_NAMES,
      linux: 'STRTAB_STE_1_S1COR',
    }),
    S1CSH: choice(1, 7, 6, 'shareability of CD accesses', {
      of: SHAREABILITY_NAMES,
      linux: 'STRTAB_STE_1_S1CSH',
    }),
    S2HWU59: bool(1, 8, 'stage 2 descriptor bit 59 is for hardware use'),
    S2HWU60: bool(1, 9, 'stage 2 descriptor bit 60 is for hardware use'),
    S2HWU61: bool(1, 10, 'stage 2 descriptor bit 61 is for hardware use'),
    S2HWU62: bool(1, 11, 'stage 2 descriptor bit 62 is for hardware use'),
    DRE: bool(1, 12, 'destructive reads are allowed'),
    CONT: uint(1, 16, 13, 'log2 of the aligned run of equal entries'),
    DCP: bool(1, 17, 'directed cache prefetches are allowed'),
    PPAR: bool(1, 18, 'automatic page request responses carry the PASID'),
    MEV: bool(1, 19, 'equal events may be merged', 'STRTAB_STE_1_MEV'),
    SW: uint(1, 23, 20, 'free for software'),
    S1PIE: bool(1, 24, 'stage 1 permission indirection'),
    S2FWB: bool(1, 25, 'stage 2 forced write-back', 'STRTAB_STE_1_S2FWB'),
    S1MPAM: bool(1, 26, 'CD gives the MPAM values'),
    S1STALLD: bool(1, 27, 'stage 1 stalls are disabled', 'STRTAB_STE_1_S1STALLD'),
    EATS: choice(1, 29, 28, 'ATS', {
      of: { 0: 'off', 1: 'full', 2: 'split-stage', 3: 'full with DPT' },
      linux: 'STRTAB_STE_1_EATS',
    }),
    STRW: choice(1, 31, 30, 'stream world', {
      of: { 0: 'NS-EL1', 2: 'NS-EL2' },
      linux: 'STRTAB_STE_1_STRW',
    }),
    MemAttr: uint(1, 35, 32, 'memory type override, stage 2 encoding'),
    MTCFG: bool(1, 36, 'memory type is overridden by MemAttr'),
    ALLOCCFG: uint(1, 40, 37, 'allocation hints, 1RWT overrides'),
    RES0_107_105: res0(1, 43, 41),
    SHCFG: choice(1, 45, 44, 'shareability override', {
      of: SHCFG_NAMES,
      linux: 'STRTAB_STE_1_SHCFG',
    }),
    NSCFG: uint(1, 47, 46, 'security override, not for Non-secure streams'),
    PRIVCFG: choice(1, 49, 48, 'privilege override', { of: PRIVCFG_NAMES }),
    INSTCFG: choice(1, 51, 50, 'instruction or data override', { of: INSTCFG_NAMES }),
    IMPDEF1: impdef(1, 63, 52, 'implementation defined'),
    S2VMID: uint(2, 15, 0, 'VMID', 'STRTAB_STE_2_S2VMID'),
    IMPDEF2: impdef(2, 31, 16, 'implementation defined'),
    S2T0SZ: uint(2, 37, 32, '64 minus the bits of the IPA space', 'STRTAB_STE_2_VTCR_S2T0SZ'),
    S2SL0: uint(2, 39, 38, 'start level code, with the granule', 'STRTAB_STE_2_VTCR_S2SL0'),
    S2IR0: choice(2, 41, 40, 'inner cacheability of stage 2 walks', {
      of: WALK_CACHEABILITY_NAMES,
      linux: 'STRTAB_STE_2_VTCR_S2IR0',
    }),
    S2OR0: choice(2, 43, 42, 'outer cacheability of stage 2 walks', {
      of: WALK_CACHEABILITY_NAMES,
      linux: 'STRTAB_STE_2_VTCR_S2OR0',
    }),
    S2SH0: choice(2, 45, 44, 'shareability of stage 2 walks', {
      of: SHAREABILITY_NAMES,
      linux: 'STRTAB_STE_2_VTCR_S2SH0',
    }),
    S2TG: choice(2, 47, 46, 'stage 2 granule', { of: TG0_NAMES, linux: 'STRTAB_STE_2_VTCR_S2TG' }),
    S2PS: choice(2, 50, 48, 'stage 2 output size', {
      of: OAS_NAMES,
      linux: 'STRTAB_STE_2_VTCR_S2PS',
    }),
    S2AA64: bool(2, 51, 'stage 2 tables are VMSAv8-64', 'STRTAB_STE_2_S2AA64'),
    S2ENDI: bool(2, 52, 'stage 2 tables are big-endian', 'STRTAB_STE_2_S2ENDI'),
    S2AFFD: bool(2, 53, 'stage 2 access flag faults are disabled'),
    S2PTW: bool(2, 54, 'stage 1 tables in Device memory fault', 'STRTAB_STE_2_S2PTW'),
    S2HD: bool(2, 55, 'hardware updates of stage 2 dirty state'),
    S2HA: bool(2, 56, 'hardware updates of the stage 2 access flag'),
    S2S: bool(2, 57, 'stage 2 faults stall', 'STRTAB_STE_2_S2S'),
    S2R: bool(2, 58, 'stage 2 faults are recorded', 'STRTAB_STE_2_S2R'),
    S2HAFT: bool(2, 59, 'hardware updates of the access flag of stage 2 tables'),
    S2PIE: bool(2, 60, 'stage 2 permission indirection'),
    S2POE: bool(2, 61, 'stage 2 permission overlays'),
    DPT_VMATCH: uint(2, 63, 62, 'VMID match of the device permission table'),
    S2NSW: bool(3, 0, 'stage 2 walks are Non-secure (Secure streams)'),
    S2NSA: bool(3, 1, 'stage 2 output is Non-secure (Secure streams)'),
    S2SL0_2: bool(3, 2, 'third bit of S2SL0'),
    S2DS: bool(3, 3, '52-bit addresses with 4 KiB and 16 KiB granules'),
    S2TTB: addr(3, 55, 4, 'address of the stage 2 table', 'STRTAB_STE_3_S2TTB_MASK'),
    RES0_252_248: res0(3, 60, 56),
    S2SKL: uint(3, 62, 61, 'levels that VMSAv9-128 skips'),
    RES0_255: res0(3, 63, 63),
    IMPDEF4: impdef(4, 15, 0, 'implementation defined'),
    PARTID: uint(4, 31, 16, 'memory partition'),
    S_S2T0SZ: uint(4, 37, 32, 'S2T0SZ of the Secure IPA space'),
    S_S2SL0: uint(4, 39, 38, 'S2SL0 of the Secure IPA space'),
    RES0_301_296: res0(4, 45, 40),
    S_S2TG: uint(4, 47, 46, 'S2TG of the Secure IPA space'),
    MECID: uint(4, 63, 48, 'memory encryption context'),
    PMG: uint(5, 7, 0, 'performance monitoring group'),
    MPAM_NS: bool(5, 8, 'MPAM values are Non-secure'),
    AssuredOnly: bool(5, 9, 'only assured translations'),
    TL0: bool(5, 10, 'top level 0 check of translation hardening'),
    TL1: bool(5, 11, 'top level 1 check of translation hardening'),
    VMSPtr: addr(5, 55, 12, 'address of the virtual machine structure'),
    RES0_383_376: res0(5, 63, 56),
    S2SW: bool(6, 0, 'Secure stage 2 walks are Non-secure'),
    S2SA: bool(6, 1, 'Secure stage 2 output is Non-secure'),
    S_S2SL0_2: bool(6, 2, 'third bit of S_S2SL0'),
    RES0_387: res0(6, 3, 3),
    S_S2TTB: addr(6, 55, 4, 'address of the stage 2 table of the Secure IPA space'),
    RES0_444_440: res0(6, 60, 56),
    S_S2SKL: uint(6, 62, 61, 'levels that VMSAv9-128 skips in the Secure IPA space'),
    RES0_447: res0(6, 63, 63),
    S2POI: u64(7, 'stage 2 permission overlays, 16 fields of 4 bits'),
  },
);

/**
 * Level 1 stream table descriptor, 8 bytes. Source: IHI 0070 5.1.
 * @example L1STD.get.L2Ptr(words)
 */
export const L1STD = layout(
  'L1STD',
  { dwords: 1, spec: 'IHI 0070 5.1', linux: 'struct arm_smmu_strtab_l1' },
  {
    Span: uint(
      0,
      4,
      0,
      'log2 of the entries of the array plus 1; 0 invalid',
      'STRTAB_L1_DESC_SPAN',
    ),
    RES0_5: res0(0, 5, 5),
    L2Ptr: addr(0, 55, 6, 'address of the array of STEs', 'STRTAB_L1_DESC_L2PTR_MASK'),
    RES0_63_56: res0(0, 63, 56),
  },
);

/** Bytes of an STE, IHI 0070 5.2. @example STE_BYTES * streamId */
export const STE_BYTES = 64;

/** Bytes of a level 1 stream table descriptor, IHI 0070 5.1. @example L1STD_BYTES * (streamId >>> split) */
export const L1STD_BYTES = 8;

/** STE.Config, IHI 0070 5.2. @example STE.encode({ V: 1, Config: STE_CONFIG.BYPASS }) */
export const STE_CONFIG = { ABORT: 0, BYPASS: 4, S1: 5, S2: 6, NESTED: 7 } as const;

/** STE.S1Fmt, IHI 0070 5.2. @example S1FMT.TWO_LEVEL_64K // 2 */
export const S1FMT = { LINEAR: 0, TWO_LEVEL_4K: 1, TWO_LEVEL_64K: 2 } as const;

/** STE.S1DSS, IHI 0070 5.2. @example S1DSS.SSID0 // 2 */
export const S1DSS = { TERMINATE: 0, BYPASS: 1, SSID0: 2 } as const;

/** STE.EATS, IHI 0070 5.2. @example EATS.FULL // 1 */
export const EATS = { OFF: 0, FULL: 1, SPLIT: 2, FULL_DPT: 3 } as const;

/** STE.STRW, IHI 0070 5.2. @example STRW.EL2 // 2 */
export const STRW = { NSEL1: 0, EL2: 2 } as const;

/** STE.SHCFG and GBPA.SHCFG, IHI 0070 5.2. @example SHCFG.INCOMING // 1 */
export const SHCFG = { NSH: 0, INCOMING: 1, OSH: 2, ISH: 3 } as const;

/** S1CIR and S1COR of an STE, IHI 0070 5.2. @example S1C_CACHEABILITY.WBRA // 1 */
export const S1C_CACHEABILITY = { NC: 0, WBRA: 1, WT: 2, WB: 3 } as const;

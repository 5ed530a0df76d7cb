import { layout } from '@iommukit/bits';
import { INSTCFG_NAMES, PRIVCFG_NAMES, SHCFG_NAMES } from './attribute-override.ts';
import { bool, choice, impdef, res0, uint } from './row.ts';

/** S2PII fields, IHI 0070 6.3.17; 0, 1 and 5 give no access. */
const S2PII_NAMES = {
  0: 'no access',
  2: 'MRO',
  3: 'MRO-TL1',
  4: 'WO',
  6: 'MRO-TL0',
  7: 'MRO-TL01',
  8: 'RO',
  9: 'RO+uX',
  10: 'RO+pX',
  11: 'RO+puX',
  12: 'RW',
  13: 'RW+uX',
  14: 'RW+pX',
  15: 'RW+puX',
} as const;

/**
 * Enables. Source: IHI 0070 6.3.9.
 * @example CR0.get.DPT_WALK_EN(words)
 */
export const CR0 = layout(
  'CR0',
  {
    dwords: 1,
    spec: 'IHI 0070 6.3.9',
    linux: 'ARM_SMMU_CR0',
    offset: 0x20,
    width: 32,
    reset: { lo: 0, hi: 0 },
    access: 'RW',
  },
  {
    SMMUEN: bool(0, 0, 'translation is enabled', 'CR0_SMMUEN'),
    PRIQEN: bool(0, 1, 'page request queue is enabled', 'CR0_PRIQEN'),
    EVENTQEN: bool(0, 2, 'event queue is enabled', 'CR0_EVTQEN'),
    CMDQEN: bool(0, 3, 'command queue is enabled', 'CR0_CMDQEN'),
    ATSCHK: bool(0, 4, 'translated transactions are checked', 'CR0_ATSCHK'),
    RES0_5: res0(0, 5, 5),
    VMW: uint(0, 8, 6, 'low VMID bits that invalidation ignores, 0 to 4'),
    RES0_9: res0(0, 9, 9),
    DPT_WALK_EN: bool(0, 10, 'device permission table is enabled'),
    RES0_31_11: res0(0, 31, 11),
  },
);

/**
 * Acknowledged enables. Source: IHI 0070 6.3.10.
 * @example CR0ACK.get.DPT_WALK_EN(words)
 */
export const CR0ACK = layout(
  'CR0ACK',
  {
    dwords: 1,
    spec: 'IHI 0070 6.3.10',
    linux: 'ARM_SMMU_CR0ACK',
    offset: 0x24,
    width: 32,
    reset: { lo: 0, hi: 0 },
    access: 'RO',
  },
  {
    SMMUEN: bool(0, 0, 'translation is enabled', 'CR0_SMMUEN'),
    PRIQEN: bool(0, 1, 'page request queue is enabled', 'CR0_PRIQEN'),
    EVENTQEN: bool(0, 2, 'event queue is enabled', 'CR0_EVTQEN'),
    CMDQEN: bool(0, 3, 'command queue is enabled', 'CR0_CMDQEN'),
    ATSCHK: bool(0, 4, 'translated transactions are checked', 'CR0_ATSCHK'),
    RES0_5: res0(0, 5, 5),
    VMW: uint(0, 8, 6, 'low VMID bits that invalidation ignores, 0 to 4'),
    RES0_9: res0(0, 9, 9),
    DPT_WALK_EN: bool(0, 10, 'device permission table is enabled'),
    RES0_31_11: res0(0, 31, 11),
  },
);

/**
 * Attributes of table and queue accesses. Source: IHI 0070 6.3.11.
 * @example CR1.get.TABLE_SH(words)
 */
export const CR1 = layout(
  'CR1',
  {
    dwords: 1,
    spec: 'IHI 0070 6.3.11',
    linux: 'ARM_SMMU_CR1',
    offset: 0x28,
    width: 32,
    access: 'RW: TABLE_* while SMMUEN=0; QUEUE_* while CMDQEN=EVENTQEN=PRIQEN=0',
  },
  {
    QUEUE_IC: choice(0, 1, 0, 'inner cacheability of the queues', {
      of: { 0: 'Non-cacheable', 1: 'Write-Back', 2: 'Write-Through' },
      linux: 'CR1_QUEUE_IC',
    }),
    QUEUE_OC: choice(0, 3, 2, 'outer cacheability of the queues', {
      of: { 0: 'Non-cacheable', 1: 'Write-Back', 2: 'Write-Through' },
      linux: 'CR1_QUEUE_OC',
    }),
    QUEUE_SH: choice(0, 5, 4, 'shareability of the queues', {
      of: { 0: 'Non-shareable', 2: 'Outer Shareable', 3: 'Inner Shareable' },
      linux: 'CR1_QUEUE_SH',
    }),
    TABLE_IC: choice(0, 7, 6, 'inner cacheability of the stream table', {
      of: { 0: 'Non-cacheable', 1: 'Write-Back', 2: 'Write-Through' },
      linux: 'CR1_TABLE_IC',
    }),
    TABLE_OC: choice(0, 9, 8, 'outer cacheability of the stream table', {
      of: { 0: 'Non-cacheable', 1: 'Write-Back', 2: 'Write-Through' },
      linux: 'CR1_TABLE_OC',
    }),
    TABLE_SH: choice(0, 11, 10, 'shareability of the stream table', {
      of: { 0: 'Non-shareable', 2: 'Outer Shareable', 3: 'Inner Shareable' },
      linux: 'CR1_TABLE_SH',
    }),
    RES0_31_12: res0(0, 31, 12),
  },
);

/**
 * Stream world, recording and broadcast control. Source: IHI 0070 6.3.12.
 * @example CR2.get.REC_CFG_ATS(words)
 */
export const CR2 = layout(
  'CR2',
  {
    dwords: 1,
    spec: 'IHI 0070 6.3.12',
    linux: 'ARM_SMMU_CR2',
    offset: 0x2c,
    width: 32,
    access: 'RW while SMMUEN=0',
  },
  {
    E2H: bool(0, 0, 'EL2 streams use EL2-E2H', 'CR2_E2H'),
    RECINVSID: bool(0, 1, 'C_BAD_STREAMID is recorded', 'CR2_RECINVSID'),
    PTM: bool(0, 2, 'broadcast TLB maintenance is ignored', 'CR2_PTM'),
    REC_CFG_ATS: bool(0, 3, 'configuration errors of ATS are recorded'),
    RES0_31_4: res0(0, 31, 4),
  },
);

/**
 * Stage 2 permission indirection. Source: IHI 0070 6.3.17.
 * @example S2PII.get.S2PII15(words)
 */
export const S2PII = layout(
  'S2PII',
  { dwords: 1, spec: 'IHI 0070 6.3.17', offset: 0x30, width: 64, access: 'RW' },
  {
    S2PII0: choice(0, 3, 0, 'base permissions of index 0', { of: S2PII_NAMES }),
    S2PII1: choice(0, 7, 4, 'base permissions of index 1', { of: S2PII_NAMES }),
    S2PII2: choice(0, 11, 8, 'base permissions of index 2', { of: S2PII_NAMES }),
    S2PII3: choice(0, 15, 12, 'base permissions of index 3', { of: S2PII_NAMES }),
    S2PII4: choice(0, 19, 16, 'base permissions of index 4', { of: S2PII_NAMES }),
    S2PII5: choice(0, 23, 20, 'base permissions of index 5', { of: S2PII_NAMES }),
    S2PII6: choice(0, 27, 24, 'base permissions of index 6', { of: S2PII_NAMES }),
    S2PII7: choice(0, 31, 28, 'base permissions of index 7', { of: S2PII_NAMES }),
    S2PII8: choice(0, 35, 32, 'base permissions of index 8', { of: S2PII_NAMES }),
    S2PII9: choice(0, 39, 36, 'base permissions of index 9', { of: S2PII_NAMES }),
    S2PII10: choice(0, 43, 40, 'base permissions of index 10', { of: S2PII_NAMES }),
    S2PII11: choice(0, 47, 44, 'base permissions of index 11', { of: S2PII_NAMES }),
    S2PII12: choice(0, 51, 48, 'base permissions of index 12', { of: S2PII_NAMES }),
    S2PII13: choice(0, 55, 52, 'base permissions of index 13', { of: S2PII_NAMES }),
    S2PII14: choice(0, 59, 56, 'base permissions of index 14', { of: S2PII_NAMES }),
    S2PII15: choice(0, 63, 60, 'base permissions of index 15', { of: S2PII_NAMES }),
  },
);

/**
 * Component status. Source: IHI 0070 6.3.13.
 * @example STATUSR.get.DORMANT(words)
 */
export const STATUSR = layout(
  'STATUSR',
  {
    dwords: 1,
    spec: 'IHI 0070 6.3.13',
    offset: 0x40,
    width: 32,
    reset: { lo: 0, hi: 0 },
    access: 'RO',
  },
  {
    DORMANT: bool(0, 0, 'nothing is cached and no prefetch is in flight'),
    RES0_31_1: res0(0, 31, 1),
  },
);

/**
 * Bypass attributes while SMMUEN=0. Source: IHI 0070 6.3.14.
 * @example GBPA.get.Update(words)
 */
export const GBPA = layout(
  'GBPA',
  {
    dwords: 1,
    spec: 'IHI 0070 6.3.14',
    linux: 'ARM_SMMU_GBPA',
    offset: 0x44,
    width: 32,
    access: 'RW with Update=1 in the write, while Update=0',
  },
  {
    MemAttr: uint(0, 3, 0, 'memory type, encoded as STE.MemAttr'),
    MTCFG: bool(0, 4, 'memory type is overridden by MemAttr'),
    RES0_7_5: res0(0, 7, 5),
    ALLOCCFG: uint(0, 11, 8, 'allocation hints, 1RWT overrides'),
    SHCFG: choice(0, 13, 12, 'shareability override', { of: SHCFG_NAMES }),
    RES0_15_14: res0(0, 15, 14),
    PRIVCFG: choice(0, 17, 16, 'privilege override', { of: PRIVCFG_NAMES }),
    INSTCFG: choice(0, 19, 18, 'instruction or data override', { of: INSTCFG_NAMES }),
    ABORT: bool(0, 20, 'every transaction is aborted', 'GBPA_ABORT'),
    RES0_30_21: res0(0, 30, 21),
    Update: bool(0, 31, 'an update is under way', 'GBPA_UPDATE'),
  },
);

/**
 * Alternate bypass attributes. Source: IHI 0070 6.3.15.
 * @example AGBPA.get.IMPDEF(words)
 */
export const AGBPA = layout(
  'AGBPA',
  { dwords: 1, spec: 'IHI 0070 6.3.15', offset: 0x48, width: 32, access: 'RW' },
  {
    IMPDEF: impdef(0, 31, 0, 'implementation defined'),
  },
);

/**
 * Memory partitioning limits; present if IDR3.MPAM=1. Source: IHI 0070 6.3.41.
 * @example MPAMIDR.get.PMG_MAX(words)
 */
export const MPAMIDR = layout(
  'MPAMIDR',
  { dwords: 1, spec: 'IHI 0070 6.3.41', offset: 0x130, width: 32, access: 'RO' },
  {
    PARTID_MAX: uint(0, 15, 0, 'greatest PARTID'),
    PMG_MAX: uint(0, 23, 16, 'greatest PMG'),
    RES0_31_24: res0(0, 31, 24),
  },
);

/**
 * Memory partitioning of table and queue accesses; present if IDR3.MPAM=1. Source: IHI 0070 6.3.42.
 * @example GMPAM.get.Update(words)
 */
export const GMPAM = layout(
  'GMPAM',
  {
    dwords: 1,
    spec: 'IHI 0070 6.3.42',
    offset: 0x138,
    width: 32,
    reset: { lo: 0, hi: 0 },
    access: 'RW with Update=1 in the write, while Update=0',
  },
  {
    SO_PARTID: uint(0, 15, 0, 'PARTID of accesses that the SMMU originates'),
    SO_PMG: uint(0, 23, 16, 'PMG of accesses that the SMMU originates'),
    RES0_30_24: res0(0, 30, 24),
    Update: bool(0, 31, 'an update is under way'),
  },
);

/**
 * Memory partitioning while SMMUEN=0; present if IDR3.MPAM=1. Source: IHI 0070 6.3.43.
 * @example GBPMPAM.get.Update(words)
 */
export const GBPMPAM = layout(
  'GBPMPAM',
  {
    dwords: 1,
    spec: 'IHI 0070 6.3.43',
    offset: 0x13c,
    width: 32,
    reset: { lo: 0, hi: 0 },
    access: 'RW with Update=1 in the write, while Update=0',
  },
  {
    GBP_PARTID: uint(0, 15, 0, 'PARTID of bypassing transactions'),
    GBP_PMG: uint(0, 23, 16, 'PMG of bypassing transactions'),
    RES0_30_24: res0(0, 30, 24),
    Update: bool(0, 31, 'an update is under way'),
  },
);

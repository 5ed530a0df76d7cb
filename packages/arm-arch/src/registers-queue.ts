import { layout } from '@iommukit/bits';
import { addr, bool, choice, res0, uint } from './row.ts';

/**
 * Base of the stream table. Source: IHI 0070 6.3.24.
 * @example STRTAB_BASE.get.RA(words)
 */
export const STRTAB_BASE = layout(
  'STRTAB_BASE',
  {
    dwords: 1,
    spec: 'IHI 0070 6.3.24',
    linux: 'ARM_SMMU_STRTAB_BASE',
    offset: 0x80,
    width: 64,
    access: 'RW while SMMUEN=0',
  },
  {
    RES0_5_0: res0(0, 5, 0),
    ADDR: addr(0, 55, 6, 'address of the stream table', 'STRTAB_BASE_ADDR_MASK'),
    RES0_61_56: res0(0, 61, 56),
    RA: bool(0, 62, 'Read-Allocate hint', 'STRTAB_BASE_RA'),
    RES0_63: res0(0, 63, 63),
  },
);

/**
 * Size and format of the stream table. Source: IHI 0070 6.3.25.
 * @example STRTAB_BASE_CFG.get.FMT(words)
 */
export const STRTAB_BASE_CFG = layout(
  'STRTAB_BASE_CFG',
  {
    dwords: 1,
    spec: 'IHI 0070 6.3.25',
    linux: 'ARM_SMMU_STRTAB_BASE_CFG',
    offset: 0x88,
    width: 32,
    access: 'RW while SMMUEN=0',
  },
  {
    LOG2SIZE: uint(0, 5, 0, 'log2 of the number of streams', 'STRTAB_BASE_CFG_LOG2SIZE'),
    SPLIT: uint(0, 10, 6, 'StreamID bits of the second level: 6, 8 or 10', 'STRTAB_BASE_CFG_SPLIT'),
    RES0_15_11: res0(0, 15, 11),
    FMT: choice(0, 17, 16, 'format', {
      of: { 0: 'linear', 1: 'two-level' },
      linux: 'STRTAB_BASE_CFG_FMT',
    }),
    RES0_31_18: res0(0, 31, 18),
  },
);

/**
 * Base and size of the queue. Source: IHI 0070 6.3.26.
 * @example CMDQ_BASE.get.RA(words)
 */
export const CMDQ_BASE = layout(
  'CMDQ_BASE',
  {
    dwords: 1,
    spec: 'IHI 0070 6.3.26',
    linux: 'ARM_SMMU_CMDQ_BASE',
    offset: 0x90,
    width: 64,
    access: 'RW while CMDQEN=0',
  },
  {
    LOG2SIZE: uint(0, 4, 0, 'log2 of the number of entries', 'Q_BASE_LOG2SIZE'),
    ADDR: addr(0, 55, 5, 'address of the queue', 'Q_BASE_ADDR_MASK'),
    RES0_61_56: res0(0, 61, 56),
    RA: bool(0, 62, 'Read-Allocate hint', 'Q_BASE_RWA'),
    RES0_63: res0(0, 63, 63),
  },
);

/**
 * Write index of the command queue. Source: IHI 0070 6.3.27.
 * @example CMDQ_PROD.get.WR(words)
 */
export const CMDQ_PROD = layout(
  'CMDQ_PROD',
  {
    dwords: 1,
    spec: 'IHI 0070 6.3.27',
    linux: 'ARM_SMMU_CMDQ_PROD',
    offset: 0x98,
    width: 32,
    access: 'RW',
  },
  {
    WR: uint(0, 19, 0, 'write index with wrap bit'),
    RES0_31_20: res0(0, 31, 20),
  },
);

/**
 * Read index of the command queue. Source: IHI 0070 6.3.28.
 * @example CMDQ_CONS.get.ERR(words)
 */
export const CMDQ_CONS = layout(
  'CMDQ_CONS',
  {
    dwords: 1,
    spec: 'IHI 0070 6.3.28',
    linux: 'ARM_SMMU_CMDQ_CONS',
    offset: 0x9c,
    width: 32,
    access: 'RW while CMDQEN=0',
  },
  {
    RD: uint(0, 19, 0, 'read index with wrap bit'),
    RES0_23_20: res0(0, 23, 20),
    ERR: choice(0, 30, 24, 'reason of GERROR.CMDQ_ERR', {
      of: { 0: 'CERROR_NONE', 1: 'CERROR_ILL', 2: 'CERROR_ABT', 3: 'CERROR_ATC_INV_SYNC' },
      linux: 'CMDQ_CONS_ERR',
    }),
    RES0_31: res0(0, 31, 31),
  },
);

/**
 * Base and size of the queue. Source: IHI 0070 6.3.29.
 * @example EVENTQ_BASE.get.WA(words)
 */
export const EVENTQ_BASE = layout(
  'EVENTQ_BASE',
  {
    dwords: 1,
    spec: 'IHI 0070 6.3.29',
    linux: 'ARM_SMMU_EVTQ_BASE',
    offset: 0xa0,
    width: 64,
    access: 'RW while EVENTQEN=0',
  },
  {
    LOG2SIZE: uint(0, 4, 0, 'log2 of the number of entries', 'Q_BASE_LOG2SIZE'),
    ADDR: addr(0, 55, 5, 'address of the queue', 'Q_BASE_ADDR_MASK'),
    RES0_61_56: res0(0, 61, 56),
    WA: bool(0, 62, 'Write-Allocate hint', 'Q_BASE_RWA'),
    RES0_63: res0(0, 63, 63),
  },
);

/**
 * Write index of the event queue, in page 1. Source: IHI 0070 6.3.95.
 * @example EVENTQ_PROD.get.OVFLG(words)
 */
export const EVENTQ_PROD = layout(
  'EVENTQ_PROD',
  {
    dwords: 1,
    spec: 'IHI 0070 6.3.95',
    linux: 'ARM_SMMU_EVTQ_PROD',
    offset: 0x100a8,
    width: 32,
    access: 'RW while EVENTQEN=0',
  },
  {
    WR: uint(0, 19, 0, 'write index with wrap bit'),
    RES0_30_20: res0(0, 30, 20),
    OVFLG: bool(0, 31, 'overflow, toggles', 'Q_OVERFLOW_FLAG'),
  },
);

/**
 * Read index of the event queue, in page 1. Source: IHI 0070 6.3.96.
 * @example EVENTQ_CONS.get.OVACKFLG(words)
 */
export const EVENTQ_CONS = layout(
  'EVENTQ_CONS',
  {
    dwords: 1,
    spec: 'IHI 0070 6.3.96',
    linux: 'ARM_SMMU_EVTQ_CONS',
    offset: 0x100ac,
    width: 32,
    access: 'RW',
  },
  {
    RD: uint(0, 19, 0, 'read index with wrap bit'),
    RES0_30_20: res0(0, 30, 20),
    OVACKFLG: bool(0, 31, 'overflow acknowledged when equal to OVFLG', 'Q_OVERFLOW_FLAG'),
  },
);

/**
 * Base and size of the queue. Source: IHI 0070 6.3.33.
 * @example PRIQ_BASE.get.WA(words)
 */
export const PRIQ_BASE = layout(
  'PRIQ_BASE',
  {
    dwords: 1,
    spec: 'IHI 0070 6.3.33',
    linux: 'ARM_SMMU_PRIQ_BASE',
    offset: 0xc0,
    width: 64,
    access: 'RW while PRIQEN=0',
  },
  {
    LOG2SIZE: uint(0, 4, 0, 'log2 of the number of entries', 'Q_BASE_LOG2SIZE'),
    ADDR: addr(0, 55, 5, 'address of the queue', 'Q_BASE_ADDR_MASK'),
    RES0_61_56: res0(0, 61, 56),
    WA: bool(0, 62, 'Write-Allocate hint', 'Q_BASE_RWA'),
    RES0_63: res0(0, 63, 63),
  },
);

/**
 * Write index of the page request queue, in page 1. Source: IHI 0070 6.3.97.
 * @example PRIQ_PROD.get.OVFLG(words)
 */
export const PRIQ_PROD = layout(
  'PRIQ_PROD',
  {
    dwords: 1,
    spec: 'IHI 0070 6.3.97',
    linux: 'ARM_SMMU_PRIQ_PROD',
    offset: 0x100c8,
    width: 32,
    access: 'RW while PRIQEN=0',
  },
  {
    WR: uint(0, 19, 0, 'write index with wrap bit'),
    RES0_30_20: res0(0, 30, 20),
    OVFLG: bool(0, 31, 'overflow, toggles', 'Q_OVERFLOW_FLAG'),
  },
);

/**
 * Read index of the page request queue, in page 1. Source: IHI 0070 6.3.98.
 * @example PRIQ_CONS.get.OVACKFLG(words)
 */
export const PRIQ_CONS = layout(
  'PRIQ_CONS',
  {
    dwords: 1,
    spec: 'IHI 0070 6.3.98',
    linux: 'ARM_SMMU_PRIQ_CONS',
    offset: 0x100cc,
    width: 32,
    access: 'RW',
  },
  {
    RD: uint(0, 19, 0, 'read index with wrap bit'),
    RES0_30_20: res0(0, 30, 20),
    OVACKFLG: bool(0, 31, 'overflow acknowledged when equal to OVFLG', 'Q_OVERFLOW_FLAG'),
  },
);

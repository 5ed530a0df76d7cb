import { layout } from '@iommukit/bits';
import { addr, bool, choice, impdef, res0, uint } from './row.ts';

/**
 * Starts an address translation operation; present if IDR0.ATOS=1. Source: IHI 0070 6.3.37.
 * @example GATOS_CTRL.get.RUN(words)
 */
export const GATOS_CTRL = layout(
  'GATOS_CTRL',
  {
    dwords: 1,
    spec: 'IHI 0070 6.3.37',
    offset: 0x100,
    width: 32,
    reset: { lo: 0, hi: 0 },
    access: 'RW',
  },
  {
    RUN: bool(0, 0, 'a translation is under way'),
    RES0_31_1: res0(0, 31, 1),
  },
);

/**
 * Stream of an address translation operation. Source: IHI 0070 6.3.38.
 * @example GATOS_SID.get.SSID_VALID(words)
 */
export const GATOS_SID = layout(
  'GATOS_SID',
  {
    dwords: 1,
    spec: 'IHI 0070 6.3.38',
    offset: 0x108,
    width: 64,
    access: 'RW while GATOS_CTRL.RUN=0',
  },
  {
    STREAMID: uint(0, 31, 0, 'StreamID of the request'),
    SUBSTREAMID: uint(0, 51, 32, 'SubstreamID of the request'),
    SSID_VALID: bool(0, 52, 'SUBSTREAMID is valid'),
    RES0_63_53: res0(0, 63, 53),
  },
);

/**
 * Input of an address translation operation. Source: IHI 0070 6.3.39.
 * @example GATOS_ADDR.get.ADDR(words)
 */
export const GATOS_ADDR = layout(
  'GATOS_ADDR',
  {
    dwords: 1,
    spec: 'IHI 0070 6.3.39',
    offset: 0x110,
    width: 64,
    access: 'RW while GATOS_CTRL.RUN=0',
  },
  {
    RES0_5_0: res0(0, 5, 0),
    HTTUI: bool(0, 6, 'access flag and dirty state are not updated'),
    InD: bool(0, 7, 'instruction access'),
    RnW: bool(0, 8, 'read access'),
    PnU: bool(0, 9, 'privileged access'),
    TYPE: choice(0, 11, 10, 'stages', {
      of: { 1: 'stage 1', 2: 'stage 2', 3: 'stage 1 and stage 2' },
    }),
    ADDR: addr(0, 63, 12, 'input address'),
  },
);

/**
 * Result of an address translation operation that succeeded (FAULT=0). Source: IHI 0070 6.3.40.
 * @example GATOS_PAR.get.ATTR(words)
 */
export const GATOS_PAR = layout(
  'GATOS_PAR',
  { dwords: 1, spec: 'IHI 0070 6.3.40', offset: 0x118, width: 64, access: 'RO' },
  {
    FAULT: bool(0, 0, '0 in this form'),
    RES0_7_1: res0(0, 7, 1),
    SH: choice(0, 9, 8, 'shareability', {
      of: { 0: 'Non-shareable', 2: 'Outer Shareable', 3: 'Inner Shareable' },
    }),
    RES0_10: res0(0, 10, 10),
    Size: bool(0, 11, 'size is given by the lowest 1 bit of ADDR, else 4 KiB'),
    ADDR: addr(0, 55, 12, 'output address'),
    ATTR: uint(0, 63, 56, 'memory attributes, MAIR encoding'),
  },
);

/**
 * Result of an address translation operation that failed (FAULT=1). Source: IHI 0070 6.3.40.
 * @example GATOS_PAR_FAULT.get.IMPDEF(words)
 */
export const GATOS_PAR_FAULT = layout(
  'GATOS_PAR_FAULT',
  { dwords: 1, spec: 'IHI 0070 6.3.40', offset: 0x118, width: 64, access: 'RO' },
  {
    FAULT: bool(0, 0, '1 in this form'),
    REASON: choice(0, 2, 1, 'cause', { of: { 0: 'stage 1 or none', 1: 'CD', 2: 'TT', 3: 'IN' } }),
    RES0_3: res0(0, 3, 3),
    FAULTCODE: uint(0, 11, 4, 'event number of the fault'),
    FADDR: addr(0, 55, 12, 'stage 2 fault page address'),
    RES0_59_56: res0(0, 59, 56),
    IMPDEF: impdef(0, 63, 60, 'implementation defined fault data'),
  },
);

/**
 * VMID of the VATOS page; present if IDR0.VATOS=1. Source: IHI 0070 6.3.44.
 * @example VATOS_SEL.get.VMID(words)
 */
export const VATOS_SEL = layout(
  'VATOS_SEL',
  {
    dwords: 1,
    spec: 'IHI 0070 6.3.44',
    offset: 0x180,
    width: 32,
    access: 'RW while VATOS_CTRL.RUN=0',
  },
  {
    VMID: uint(0, 15, 0, 'VMID of the machine that uses the VATOS page'),
    RES0_31_16: res0(0, 31, 16),
  },
);

/**
 * Base of the device permission table; present if IDR3.DPT=1. Source: IHI 0070 6.3.46.
 * @example DPT_BASE.get.RA(words)
 */
export const DPT_BASE = layout(
  'DPT_BASE',
  {
    dwords: 1,
    spec: 'IHI 0070 6.3.46',
    offset: 0x200,
    width: 64,
    access: 'RW while DPT_WALK_EN=0',
  },
  {
    RES0_11_0: res0(0, 11, 0),
    BADDR: addr(0, 55, 12, 'address of level 0 of the device permission table'),
    RES0_61_56: res0(0, 61, 56),
    RA: bool(0, 62, 'Read-Allocate hint'),
    RES0_63: res0(0, 63, 63),
  },
);

/**
 * Format of the device permission table. Source: IHI 0070 6.3.47.
 * @example DPT_BASE_CFG.get.L0DPTSZ(words)
 */
export const DPT_BASE_CFG = layout(
  'DPT_BASE_CFG',
  {
    dwords: 1,
    spec: 'IHI 0070 6.3.47',
    offset: 0x208,
    width: 32,
    access: 'RW while DPT_WALK_EN=0',
  },
  {
    DPTPS: choice(0, 2, 0, 'size of the protected region', {
      of: {
        0: '32 bits',
        1: '36 bits',
        2: '40 bits',
        3: '42 bits',
        4: '44 bits',
        5: '48 bits',
        6: '52 bits',
      },
    }),
    RES0_13_3: res0(0, 13, 3),
    DPTGS: choice(0, 15, 14, 'granule', { of: { 0: '4 KiB', 1: '64 KiB', 2: '16 KiB' } }),
    RES0_19_16: res0(0, 19, 16),
    L0DPTSZ: choice(0, 23, 20, 'region of a level 0 entry', {
      of: { 0: '1 GiB', 4: '16 GiB', 6: '64 GiB', 9: '512 GiB' },
    }),
    RES0_31_24: res0(0, 31, 24),
  },
);

/**
 * Fault of a device permission table lookup. Source: IHI 0070 6.3.48.
 * @example DPT_CFG_FAR.get.FADDR(words)
 */
export const DPT_CFG_FAR = layout(
  'DPT_CFG_FAR',
  {
    dwords: 1,
    spec: 'IHI 0070 6.3.48',
    offset: 0x210,
    width: 64,
    access: 'RW: only a write that clears FAULT, which clears all',
  },
  {
    FAULT: bool(0, 0, 'a lookup fault is recorded'),
    LEVEL: bool(0, 1, 'level of the fault'),
    RES0_3_2: res0(0, 3, 2),
    DPT_FAULTCODE: choice(0, 7, 4, 'cause', {
      of: { 0: 'DPT_DISABLED', 1: 'DPT_WALK_FAULT', 2: 'DPT_GPC_FAULT', 3: 'DPT_EABT' },
    }),
    RES0_11_8: res0(0, 11, 8),
    FADDR: addr(0, 55, 12, 'address that was looked up'),
    RES0_63_56: res0(0, 63, 56),
  },
);

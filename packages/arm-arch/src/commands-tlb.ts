import { layout } from '@iommukit/bits';
import { addr, bool, choice, res0, uint } from './row.ts';

/**
 * Invalidates stage 1 entries of NS-EL1 of a VMID. Source: IHI 0070 4.4.2.
 * @example CMD_TLBI_NH_ALL.encode({ Opcode: OPCODE.TLBI_NH_ALL })
 */
export const CMD_TLBI_NH_ALL = layout(
  'CMD_TLBI_NH_ALL',
  { dwords: 2, spec: 'IHI 0070 4.4.2', linux: 'CMDQ_OP_TLBI_NH_ALL' },
  {
    Opcode: choice(0, 7, 0, 'opcode 0x10', { of: { 16: 'CMD_TLBI_NH_ALL' }, linux: 'CMDQ_0_OP' }),
    RES0_9_8: res0(0, 9, 8),
    SSec: bool(0, 10, 'Secure stream; illegal on the Non-secure queue'),
    RES0_31_11: res0(0, 31, 11),
    VMID: uint(0, 47, 32, 'VMID', 'CMDQ_TLBI_0_VMID'),
    RES0_63_48: res0(0, 63, 48),
    RES0_127_64: res0(1, 63, 0),
  },
);

/**
 * Invalidates non-global stage 1 entries of NS-EL1 of an ASID. Source: IHI 0070 4.4.2.
 * @example CMD_TLBI_NH_ASID.encode({ Opcode: OPCODE.TLBI_NH_ASID })
 */
export const CMD_TLBI_NH_ASID = layout(
  'CMD_TLBI_NH_ASID',
  { dwords: 2, spec: 'IHI 0070 4.4.2', linux: 'CMDQ_OP_TLBI_NH_ASID' },
  {
    Opcode: choice(0, 7, 0, 'opcode 0x11', { of: { 17: 'CMD_TLBI_NH_ASID' }, linux: 'CMDQ_0_OP' }),
    RES0_9_8: res0(0, 9, 8),
    SSec: bool(0, 10, 'Secure stream; illegal on the Non-secure queue'),
    RES0_31_11: res0(0, 31, 11),
    VMID: uint(0, 47, 32, 'VMID', 'CMDQ_TLBI_0_VMID'),
    ASID: uint(0, 63, 48, 'ASID', 'CMDQ_TLBI_0_ASID'),
    RES0_127_64: res0(1, 63, 0),
  },
);

/**
 * Invalidates stage 1 entries of NS-EL1 by address and ASID. Source: IHI 0070 4.4.2.
 * @example CMD_TLBI_NH_VA.encode({ Opcode: OPCODE.TLBI_NH_VA })
 */
export const CMD_TLBI_NH_VA = layout(
  'CMD_TLBI_NH_VA',
  { dwords: 2, spec: 'IHI 0070 4.4.2', linux: 'CMDQ_OP_TLBI_NH_VA' },
  {
    Opcode: choice(0, 7, 0, 'opcode 0x12', { of: { 18: 'CMD_TLBI_NH_VA' }, linux: 'CMDQ_0_OP' }),
    RES0_9_8: res0(0, 9, 8),
    SSec: bool(0, 10, 'Secure stream; illegal on the Non-secure queue'),
    RES0_11: res0(0, 11, 11),
    NUM: uint(0, 16, 12, 'pages minus 1, in units of 2^SCALE', 'CMDQ_TLBI_0_NUM'),
    RES0_19_17: res0(0, 19, 17),
    SCALE: uint(0, 25, 20, 'log2 of the unit in pages', 'CMDQ_TLBI_0_SCALE'),
    RES0_31_26: res0(0, 31, 26),
    VMID: uint(0, 47, 32, 'VMID', 'CMDQ_TLBI_0_VMID'),
    ASID: uint(0, 63, 48, 'ASID', 'CMDQ_TLBI_0_ASID'),
    Leaf: bool(1, 0, 'only entries of the last level', 'CMDQ_TLBI_1_LEAF'),
    RES0_70_65: res0(1, 6, 1),
    TTL128: bool(1, 7, 'level hint is for 128-bit descriptors'),
    TTL: uint(1, 9, 8, 'level of the leaf, 0 unknown', 'CMDQ_TLBI_1_TTL'),
    TG: choice(1, 11, 10, 'granule of the range, 0 no range', {
      of: { 0: 'none', 1: '4 KiB', 2: '16 KiB', 3: '64 KiB' },
      linux: 'CMDQ_TLBI_1_TG',
    }),
    Address: addr(1, 63, 12, 'first address', 'CMDQ_TLBI_1_VA_MASK'),
  },
);

/**
 * Invalidates stage 1 entries of NS-EL1 by address, any ASID. Source: IHI 0070 4.4.2.
 * @example CMD_TLBI_NH_VAA.encode({ Opcode: OPCODE.TLBI_NH_VAA })
 */
export const CMD_TLBI_NH_VAA = layout(
  'CMD_TLBI_NH_VAA',
  { dwords: 2, spec: 'IHI 0070 4.4.2', linux: 'CMDQ_OP_TLBI_NH_VAA' },
  {
    Opcode: choice(0, 7, 0, 'opcode 0x13', { of: { 19: 'CMD_TLBI_NH_VAA' }, linux: 'CMDQ_0_OP' }),
    RES0_9_8: res0(0, 9, 8),
    SSec: bool(0, 10, 'Secure stream; illegal on the Non-secure queue'),
    RES0_11: res0(0, 11, 11),
    NUM: uint(0, 16, 12, 'pages minus 1, in units of 2^SCALE', 'CMDQ_TLBI_0_NUM'),
    RES0_19_17: res0(0, 19, 17),
    SCALE: uint(0, 25, 20, 'log2 of the unit in pages', 'CMDQ_TLBI_0_SCALE'),
    RES0_31_26: res0(0, 31, 26),
    VMID: uint(0, 47, 32, 'VMID', 'CMDQ_TLBI_0_VMID'),
    RES0_63_48: res0(0, 63, 48),
    Leaf: bool(1, 0, 'only entries of the last level', 'CMDQ_TLBI_1_LEAF'),
    RES0_70_65: res0(1, 6, 1),
    TTL128: bool(1, 7, 'level hint is for 128-bit descriptors'),
    TTL: uint(1, 9, 8, 'level of the leaf, 0 unknown', 'CMDQ_TLBI_1_TTL'),
    TG: choice(1, 11, 10, 'granule of the range, 0 no range', {
      of: { 0: 'none', 1: '4 KiB', 2: '16 KiB', 3: '64 KiB' },
      linux: 'CMDQ_TLBI_1_TG',
    }),
    Address: addr(1, 63, 12, 'first address', 'CMDQ_TLBI_1_VA_MASK'),
  },
);

/**
 * EL3, illegal on the Non-secure queue. Source: IHI 0070 4.4.2.
 * @example CMD_TLBI_EL3_ALL.encode({ Opcode: OPCODE.TLBI_EL3_ALL })
 */
export const CMD_TLBI_EL3_ALL = layout(
  'CMD_TLBI_EL3_ALL',
  { dwords: 2, spec: 'IHI 0070 4.4.2' },
  {
    Opcode: choice(0, 7, 0, 'opcode 0x18', { of: { 24: 'CMD_TLBI_EL3_ALL' }, linux: 'CMDQ_0_OP' }),
    RES0_9_8: res0(0, 9, 8),
    SSec: bool(0, 10, 'Secure stream; illegal on the Non-secure queue'),
    RES0_63_11: res0(0, 63, 11),
    RES0_127_64: res0(1, 63, 0),
  },
);

/**
 * EL3 by address, illegal on the Non-secure queue. Source: IHI 0070 4.4.2.
 * @example CMD_TLBI_EL3_VA.encode({ Opcode: OPCODE.TLBI_EL3_VA })
 */
export const CMD_TLBI_EL3_VA = layout(
  'CMD_TLBI_EL3_VA',
  { dwords: 2, spec: 'IHI 0070 4.4.2' },
  {
    Opcode: choice(0, 7, 0, 'opcode 0x1a', { of: { 26: 'CMD_TLBI_EL3_VA' }, linux: 'CMDQ_0_OP' }),
    RES0_9_8: res0(0, 9, 8),
    SSec: bool(0, 10, 'Secure stream; illegal on the Non-secure queue'),
    RES0_11: res0(0, 11, 11),
    NUM: uint(0, 16, 12, 'pages minus 1, in units of 2^SCALE', 'CMDQ_TLBI_0_NUM'),
    RES0_19_17: res0(0, 19, 17),
    SCALE: uint(0, 25, 20, 'log2 of the unit in pages', 'CMDQ_TLBI_0_SCALE'),
    RES0_63_26: res0(0, 63, 26),
    Leaf: bool(1, 0, 'only entries of the last level', 'CMDQ_TLBI_1_LEAF'),
    RES0_70_65: res0(1, 6, 1),
    TTL128: bool(1, 7, 'level hint is for 128-bit descriptors'),
    TTL: uint(1, 9, 8, 'level of the leaf, 0 unknown', 'CMDQ_TLBI_1_TTL'),
    TG: choice(1, 11, 10, 'granule of the range, 0 no range', {
      of: { 0: 'none', 1: '4 KiB', 2: '16 KiB', 3: '64 KiB' },
      linux: 'CMDQ_TLBI_1_TG',
    }),
    Address: addr(1, 63, 12, 'first address', 'CMDQ_TLBI_1_VA_MASK'),
  },
);

/**
 * Invalidates entries of NS-EL2 and NS-EL2-E2H. Source: IHI 0070 4.4.2.
 * @example CMD_TLBI_EL2_ALL.encode({ Opcode: OPCODE.TLBI_EL2_ALL })
 */
export const CMD_TLBI_EL2_ALL = layout(
  'CMD_TLBI_EL2_ALL',
  { dwords: 2, spec: 'IHI 0070 4.4.2', linux: 'CMDQ_OP_TLBI_EL2_ALL' },
  {
    Opcode: choice(0, 7, 0, 'opcode 0x20', { of: { 32: 'CMD_TLBI_EL2_ALL' }, linux: 'CMDQ_0_OP' }),
    RES0_9_8: res0(0, 9, 8),
    SSec: bool(0, 10, 'Secure stream; illegal on the Non-secure queue'),
    RES0_63_11: res0(0, 63, 11),
    RES0_127_64: res0(1, 63, 0),
  },
);

/**
 * Invalidates non-global entries of NS-EL2-E2H of an ASID. Source: IHI 0070 4.4.2.
 * @example CMD_TLBI_EL2_ASID.encode({ Opcode: OPCODE.TLBI_EL2_ASID })
 */
export const CMD_TLBI_EL2_ASID = layout(
  'CMD_TLBI_EL2_ASID',
  { dwords: 2, spec: 'IHI 0070 4.4.2', linux: 'CMDQ_OP_TLBI_EL2_ASID' },
  {
    Opcode: choice(0, 7, 0, 'opcode 0x21', { of: { 33: 'CMD_TLBI_EL2_ASID' }, linux: 'CMDQ_0_OP' }),
    RES0_9_8: res0(0, 9, 8),
    SSec: bool(0, 10, 'Secure stream; illegal on the Non-secure queue'),
    RES0_47_11: res0(0, 47, 11),
    ASID: uint(0, 63, 48, 'ASID', 'CMDQ_TLBI_0_ASID'),
    RES0_127_64: res0(1, 63, 0),
  },
);

/**
 * Invalidates entries of EL2 by address and ASID. Source: IHI 0070 4.4.2.
 * @example CMD_TLBI_EL2_VA.encode({ Opcode: OPCODE.TLBI_EL2_VA })
 */
export const CMD_TLBI_EL2_VA = layout(
  'CMD_TLBI_EL2_VA',
  { dwords: 2, spec: 'IHI 0070 4.4.2', linux: 'CMDQ_OP_TLBI_EL2_VA' },
  {
    Opcode: choice(0, 7, 0, 'opcode 0x22', { of: { 34: 'CMD_TLBI_EL2_VA' }, linux: 'CMDQ_0_OP' }),
    RES0_9_8: res0(0, 9, 8),
    SSec: bool(0, 10, 'Secure stream; illegal on the Non-secure queue'),
    RES0_11: res0(0, 11, 11),
    NUM: uint(0, 16, 12, 'pages minus 1, in units of 2^SCALE', 'CMDQ_TLBI_0_NUM'),
    RES0_19_17: res0(0, 19, 17),
    SCALE: uint(0, 25, 20, 'log2 of the unit in pages', 'CMDQ_TLBI_0_SCALE'),
    RES0_47_26: res0(0, 47, 26),
    ASID: uint(0, 63, 48, 'ASID', 'CMDQ_TLBI_0_ASID'),
    Leaf: bool(1, 0, 'only entries of the last level', 'CMDQ_TLBI_1_LEAF'),
    RES0_70_65: res0(1, 6, 1),
    TTL128: bool(1, 7, 'level hint is for 128-bit descriptors'),
    TTL: uint(1, 9, 8, 'level of the leaf, 0 unknown', 'CMDQ_TLBI_1_TTL'),
    TG: choice(1, 11, 10, 'granule of the range, 0 no range', {
      of: { 0: 'none', 1: '4 KiB', 2: '16 KiB', 3: '64 KiB' },
      linux: 'CMDQ_TLBI_1_TG',
    }),
    Address: addr(1, 63, 12, 'first address', 'CMDQ_TLBI_1_VA_MASK'),
  },
);

/**
 * Invalidates entries of EL2 by address, any ASID. Source: IHI 0070 4.4.2.
 * @example CMD_TLBI_EL2_VAA.encode({ Opcode: OPCODE.TLBI_EL2_VAA })
 */
export const CMD_TLBI_EL2_VAA = layout(
  'CMD_TLBI_EL2_VAA',
  { dwords: 2, spec: 'IHI 0070 4.4.2' },
  {
    Opcode: choice(0, 7, 0, 'opcode 0x23', { of: { 35: 'CMD_TLBI_EL2_VAA' }, linux: 'CMDQ_0_OP' }),
    RES0_9_8: res0(0, 9, 8),
    SSec: bool(0, 10, 'Secure stream; illegal on the Non-secure queue'),
    RES0_11: res0(0, 11, 11),
    NUM: uint(0, 16, 12, 'pages minus 1, in units of 2^SCALE', 'CMDQ_TLBI_0_NUM'),
    RES0_19_17: res0(0, 19, 17),
    SCALE: uint(0, 25, 20, 'log2 of the unit in pages', 'CMDQ_TLBI_0_SCALE'),
    RES0_63_26: res0(0, 63, 26),
    Leaf: bool(1, 0, 'only entries of the last level', 'CMDQ_TLBI_1_LEAF'),
    RES0_70_65: res0(1, 6, 1),
    TTL128: bool(1, 7, 'level hint is for 128-bit descriptors'),
    TTL: uint(1, 9, 8, 'level of the leaf, 0 unknown', 'CMDQ_TLBI_1_TTL'),
    TG: choice(1, 11, 10, 'granule of the range, 0 no range', {
      of: { 0: 'none', 1: '4 KiB', 2: '16 KiB', 3: '64 KiB' },
      linux: 'CMDQ_TLBI_1_TG',
    }),
    Address: addr(1, 63, 12, 'first address', 'CMDQ_TLBI_1_VA_MASK'),
  },
);

/**
 * Invalidates NS-EL1 entries of all stages of a VMID. Source: IHI 0070 4.4.3.
 * @example CMD_TLBI_S12_VMALL.encode({ Opcode: OPCODE.TLBI_S12_VMALL })
 */
export const CMD_TLBI_S12_VMALL = layout(
  'CMD_TLBI_S12_VMALL',
  { dwords: 2, spec: 'IHI 0070 4.4.3', linux: 'CMDQ_OP_TLBI_S12_VMALL' },
  {
    Opcode: choice(0, 7, 0, 'opcode 0x28', {
      of: { 40: 'CMD_TLBI_S12_VMALL' },
      linux: 'CMDQ_0_OP',
    }),
    RES0_9_8: res0(0, 9, 8),
    SSec: bool(0, 10, 'Secure stream; illegal on the Non-secure queue'),
    RES0_31_11: res0(0, 31, 11),
    VMID: uint(0, 47, 32, 'VMID', 'CMDQ_TLBI_0_VMID'),
    RES0_63_48: res0(0, 63, 48),
    RES0_127_64: res0(1, 63, 0),
  },
);

/**
 * Invalidates stage 2 entries by IPA. Source: IHI 0070 4.4.3.
 * @example CMD_TLBI_S2_IPA.encode({ Opcode: OPCODE.TLBI_S2_IPA })
 */
export const CMD_TLBI_S2_IPA = layout(
  'CMD_TLBI_S2_IPA',
  { dwords: 2, spec: 'IHI 0070 4.4.3', linux: 'CMDQ_OP_TLBI_S2_IPA' },
  {
    Opcode: choice(0, 7, 0, 'opcode 0x2a', { of: { 42: 'CMD_TLBI_S2_IPA' }, linux: 'CMDQ_0_OP' }),
    RES0_9_8: res0(0, 9, 8),
    SSec: bool(0, 10, 'Secure stream; illegal on the Non-secure queue'),
    RES0_11: res0(0, 11, 11),
    NUM: uint(0, 16, 12, 'pages minus 1, in units of 2^SCALE', 'CMDQ_TLBI_0_NUM'),
    RES0_19_17: res0(0, 19, 17),
    SCALE: uint(0, 25, 20, 'log2 of the unit in pages', 'CMDQ_TLBI_0_SCALE'),
    RES0_31_26: res0(0, 31, 26),
    VMID: uint(0, 47, 32, 'VMID', 'CMDQ_TLBI_0_VMID'),
    RES0_63_48: res0(0, 63, 48),
    Leaf: bool(1, 0, 'only entries of the last level', 'CMDQ_TLBI_1_LEAF'),
    RES0_70_65: res0(1, 6, 1),
    TTL128: bool(1, 7, 'level hint is for 128-bit descriptors'),
    TTL: uint(1, 9, 8, 'level of the leaf, 0 unknown', 'CMDQ_TLBI_1_TTL'),
    TG: choice(1, 11, 10, 'granule of the range, 0 no range', {
      of: { 0: 'none', 1: '4 KiB', 2: '16 KiB', 3: '64 KiB' },
      linux: 'CMDQ_TLBI_1_TG',
    }),
    Address: addr(1, 55, 12, 'first IPA', 'CMDQ_TLBI_1_IPA_MASK'),
    RES0_127_120: res0(1, 63, 56),
  },
);

/**
 * Invalidates NS-EL1 entries of all stages and VMIDs. Source: IHI 0070 4.4.4.
 * @example CMD_TLBI_NSNH_ALL.encode({ Opcode: OPCODE.TLBI_NSNH_ALL })
 */
export const CMD_TLBI_NSNH_ALL = layout(
  'CMD_TLBI_NSNH_ALL',
  { dwords: 2, spec: 'IHI 0070 4.4.4', linux: 'CMDQ_OP_TLBI_NSNH_ALL' },
  {
    Opcode: choice(0, 7, 0, 'opcode 0x30', { of: { 48: 'CMD_TLBI_NSNH_ALL' }, linux: 'CMDQ_0_OP' }),
    RES0_9_8: res0(0, 9, 8),
    SSec: bool(0, 10, 'Secure stream; illegal on the Non-secure queue'),
    RES0_63_11: res0(0, 63, 11),
    RES0_127_64: res0(1, 63, 0),
  },
);

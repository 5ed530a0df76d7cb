import { layout } from '@iommukit/bits';
import { addr, bool, choice, res0, uint } from './row.ts';

/**
 * Hint: fetch the configuration of a stream. Source: IHI 0070 4.2.1.
 * @example CMD_PREFETCH_CONFIG.encode({ Opcode: OPCODE.PREFETCH_CONFIG })
 */
export const CMD_PREFETCH_CONFIG = layout(
  'CMD_PREFETCH_CONFIG',
  { dwords: 2, spec: 'IHI 0070 4.2.1', linux: 'CMDQ_OP_PREFETCH_CFG' },
  {
    Opcode: choice(0, 7, 0, 'opcode 0x01', {
      of: { 1: 'CMD_PREFETCH_CONFIG' },
      linux: 'CMDQ_0_OP',
    }),
    RES0_9_8: res0(0, 9, 8),
    SSec: bool(0, 10, 'Secure stream; illegal on the Non-secure queue'),
    SSV: bool(0, 11, 'SubstreamID is valid', 'CMDQ_0_SSV'),
    SubstreamID: uint(0, 31, 12, 'SubstreamID'),
    StreamID: uint(0, 63, 32, 'StreamID', 'CMDQ_PREFETCH_0_SID'),
    RES0_127_64: res0(1, 63, 0),
  },
);

/**
 * Hint: fetch the configuration and translations of addresses. Source: IHI 0070 4.2.2.
 * @example CMD_PREFETCH_ADDR.encode({ Opcode: OPCODE.PREFETCH_ADDR })
 */
export const CMD_PREFETCH_ADDR = layout(
  'CMD_PREFETCH_ADDR',
  { dwords: 2, spec: 'IHI 0070 4.2.2' },
  {
    Opcode: choice(0, 7, 0, 'opcode 0x02', { of: { 2: 'CMD_PREFETCH_ADDR' }, linux: 'CMDQ_0_OP' }),
    RES0_9_8: res0(0, 9, 8),
    SSec: bool(0, 10, 'Secure stream; illegal on the Non-secure queue'),
    SSV: bool(0, 11, 'SubstreamID is valid', 'CMDQ_0_SSV'),
    SubstreamID: uint(0, 31, 12, 'SubstreamID'),
    StreamID: uint(0, 63, 32, 'StreamID', 'CMDQ_PREFETCH_0_SID'),
    Size: uint(1, 4, 0, 'log2 of the number of addresses', 'CMDQ_PREFETCH_1_SIZE'),
    Stride: uint(1, 9, 5, 'log2 of the distance of the addresses in 4 KiB'),
    RES0_75_74: res0(1, 11, 10),
    Address: addr(1, 63, 12, 'first address', 'CMDQ_PREFETCH_1_ADDR_MASK'),
  },
);

/**
 * Invalidates an STE and all CDs under it. Source: IHI 0070 4.3.1.
 * @example CMD_CFGI_STE.encode({ Opcode: OPCODE.CFGI_STE })
 */
export const CMD_CFGI_STE = layout(
  'CMD_CFGI_STE',
  { dwords: 2, spec: 'IHI 0070 4.3.1', linux: 'CMDQ_OP_CFGI_STE' },
  {
    Opcode: choice(0, 7, 0, 'opcode 0x03', { of: { 3: 'CMD_CFGI_STE' }, linux: 'CMDQ_0_OP' }),
    RES0_9_8: res0(0, 9, 8),
    SSec: bool(0, 10, 'Secure stream; illegal on the Non-secure queue'),
    RES0_31_11: res0(0, 31, 11),
    StreamID: uint(0, 63, 32, 'StreamID', 'CMDQ_CFGI_0_SID'),
    Leaf: bool(1, 0, 'only the STE, not its level 1 descriptor', 'CMDQ_CFGI_1_LEAF'),
    RES0_127_65: res0(1, 63, 1),
  },
);

/**
 * Invalidates the STEs of an aligned range of streams; CMD_CFGI_ALL with Range=31. Source: IHI 0070 4.3.2.
 * @example CMD_CFGI_STE_RANGE.encode({ Opcode: OPCODE.CFGI_STE_RANGE })
 */
export const CMD_CFGI_STE_RANGE = layout(
  'CMD_CFGI_STE_RANGE',
  { dwords: 2, spec: 'IHI 0070 4.3.2', linux: 'CMDQ_OP_CFGI_ALL' },
  {
    Opcode: choice(0, 7, 0, 'opcode 0x04', { of: { 4: 'CMD_CFGI_STE_RANGE' }, linux: 'CMDQ_0_OP' }),
    RES0_9_8: res0(0, 9, 8),
    SSec: bool(0, 10, 'Secure stream; illegal on the Non-secure queue'),
    RES0_31_11: res0(0, 31, 11),
    StreamID: uint(0, 63, 32, 'StreamID', 'CMDQ_CFGI_0_SID'),
    Range: uint(
      1,
      4,
      0,
      'log2 of the number of streams minus 1; 31 is every stream (CMD_CFGI_ALL)',
      'CMDQ_CFGI_1_RANGE',
    ),
    RES0_127_69: res0(1, 63, 5),
  },
);

/**
 * Invalidates a CD. Source: IHI 0070 4.3.3.
 * @example CMD_CFGI_CD.encode({ Opcode: OPCODE.CFGI_CD })
 */
export const CMD_CFGI_CD = layout(
  'CMD_CFGI_CD',
  { dwords: 2, spec: 'IHI 0070 4.3.3', linux: 'CMDQ_OP_CFGI_CD' },
  {
    Opcode: choice(0, 7, 0, 'opcode 0x05', { of: { 5: 'CMD_CFGI_CD' }, linux: 'CMDQ_0_OP' }),
    RES0_9_8: res0(0, 9, 8),
    SSec: bool(0, 10, 'Secure stream; illegal on the Non-secure queue'),
    RES0_11: res0(0, 11, 11),
    SubstreamID: uint(0, 31, 12, 'SubstreamID', 'CMDQ_CFGI_0_SSID'),
    StreamID: uint(0, 63, 32, 'StreamID', 'CMDQ_CFGI_0_SID'),
    Leaf: bool(1, 0, 'only the CD, not its level 1 descriptor', 'CMDQ_CFGI_1_LEAF'),
    RES0_127_65: res0(1, 63, 1),
  },
);

/**
 * Invalidates every CD of a stream. Source: IHI 0070 4.3.4.
 * @example CMD_CFGI_CD_ALL.encode({ Opcode: OPCODE.CFGI_CD_ALL })
 */
export const CMD_CFGI_CD_ALL = layout(
  'CMD_CFGI_CD_ALL',
  { dwords: 2, spec: 'IHI 0070 4.3.4', linux: 'CMDQ_OP_CFGI_CD_ALL' },
  {
    Opcode: choice(0, 7, 0, 'opcode 0x06', { of: { 6: 'CMD_CFGI_CD_ALL' }, linux: 'CMDQ_0_OP' }),
    RES0_9_8: res0(0, 9, 8),
    SSec: bool(0, 10, 'Secure stream; illegal on the Non-secure queue'),
    RES0_31_11: res0(0, 31, 11),
    StreamID: uint(0, 63, 32, 'StreamID', 'CMDQ_CFGI_0_SID'),
    RES0_127_64: res0(1, 63, 0),
  },
);

/**
 * Invalidates the PARTID map of a VMID. Source: IHI 0070 4.3.5.
 * @example CMD_CFGI_VMS_PIDM.encode({ Opcode: OPCODE.CFGI_VMS_PIDM })
 */
export const CMD_CFGI_VMS_PIDM = layout(
  'CMD_CFGI_VMS_PIDM',
  { dwords: 2, spec: 'IHI 0070 4.3.5' },
  {
    Opcode: choice(0, 7, 0, 'opcode 0x07', { of: { 7: 'CMD_CFGI_VMS_PIDM' }, linux: 'CMDQ_0_OP' }),
    RES0_9_8: res0(0, 9, 8),
    SSec: bool(0, 10, 'Secure stream; illegal on the Non-secure queue'),
    RES0_31_11: res0(0, 31, 11),
    VMID: uint(0, 47, 32, 'VMID'),
    RES0_63_48: res0(0, 63, 48),
    RES0_127_64: res0(1, 63, 0),
  },
);

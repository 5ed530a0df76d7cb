import { layout } from '@iommukit/bits';
import { addr, bool, choice, res0, uint } from './row.ts';

/**
 * Invalidates translations that an endpoint holds. Source: IHI 0070 4.5.1.
 * @example CMD_ATC_INV.encode({ Opcode: OPCODE.ATC_INV })
 */
export const CMD_ATC_INV = layout(
  'CMD_ATC_INV',
  { dwords: 2, spec: 'IHI 0070 4.5.1', linux: 'CMDQ_OP_ATC_INV' },
  {
    Opcode: choice(0, 7, 0, 'opcode 0x40', { of: { 64: 'CMD_ATC_INV' }, linux: 'CMDQ_0_OP' }),
    RES0_8: res0(0, 8, 8),
    Global: bool(0, 9, 'any PASID; only with SSV=1', 'CMDQ_ATC_0_GLOBAL'),
    SSec: bool(0, 10, 'Secure stream; illegal on the Non-secure queue'),
    SSV: bool(0, 11, 'SubstreamID is valid', 'CMDQ_0_SSV'),
    SubstreamID: uint(0, 31, 12, 'SubstreamID', 'CMDQ_ATC_0_SSID'),
    StreamID: uint(0, 63, 32, 'StreamID', 'CMDQ_ATC_0_SID'),
    Size: uint(1, 5, 0, 'log2 of the span in 4 KiB, 52 for all', 'CMDQ_ATC_1_SIZE'),
    RES0_75_70: res0(1, 11, 6),
    Address: addr(1, 63, 12, 'first address', 'CMDQ_ATC_1_ADDR_MASK'),
  },
);

/**
 * Answers a page request group. Source: IHI 0070 4.5.2.
 * @example CMD_PRI_RESP.encode({ Opcode: OPCODE.PRI_RESP })
 */
export const CMD_PRI_RESP = layout(
  'CMD_PRI_RESP',
  { dwords: 2, spec: 'IHI 0070 4.5.2', linux: 'CMDQ_OP_PRI_RESP' },
  {
    Opcode: choice(0, 7, 0, 'opcode 0x41', { of: { 65: 'CMD_PRI_RESP' }, linux: 'CMDQ_0_OP' }),
    RES0_9_8: res0(0, 9, 8),
    SSec: bool(0, 10, 'Secure stream; illegal on the Non-secure queue'),
    SSV: bool(0, 11, 'SubstreamID is valid', 'CMDQ_0_SSV'),
    SubstreamID: uint(0, 31, 12, 'SubstreamID', 'CMDQ_PRI_0_SSID'),
    StreamID: uint(0, 63, 32, 'StreamID', 'CMDQ_PRI_0_SID'),
    PRGIndex: uint(1, 8, 0, 'page request group', 'CMDQ_PRI_1_GRPID'),
    RES0_75_73: res0(1, 11, 9),
    Resp: choice(1, 13, 12, 'response', {
      of: { 0: 'failure', 1: 'invalid request', 2: 'success' },
      linux: 'CMDQ_PRI_1_RESP',
    }),
    RES0_127_78: res0(1, 63, 14),
  },
);

/**
 * Retries or terminates a stalled transaction. Source: IHI 0070 4.6.1.
 * @example CMD_RESUME.encode({ Opcode: OPCODE.RESUME })
 */
export const CMD_RESUME = layout(
  'CMD_RESUME',
  { dwords: 2, spec: 'IHI 0070 4.6.1', linux: 'CMDQ_OP_RESUME' },
  {
    Opcode: choice(0, 7, 0, 'opcode 0x44', { of: { 68: 'CMD_RESUME' }, linux: 'CMDQ_0_OP' }),
    RES0_9_8: res0(0, 9, 8),
    SSec: bool(0, 10, 'Secure stream; illegal on the Non-secure queue'),
    RES0_11: res0(0, 11, 11),
    Ac: bool(0, 12, 'retry, else terminate', 'CMDQ_RESUME_0_RESP'),
    Ab: bool(0, 13, 'abort, else RAZ/WI; with Ac=0', 'CMDQ_RESUME_0_RESP'),
    RES0_31_14: res0(0, 31, 14),
    StreamID: uint(0, 63, 32, 'StreamID', 'CMDQ_RESUME_0_SID'),
    STAG: uint(1, 15, 0, 'tag of the stalled transaction', 'CMDQ_RESUME_1_STAG'),
    RES0_127_80: res0(1, 63, 16),
  },
);

/**
 * Terminates the stalled transactions of a stream. Source: IHI 0070 4.6.2.
 * @example CMD_STALL_TERM.encode({ Opcode: OPCODE.STALL_TERM })
 */
export const CMD_STALL_TERM = layout(
  'CMD_STALL_TERM',
  { dwords: 2, spec: 'IHI 0070 4.6.2' },
  {
    Opcode: choice(0, 7, 0, 'opcode 0x45', { of: { 69: 'CMD_STALL_TERM' }, linux: 'CMDQ_0_OP' }),
    RES0_9_8: res0(0, 9, 8),
    SSec: bool(0, 10, 'Secure stream; illegal on the Non-secure queue'),
    RES0_31_11: res0(0, 31, 11),
    StreamID: uint(0, 63, 32, 'StreamID'),
    RES0_127_64: res0(1, 63, 0),
  },
);

/**
 * Waits for earlier commands. Source: IHI 0070 4.7.
 * @example CMD_SYNC.encode({ Opcode: OPCODE.SYNC })
 */
export const CMD_SYNC = layout(
  'CMD_SYNC',
  { dwords: 2, spec: 'IHI 0070 4.7', linux: 'CMDQ_OP_CMD_SYNC' },
  {
    Opcode: choice(0, 7, 0, 'opcode 0x46', { of: { 70: 'CMD_SYNC' }, linux: 'CMDQ_0_OP' }),
    RES0_9_8: res0(0, 9, 8),
    SSec: bool(0, 10, 'Secure stream; illegal on the Non-secure queue'),
    RES0_11: res0(0, 11, 11),
    CS: choice(0, 13, 12, 'completion signal', {
      of: { 0: 'none', 1: 'interrupt', 2: 'event' },
      linux: 'CMDQ_SYNC_0_CS',
    }),
    RES0_21_14: res0(0, 21, 14),
    MSH: choice(0, 23, 22, 'shareability of the MSI write', {
      of: { 0: 'Non-shareable', 2: 'Outer Shareable', 3: 'Inner Shareable' },
      linux: 'CMDQ_SYNC_0_MSH',
    }),
    MSIAttr: uint(0, 27, 24, 'memory type of the MSI write', 'CMDQ_SYNC_0_MSIATTR'),
    RES0_31_28: res0(0, 31, 28),
    MSIData: uint(0, 63, 32, 'MSI data', 'CMDQ_SYNC_0_MSIDATA'),
    RES0_65_64: res0(1, 1, 0),
    MSIAddress: addr(1, 55, 2, 'MSI address, 0 for none', 'CMDQ_SYNC_1_MSIADDR_MASK'),
    RES0_127_120: res0(1, 63, 56),
  },
);

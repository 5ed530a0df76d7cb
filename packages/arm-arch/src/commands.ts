import type { FieldRows, Layout } from '@iommukit/bits';
import {
  CMD_CFGI_CD,
  CMD_CFGI_CD_ALL,
  CMD_CFGI_STE,
  CMD_CFGI_STE_RANGE,
  CMD_CFGI_VMS_PIDM,
  CMD_PREFETCH_ADDR,
  CMD_PREFETCH_CONFIG,
} from './commands-config.ts';
import {
  CMD_ATC_INV,
  CMD_PRI_RESP,
  CMD_RESUME,
  CMD_STALL_TERM,
  CMD_SYNC,
} from './commands-sync.ts';
import {
  CMD_TLBI_EL2_ALL,
  CMD_TLBI_EL2_ASID,
  CMD_TLBI_EL2_VA,
  CMD_TLBI_EL2_VAA,
  CMD_TLBI_EL3_ALL,
  CMD_TLBI_EL3_VA,
  CMD_TLBI_NH_ALL,
  CMD_TLBI_NH_ASID,
  CMD_TLBI_NH_VA,
  CMD_TLBI_NH_VAA,
  CMD_TLBI_NSNH_ALL,
  CMD_TLBI_S2_IPA,
  CMD_TLBI_S12_VMALL,
} from './commands-tlb.ts';

/** Bytes of a command, IHI 0070 4.1. @example COMMAND_BYTES * queueIndex(prod, lg2) */
export const COMMAND_BYTES = 16;

/** Command opcodes of the Non-secure queue, IHI 0070 4.1.1. @example OPCODE.SYNC // 0x46 */
export const OPCODE = {
  PREFETCH_CONFIG: 0x01,
  PREFETCH_ADDR: 0x02,
  CFGI_STE: 0x03,
  CFGI_STE_RANGE: 0x04,
  CFGI_CD: 0x05,
  CFGI_CD_ALL: 0x06,
  CFGI_VMS_PIDM: 0x07,
  TLBI_NH_ALL: 0x10,
  TLBI_NH_ASID: 0x11,
  TLBI_NH_VA: 0x12,
  TLBI_NH_VAA: 0x13,
  TLBI_EL3_ALL: 0x18,
  TLBI_EL3_VA: 0x1a,
  TLBI_EL2_ALL: 0x20,
  TLBI_EL2_ASID: 0x21,
  TLBI_EL2_VA: 0x22,
  TLBI_EL2_VAA: 0x23,
  TLBI_S12_VMALL: 0x28,
  TLBI_S2_IPA: 0x2a,
  TLBI_NSNH_ALL: 0x30,
  ATC_INV: 0x40,
  PRI_RESP: 0x41,
  RESUME: 0x44,
  STALL_TERM: 0x45,
  SYNC: 0x46,
} as const;

/** Name of a command without the prefix. @example const name: CommandName = 'TLBI_NH_VA'; */
export type CommandName = keyof typeof OPCODE;

/** Layout of each command by opcode, IHI 0070 4. @example COMMANDS.get(0x46)?.name // 'CMD_SYNC' */
export const COMMANDS: ReadonlyMap<number, Layout<FieldRows>> = new Map(
  [
    CMD_PREFETCH_CONFIG,
    CMD_PREFETCH_ADDR,
    CMD_CFGI_STE,
    CMD_CFGI_STE_RANGE,
    CMD_CFGI_CD,
    CMD_CFGI_CD_ALL,
    CMD_CFGI_VMS_PIDM,
    CMD_TLBI_NH_ALL,
    CMD_TLBI_NH_ASID,
    CMD_TLBI_NH_VA,
    CMD_TLBI_NH_VAA,
    CMD_TLBI_EL3_ALL,
    CMD_TLBI_EL3_VA,
    CMD_TLBI_EL2_ALL,
    CMD_TLBI_EL2_ASID,
    CMD_TLBI_EL2_VA,
    CMD_TLBI_EL2_VAA,
    CMD_TLBI_S12_VMALL,
    CMD_TLBI_S2_IPA,
    CMD_TLBI_NSNH_ALL,
    CMD_ATC_INV,
    CMD_PRI_RESP,
    CMD_RESUME,
    CMD_STALL_TERM,
    CMD_SYNC,
  ].map((command): [number, Layout<FieldRows>] => [
    OPCODE[command.name.slice(4) as CommandName],
    command as unknown as Layout<FieldRows>,
  ]),
);

/** Range of CMD_CFGI_STE_RANGE that covers every stream (CMD_CFGI_ALL), IHI 0070 4.3.2. @example CMD_CFGI_STE_RANGE.encode({ Opcode: 4, Range: CFGI_ALL_RANGE }) */
export const CFGI_ALL_RANGE = 31;

/** Size of CMD_ATC_INV that covers every address, IHI 0070 4.5.1. @example CMD_ATC_INV.encode({ Size: ATC_INV_SIZE_ALL }) */
export const ATC_INV_SIZE_ALL = 52;

/** CMDQ_CONS.ERR, IHI 0070 7.1. @example CERROR.ILL // 1 */
export const CERROR = { NONE: 0, ILL: 1, ABT: 2, ATC_INV_SYNC: 3 } as const;

/** CMD_SYNC.CS, IHI 0070 4.7. @example SYNC_CS.IRQ // 1 */
export const SYNC_CS = { NONE: 0, IRQ: 1, SEV: 2 } as const;

/** CMD_PRI_RESP.Resp, IHI 0070 4.5.2; Linux: `enum pri_resp`. @example PRI_RESPONSE.SUCCESS // 2 */
export const PRI_RESPONSE = { FAILURE: 0, INVALID: 1, SUCCESS: 2 } as const;

/** Ac and Ab of CMD_RESUME as one number, IHI 0070 4.6.1. @example RESUME_RESPONSE.RETRY // 1 */
export const RESUME_RESPONSE = { TERMINATE: 0, RETRY: 1, ABORT: 2 } as const;

import {
  CFGI_ALL_RANGE,
  CMD_ATC_INV,
  CMD_CFGI_CD,
  CMD_CFGI_CD_ALL,
  CMD_CFGI_STE,
  CMD_CFGI_STE_RANGE,
  CMD_PREFETCH_CONFIG,
  CMD_PRI_RESP,
  CMD_RESUME,
  CMD_SYNC,
  CMD_TLBI_EL2_ASID,
  CMD_TLBI_EL2_VA,
  CMD_TLBI_NH_ASID,
  CMD_TLBI_NH_VA,
  CMD_TLBI_S2_IPA,
  CMD_TLBI_S12_VMALL,
  OPCODE,
  PRI_RESPONSE,
  SYNC_CS,
} from '@iommukit/arm-arch';
import type { U64 } from '@iommukit/bits';
import { ERRNO } from '@iommukit/platform';
import { COMMAND_LANES } from './command-batch.ts';
import { KERNEL_ADDRESS_END } from './kernel-address.ts';

/**
 * A command before it has words (`struct arm_smmu_cmdq_ent`): every field that some opcode has. Absent is 0 or false.
 * @example const record: CommandRecord = { opcode: OPCODE.CFGI_STE, streamId: 8, leaf: true };
 */
export interface CommandRecord {
  readonly opcode: number;
  readonly streamId?: number;
  readonly substreamId?: number;
  /** SubstreamID is valid. */
  readonly ssv?: boolean;
  readonly leaf?: boolean;
  /** Range of a TLBI as the fields stand: count minus 1, log2 of the unit. */
  readonly num?: number;
  readonly scale?: number;
  readonly asid?: number;
  readonly vmid?: number;
  readonly ttl?: number;
  readonly tg?: number;
  /** Address of a TLBI or ATC_INV; bits below the field are dropped. */
  readonly address?: U64;
  /** log2 of the span of an ATC_INV. */
  readonly size?: number;
  readonly global?: boolean;
  readonly group?: number;
  readonly response?: number;
  readonly stag?: number;
  /** Address of the MSI of a SYNC; absent: the SYNC sends an event. */
  readonly msiAddress?: U64;
}

type Write = (record: CommandRecord, words: Uint32Array) => number;

// Pages of 4 KiB are exact numbers for any 64-bit address; a doubleword itself is not.
const pageOf = ({ lo, hi }: U64): number => hi * 2 ** 32 + (lo - (lo % 4096));
const addressOf = (record: CommandRecord): number =>
  record.address === undefined ? 0 : pageOf(record.address);

function range(record: CommandRecord, words: Uint32Array): void {
  const { set } = CMD_TLBI_NH_VA;
  set.NUM(words, record.num ?? 0);
  set.SCALE(words, record.scale ?? 0);
  set.Leaf(words, record.leaf === true ? 1 : 0);
  set.TTL(words, record.ttl ?? 0);
  set.TG(words, record.tg ?? 0);
}

const WRITERS = new Map<number, Write>([
  [
    OPCODE.PREFETCH_CONFIG,
    (record, words) => {
      CMD_PREFETCH_CONFIG.set.StreamID(words, record.streamId ?? 0);
      return 0;
    },
  ],
  [
    OPCODE.CFGI_STE,
    (record, words) => {
      CMD_CFGI_STE.set.StreamID(words, record.streamId ?? 0);
      CMD_CFGI_STE.set.Leaf(words, record.leaf === true ? 1 : 0);
      return 0;
    },
  ],
  [
    OPCODE.CFGI_STE_RANGE,
    (_record, words) => {
      CMD_CFGI_STE_RANGE.set.Range(words, CFGI_ALL_RANGE);
      return 0;
    },
  ],
  [
    OPCODE.CFGI_CD,
    (record, words) => {
      CMD_CFGI_CD.set.StreamID(words, record.streamId ?? 0);
      CMD_CFGI_CD.set.SubstreamID(words, record.substreamId ?? 0);
      CMD_CFGI_CD.set.Leaf(words, record.leaf === true ? 1 : 0);
      return 0;
    },
  ],
  [
    OPCODE.CFGI_CD_ALL,
    (record, words) => {
      CMD_CFGI_CD_ALL.set.StreamID(words, record.streamId ?? 0);
      return 0;
    },
  ],
  [
    OPCODE.TLBI_NH_ASID,
    (record, words) => {
      CMD_TLBI_NH_ASID.set.ASID(words, record.asid ?? 0);
      CMD_TLBI_NH_ASID.set.VMID(words, record.vmid ?? 0);
      return 0;
    },
  ],
  [
    OPCODE.TLBI_NH_VA,
    (record, words) => {
      range(record, words);
      CMD_TLBI_NH_VA.set.ASID(words, record.asid ?? 0);
      CMD_TLBI_NH_VA.set.VMID(words, record.vmid ?? 0);
      CMD_TLBI_NH_VA.set.Address(words, addressOf(record));
      return 0;
    },
  ],
  [OPCODE.TLBI_EL2_ALL, () => 0],
  [
    OPCODE.TLBI_EL2_ASID,
    (record, words) => {
      CMD_TLBI_EL2_ASID.set.ASID(words, record.asid ?? 0);
      return 0;
    },
  ],
  [
    OPCODE.TLBI_EL2_VA,
    (record, words) => {
      range(record, words);
      CMD_TLBI_EL2_VA.set.ASID(words, record.asid ?? 0);
      CMD_TLBI_EL2_VA.set.Address(words, addressOf(record));
      return 0;
    },
  ],
  [
    OPCODE.TLBI_S12_VMALL,
    (record, words) => {
      CMD_TLBI_S12_VMALL.set.VMID(words, record.vmid ?? 0);
      return 0;
    },
  ],
  [
    OPCODE.TLBI_S2_IPA,
    (record, words) => {
      range(record, words);
      CMD_TLBI_S2_IPA.set.VMID(words, record.vmid ?? 0);
      CMD_TLBI_S2_IPA.set.Address(words, addressOf(record) % KERNEL_ADDRESS_END);
      return 0;
    },
  ],
  [OPCODE.TLBI_NSNH_ALL, () => 0],
  [
    OPCODE.ATC_INV,
    (record, words) => {
      const { set } = CMD_ATC_INV;
      set.SSV(words, record.ssv === true ? 1 : 0);
      set.Global(words, record.global === true ? 1 : 0);
      set.SubstreamID(words, record.substreamId ?? 0);
      set.StreamID(words, record.streamId ?? 0);
      set.Size(words, record.size ?? 0);
      set.Address(words, addressOf(record));
      return 0;
    },
  ],
  [
    OPCODE.PRI_RESP,
    (record, words) => {
      const { set } = CMD_PRI_RESP;
      const { response = 0 } = record;
      if (response > PRI_RESPONSE.SUCCESS) return -ERRNO.EINVAL;
      set.SSV(words, record.ssv === true ? 1 : 0);
      set.SubstreamID(words, record.substreamId ?? 0);
      set.StreamID(words, record.streamId ?? 0);
      set.PRGIndex(words, record.group ?? 0);
      set.Resp(words, response);
      return 0;
    },
  ],
  [
    OPCODE.RESUME,
    (record, words) => {
      const { set } = CMD_RESUME;
      const { response = 0 } = record;
      set.StreamID(words, record.streamId ?? 0);
      set.Ac(words, response % 2);
      set.Ab(words, Math.floor(response / 2) % 2);
      set.STAG(words, record.stag ?? 0);
      return 0;
    },
  ],
  [
    OPCODE.SYNC,
    (record, words) => {
      const { set } = CMD_SYNC;
      const { msiAddress } = record;
      set.CS(words, msiAddress === undefined ? SYNC_CS.SEV : SYNC_CS.IRQ);
      set.MSH(words, 3);
      set.MSIAttr(words, 15);
      if (msiAddress === undefined) return 0;
      const { lo, hi } = msiAddress;
      // The kernel's mask ends at bit 51; the field starts at bit 2.
      set.MSIAddress(words, (hi % 2 ** 20) * 2 ** 32 + (lo - (lo % 4)));
      return 0;
    },
  ],
]);

/**
 * The words of a record as kernels before 7.x build them (`arm_smmu_cmdq_build_cmd`): each opcode takes the fields that it has. -ENOENT
 * for an opcode that the builder does not know, -EINVAL for a response that PRI does not have.
 * @example const words = new Uint32Array(4); buildCommand({ opcode: 0x3, streamId: 8, leaf: true }, words) // 0
 */
export function buildCommand(record: CommandRecord, words: Uint32Array): number {
  const write = WRITERS.get(record.opcode);
  if (write === undefined) return -ERRNO.ENOENT;
  words.fill(0, 0, COMMAND_LANES);
  words[0] = record.opcode;
  return write(record, words);
}

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
  CMD_TLBI_NH_ASID,
  CMD_TLBI_NH_VA,
  OPCODE,
} from '@iommukit/arm-arch';

/** Commands that one list can hold (`CMDQ_BATCH_ENTRIES`). */
export const BATCH_ENTRIES = 64;
/** 32-bit lanes of a command. */
export const COMMAND_LANES = 4;

const {
  NUM: setNum,
  SCALE: setScale,
  VMID: setVmid,
  ASID: setAsid,
  Leaf: setLeaf,
  TTL: setTtl,
  TG: setTg,
  Address: setAddress,
} = CMD_TLBI_NH_VA.set;

/**
 * Fields of one TLBI by address (IHI 0070 4.4.1); reused by the caller so that a range costs no object for each command. The fields
 * stand at the same place in NH_VA, EL2_VA and S2_IPA; a tag that an opcode does not have is 0.
 * @example batch.tlbiAddress({ opcode: OPCODE.TLBI_NH_VA, asid: 1, vmid: 0, address: 0x1000, num: 0, scale: 0, tg: 0, ttl: 0, leaf: 1 });
 */
export interface TlbiAddress {
  opcode: number;
  asid: number;
  vmid: number;
  /** Bytes, aligned to the granule. */
  address: number;
  /** Number of 2^scale granules, 1 to 32; 0 and 0 scale without range invalidation. */
  num: number;
  scale: number;
  tg: number;
  ttl: number;
  leaf: number;
}

/**
 * One CMD_ATC_INV (IHI 0070 4.5.1): `size` is the log2 of the span in pages of 4 KiB, 52 for everything.
 * @example batch.atcInv({ streamId: 8, substreamId: 0, address: 0, size: 52 });
 */
export interface AtcInvalidation {
  readonly streamId: number;
  /** 0: requests without SubstreamID. */
  readonly substreamId: number;
  /** Bytes, aligned to 4 KiB. */
  readonly address: number;
  readonly size: number;
}

/**
 * One CMD_PRI_RESP (IHI 0070 4.5.2).
 * @example batch.priResponse({ streamId: 8, substreamId: 5, ssv: true, group: 3, response: PRI_RESPONSE.SUCCESS });
 */
export interface PriResponse {
  readonly streamId: number;
  readonly substreamId: number;
  /** The request had a PASID. */
  readonly ssv: boolean;
  /** Page request group index. */
  readonly group: number;
  /** 0 deny, 1 fail, 2 success. */
  readonly response: number;
}

/**
 * A list of commands as they will stand in the queue.
 * @example const batch = new CommandBatch(); batch.cfgiSte(8); cmdq.issueSync(batch);
 */
export class CommandBatch {
  /** Four lanes a command. */
  readonly words: Uint32Array = new Uint32Array(BATCH_ENTRIES * COMMAND_LANES);
  /** Commands in the list. */
  num = 0;

  /** Empties the list. */
  reset(): void {
    this.num = 0;
  }

  /** True when no command fits any more. */
  get isFull(): boolean {
    return this.num === BATCH_ENTRIES;
  }

  /** A command of which only the opcode is set. */
  opcode(opcode: number): void {
    this.#next(opcode);
  }

  /** A TLBI by address or range: CMD_TLBI_NH_VA, EL2_VA or S2_IPA. */
  tlbiAddress(command: TlbiAddress): void {
    const { words } = this;
    const at = this.#next(command.opcode);
    if (command.num > 0) setNum(words, command.num - 1, at);
    // The architecture's field has six bits, Linux uses five.
    setScale(words, command.scale % 32, at);
    setAsid(words, command.asid, at);
    setVmid(words, command.vmid, at);
    setLeaf(words, command.leaf, at);
    setTtl(words, command.ttl, at);
    setTg(words, command.tg, at);
    setAddress(words, command.address, at);
  }

  /** A TLBI by tag; both tags are written, so the one that the opcode does not have must be 0. */
  tlbiTag(opcode: number, tag: { readonly asid: number; readonly vmid: number }): void {
    const at = this.#next(opcode);
    CMD_TLBI_NH_ASID.set.ASID(this.words, tag.asid, at);
    CMD_TLBI_NH_ASID.set.VMID(this.words, tag.vmid, at);
  }

  tlbiNhAsid(asid: number): void {
    CMD_TLBI_NH_ASID.set.ASID(this.words, asid, this.#next(OPCODE.TLBI_NH_ASID));
  }

  tlbiNsnhAll(): void {
    this.#next(OPCODE.TLBI_NSNH_ALL);
  }

  tlbiEl2All(): void {
    this.#next(OPCODE.TLBI_EL2_ALL);
  }

  cfgiAll(): void {
    // CMD_CFGI_ALL is CMD_CFGI_STE_RANGE over everything (IHI 0070 4.3.2).
    CMD_CFGI_STE_RANGE.set.Range(this.words, CFGI_ALL_RANGE, this.#next(OPCODE.CFGI_STE_RANGE));
  }

  /** CMD_CFGI_STE; `leaf` 0 drops the level-1 descriptor too. */
  cfgiSte(streamId: number, leaf: 0 | 1 = 1): void {
    const at = this.#next(OPCODE.CFGI_STE);
    CMD_CFGI_STE.set.StreamID(this.words, streamId, at);
    CMD_CFGI_STE.set.Leaf(this.words, leaf, at);
  }

  /** CMD_CFGI_CD; `leaf` 0 drops the level-1 descriptor too. */
  cfgiCd(streamId: number, substreamId: number, leaf: 0 | 1 = 1): void {
    const at = this.#next(OPCODE.CFGI_CD);
    CMD_CFGI_CD.set.StreamID(this.words, streamId, at);
    CMD_CFGI_CD.set.SubstreamID(this.words, substreamId, at);
    CMD_CFGI_CD.set.Leaf(this.words, leaf, at);
  }

  cfgiCdAll(streamId: number): void {
    CMD_CFGI_CD_ALL.set.StreamID(this.words, streamId, this.#next(OPCODE.CFGI_CD_ALL));
  }

  prefetchConfig(streamId: number): void {
    CMD_PREFETCH_CONFIG.set.StreamID(this.words, streamId, this.#next(OPCODE.PREFETCH_CONFIG));
  }

  /** CMD_ATC_INV; SSV stands exactly when there is a SubstreamID. */
  atcInv({ streamId, substreamId, address, size }: AtcInvalidation): void {
    const { words } = this;
    const { set } = CMD_ATC_INV;
    const at = this.#next(OPCODE.ATC_INV);
    set.StreamID(words, streamId, at);
    set.SubstreamID(words, substreamId, at);
    if (substreamId !== 0) set.SSV(words, 1, at);
    set.Address(words, address, at);
    set.Size(words, size, at);
  }

  /** CMD_PRI_RESP. */
  priResponse({ streamId, substreamId, ssv, group, response }: PriResponse): void {
    const { words } = this;
    const { set } = CMD_PRI_RESP;
    const at = this.#next(OPCODE.PRI_RESP);
    set.StreamID(words, streamId, at);
    set.SubstreamID(words, substreamId, at);
    if (ssv) set.SSV(words, 1, at);
    set.PRGIndex(words, group, at);
    set.Resp(words, response, at);
  }

  /** CMD_RESUME; response 0 terminate, 1 retry, 2 abort. */
  resume(streamId: number, stag: number, response: number): void {
    const { words } = this;
    const { set } = CMD_RESUME;
    const at = this.#next(OPCODE.RESUME);
    set.StreamID(words, streamId, at);
    set.STAG(words, stag, at);
    set.Ac(words, response % 2, at);
    set.Ab(words, Math.floor(response / 2) % 2, at);
  }

  #next(opcode: number): number {
    const at = this.num++ * COMMAND_LANES;
    this.words[at] = opcode;
    this.words[at + 1] = 0;
    this.words[at + 2] = 0;
    this.words[at + 3] = 0;
    return at;
  }
}

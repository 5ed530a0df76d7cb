import {
  CFGI_ALL_RANGE,
  CMD_CFGI_CD,
  CMD_CFGI_STE,
  CMD_CFGI_STE_RANGE,
  CMD_PREFETCH_CONFIG,
  CMD_SYNC,
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
  ASID: setAsid,
  Leaf: setLeaf,
  TTL: setTtl,
  TG: setTg,
  Address: setAddress,
} = CMD_TLBI_NH_VA.set;

/**
 * Fields of one CMD_TLBI_NH_VA (IHI 0070 4.4.1); reused by the caller so that a range costs no object for each command.
 */
export interface TlbiVa {
  asid: number;
  /** Bytes, aligned to the granule. */
  address: number;
  /** Number of 2^scale granules, 1 to 32; 0 and 0 scale without range invalidation. */
  num: number;
  scale: number;
  tg: number;
  ttl: number;
  leaf: number;
}

/** A list of commands as they will stand in the queue. */
export class CommandBatch {
  readonly words: Uint32Array = new Uint32Array(BATCH_ENTRIES * COMMAND_LANES);
  num = 0;

  reset(): void {
    this.num = 0;
  }

  get isFull(): boolean {
    return this.num === BATCH_ENTRIES;
  }

  /** Adds CMD_TLBI_NH_VA. */
  tlbiNhVa(command: TlbiVa): void {
    const { words } = this;
    const at = this.#next(OPCODE.TLBI_NH_VA);
    if (command.num > 0) setNum(words, command.num - 1, at);
    setScale(words, command.scale, at);
    setAsid(words, command.asid, at);
    setLeaf(words, command.leaf, at);
    setTtl(words, command.ttl, at);
    setTg(words, command.tg, at);
    setAddress(words, command.address, at);
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

  cfgiSte(streamId: number): void {
    const at = this.#next(OPCODE.CFGI_STE);
    CMD_CFGI_STE.set.StreamID(this.words, streamId, at);
    CMD_CFGI_STE.set.Leaf(this.words, 1, at);
  }

  cfgiCd(streamId: number, substreamId: number): void {
    const at = this.#next(OPCODE.CFGI_CD);
    CMD_CFGI_CD.set.StreamID(this.words, streamId, at);
    CMD_CFGI_CD.set.SubstreamID(this.words, substreamId, at);
    CMD_CFGI_CD.set.Leaf(this.words, 1, at);
  }

  prefetchConfig(streamId: number): void {
    CMD_PREFETCH_CONFIG.set.StreamID(this.words, streamId, this.#next(OPCODE.PREFETCH_CONFIG));
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

/** The CMD_SYNC that Linux appends: CS = SEV, inner shareable, write-back attributes, also where the SMMU cannot send events. */
export const SYNC_WORDS: Uint32Array = CMD_SYNC.encode({
  Opcode: OPCODE.SYNC,
  CS: 2,
  MSH: 3,
  MSIAttr: 15,
});

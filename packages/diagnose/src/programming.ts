import {
  CMDQ_BASE,
  CMDQ_CONS,
  CMDQ_PROD,
  CR0,
  EVENTQ_BASE,
  EVENTQ_CONS,
  EVENTQ_PROD,
  IDR1,
  REGISTER_OFFSET as R,
  REGISTER_FRAME_BYTES,
  type RegisterName,
  STRTAB_BASE,
  STRTAB_BASE_CFG,
} from '@iommukit/arm-arch';
import { InputError } from '@iommukit/captures';

/**
 * Where a queue lies and how far both sides are; `prod` and `cons` are the registers' index with its wrap bit.
 * @example const empty = (queue: QueuePlace) => queue.prod === queue.cons;
 */
export interface QueuePlace {
  readonly base: number;
  readonly log2Size: number;
  readonly prod: number;
  readonly cons: number;
}

/**
 * What software has programmed, from a dump's registers. Throws `InputError` when the registers of the stream table are missing.
 * @example new Programming(snapshot.registers, file).streamTable.log2Size // 16
 */
export class Programming {
  readonly registers: ReadonlyMap<number, number>;
  /** The register frame as 32-bit words; absent ones are zero. */
  readonly words: Uint32Array;
  readonly #file: string;

  constructor(registers: ReadonlyMap<number, number>, file: string) {
    this.registers = registers;
    this.#file = file;
    this.words = new Uint32Array(REGISTER_FRAME_BYTES / 4);
    for (const [offset, value] of registers)
      if (offset < REGISTER_FRAME_BYTES) this.words[offset / 4] = value;
    this.#need('IDR0', 'IDR1', 'STRTAB_BASE', 'STRTAB_BASE_CFG');
  }

  /** CR0.SMMUEN: transactions are translated. */
  get enabled(): boolean {
    return CR0.get.SMMUEN(this.words, R.CR0 / 4) === 1;
  }

  /** STRTAB_BASE and STRTAB_BASE_CFG as hardware takes them (IHI 0070 6.3.24, 6.3.25); `sids` StreamIDs have a place. */
  get streamTable(): {
    readonly base: number;
    readonly twoLevel: boolean;
    readonly split: number;
    readonly log2Size: number;
    readonly sids: number;
  } {
    const { words } = this;
    const log2Size = STRTAB_BASE_CFG.get.LOG2SIZE(words, R.STRTAB_BASE_CFG / 4);
    const twoLevel = STRTAB_BASE_CFG.get.FMT(words, R.STRTAB_BASE_CFG / 4) === 1;
    const coded = STRTAB_BASE_CFG.get.SPLIT(words, R.STRTAB_BASE_CFG / 4);
    const split = coded === 8 || coded === 10 ? coded : 6;
    const address = STRTAB_BASE.get.ADDR(words, R.STRTAB_BASE / 4);
    const alignment = twoLevel ? 2 ** Math.max(6, log2Size - split + 3) : 2 ** (log2Size + 6);
    const sidSize = IDR1.get.SIDSIZE(words, R.IDR1 / 4);
    return {
      base: address - (address % alignment),
      twoLevel,
      split,
      log2Size,
      sids: 2 ** Math.min(log2Size, sidSize),
    };
  }

  /** The command queue; throws `InputError` when its registers are missing. */
  get commandQueue(): QueuePlace {
    this.#need('CMDQ_BASE', 'CMDQ_PROD', 'CMDQ_CONS');
    const { words } = this;
    return {
      base: CMDQ_BASE.get.ADDR(words, R.CMDQ_BASE / 4),
      log2Size: Math.min(19, CMDQ_BASE.get.LOG2SIZE(words, R.CMDQ_BASE / 4)),
      prod: CMDQ_PROD.get.WR(words, R.CMDQ_PROD / 4),
      cons: CMDQ_CONS.get.RD(words, R.CMDQ_CONS / 4),
    };
  }

  /** The event queue; throws `InputError` when its registers are missing. */
  get eventQueue(): QueuePlace {
    this.#need('EVENTQ_BASE', 'EVENTQ_PROD', 'EVENTQ_CONS');
    const { words } = this;
    return {
      base: EVENTQ_BASE.get.ADDR(words, R.EVENTQ_BASE / 4),
      log2Size: Math.min(19, EVENTQ_BASE.get.LOG2SIZE(words, R.EVENTQ_BASE / 4)),
      prod: EVENTQ_PROD.get.WR(words, R.EVENTQ_PROD / 4),
      cons: EVENTQ_CONS.get.RD(words, R.EVENTQ_CONS / 4),
    };
  }

  #need(...names: RegisterName[]): void {
    for (const name of names)
      if (!this.registers.has(R[name]))
        throw new InputError({
          file: this.#file,
          expected: `regs to hold ${name} (offset 0x${R[name].toString(16)})`,
        });
  }
}

import { OPCODE, REGISTER_OFFSET as R } from '@iommukit/arm-arch';
import { IommuError } from '@iommukit/bits';
import {
  type CachePolicy,
  type DmaResult,
  type IdrWords,
  SmmuV3Model,
  type StaleUse,
} from '@iommukit/smmu-v3-model';
import type { ProgramMemory } from './qemu-program-memory.lanes.ts';
import type {
  AccessOutcome,
  AccessStep,
  CommandOutcome,
  CommandStep,
  MemoryStep,
  RegisterPlace,
  WriteStep,
} from './qemu-program-step.ts';
import { hex, hexOfLanes } from './vector-values.lanes.ts';

const INDEX = 0xf_ffff;
const OVERFLOW = 0x8000_0000;
const CMDQ_ERR = 1;
const EVENTQEN = 4;
const CMDQEN = 8;
const COMMAND_BYTES = 16;
const EVENT_BYTES = 32;
const TWO32 = 0x1_0000_0000;
/** More rounds than any queue holds commands. */
const MOST_ROUNDS = 1 << 20;

type CommandWords = CommandStep['words'];

/** The register words that a fresh SMMU has. */
export type ResetWords = Readonly<Record<string, number>>;

/** What an access did, and what the model says about it beyond the record in memory. */
export interface ObservedAccess {
  readonly outcome: AccessOutcome;
  readonly result: DmaResult;
}

/**
 * An SMMU in the hands of the software of a program. A recorded deviation leaves QEMU's registers in another state than the architecture's: CMDQ_ERR
 * is seen shifted from then on, and what cannot be followed (other errors, the event queue's overflow flag) is no longer compared, so that one
 * deviation counts once and not in every later step.
 */
export class ProgramDevice {
  readonly model: SmmuV3Model;
  readonly #memory: ProgramMemory;
  /** CMDQ_ERR in GERROR and in GERRORN, where QEMU's differs. */
  #gerrorShift = 0;
  #gerrornShift = 0;
  /** Bits of GERROR, and the overflow flag of the event queue, that a deviation made incomparable. */
  #gerrorLost = 0;
  #overflowLost = 0;

  constructor(memory: ProgramMemory, reset: ResetWords, policy: Partial<CachePolicy>) {
    memory.clear();
    this.#memory = memory;
    this.model = new SmmuV3Model({ memory, idr: idrOf(reset), policy });
    const words = new Map<number, number>();
    for (const [name, value] of Object.entries(reset)) words.set(R[name as keyof typeof R], value);
    this.model.restoreRegisters(words);
  }

  store(step: MemoryStep): void {
    const { words } = step;
    for (let i = 0; i < words.length; i += 3)
      this.#memory.store64(words[i] as number, words[i + 1] as number, words[i + 2] as number);
  }

  write(step: WriteStep): void {
    const { registers } = this.model;
    const { offset, bytes, lo, hi } = step;
    if (bytes === 8) registers.write64(offset, lo, hi);
    else registers.write32(offset, this.#toModel(offset, lo));
    this.#settle();
  }

  read({ offset, bytes }: RegisterPlace): { lo: number; hi: number } {
    const { registers } = this.model;
    if (bytes === 8) return { lo: registers.read64(offset), hi: registers.hi };
    return { lo: this.#toProgram(offset, registers.read32(offset)), hi: 0 };
  }

  command(words: CommandWords): CommandOutcome {
    const { registers } = this.model;
    const { base, lg2 } = this.#queue(R.CMDQ_BASE);
    const prod = registers.read32(R.CMDQ_PROD) & INDEX;
    const at = base + (prod & (2 ** lg2 - 1)) * COMMAND_BYTES;
    if (this.#memory.isBacked(at)) {
      this.#memory.store64(at, words[0], words[1]);
      this.#memory.store64(at + 8, words[2], words[3]);
    }
    registers.write32(R.CMDQ_PROD, (prod + 1) & (2 ** (lg2 + 1) - 1));
    this.#settle();
    return { cons: registers.read32(R.CMDQ_CONS), gerror: this.#gerror() };
  }

  access(step: AccessStep): ObservedAccess {
    const { streamId, lo, hi, rw } = step;
    const { registers } = this.model;
    const prod = registers.read32(R.EVENTQ_PROD);
    const result = this.model.translate({ streamId, address: { lo, hi }, rw });
    const now = registers.read32(R.EVENTQ_PROD);
    // QEMU has no overflow flag: it tells an overflow in GERROR, or not at all where it takes that error for active.
    this.#overflowLost |= (now ^ prod) & OVERFLOW;
    const [before, after] = [prod & INDEX, now & INDEX];
    const outcome: AccessOutcome = {
      result: resultName(result),
      pa: 'paddr' in result ? hex(result.paddr) : undefined,
      events: before === after ? [] : this.#events(before, after),
      gerror: this.#gerror(),
    };
    return { outcome, result };
  }

  /** Goes on as after QEMU's outcome of a command that the model refused and QEMU consumed. */
  followCommand(recorded: CommandOutcome): void {
    const { registers } = this.model;
    const changed = (this.#gerror() ^ recorded.gerror) >>> 0;
    const cr0 = registers.read32(R.CR0);
    registers.write32(R.CR0, cr0 & ~CMDQEN);
    this.#settle();
    if ((changed & CMDQ_ERR) !== 0) {
      // What software does to go on: the error acknowledged, the refused command passed by.
      registers.write32(R.GERRORN, registers.read32(R.GERRORN) ^ CMDQ_ERR);
      this.#gerrornShift ^= CMDQ_ERR;
    }
    this.#gerrorShift ^= changed & CMDQ_ERR;
    this.#gerrorLost |= changed & ~CMDQ_ERR;
    // Commands of our own may have moved the indices since.
    const prod = registers.read32(R.CMDQ_PROD) & INDEX;
    registers.write32(R.CMDQ_CONS, ((recorded.cons & ~INDEX) | prod) >>> 0);
    registers.write32(R.CR0, cr0);
    this.#settle();
  }

  /** Goes on as after QEMU's outcome of an access that began with EVENTQ_PROD at `prod`: as many records in the queue. */
  followAccess(prod: number, recorded: AccessOutcome): void {
    const { registers } = this.model;
    this.#gerrorLost |= (this.#gerror() ^ recorded.gerror) & ~CMDQ_ERR;
    const now = registers.read32(R.EVENTQ_PROD);
    const { lg2 } = this.#queue(R.EVENTQ_BASE);
    const index = (prod + recorded.events.length) & (2 ** (lg2 + 1) - 1);
    if ((now & INDEX) === index) return;
    const cr0 = registers.read32(R.CR0);
    registers.write32(R.CR0, cr0 & ~EVENTQEN);
    this.#settle();
    registers.write32(R.EVENTQ_PROD, ((now & OVERFLOW) | index) >>> 0);
    registers.write32(R.CR0, cr0);
    this.#settle();
  }

  /** EVENTQ_PROD as the model has it. */
  get prod(): number {
    return this.model.registers.read32(R.EVENTQ_PROD);
  }

  /** Drops the cached entry that a stale use names, as any SMMU may at any time. */
  drop(use: StaleUse): void {
    this.command(dropping(use));
    this.command([OPCODE.SYNC, 0, 0, 0]);
  }

  /** The value with the bits cleared that an earlier deviation made incomparable. */
  comparable(offset: number, value: number): number {
    switch (offset) {
      case R.GERROR:
      case R.GERRORN:
        return (value & ~this.#gerrorLost) >>> 0;
      case R.EVENTQ_PROD:
      case R.EVENTQ_CONS:
        return (value & ~this.#overflowLost) >>> 0;
      default:
        return value;
    }
  }

  #gerror(): number {
    return (this.model.registers.read32(R.GERROR) ^ this.#gerrorShift) >>> 0;
  }

  #toModel(offset: number, value: number): number {
    const { registers } = this.model;
    switch (offset) {
      case R.GERRORN: {
        this.#gerrornShift = this.#gerrorShift;
        const lost = this.#gerrorLost;
        // Errors that only QEMU has are not acknowledged here.
        return (((value ^ this.#gerrorShift) & ~lost) | (registers.read32(R.GERROR) & lost)) >>> 0;
      }
      case R.EVENTQ_CONS: {
        const lost = this.#overflowLost;
        return ((value & ~lost) | (registers.read32(R.EVENTQ_PROD) & lost)) >>> 0;
      }
      default:
        return value;
    }
  }

  #toProgram(offset: number, value: number): number {
    if (offset === R.GERROR) return (value ^ this.#gerrorShift) >>> 0;
    return offset === R.GERRORN ? (value ^ this.#gerrornShift) >>> 0 : value;
  }

  /** Address and log2 of the number of entries of a queue; low address bits that the size covers are zero (3.5). */
  #queue(register: number): { base: number; lg2: number } {
    const { registers } = this.model;
    const lo = registers.read64(register);
    const lg2 = Math.min(lo & 31, 19);
    const bytes = 2 ** lg2 * (register === R.CMDQ_BASE ? COMMAND_BYTES : EVENT_BYTES);
    const base = (registers.hi & 0xf_ffff) * TWO32 + ((lo & ~31) >>> 0);
    return { base: base - (base % bytes), lg2 };
  }

  #events(before: number, after: number): string[][] {
    const { base, lg2 } = this.#queue(R.EVENTQ_BASE);
    const events: string[][] = [];
    const memory = this.#memory;
    for (let i = before; i !== after && events.length < 8; i = (i + 1) & (2 ** (lg2 + 1) - 1)) {
      const at = base + (i & (2 ** lg2 - 1)) * EVENT_BYTES;
      events.push([0, 8, 16, 24].map((word) => hexOfLanes(memory.load64(at + word), memory.hi)));
    }
    return events;
  }

  /** Runs the model until it has nothing left to do. */
  #settle(): void {
    for (let i = 0; i < MOST_ROUNDS && this.model.run(); i++);
  }
}

/** The narrowest command that removes the entry. */
function dropping(use: StaleUse): CommandWords {
  const { kind, streamId, asid, vmid = 0, iova = 0, ipa = 0 } = use;
  switch (kind) {
    case 'tlb':
    case 'walk': {
      const tags = ((asid ?? 0) << 16) | vmid;
      const opcode = asid === undefined ? OPCODE.TLBI_NH_VAA : OPCODE.TLBI_NH_VA;
      return [opcode, tags >>> 0, iova % TWO32, Math.floor(iova / TWO32)];
    }
    case 's2-tlb':
    case 's2-walk':
      return [OPCODE.TLBI_S2_IPA, vmid, ipa % TWO32, Math.floor(ipa / TWO32)];
    case 'cd':
    case 'l1cd':
      return [OPCODE.CFGI_CD | ((use.substreamId ?? 0) << 12), streamId, 0, 0];
    default:
      return [OPCODE.CFGI_STE, streamId, 0, 0];
  }
}

/** The word that a program has for a result; a stalled access has none. */
export function resultName(result: DmaResult): string {
  switch (result.outcome) {
    case 'ok':
    case 'bypass':
      return 'ok';
    case 'abort':
      return 'abort';
    case 'fault':
      return result.response;
    default:
      return result.outcome;
  }
}

function idrOf(reset: ResetWords): IdrWords {
  const word = (name: string): number => reset[name] ?? 0;
  return {
    IDR0: word('IDR0'),
    IDR1: word('IDR1'),
    IDR2: word('IDR2'),
    IDR3: word('IDR3'),
    IDR4: word('IDR4'),
    IDR5: word('IDR5'),
    IIDR: word('IIDR'),
    AIDR: word('AIDR'),
  };
}

/** The code of an error that says that the model lacks something, else `undefined`. */
export function unmodelledCode(error: unknown): string | undefined {
  return error instanceof IommuError && error.code.startsWith('UNMODELLED')
    ? error.code
    : undefined;
}

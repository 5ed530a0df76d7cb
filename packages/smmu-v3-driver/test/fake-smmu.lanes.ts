import { IDR0, IDR1, IDR3, IDR5, REGISTER_OFFSET } from '@iommukit/arm-arch';
import { toBigInt } from '@iommukit/bits';
import type { MemoryView, MmioFrame, Runnable } from '@iommukit/platform';

const at = REGISTER_OFFSET;

/** One write of a register: offset, value, bytes. */
export type RegisterWrite = readonly [offset: number, value: bigint, bytes: 4 | 8];

/** The ID words of an SMMU. */
export interface IdWords {
  readonly idr0: number;
  readonly idr1: number;
  readonly idr3: number;
  readonly idr5: number;
}

/** As QEMU's SMMUv3 of the captures reports (DUMP-IDLE.regs.json). */
export const QEMU_IDS: IdWords = {
  idr0: 0x0d44_101b,
  idr1: 0x0273_0010,
  idr3: 0x1414,
  idr5: 0x74,
};

/** ID words with some fields changed. */
export function idsWith(change: {
  readonly idr0?: Parameters<typeof IDR0.encode>[0];
  readonly idr1?: Parameters<typeof IDR1.encode>[0];
  readonly idr3?: Parameters<typeof IDR3.encode>[0];
  readonly idr5?: Parameters<typeof IDR5.encode>[0];
}): IdWords {
  return {
    idr0: merged(IDR0, QEMU_IDS.idr0, change.idr0),
    idr1: merged(IDR1, QEMU_IDS.idr1, change.idr1),
    idr3: merged(IDR3, QEMU_IDS.idr3, change.idr3),
    idr5: merged(IDR5, QEMU_IDS.idr5, change.idr5),
  };
}

function merged(
  layout: { readonly set: Readonly<Record<string, (words: Uint32Array, value: never) => void>> },
  word: number,
  fields: object | undefined,
): number {
  const words = new Uint32Array([word, 0]);
  for (const [name, value] of Object.entries(fields ?? {}))
    layout.set[name]?.(words, value as never);
  return words[0] ?? 0;
}

/** Registers that acknowledge, and a consumer of commands that decodes nothing: what it took stands in `commands`. */
export class FakeSmmu implements MmioFrame, Runnable {
  hi = 0;
  readonly writes: RegisterWrite[] = [];
  /** Every command consumed, SYNCs included: [q0, q1]. */
  readonly commands: (readonly [bigint, bigint])[] = [];
  /** Registers that never acknowledge. */
  readonly deaf = new Set<number>();
  /** Consumes at the write of PROD; 'run' waits for a turn of the platform; 'never' is dead. */
  consumes: 'at-once' | 'run' | 'never' = 'at-once';
  readonly #regs = new Map<number, number>();
  readonly #memory: MemoryView;

  constructor(memory: MemoryView, ids: IdWords = QEMU_IDS) {
    this.#memory = memory;
    this.#regs.set(at.IDR0, ids.idr0).set(at.IDR1, ids.idr1);
    this.#regs.set(at.IDR3, ids.idr3).set(at.IDR5, ids.idr5);
  }

  /** Sets a register as hardware does. */
  poke(offset: number, value: number): void {
    this.#regs.set(offset, value >>> 0);
  }

  read32(offset: number): number {
    return this.#regs.get(offset) ?? 0;
  }

  read64(offset: number): number {
    this.hi = this.read32(offset + 4);
    return this.read32(offset);
  }

  write32(offset: number, value: number): void {
    this.writes.push([offset, BigInt(value), 4]);
    this.poke(offset, value);
    if (this.deaf.has(offset)) return;
    if (offset === at.CR0) this.poke(at.CR0ACK, value);
    if (offset === at.IRQ_CTRL) this.poke(at.IRQ_CTRLACK, value);
    if (offset === at.GBPA) this.poke(offset, value & 0x7fff_ffff);
    if (offset === at.CMDQ_PROD && this.consumes === 'at-once') this.consume(Infinity);
  }

  write64(offset: number, lo: number, hi: number): void {
    this.writes.push([offset, toBigInt({ lo, hi }), 8]);
    this.poke(offset, lo);
    this.poke(offset + 4, hi);
  }

  /** Takes at most `count` commands; how many it took. */
  consume(count: number): number {
    const base = this.#address(at.CMDQ_BASE);
    const lg2 = this.read32(at.CMDQ_BASE) & 31;
    const mask = 2 ** (lg2 + 1) - 1;
    let taken = 0;
    while (taken < count && this.read32(at.CMDQ_CONS) !== (this.read32(at.CMDQ_PROD) & mask)) {
      const cons = this.read32(at.CMDQ_CONS);
      const pa = base + (cons & (2 ** lg2 - 1)) * 16;
      this.commands.push([this.#load(pa), this.#load(pa + 8)]);
      this.poke(at.CMDQ_CONS, (cons + 1) & mask);
      taken++;
    }
    return taken;
  }

  run(): boolean {
    return this.consumes === 'run' && this.consume(1) > 0;
  }

  /** Publishes an event record and returns the new PROD. */
  publish(record: readonly bigint[]): number {
    const base = this.#address(at.EVENTQ_BASE);
    const lg2 = this.read32(at.EVENTQ_BASE) & 31;
    const prod = this.read32(at.EVENTQ_PROD);
    const pa = base + (prod & (2 ** lg2 - 1)) * 32;
    for (let q = 0; q < 4; q++) {
      const word = record[q] ?? 0n;
      this.#memory.store64(pa + q * 8, Number(word & 0xffff_ffffn), Number(word >> 32n));
    }
    const next = ((prod & 0x8000_0000) | ((prod + 1) & (2 ** (lg2 + 1) - 1))) >>> 0;
    this.poke(at.EVENTQ_PROD, next);
    return next;
  }

  #address(offset: number): number {
    return (this.read32(offset + 4) & 0xf_ffff) * 2 ** 32 + ((this.read32(offset) & ~31) >>> 0);
  }

  #load(pa: number): bigint {
    const lo = this.#memory.load64(pa);
    return toBigInt({ lo, hi: this.#memory.hi });
  }
}

import { CMD_SYNC, OPCODE, REGISTER_OFFSET as R } from '@iommukit/arm-arch';
import type { IdrWords, ModelOptions } from '../src/index.ts';
import { RIG_AT, Rig, SID } from './rig.lanes.ts';

/** ID registers of the captures (QEMU 11.1.3, nested). */
export const IDR: IdrWords = {
  IDR0: 0x0d44101b,
  IDR1: 0x02730010,
  IDR3: 0x1414,
  IDR5: 0x74,
  AIDR: 1,
};

export const PLACE = { ...RIG_AT, table: 0x4040_0000 } as const;

/** STE of the captures: dw0 with the CD pointer, Config=101 and V; dw1. */
export const STE_DW1 = 0xd6n;
export const CD_DW0 = 0x0006_e204_c000_3510n;
export const LEAF_RW = 0xf47n;
export const LEAF_RO = 0xfc7n;

/** A machine with one mapped page, programmed as Linux does it, words taken from the captures. */
export class Machine extends Rig {
  readonly lines: string[];
  #prod = 0;

  constructor(options: Partial<ModelOptions> = {}) {
    const lines: string[] = [];
    super({ idr: IDR, onInterrupt: (line) => lines.push(line), ...options });
    this.lines = lines;
  }

  /** Registers as in the captures, with a linear stream table of 512 streams; queues of 16 and 8 entries. */
  enable(cr0 = 0xd): this {
    const { registers } = this.smmu;
    registers.write32(R.CR1, 0xd75);
    registers.write32(R.CR2, 0x6);
    registers.write64(R.STRTAB_BASE, PLACE.strtab, 0x4000_0000);
    registers.write32(R.STRTAB_BASE_CFG, 9);
    registers.write64(R.CMDQ_BASE, PLACE.cmdq + 4, 0x4000_0000);
    registers.write64(R.EVENTQ_BASE, PLACE.evtq + 3, 0x4000_0000);
    registers.write32(R.IRQ_CTRL, 5);
    registers.write32(R.CR0, cr0);
    return this;
  }

  ste(streamId: number, dw0: bigint, dw1: bigint = STE_DW1): this {
    const at = PLACE.strtab + streamId * 64;
    this.word(at, dw0);
    this.word(at + 8, dw1);
    return this;
  }

  cd(dw0: bigint = CD_DW0, ttb0: bigint = BigInt(PLACE.table), index = 0): this {
    const at = PLACE.cd + index * 64;
    this.word(at, dw0);
    this.word(at + 8, ttb0);
    this.word(at + 24, 0xffff_ffff_f404_ff44n);
    return this;
  }

  /** A leaf for `iova` in a 4 KiB, 48-bit table; tables are made on the way at fixed places by index. */
  map(iova: number, leaf: bigint): number {
    let table: number = PLACE.table;
    for (let level = 0; level < 3; level++) {
      const size = [2 ** 39, 2 ** 30, 2 ** 21][level] as number;
      const index = Math.floor(iova / size) % 512;
      const at = table + index * 8;
      const lo = this.memory.load64(at);
      if (lo % 2 === 0) {
        this.#next += 0x1000;
        this.word(at, BigInt(this.#next) | 3n);
        table = this.#next;
      } else table = lo - (lo % 4096);
    }
    const at = table + (Math.floor(iova / 4096) % 512) * 8;
    this.word(at, leaf);
    return at;
  }
  #next: number = PLACE.table;

  /** Stream 0x30 with ASID 6, one read-write page at 0x1000 and one read-only page at 0x2000. Returns the leaves' addresses. */
  device(): { rw: number; ro: number } {
    this.ste(SID, BigInt(PLACE.cd) | 0xbn).cd();
    const rw = this.map(0x1000, BigInt(PLACE.data) | LEAF_RW);
    const ro = this.map(0x2000, BigInt(PLACE.data + 0x1000) | LEAF_RO);
    return { rw, ro };
  }

  /** Puts commands into the queue and moves PROD. */
  issue(...commands: (Uint32Array | readonly [bigint, bigint])[]): void {
    for (const command of commands) {
      const at = PLACE.cmdq + (this.#prod % 16) * 16;
      const [dw0, dw1] =
        command instanceof Uint32Array
          ? [
              (BigInt(command[1] as number) << 32n) | BigInt(command[0] as number),
              (BigInt(command[3] as number) << 32n) | BigInt(command[2] as number),
            ]
          : [command[0] as bigint, command[1] as bigint];
      this.word(at, dw0);
      this.word(at + 8, dw1);
      this.#prod = (this.#prod + 1) % 32;
    }
    this.smmu.registers.write32(R.CMDQ_PROD, this.#prod);
  }

  sync(): Uint32Array {
    return CMD_SYNC.encode({ Opcode: OPCODE.SYNC });
  }
}

import { REGISTER_OFFSET as R } from '@iommukit/arm-arch';
import type { Features, ModelOptions, StallEnd, StalledTransaction } from '../src/index.ts';
import { AT, NestedMachine } from './nested-machine.lanes.ts';
import { SID } from './rig.lanes.ts';

export const PRIQ = 0x402a_0000;
export const SMMUEN = 1;
export const PRIQEN = 2;
export const EVENTQEN = 4;
export const CMDQEN = 8;
export const ATSCHK = 0x10;
export const ALL_ON: number = SMMUEN | PRIQEN | EVENTQEN | CMDQEN | ATSCHK;

/** A machine whose queues hold 64 commands, `2 ** eventLg2` events and 4 page requests, with everything enabled. */
export class PortMachine extends NestedMachine {
  readonly lines: string[];
  readonly ends: { readonly transaction: StalledTransaction; readonly end: StallEnd }[];

  constructor(
    options: {
      features?: Partial<Features>;
      policy?: ModelOptions['policy'];
      cr0?: number;
      cr2?: number;
      eventLg2?: number;
    } = {},
    more: Partial<ModelOptions> = {},
  ) {
    const lines: string[] = [];
    const ends: { transaction: StalledTransaction; end: StallEnd }[] = [];
    super(options, {
      onInterrupt: (line) => lines.push(line),
      onStallEnd: (transaction, end) => ends.push({ transaction, end }),
      ...more,
    });
    this.lines = lines;
    this.ends = ends;
    const { cr0 = ALL_ON, cr2 = 0xa, eventLg2 = 5 } = options;
    const { registers } = this.smmu;
    registers.write32(R.CR0, 0);
    registers.write32(R.CR2, cr2);
    registers.write64(R.EVENTQ_BASE, AT.evtq + eventLg2, 0);
    registers.write64(R.PRIQ_BASE, PRIQ + 2, 0);
    registers.write32(R.IRQ_CTRL, 7);
    registers.write32(R.CR0, cr0);
  }

  /** The two doublewords of a page request in memory. */
  pageRequest(index: number): string[] {
    return [0, 8].map((at) => `0x${this.read(PRIQ + index * 16 + at).toString(16)}`);
  }

  resume(stag: number, action: 'retry' | 'abort' | 'raz-wi', sid = SID): void {
    const bits = action === 'retry' ? 0x1000n : action === 'abort' ? 0x2000n : 0n;
    this.command(0x44n | bits | (BigInt(sid) << 32n), BigInt(stag));
  }

  stallTerm(sid = SID): void {
    this.command(0x45n | (BigInt(sid) << 32n));
  }

  atcInv(
    address: bigint,
    size: bigint,
    more: { ssid?: number; sid?: number; global?: boolean } = {},
  ): void {
    const { ssid, sid = SID, global = false } = more;
    const pasid = ssid === undefined ? 0n : 0x800n | (BigInt(ssid) << 12n);
    const dw0 = 0x40n | pasid | (global ? 0x200n : 0n) | (BigInt(sid) << 32n);
    this.command(dw0, address | size);
  }
}

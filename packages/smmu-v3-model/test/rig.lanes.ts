/*
 * An SMMU and its memory, as tests write and read them: what every machine of this folder shares.
 */
import { fromBigInt, u64Of } from '@iommukit/bits';
import { PhysicalMemory } from '@iommukit/platform';
import { type DmaAccess, type DmaResult, type ModelOptions, SmmuV3Model } from '../src/index.ts';

export const RAM = { base: 0x4000_0000, size: 0x1000_0000 } as const;
/** The same in two ranges, so that memory comes in blocks of 64 KiB: a thousand machines zero fewer bytes. */
const RANGES = [
  { base: RAM.base, size: 0x1_0000 },
  { base: RAM.base + 0x1_0000, size: RAM.size - 0x1_0000 },
];
/** The stream that machines program. */
export const SID = 0x30;
/** Where machines put structures and queues; tables and data are their own affair. */
export const RIG_AT = {
  strtab: 0x4020_0000,
  cd: 0x4026_0000,
  cmdq: 0x4028_0000,
  evtq: 0x4029_0000,
  data: 0x4100_0000,
} as const;

/** A model over fresh memory, or over a view of it that `options` gives. */
export class Rig {
  readonly memory: PhysicalMemory = new PhysicalMemory(RANGES);
  readonly smmu: SmmuV3Model;

  constructor(options: Partial<ModelOptions> & Pick<ModelOptions, 'idr'>) {
    this.smmu = new SmmuV3Model({ memory: this.memory, ...options });
  }

  word(pa: number, value: bigint): void {
    const { lo, hi } = fromBigInt(BigInt.asUintN(64, value));
    this.memory.store64(pa, lo, hi);
  }

  read(pa: number): bigint {
    const lo = this.memory.load64(pa);
    return (BigInt(this.memory.hi) << 32n) | BigInt(lo);
  }

  words(pa: number, words: Uint32Array): void {
    for (let i = 0; i < words.length; i += 2)
      this.memory.store64(pa + i * 4, words[i] as number, words[i + 1] as number);
  }

  reg(offset: number): number {
    return this.smmu.registers.read32(offset);
  }

  set(offset: number, value: number): void {
    this.smmu.registers.write32(offset, value);
  }

  access(iova: number, rw: DmaAccess['rw'] = 'read', more: Partial<DmaAccess> = {}): DmaResult {
    return this.smmu.translate({ streamId: SID, address: u64Of(iova), rw, ...more });
  }

  /** The record in slot `index` of the event queue, as hex doublewords. */
  record(index: number): string[] {
    return [0, 8, 16, 24].map((at) => `0x${this.read(RIG_AT.evtq + index * 32 + at).toString(16)}`);
  }
}

/** One word that tells what became of an access. */
export function verdict(result: DmaResult): string {
  if (result.outcome === 'fault') return result.event.event;
  return result.outcome === 'abort' ? result.reason : result.outcome;
}

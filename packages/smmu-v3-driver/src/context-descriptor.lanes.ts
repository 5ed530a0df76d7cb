import { CD } from '@iommukit/arm-arch';
import type { U64 } from '@iommukit/bits';

/**
 * Stage 1 as a page table reports it, for the fields of a CD (IHI 0070 5.4).
 * @example const config: StageOneConfig = { ...table.registers.tcr, ...table.registers };
 */
export interface StageOneConfig {
  readonly tsz: number;
  readonly tg: number;
  readonly irgn: number;
  readonly orgn: number;
  readonly sh: number;
  readonly ips: number;
  /** Physical address of the top table. */
  readonly ttbr: number;
  readonly mair: U64;
}

/**
 * The CD of a paging domain (`arm_smmu_make_s1_cd`): TTB0 only, faults recorded and aborted, or stalled where `stall` asks.
 * Sixteen u32 lanes.
 * @example const cd = stageOneCd({ ...table.registers.tcr, ...table.registers }, 1, { stall: false });
 */
export function stageOneCd(
  config: StageOneConfig,
  asid: number,
  options: { readonly stall: boolean },
): Uint32Array {
  return CD.encode({
    T0SZ: config.tsz,
    TG0: config.tg,
    IR0: config.irgn,
    OR0: config.orgn,
    SH0: config.sh,
    EPD1: 1,
    V: 1,
    IPS: config.ips,
    AA64: 1,
    S: options.stall ? 1 : 0,
    R: 1,
    A: 1,
    ASET: 1,
    ASID: asid,
    TTB0: config.ttbr,
    MAIR0: config.mair.lo,
    MAIR1: config.mair.hi,
  });
}

const ONLY_VALID = CD.mask('V');
const IGNORED_WITH_EPD0 = CD.mask('T0SZ', 'TG0', 'IR0', 'OR0', 'SH0', 'TTB0');
// Linux takes addresses of 52 bits out, and leaves bits 55:52 of the doubleword in.
IGNORED_WITH_EPD0[3] = (IGNORED_WITH_EPD0[3] as number) & ~0x00f0_0000;
const { V, EPD0 } = CD.get;

/** The bits of a CD that hardware uses (`arm_smmu_get_cd_used`). */
export function cdUsedBits(entry: Uint32Array, used: Uint32Array): void {
  if (V(entry) === 0) {
    used.set(ONLY_VALID);
    return;
  }
  used.fill(0xffff_ffff);
  if (EPD0(entry) === 0) return;
  for (let i = 0; i < used.length; i++)
    used[i] = (used[i] as number) & ~(IGNORED_WITH_EPD0[i] as number);
}

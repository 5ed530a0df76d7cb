import { CD, tg0Code } from '@iommukit/arm-arch';
import type { U64 } from '@iommukit/bits';
import { ABOVE_KERNEL_ADDRESS } from './kernel-address.ts';

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
  /** Physical address of the top table, below 2^52. */
  readonly ttbr: number;
  readonly mair: U64;
}

/**
 * The CD of a paging domain (`arm_smmu_make_s1_cd`) with an ASID from 0 to 2^16 - 1: TTB0 only, faults recorded and aborted, or stalled where `stall` asks;
 * `dirty` lets hardware set access flag and dirty state (the page table's quirk `hd`). Sixteen u32 lanes.
 * @example const cd = stageOneCd({ ...table.registers.tcr, ...table.registers }, 1, { stall: false });
 */
export function stageOneCd(
  config: StageOneConfig,
  asid: number,
  options: { readonly stall: boolean; readonly dirty?: boolean },
): Uint32Array {
  const dirty = options.dirty === true ? 1 : 0;
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
    HD: dirty,
    HA: dirty,
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

/**
 * The page tables of a process as its CPU uses them; sizes in bits and bytes.
 * @example const shared: SharedTables = { pgd: 0x8000_0000, vaBits: 48, pageSize: 4096, ips: 5, mair, haft: false };
 */
export interface SharedTables {
  /** Physical address of the top table. */
  readonly pgd: number;
  readonly vaBits: number;
  readonly pageSize: number;
  /** Output size of the CPU (`ID_AA64MMFR0_EL1.PARange`), encoded. */
  readonly ips: number;
  /** `MAIR_EL1`. */
  readonly mair: U64;
  /** The CPU updates the access flag of table descriptors. */
  readonly haft: boolean;
}

/**
 * What a shared CD depends on beyond the process; absent is false.
 * @example const features: SharedCdFeatures = { accessFlag: true, stall: true };
 */
export interface SharedCdFeatures {
  /** The SMMU sets access flags (HTTU). */
  readonly accessFlag?: boolean;
  /** The SMMU sets dirty state. */
  readonly dirty?: boolean;
  readonly haft?: boolean;
  /** Faults of the device stall. */
  readonly stall?: boolean;
  /** The SMMU knows no other way than to stall. */
  readonly stallForce?: boolean;
}

/**
 * The CD of a process address space (`arm_smmu_make_sva_cd`). `released`: the process is gone, so no walk happens, no fault stalls or
 * is recorded, and the entry stays valid until the last device lets go.
 * @example sharedCd(tables, 3, { features: { stall: true }, released: false });
 */
export function sharedCd(
  tables: SharedTables,
  asid: number,
  state: {
    readonly features: SharedCdFeatures;
    readonly released: boolean;
    /** Beyond Linux: the ASID is the CPU's (ASET 0), whose broadcast TLBI are meant to match. Absent: the driver's own. */
    readonly asidOf?: 'driver' | 'cpu';
  },
): Uint32Array {
  const { features, released } = state;
  // Hardware that cannot abort a fault without stalling must go on stalling.
  const faults = !released || features.stallForce === true;
  const cd = CD.encode({
    EPD1: 1,
    V: 1,
    IPS: tables.ips,
    AA64: 1,
    HD: features.dirty === true ? 1 : 0,
    HA: features.accessFlag === true ? 1 : 0,
    S: faults && features.stall === true ? 1 : 0,
    R: faults ? 1 : 0,
    A: 1,
    ASET: state.asidOf === 'cpu' ? 0 : 1,
    ASID: asid,
    HAFT: features.haft === true && tables.haft ? 1 : 0,
    MAIR0: tables.mair.lo,
    MAIR1: tables.mair.hi,
  });
  const { set } = CD;
  if (released) {
    set.EPD0(cd, 1);
    return cd;
  }
  set.T0SZ(cd, 64 - tables.vaBits);
  set.TG0(cd, tg0Code(tables.pageSize) ?? 0);
  set.IR0(cd, 1);
  set.OR0(cd, 1);
  set.SH0(cd, 3);
  set.TTB0(cd, tables.pgd);
  return cd;
}

const ONLY_VALID = CD.mask('V');
const IGNORED_WITH_EPD0 = CD.mask('T0SZ', 'TG0', 'IR0', 'OR0', 'SH0', 'TTB0');
// Linux takes addresses of 52 bits out, and leaves bits 55:52 of the doubleword in.
IGNORED_WITH_EPD0[3] = (IGNORED_WITH_EPD0[3] as number) & ~ABOVE_KERNEL_ADDRESS;
const { V, EPD0 } = CD.get;

/**
 * The bits of a CD that hardware uses (`arm_smmu_get_cd_used`).
 * @example const used = new Uint32Array(16); cdUsedBits(new Uint32Array(16), used); used[0] // 0x80000000
 */
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

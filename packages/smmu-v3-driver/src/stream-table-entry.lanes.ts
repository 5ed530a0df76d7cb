import { EATS, S1C_CACHEABILITY, S1DSS, SHCFG, STE, STE_CONFIG, STRW } from '@iommukit/arm-arch';
import type { StageTwoRegisters } from '@iommukit/io-pgtable';
import type { DriverProfile } from './driver-profile.ts';
import { ABOVE_KERNEL_ADDRESS } from './kernel-address.ts';

/**
 * What an SMMU's STEs depend on beyond the domain; absent is false.
 * @example const smmu: SteFeatures = { stalls: true, attrTypesOverride: true };
 */
export interface SteFeatures {
  readonly stalls?: boolean;
  readonly attrTypesOverride?: boolean;
  /** The SMMU runs the EL2 regime with its host extensions. */
  readonly e2h?: boolean;
}

/**
 * What a device adds to its STE; absent is false.
 * @example const device: SteDevice = { ats: true };
 */
export interface SteDevice {
  /** Translation requests are answered (EATS). */
  readonly ats?: boolean;
  /** Faults of the device stall. */
  readonly stall?: boolean;
}

/**
 * The CD table that an STE points to; `s1dss` says what a transaction without SubstreamID does.
 * @example const table: CdTable = { base: 0x4638_5000, format: 0, cdMax: 0, s1dss: S1DSS.SSID0 };
 */
export interface CdTable {
  /** Physical address below 2^52, a multiple of 64. */
  readonly base: number;
  /** 0 linear, 1 two levels with 4 KiB leaves, 2 with 64 KiB leaves (S1Fmt). */
  readonly format: 0 | 1 | 2;
  /** log2 of the number of CDs, 0 to 20. */
  readonly cdMax: number;
  /** 0 terminate, 1 bypass, 2 the CD of SubstreamID 0. */
  readonly s1dss: 0 | 1 | 2;
}

/**
 * A stream that may do nothing: V = 1, Config = abort (`arm_smmu_make_abort_ste`). Sixteen u32 lanes.
 * @example abortSte()[0] // 1
 */
export function abortSte(profile?: Pick<DriverProfile, 'shareability'>): Uint32Array {
  const SHCFG_ALWAYS = profile?.shareability === 'always' ? SHCFG.INCOMING : 0;
  return STE.encode({ V: 1, Config: STE_CONFIG.ABORT, SHCFG: SHCFG_ALWAYS });
}

/**
 * A stream that passes untranslated (`arm_smmu_make_bypass_ste`): SHCFG keeps the incoming shareability, where the override exists.
 * @example bypassSte({})[0] // 9
 */
export function bypassSte(
  { attrTypesOverride }: SteFeatures,
  profile?: Pick<DriverProfile, 'shareability'>,
): Uint32Array {
  const keeps = attrTypesOverride === true || profile?.shareability === 'always';
  return STE.encode({ V: 1, Config: STE_CONFIG.BYPASS, SHCFG: keeps ? SHCFG.INCOMING : 0 });
}

/**
 * A stream that translates by stage 1 through a CD table (`arm_smmu_make_cdtable_ste`).
 * @example cdTableSte({ base: 0x4638_5000, format: 0, cdMax: 0, s1dss: 2 }, {}, {})[0] // 0x4638_500b
 */
export function cdTableSte(table: CdTable, smmu: SteFeatures, device: SteDevice): Uint32Array {
  const bypasses = table.s1dss === S1DSS.BYPASS;
  return STE.encode({
    V: 1,
    Config: STE_CONFIG.S1,
    S1Fmt: table.format,
    S1ContextPtr: table.base,
    S1CDMax: table.cdMax,
    S1DSS: table.s1dss,
    S1CIR: S1C_CACHEABILITY.WBRA,
    S1COR: S1C_CACHEABILITY.WBRA,
    S1CSH: 3,
    S1STALLD: smmu.stalls === true && device.stall !== true ? 1 : 0,
    EATS: device.ats === true ? EATS.FULL : EATS.OFF,
    STRW: smmu.e2h === true ? STRW.EL2 : STRW.NSEL1,
    SHCFG: bypasses && smmu.attrTypesOverride === true ? SHCFG.INCOMING : 0,
  });
}

/**
 * A stage-2 domain as an STE describes it; `forcedWriteBack` is the page table's quirk `s2fwb`.
 * @example const stage: StageTwoConfig = { ...table.registers, vmid: 1, forcedWriteBack: false };
 */
export interface StageTwoConfig extends StageTwoRegisters {
  /** 1 to 2^16 - 1; 0 is the VMID of stage 1. */
  readonly vmid: number;
  readonly forcedWriteBack: boolean;
}

/**
 * A stream that translates by stage 2 (`arm_smmu_make_s2_domain_ste`).
 * @example stageTwoSte({ ...table.registers, vmid: 1, forcedWriteBack: false }, {}, {})[0] // 13
 */
export function stageTwoSte(
  stage: StageTwoConfig,
  smmu: SteFeatures,
  device: SteDevice,
): Uint32Array {
  const { vtcr } = stage;
  return STE.encode({
    V: 1,
    Config: STE_CONFIG.S2,
    EATS: device.ats === true ? EATS.FULL : EATS.OFF,
    S2FWB: stage.forcedWriteBack ? 1 : 0,
    SHCFG: smmu.attrTypesOverride === true ? SHCFG.INCOMING : 0,
    S2VMID: stage.vmid,
    S2T0SZ: vtcr.tsz,
    S2SL0: vtcr.sl,
    S2IR0: vtcr.irgn,
    S2OR0: vtcr.orgn,
    S2SH0: vtcr.sh,
    S2TG: vtcr.tg,
    S2PS: vtcr.ps,
    S2AA64: 1,
    S2PTW: 1,
    S2S: device.stall === true ? 1 : 0,
    S2R: 1,
    S2TTB: stage.vttbr,
  });
}

/*
 * What `arm_smmu_get_ste_used` calls used, field by field. It is the kernel's list, not the architecture's: it leaves out fields that Linux
 * never sets (MTCFG, MemAttr, S2HD) and takes S2VMID for stage 1. The model of the hardware keeps the architecture's own list beside it,
 * on purpose: it is what finds a bit that this one forgets.
 */
const ALWAYS = STE.mask('V');
const VALID = STE.mask('V', 'Config');
const S1 = STE.mask(
  'S1Fmt',
  'S1ContextPtr',
  'S1CDMax',
  'S1DSS',
  'S1CIR',
  'S1COR',
  'S1CSH',
  'S1STALLD',
  'STRW',
  'EATS',
  'S2VMID',
);
const S2 = STE.mask(
  'EATS',
  'SHCFG',
  'S2VMID',
  'S2T0SZ',
  'S2SL0',
  'S2IR0',
  'S2OR0',
  'S2SH0',
  'S2TG',
  'S2PS',
  'S2AA64',
  'S2ENDI',
  'S2PTW',
  'S2S',
  'S2R',
  'S2TTB',
);
const MERGE = STE.mask('MEV');
const MERGE_FWB = STE.mask('MEV', 'S2FWB');
const SHARE = STE.mask('SHCFG');
// Linux stops at 52 bits of an address and never calls the others used.
S1[1] = (S1[1] as number) & ~ABOVE_KERNEL_ADDRESS;
S2[7] = (S2[7] as number) & ~ABOVE_KERNEL_ADDRESS;
// Linux looks at one bit of Config for each stage, also in values that hardware calls illegal.
const TRANSLATES_S1 = 1;
const TRANSLATES_S2 = 2;
const { V, Config, S1DSS: s1dssOf } = STE.get;

/**
 * The bits of an STE that hardware uses, as far as kernels before 7.x know (`arm_smmu_get_ste_used`).
 * @example const used = new Uint32Array(16); steUsedBits(abortSte(), used); used[0] // 15
 */
export function steUsedBits(entry: Uint32Array, used: Uint32Array): void {
  add(used, ALWAYS);
  if (V(entry) === 0) return;
  add(used, VALID);
  const config = Config(entry);
  if ((config & TRANSLATES_S1) !== 0) {
    add(used, S1);
    // Streams without SubstreamID then use the overrides of a bypass entry.
    if (s1dssOf(entry) === S1DSS.BYPASS) add(used, SHARE);
  }
  if ((config & TRANSLATES_S2) !== 0) add(used, S2);
  if (config === STE_CONFIG.BYPASS) add(used, SHARE);
}

/**
 * The same with MEV and S2FWB, as 7.x has it.
 * @example const used = new Uint32Array(16); steUsedBitsMerged(abortSte(), used); used[0] // 15
 */
export function steUsedBitsMerged(entry: Uint32Array, used: Uint32Array): void {
  steUsedBits(entry, used);
  if (V(entry) === 0) return;
  const config = Config(entry);
  if ((config & TRANSLATES_S1) !== 0) add(used, MERGE);
  if ((config & TRANSLATES_S2) !== 0) add(used, MERGE_FWB);
}

const FULL_EATS = new Uint32Array(STE.info.dwords * 2);
STE.set.EATS(FULL_EATS, EATS.FULL);
const { EATS: eatsOf, S2S } = STE.get;

/**
 * The bits that may change while hardware looks (`arm_smmu_get_ste_update_safe`): MEV always; the full-ATS bit unless either entry
 * has the split bit, which gives it another meaning, or stalls in stage 2, which ATS forbids.
 * @example const safe = new Uint32Array(16); steUpdateSafe(abortSte(), abortSte(), safe); safe[2] // 0x10080000
 */
export function steUpdateSafe(current: Uint32Array, next: Uint32Array, safe: Uint32Array): void {
  add(safe, MERGE);
  const guarded = (entry: Uint32Array): boolean =>
    (eatsOf(entry) & EATS.SPLIT) !== 0 || S2S(entry) === 1;
  if (!guarded(current) && !guarded(next)) add(safe, FULL_EATS);
}

function add(used: Uint32Array, mask: Uint32Array): void {
  for (let i = 0; i < used.length; i++) used[i] = (used[i] as number) | (mask[i] as number);
}

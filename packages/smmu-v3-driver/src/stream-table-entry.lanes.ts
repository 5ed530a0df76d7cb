import { STE } from '@iommukit/arm-arch';

/** Config values of an STE (IHI 0070 5.2). */
const CONFIG_ABORT = 0;
const CONFIG_BYPASS = 4;
const CONFIG_S1 = 5;
// Linux looks at one bit of Config for each stage, also in values that hardware calls illegal.
const TRANSLATES_S1 = 1;
const TRANSLATES_S2 = 2;

/**
 * A stream that may do nothing: V = 1, Config = abort, all else zero (`arm_smmu_make_abort_ste`). Sixteen u32 lanes.
 * @example abortSte()[0] // 1
 */
export function abortSte(): Uint32Array {
  return STE.encode({ V: 1, Config: CONFIG_ABORT });
}

/**
 * A stream that passes untranslated (`arm_smmu_make_bypass_ste`); the argument is IDR1.ATTR_TYPES_OVR.
 * @example bypassSte(false)[0] // 9
 */
export function bypassSte(attrTypesOverride: boolean): Uint32Array {
  // SHCFG = 1: use the incoming shareability; the field exists only with attribute override.
  return STE.encode({ V: 1, Config: CONFIG_BYPASS, SHCFG: attrTypesOverride ? 1 : 0 });
}

/**
 * A stream that translates by stage 1 through a linear CD table at `cdtab` (`arm_smmu_make_cdtable_ste`, no substreams).
 * @example cdTableSte(0x4638_5000, { s1Stalld: false })[0] // 0x4638_500b
 */
export function cdTableSte(cdtab: number, options: { readonly s1Stalld: boolean }): Uint32Array {
  return STE.encode({
    V: 1,
    Config: CONFIG_S1,
    S1Fmt: 0,
    S1ContextPtr: cdtab,
    S1CDMax: 0,
    // Traffic without SubstreamID uses CD 0.
    S1DSS: 2,
    S1CIR: 1,
    S1COR: 1,
    S1CSH: 3,
    S1STALLD: options.s1Stalld ? 1 : 0,
  });
}

// Bits 55:52 of an address: Linux's drivers stop at 52 bits and never call these used.
const ABOVE_52 = 0x00f0_0000;

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
const SHARE = STE.mask('SHCFG');
S1[1] = (S1[1] as number) & ~ABOVE_52;
S2[7] = (S2[7] as number) & ~ABOVE_52;
const { V, Config, S1DSS } = STE.get;

/** The bits of an STE that hardware uses (`arm_smmu_get_ste_used`). */
export function steUsedBits(entry: Uint32Array, used: Uint32Array): void {
  add(used, ALWAYS);
  if (V(entry) === 0) return;
  add(used, VALID);
  const config = Config(entry);
  // S1DSS = bypass makes streams without SubstreamID use the overrides of a bypass entry.
  if ((config & TRANSLATES_S1) !== 0) {
    add(used, S1);
    if (S1DSS(entry) === 1) add(used, SHARE);
  }
  if ((config & TRANSLATES_S2) !== 0) {
    add(used, S2);
    add(used, SHARE);
  }
  if (config === CONFIG_BYPASS) add(used, SHARE);
}

function add(used: Uint32Array, mask: Uint32Array): void {
  for (let i = 0; i < used.length; i++) used[i] = (used[i] as number) | (mask[i] as number);
}

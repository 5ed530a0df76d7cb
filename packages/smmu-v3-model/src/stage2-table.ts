/*
 * Stage 2 as an STE configures it: whether that is legal, and the regime that it makes (IHI 0070 5.2, 5.2.2, 5.5; DDI 0487 D8.2.2).
 * Not modelled: VMSAv8-32, the Secure IPA space, permission indirection and overlays, VMSAv9-128.
 */
import { type GranuleGeometry, STE, s2StartLevel } from '@iommukit/arm-arch';
import { addressSize, type Features, inputSize } from './features.ts';
import type { StreamRule } from './legality-rule.ts';
import {
  alignedRoot,
  type DsMode,
  granuleOfTg0,
  largestTxsz,
  lowestLeafLevel,
  outputBits,
  type Regime,
  tableAddress,
  wideFormat,
} from './regime.ts';

/** The rule for Config=11x that makes the STE ILLEGAL (5.2), if one does. */
export function brokenStage2Rule(words: Uint32Array, f: Features): StreamRule | undefined {
  const { get } = STE;
  const stall = get.S2S(words) === 1;
  if (stall && f.stallModel === 1) return 'S2S_UNSUPPORTED';
  if (!stall && f.stallModel === 2) return 'S2S_REQUIRED';
  // VMSAv8-32 tables do not exist here, nor big-endian ones: what announces them is refused at construction.
  if (get.S2AA64(words) === 0) return 'S2AA64';
  if (get.S2ENDI(words) === 1) return 'S2ENDI';
  if (get.S2HA(words) === 1 && f.httu === 0) return 'S2HA';
  if (get.S2HD(words) === 1 && f.httu < 2) return 'S2HD';
  if (f.httu === 3 && get.S2HAFT(words) === 1 && get.S2HA(words) === 0) return 'S2HAFT';
  const granule = granuleOfTg0(get.S2TG(words), f);
  if (granule === undefined) return 'S2TG';
  const ds = dsMode(words, f);
  const txsz = get.S2T0SZ(words);
  const wide = granule.shift === 16 || ds === 'ds';
  if (txsz < Math.max(wide ? 12 : 16, 64 - inputSize(f))) return 'S2T0SZ';
  if (txsz > largestTxsz(granule, f)) return 'S2T0SZ';
  if (startLevelOf(words, granule, f) === undefined) return 'S2SL0';
  const bits = outputBits(granule, ds, effectiveS2ps(words, f));
  return tableAddress(get.S2TTB(words)) >= 2 ** bits ? 'S2TTB' : undefined;
}

/** The regime of a legal stage 2. */
export function stage2Regime(words: Uint32Array, f: Features): Regime | undefined {
  const { get } = STE;
  const granule = granuleOfTg0(get.S2TG(words), f);
  const startLevel = granule === undefined ? undefined : startLevelOf(words, granule, f);
  if (granule === undefined || startLevel === undefined) return undefined;
  const ds = dsMode(words, f);
  const bytes = 2 ** (64 - get.S2T0SZ(words));
  const ips = effectiveS2ps(words, f);
  const bits = outputBits(granule, ds, ips);
  const wide = wideFormat(granule, ds, f);
  const ha = get.S2HA(words) === 1;
  return {
    stage: 2,
    upper: false,
    disabled: false,
    tbi: false,
    e0pd: false,
    had: false,
    granule,
    bytes,
    startLevel,
    // Concatenated tables are one that is larger (D8.2.2).
    root: alignedRoot(tableAddress(get.S2TTB(words)), {
      granule,
      level: startLevel,
      bytes,
      ips,
    }),
    outputEnd: 2 ** bits,
    wide,
    leafLevel: lowestLeafLevel(granule, wide),
    sharing: wide === 'ds' ? get.S2SH0(words) : -1,
    affd: get.S2AFFD(words) === 1,
    ha,
    hd: ha && get.S2HD(words) === 1,
    haft: f.httu === 3 && get.S2HAFT(words) === 1,
    rule: 'stage2',
    wxn: false,
    pan: false,
    epan: false,
    xnx: f.xnx,
  };
}

/** S2FWB acts only where IDR3.FWB has it. */
export function usesForcedWriteBack(words: Uint32Array, f: Features): boolean {
  return f.fwb && STE.get.S2FWB(words) === 1;
}

function dsMode(words: Uint32Array, f: Features): DsMode {
  return f.ds && STE.get.S2DS(words) === 1 ? 'ds' : 'no-ds';
}

function effectiveS2ps(words: Uint32Array, f: Features): number {
  return Math.min(addressSize(STE.get.S2PS(words)), f.oas);
}

/** The start level that S2SL0 names, if the IPA bits above it fit 1 to 16 tables (D8.2.2). */
function startLevelOf(
  words: Uint32Array,
  granule: GranuleGeometry,
  f: Features,
): number | undefined {
  const { get } = STE;
  const ds = dsMode(words, f);
  const code =
    get.S2SL0(words) + (ds === 'ds' && granule.shift === 12 ? 4 * get.S2SL0_2(words) : 0);
  const level = s2StartLevel(granule, code);
  if (level === undefined) return undefined;
  if (granule.shift === 12 && level === 3 && !f.stt) return undefined;
  if (granule.shift === 14 && level === 0 && ds === 'no-ds') return undefined;
  const below = granule.shift + granule.stride * (3 - level);
  const bits = 64 - get.S2T0SZ(words) - below;
  return bits >= 1 && bits <= granule.stride + 4 ? level : undefined;
}

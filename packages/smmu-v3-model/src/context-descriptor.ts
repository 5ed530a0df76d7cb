/*
 * What a CD means and when it is ILLEGAL (IHI 0070 5.4, 5.4.1, 5.5).
 * Not modelled: VMSAv8-32, big-endian tables, permission indirection, MPAM; ASET's effect on broadcast maintenance, as there is
 * none.
 */
import { CD, GRANULE_4K, GRANULE_64K, type GranuleGeometry } from '@iommukit/arm-arch';
import { addressSize, type Features } from './features.ts';
import type { ContextRule } from './legality-rule.ts';
import {
  alignedRoot,
  type DsMode,
  granuleOfTg0,
  granuleOfTg1,
  largestTxsz,
  lowestLeafLevel,
  outputBits,
  type PermissionRule,
  type Regime,
  stage1StartLevel,
  tableAddress,
  wideFormat,
} from './regime.ts';
import type { MayBeStale, StaleRecord } from './stale-use.ts';
import type { CachedStream } from './stream-entry.ts';
import type { Tlb, TlbSpace } from './tlb.ts';
import type { TlbEntry } from './tlb-entry.ts';

/** A fetched level-1 context descriptor. */
export interface L1ContextEntry extends MayBeStale {
  readonly paddr: number;
  readonly lo: number;
  readonly hi: number;
  /** The stage-2 leaf through which it was read, when nested. */
  readonly under: TlbEntry | undefined;
  readonly valid: boolean;
  readonly table: number;
  readonly firstSsid: number;
  readonly lastSsid: number;
}

/** A fetched CD, decoded. */
export interface CachedContext extends MayBeStale {
  readonly ssid: number;
  readonly paddr: number;
  readonly words: Uint32Array;
  readonly l1cd: L1ContextEntry | undefined;
  /** The stage-2 leaf through which it was read, when nested. */
  readonly under: TlbEntry | undefined;
  readonly legal: boolean;
  readonly space: TlbSpace;
  readonly lower: Regime;
  readonly upper: Regime;
  readonly a: boolean;
  readonly r: boolean;
  readonly s: boolean;
  stale: StaleRecord | undefined;
}

/** Decodes a CD, an ILLEGAL one too; never throws. */
export function decodeContext(
  words: Uint32Array,
  at: Pick<CachedContext, 'ssid' | 'paddr' | 'l1cd' | 'under'>,
  device: { stream: CachedStream; features: Features; tlb: Tlb },
): CachedContext {
  const { stream, features: f, tlb } = device;
  const { get } = CD;
  const rule = ruleOf(stream);
  const el2 = rule === 'el2';
  return {
    ssid: at.ssid,
    paddr: at.paddr,
    words,
    l1cd: at.l1cd,
    under: at.under,
    legal: brokenContextRule(words, stream, f) === undefined,
    space: tlb.space({
      stage: 1,
      world: stream.world,
      vmid: stream.vmid,
      asid: el2 ? -1 : get.ASID(words),
      aset: el2 ? 0 : get.ASET(words),
    }),
    lower: makeHalf(words, 0, rule, f),
    upper: makeHalf(words, 1, rule, f),
    a: get.A(words) === 1,
    r: get.R(words) === 1,
    s: get.S(words) === 1,
    stale: undefined,
  };
}

/** Translation regimes of stage 1 (5.4): NS-EL2 has one half and one privilege. */
type Stage1Rule = Exclude<PermissionRule, 'stage2'>;

function ruleOf(stream: CachedStream): Stage1Rule {
  return stream.world === 1 ? 'el2' : 'el1';
}

/** The fields of one half. */
interface HalfFields {
  readonly txsz: number;
  readonly granule: GranuleGeometry | undefined;
  readonly ttb: number;
  readonly disabled: boolean;
  readonly tbi: boolean;
  readonly e0pd: boolean;
  readonly had: boolean;
  readonly sh: number;
}

function lowerFields(words: Uint32Array, rule: Stage1Rule, f: Features): HalfFields {
  const { get } = CD;
  const el2 = rule === 'el2';
  return {
    txsz: get.T0SZ(words),
    granule: granuleOfTg0(get.TG0(words), f),
    ttb: tableAddress(get.TTB0(words)),
    // NS-EL2 has one half and no EPD0 (5.4).
    disabled: !el2 && get.EPD0(words) === 1,
    tbi: get.TBI0(words) === 1,
    e0pd: !el2 && f.e0pd && get.E0PD0(words) === 1,
    had: f.had && get.HAD0(words) === 1,
    sh: get.SH0(words),
  };
}

function upperFields(words: Uint32Array, rule: Stage1Rule, f: Features): HalfFields {
  const { get } = CD;
  const el2 = rule === 'el2';
  return {
    txsz: get.T1SZ(words),
    granule: granuleOfTg1(get.TG1(words), f),
    ttb: tableAddress(get.TTB1(words)),
    disabled: el2 || get.EPD1(words) === 1,
    tbi: !el2 && get.TBI1(words) === 1,
    e0pd: f.e0pd && get.E0PD1(words) === 1,
    had: f.had && get.HAD1(words) === 1,
    sh: get.SH1(words),
  };
}

function makeHalf(words: Uint32Array, index: 0 | 1, rule: Stage1Rule, f: Features): Regime {
  const { get } = CD;
  const fields = index === 0 ? lowerFields(words, rule, f) : upperFields(words, rule, f);
  // An ILLEGAL CD is cached too, and never walked: its half may be anything.
  const granule = fields.granule ?? GRANULE_4K;
  const ds = dsMode(words, f);
  const bytes = 2 ** (64 - fields.txsz);
  const startLevel = stage1StartLevel(granule, fields.txsz);
  const ips = effectiveIps(words, f);
  const bits = outputBits(granule, ds, ips);
  const wide = wideFormat(granule, ds, f);
  const ha = get.HA(words) === 1;
  return {
    stage: 1,
    upper: index === 1,
    disabled: fields.disabled,
    tbi: fields.tbi,
    e0pd: fields.e0pd,
    had: fields.had,
    granule,
    bytes,
    startLevel,
    root: alignedRoot(fields.ttb, { granule, level: startLevel, bytes, ips }),
    outputEnd: 2 ** bits,
    wide,
    leafLevel: lowestLeafLevel(granule, wide),
    sharing: wide === 'ds' ? fields.sh : -1,
    affd: get.AFFD(words) === 1,
    ha,
    hd: ha && get.HD(words) === 1,
    haft: f.httu === 3 && get.HAFT(words) === 1,
    rule,
    wxn: get.WXN(words) === 1,
    pan: rule === 'el1' && get.PAN(words) === 1,
    epan: f.epan && get.EPAN(words) === 1,
    xnx: false,
  };
}

function dsMode(words: Uint32Array, f: Features): DsMode {
  return f.ds && CD.get.DS(words) === 1 ? 'ds' : 'no-ds';
}

function effectiveIps(words: Uint32Array, f: Features): number {
  return Math.min(addressSize(CD.get.IPS(words)), f.oas);
}

/** The rule of 5.4 that makes a CD ILLEGAL, if one does; both halves are checked whichever the address uses. */
export function brokenContextRule(
  words: Uint32Array,
  stream: CachedStream,
  f: Features,
): ContextRule | undefined {
  const { get } = CD;
  if (get.V(words) === 0) return 'V';
  const rule = ruleOf(stream);
  const stall = get.S(words) === 1;
  if (stall && stream.stallDisabled) return 'S_STALLD';
  if (stall && f.stallModel === 1) return 'S_UNSUPPORTED';
  if (!stall && f.stallModel === 2) return 'S_REQUIRED';
  if (f.termModel && get.A(words) === 0) return 'A';
  // VMSAv8-32 tables do not exist here: IDR0.TTF that announces them is refused at construction.
  if (get.AA64(words) === 0) return 'AA64';
  if (get.HA(words) === 1 && f.httu === 0) return 'HA';
  if (get.HD(words) === 1 && f.httu < 2) return 'HD';
  if (f.httu === 3 && get.HAFT(words) === 1 && get.HA(words) === 0) return 'HAFT';
  if (rule === 'el1' && !f.asid16 && get.ASID(words) > 0xff) return 'ASID';
  const lower = lowerFields(words, rule, f);
  const upper = upperFields(words, rule, f);
  if (!(lower.disabled && upper.disabled) && get.ENDI(words) === 1) return 'ENDI';
  const limits = { ips: effectiveIps(words, f), ds: dsMode(words, f), f };
  return brokenHalfRule(lower, 0, limits) ?? brokenHalfRule(upper, 1, limits);
}

function brokenHalfRule(
  half: HalfFields,
  index: 0 | 1,
  limits: { ips: number; ds: DsMode; f: Features },
): ContextRule | undefined {
  const { granule, txsz, ttb } = half;
  const { ips, ds, f } = limits;
  if (half.disabled) return undefined;
  if (granule === undefined) return `TG${index}`;
  const wide = granule === GRANULE_64K ? f.vax >= 52 : ds === 'ds';
  if (txsz < (wide ? 12 : 16) || txsz > largestTxsz(granule, f)) return `T${index}SZ`;
  return ttb < 2 ** outputBits(granule, ds, ips) ? undefined : `TTB${index}`;
}

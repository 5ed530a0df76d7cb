/*
 * What an STE means and when it is ILLEGAL (IHI 0070 5.2, 5.2.2, 5.5).
 * Not modelled: VMS, MPAM, MECID, DPT, permission indirection, the CONT hint; reserved fields are not checked for zero, which is
 * the implementation's choice.
 */
import { EATS, S1FMT, STE, STE_CONFIG, STRW } from '@iommukit/arm-arch';
import { StreamContexts } from './config-cache.ts';
import type { Features } from './features.ts';
import type { StreamRule } from './legality-rule.ts';
import type { Regime } from './regime.ts';
import { brokenStage2Rule, stage2Regime, usesForcedWriteBack } from './stage2-table.ts';
import type { MayBeStale, StaleRecord } from './stale-use.ts';
import type { Tlb, TlbSpace } from './tlb.ts';

/** A fetched level-1 stream table descriptor. */
export interface L1StreamEntry extends MayBeStale {
  readonly paddr: number;
  readonly lo: number;
  readonly hi: number;
  readonly span: number;
  readonly table: number;
  readonly firstSid: number;
  readonly lastSid: number;
  /** Stream table (base and format) through which it was found. */
  readonly tableGeneration: number;
}

/** What an STE makes of its stream. */
export type StreamKind = 'illegal' | 'abort' | 'bypass' | 'stage1' | 'stage2' | 'nested';

/** A fetched STE, decoded. */
export interface CachedStream extends MayBeStale {
  readonly streamId: number;
  readonly paddr: number;
  readonly words: Uint32Array;
  readonly l1std: L1StreamEntry | undefined;
  /** Stream table (base and format) through which it was found. */
  readonly tableGeneration: number;
  readonly kind: StreamKind;
  readonly contextPtr: number;
  /** log2 of the number of CDs; 0 also when substreams do not exist. */
  readonly cdMax: number;
  /** SubstreamID bits below the L1CD index; 0: linear table. */
  readonly cdSplit: number;
  readonly s1dss: number;
  readonly stallDisabled: boolean;
  /** 0 NS-EL1, 1 NS-EL2, 2 NS-EL2-E2H. */
  readonly world: number;
  readonly vmid: number;
  readonly privCfg: number;
  readonly instCfg: number;
  /** EATS as written; without ATS 0. */
  readonly eats: number;
  /** Set when `kind` is `stage2` or `nested`. */
  readonly stage2: Regime | undefined;
  readonly ipaSpace: TlbSpace | undefined;
  readonly s2ptw: boolean;
  readonly s2fwb: boolean;
  readonly s2r: boolean;
  readonly s2s: boolean;
  readonly contexts: StreamContexts;
  stale: StaleRecord | undefined;
}

/** Decodes an STE; never throws. */
export function decodeStream(
  words: Uint32Array,
  at: Pick<CachedStream, 'streamId' | 'paddr' | 'l1std' | 'tableGeneration'>,
  device: { features: Features; e2h: boolean; tlb: Tlb },
): CachedStream {
  const { features: f, e2h, tlb } = device;
  const { get } = STE;
  const kind = classifyStream(words, f);
  const cdMax = f.ssidSize > 0 ? get.S1CDMax(words) : 0;
  const format = cdMax > 0 ? get.S1Fmt(words) : 0;
  const el2 = f.hyp && get.Config(words) === STE_CONFIG.S1 && get.STRW(words) === STRW.EL2;
  const vmid = f.s2p && !el2 ? get.S2VMID(words) : 0;
  const stage2 = kind === 'stage2' || kind === 'nested' ? stage2Regime(words, f) : undefined;
  // Field by field: spreading made this object a dictionary, at forty times the cost.
  return {
    streamId: at.streamId,
    paddr: at.paddr,
    words,
    l1std: at.l1std,
    tableGeneration: at.tableGeneration,
    kind,
    contextPtr: get.S1ContextPtr(words),
    cdMax,
    cdSplit: format === S1FMT.TWO_LEVEL_4K ? 6 : format === S1FMT.TWO_LEVEL_64K ? 10 : 0,
    s1dss: get.S1DSS(words),
    stallDisabled: get.S1STALLD(words) === 1,
    world: el2 ? (e2h ? 2 : 1) : 0,
    vmid,
    privCfg: f.attrPermsOvr ? get.PRIVCFG(words) : 0,
    instCfg: f.attrPermsOvr ? get.INSTCFG(words) : 0,
    eats: f.ats ? get.EATS(words) : 0,
    stage2,
    ipaSpace: stage2 === undefined ? undefined : tlb.ipaSpace(vmid),
    s2ptw: get.S2PTW(words) === 1,
    s2fwb: usesForcedWriteBack(words, f),
    s2r: get.S2R(words) === 1,
    s2s: get.S2S(words) === 1,
    contexts: new StreamContexts(),
    stale: undefined,
  };
}

/** What an STE is. */
export function classifyStream(words: Uint32Array, f: Features): StreamKind {
  if (brokenStreamRule(words, f) !== undefined) return 'illegal';
  const config = STE.get.Config(words);
  if (config < STE_CONFIG.BYPASS) return 'abort';
  if (config === STE_CONFIG.BYPASS) return 'bypass';
  if (config < STE_CONFIG.S2) return 'stage1';
  return config === STE_CONFIG.NESTED ? 'nested' : 'stage2';
}

/** The rule that makes an STE ILLEGAL, if one does: the numbered rules of 5.2 and 5.5. */
export function brokenStreamRule(words: Uint32Array, f: Features): StreamRule | undefined {
  const { get } = STE;
  if (get.V(words) === 0) return 'V';
  const config = get.Config(words);
  if (config <= STE_CONFIG.BYPASS) return undefined;
  const stage1 = config === STE_CONFIG.S1 || config === STE_CONFIG.NESTED;
  const stage2 = config >= STE_CONFIG.S2;
  if (stage1 && !f.s1p) return 'S1P';
  if (stage2 && !f.s2p) return 'S2P';
  return (
    (f.ats ? brokenAtsRule(words, f) : undefined) ??
    (stage1 ? brokenStage1Rule(words, f) : undefined) ??
    (stage2 ? brokenStage2Rule(words, f) : undefined) ??
    (isIllegalVmid(words, f) ? 'S2VMID' : undefined)
  );
}

/** Rule 2: EATS against the stages, S2S and NS1ATS. */
function brokenAtsRule(words: Uint32Array, f: Features): StreamRule | undefined {
  const eats = STE.get.EATS(words);
  const stage2 = STE.get.Config(words) >= STE_CONFIG.S2;
  const stall2 = stage2 && STE.get.S2S(words) === 1;
  if (eats === EATS.SPLIT) {
    const nested = STE.get.Config(words) === STE_CONFIG.NESTED;
    return !nested || stall2 || f.ns1ats ? 'EATS_SPLIT' : undefined;
  }
  // Without DPT, 11 acts as 00.
  return eats === EATS.FULL && stall2 ? 'EATS_STALL' : undefined;
}

/** Rules 3 and 4: STRW, S1STALLD, the CD table's format, size and place. */
function brokenStage1Rule(words: Uint32Array, f: Features): StreamRule | undefined {
  const { get } = STE;
  const stage1Only = get.Config(words) === STE_CONFIG.S1;
  if (f.hyp && stage1Only && get.STRW(words) % 2 === 1) return 'STRW';
  if (get.S1STALLD(words) === 1 && f.stallModel !== 0) return 'S1STALLD';
  if (f.ssidSize > 0) {
    const cdMax = get.S1CDMax(words);
    const format = get.S1Fmt(words);
    if (cdMax > f.ssidSize) return 'S1CDMAX';
    if (cdMax > 0 && (format === S1FMT.TWO_LEVEL_4K || format === S1FMT.TWO_LEVEL_64K) && !f.cd2l)
      return 'S1FMT';
  }
  // Beyond OAS, and nested beyond IAS: there a stage-2 fault would be allowed too.
  return get.S1ContextPtr(words) >= 2 ** f.oas ? 'S1CONTEXTPTR' : undefined;
}

/** Rule 6: a VMID of 16 bits, unless the stream uses none. */
function isIllegalVmid(words: Uint32Array, f: Features): boolean {
  const { get } = STE;
  if (!f.s2p || f.vmid16 || get.S2VMID(words) <= 0xff) return false;
  return !(f.hyp && get.Config(words) === STE_CONFIG.S1 && get.STRW(words) === STRW.EL2);
}

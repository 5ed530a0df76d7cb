/*
 * The rule that refused an access, from what the translation left behind (IHI 0070 3.4, 5.2, 5.4, 7.3; DDI 0487 D8).
 * Not modelled: refusals of ATS requests and translated transactions, which `explain` is not asked about.
 */
import { L1CD, L1STD, REGISTER_OFFSET as R, S1DSS, STE, STRTAB_BASE_CFG } from '@iommukit/arm-arch';
import { hex } from '@iommukit/bits';
import { isPrivileged } from './access-mode.lanes.ts';
import type { AbortReason } from './dma-access.ts';
import { needText, refusingBits } from './explain-permission.lanes.ts';
import type { CheckStep, ExplanationStep, FetchStep, HitStep } from './explanation.ts';
import type { FaultState } from './fault.ts';
import { type Features, inputSize } from './features.ts';
import { permits } from './permission.lanes.ts';
import type { Regime } from './regime.ts';
import type { CachedStream } from './stream-entry.ts';
import type { TlbEntry } from './tlb-entry.ts';
import type { Translator } from './translator.ts';
import { inHalf } from './walk.lanes.ts';

/** What is known when an access has been refused. */
export interface RefusalFacts {
  readonly translator: Translator;
  readonly features: Features;
  /** Register words. */
  readonly words: Uint32Array;
  readonly steps: readonly ExplanationStep[];
  readonly streamId: number;
  /** -1 for none. */
  readonly ssid: number;
  readonly page: number;
  /** A stage-1 table was walked, or an entry of one was hit. */
  readonly insideStage1: boolean;
  /** The leaves last met, and what was wanted of them. */
  readonly inner: TlbEntry | undefined;
  readonly outer: TlbEntry | undefined;
  readonly need: number;
  readonly outerNeed: number;
}

function no(what: string, section: string, says: string): CheckStep {
  return { kind: 'check', ok: false, what, section, says };
}

/** The rule behind an abort without an event. */
export function abortCheck(reason: AbortReason, facts: RefusalFacts): CheckStep {
  const { features } = facts;
  switch (reason) {
    case 'gbpa-abort':
      return no('GBPA', 'IHI 0070 6.3.14', 'GBPA.ABORT=1 while CR0.SMMUEN=0');
    case 'address-above-oas':
      return no('address size', 'IHI 0070 3.4', `the address needs more than ${features.oas} bits`);
    case 'ste-abort':
      return no('STE.Config', 'IHI 0070 5.2', 'Config=0xx aborts without an event');
    default: {
      const check = badStream(facts);
      return { ...check, says: `${check.says}; CR2.RECINVSID=0 keeps the event out of the queue` };
    }
  }
}

/** The rule behind an event; `undefined` where a check of a whole structure has said it already. */
export function faultCheck(facts: RefusalFacts): CheckStep | undefined {
  const { fault } = facts.translator;
  switch (fault.event) {
    case 'C_BAD_STREAMID':
      return badStream(facts);
    case 'F_STE_FETCH':
    case 'F_CD_FETCH':
    case 'F_WALK_EABT':
      return failedFetch(fault, facts.features);
    case 'C_BAD_SUBSTREAMID':
      return badSubstream(facts);
    case 'F_STREAM_DISABLED':
      return facts.ssid < 0
        ? no('S1DSS', 'IHI 0070 5.2', 'STE.S1DSS refuses transactions without a SubstreamID')
        : no('S1DSS', 'IHI 0070 5.2', 'STE.S1DSS=10 keeps CD 0 for those without a SubstreamID');
    case 'F_TRANSLATION':
      return fault.stage === 1 ? noTranslation1(facts) : noTranslation2(facts);
    case 'F_ADDR_SIZE':
      return addressSize(facts);
    case 'F_ACCESS':
      return no(
        'access flag',
        'IHI 0070 3.13',
        `AF=0 in ${lastDescriptor(facts)}, and neither ${field(fault, 'HA')}=1 sets it nor ${field(fault, 'AFFD')}=1 ignores it`,
      );
    case 'F_PERMISSION':
      return permission(facts);
    default:
      return undefined;
  }
}

function field({ stage }: FaultState, name: string): string {
  return stage === 1 ? `CD.${name}` : `STE.S2${name}`;
}

function entries(facts: RefusalFacts, what: FetchStep['what']): (FetchStep | HitStep)[] {
  return facts.steps.filter(
    (step): step is FetchStep | HitStep =>
      (step.kind === 'fetch' || step.kind === 'hit') && step.what === what,
  );
}

function lanes(step: FetchStep | HitStep): number[] {
  return (step.words ?? []).flatMap(({ lo, hi }) => [lo, hi]);
}

function lastDescriptor(facts: RefusalFacts): string {
  const step = entries(facts, 'descriptor').at(-1);
  return step === undefined
    ? 'the descriptor'
    : `the stage ${step.stage ?? 1} level ${step.level ?? 3} descriptor`;
}

function badStream(facts: RefusalFacts): CheckStep {
  const { streamId, words, features } = facts;
  const l1std = entries(facts, 'L1STD').at(-1);
  const at = R.STRTAB_BASE_CFG / 4;
  const sid = `StreamID ${hex(streamId)}`;
  if (l1std === undefined) {
    const size = STRTAB_BASE_CFG.get.LOG2SIZE(words, at);
    const bits = Math.min(size, features.sidSize);
    const from = size <= features.sidSize ? 'STRTAB_BASE_CFG.LOG2SIZE' : 'IDR1.SIDSIZE';
    return no('StreamID', 'IHI 0070 3.3.1', `${sid} needs more than ${bits} bits (${from})`);
  }
  const span = L1STD.get.Span(lanes(l1std));
  const says =
    span === 0
      ? 'L1STD.Span=0: no STEs'
      : span > 11
        ? `L1STD.Span=${span} is reserved`
        : `${sid} is outside of the STEs that L1STD.Span=${span} names`;
  return no('StreamID', 'IHI 0070 5.1', says);
}

function failedFetch(fault: FaultState, f: Features): CheckStep {
  const { fetchAddress } = fault;
  const says =
    fetchAddress >= 2 ** f.oas
      ? `${hex(fetchAddress)} needs more than ${f.oas} bits`
      : `nothing answers at ${hex(fetchAddress)}: an external abort`;
  return no('fetch', 'IHI 0070 3.4.3', says);
}

function badSubstream(facts: RefusalFacts): CheckStep {
  const { translator, ssid } = facts;
  const { stream } = translator;
  const name = `SubstreamID ${hex(ssid)}`;
  const l1cd = entries(facts, 'L1CD').at(-1);
  if (stream === undefined || !usesStage1(stream))
    return no('SubstreamID', 'IHI 0070 7.3.9', `${name}, and the stream does not use stage 1`);
  if (stream.cdMax === 0)
    return no('SubstreamID', 'IHI 0070 5.2', `${name}, and the stream has no substreams`);
  if (ssid >= 2 ** stream.cdMax)
    return no(
      'SubstreamID',
      'IHI 0070 5.2',
      `${name} needs more than S1CDMax=${stream.cdMax} bits`,
    );
  const valid = l1cd !== undefined && L1CD.get.V(lanes(l1cd)) === 1;
  const says = valid ? 'L1CD.L2Ptr lies beyond the output address size' : 'L1CD.V=0: no CDs';
  return no('L1CD', valid ? 'IHI 0070 3.4.3' : 'IHI 0070 5.3', says);
}

function usesStage1({ kind }: CachedStream): boolean {
  return kind === 'stage1' || kind === 'nested';
}

function noTranslation1(facts: RefusalFacts): CheckStep {
  const { translator, page } = facts;
  const { half } = translator;
  if (half === undefined || facts.insideStage1) return noDescriptor(facts);
  const x = half.upper ? 1 : 0;
  if (!inHalf(page, half))
    return no('input range', 'IHI 0070 3.4.1', rangeText(half, 'is outside'));
  if (half.e0pd && !isPrivileged(translator.attributes))
    return no('E0PD', 'IHI 0070 5.4', `CD.E0PD${x}=1 refuses unprivileged accesses to this half`);
  return no('EPD', 'IHI 0070 5.4', disabledText(half, translator.stream));
}

function disabledText(half: Regime, stream: CachedStream | undefined): string {
  if (half.upper && stream?.world === 1) return 'NS-EL2 has no upper half';
  return `CD.EPD${half.upper ? 1 : 0}=1: the tables of this half are not walked`;
}

/** Where an address lies to a half of stage 1. */
export function rangeText(half: Regime, lies: 'is in' | 'is outside'): string {
  const x = half.upper ? 1 : 0;
  const bits = Math.log2(half.bytes);
  const tbi = half.tbi ? `, top byte ignored (TBI${x}=1)` : '';
  return `the address ${lies} the ${bits} bits of TTB${x} (T${x}SZ=${64 - bits})${tbi}`;
}

function noTranslation2(facts: RefusalFacts): CheckStep {
  const { fault, stream } = facts.translator;
  const bytes = stream?.stage2?.bytes ?? 0;
  if (fault.ipa < bytes) return noDescriptor(facts);
  const bits = Math.log2(bytes);
  const says = `IPA ${hex(fault.ipa)} is outside the ${bits} bits of stage 2 (S2T0SZ=${64 - bits})`;
  return no('input range', 'IHI 0070 3.4', says);
}

function noDescriptor(facts: RefusalFacts): CheckStep {
  const step = entries(facts, 'descriptor').at(-1);
  const why =
    step !== undefined && (lanes(step)[0] ?? 0) % 2 === 1
      ? 'no such descriptor exists at this level'
      : 'bit 0 is 0';
  return no('valid descriptor', 'DDI 0487 D8.3', `${lastDescriptor(facts)} is invalid: ${why}`);
}

function addressSize(facts: RefusalFacts): CheckStep {
  const { translator, features } = facts;
  const { fault, stream, half } = translator;
  if (fault.configuredBy === 0) {
    const bits = stream?.kind === 'bypass' ? features.oas : inputSize(features);
    const says = `stage 1 is passed by, and the address needs more than ${bits} bits`;
    return no('address size', 'IHI 0070 3.4', says);
  }
  const end = (fault.stage === 1 ? half?.outputEnd : stream?.stage2?.outputEnd) ?? 1;
  const size = fault.stage === 1 ? 'CD.IPS' : 'STE.S2PS';
  const says = `${lastDescriptor(facts)} points beyond ${Math.log2(end)} bits (effective ${size})`;
  return no('address size', 'IHI 0070 3.4', says);
}

function permission(facts: RefusalFacts): CheckStep {
  const { fault, half, stream } = facts.translator;
  const [entry, regime, need] =
    fault.stage === 1
      ? [facts.inner, half, facts.need]
      : [facts.outer, stream?.stage2, facts.outerNeed];
  const fallback = no(
    'permission',
    'DDI 0487 D8.4',
    'no bit of the leaf itself: a table above it refuses, or the CD under which it was cached',
  );
  if (entry === undefined || regime === undefined) return fallback;
  if (fault.stage === 2 && permits(entry.permissions, need)) {
    const of = fault.class === 'CD' ? 'a CD' : 'a stage 1 table';
    const says = `STE.S2PTW=${stream === undefined ? 1 : STE.get.S2PTW(stream.words)} refuses Device memory for ${of}`;
    return no('permission', 'IHI 0070 5.2', says);
  }
  const reasons = refusingBits(entry, regime, need);
  if (reasons.length === 0) return fallback;
  const section = [...new Set(reasons.map((one) => one.section))].join(', ');
  return no(
    'permission',
    section,
    `${needText(need)} refused: ${reasons.map(({ says }) => says).join('; ')}`,
  );
}

/** True for the S1DSS code that sends transactions without a SubstreamID past stage 1. */
export function passesStage1({ s1dss }: CachedStream): boolean {
  return s1dss === S1DSS.BYPASS;
}

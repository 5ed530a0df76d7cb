/*
 * What a command asks for, and whether it is one (IHI 0070 4.1-4.8, 7.1).
 * Not modelled: Secure and impdef commands, DPTI, CFGI_VMS_PIDM (CERROR_ILL, as without MPAM); prefetch, which is a hint.
 */
import {
  ATC_INV_SIZE_ALL,
  CFGI_ALL_RANGE,
  CMD_ATC_INV,
  CMD_CFGI_CD,
  CMD_CFGI_STE,
  CMD_CFGI_STE_RANGE,
  CMD_PRI_RESP,
  CMD_RESUME,
  CMD_STALL_TERM,
  CMD_SYNC,
  CMD_TLBI_NH_VA,
  CMD_TLBI_S2_IPA,
  COMMANDS,
  GRANULE_4K,
  GRANULE_16K,
  GRANULE_64K,
  OPCODE,
  PRI_RESPONSE,
} from '@iommukit/arm-arch';
import type { ConfigInvalidation } from './config-cache.ts';
import type { AtcInvalidation } from './endpoint-port.ts';
import type { Features } from './features.ts';
import type { InterfacePolicy } from './interface-policy.ts';
import type { PageResponse } from './pri-queue.ts';
import type { TlbInvalidation } from './tlb-invalidation.ts';
import { lookupKey } from './translation-key.lanes.ts';

/** CMD_SYNC: how its completion is told. */
export interface SyncCommand {
  readonly what: 'sync';
  /** 0 none, 1 interrupt, 2 event to processors. */
  readonly signal: number;
  readonly msiAddress: number;
  readonly msiData: number;
}

/** CMD_RESUME (4.7.1). */
export interface ResumeCommand {
  readonly what: 'resume';
  readonly streamId: number;
  readonly stag: number;
  readonly action: 'retry' | 'abort' | 'raz-wi';
}

/** A decoded command: something to invalidate, something for an endpoint or a stalled transaction, a barrier, nothing, or an illegal command. */
export type DecodedCommand =
  | TlbInvalidation
  | ConfigInvalidation
  | SyncCommand
  | ResumeCommand
  | { readonly what: 'stall-term'; readonly streamId: number }
  | { readonly what: 'atc-inv'; readonly request: AtcInvalidation }
  | { readonly what: 'pri-resp'; readonly response: PageResponse }
  | { readonly what: 'nothing' }
  | { readonly what: 'illegal' };

/** Register state and choices that change the meaning of commands. */
export interface CommandContext {
  readonly features: Features;
  readonly policy: Pick<
    InterfacePolicy,
    'commandReservedFields' | 'oversizedAtcInvalidation' | 'reservedLevelHint'
  >;
  readonly e2h: boolean;
  /** Effective CR0.VMW. */
  readonly vmw: number;
  readonly enabled: boolean;
}

const NOTHING: DecodedCommand = { what: 'nothing' };
const ILLEGAL: DecodedCommand = { what: 'illegal' };
const LAST_SID = 2 ** 32 - 1;
const HALF = 2 ** 52;
const PAGE = 4096;
const EL1 = [0];
const EL2 = [1];
const E2H = [2];
const BOTH_EL2 = [1, 2];
const RANGE_GRANULES = [undefined, GRANULE_4K, GRANULE_16K, GRANULE_64K];

/** Decodes the command in `words` (4 lanes); never throws. */
export function decodeCommand(words: ArrayLike<number>, context: CommandContext): DecodedCommand {
  const { features: f, policy } = context;
  if (CMD_SYNC.get.SSec(words) === 1) return ILLEGAL;
  if (policy.commandReservedFields === 'illegal' && hasReservedBits(words)) return ILLEGAL;
  switch (CMD_SYNC.get.Opcode(words)) {
    case OPCODE.PREFETCH_CONFIG:
    case OPCODE.PREFETCH_ADDR:
      return NOTHING;
    case OPCODE.CFGI_STE:
    case OPCODE.CFGI_STE_RANGE:
      return decodeCfgiSte(words);
    case OPCODE.CFGI_CD:
    case OPCODE.CFGI_CD_ALL:
      return f.s1p ? decodeCfgiCd(words) : ILLEGAL;
    case OPCODE.TLBI_NH_ALL:
    case OPCODE.TLBI_NH_ASID:
    case OPCODE.TLBI_NH_VA:
    case OPCODE.TLBI_NH_VAA:
      return f.s1p ? decodeTlbiNh(words, context) : ILLEGAL;
    case OPCODE.TLBI_EL2_ALL:
    case OPCODE.TLBI_EL2_ASID:
    case OPCODE.TLBI_EL2_VA:
    case OPCODE.TLBI_EL2_VAA:
      return f.hyp ? decodeTlbiEl2(words, context) : ILLEGAL;
    case OPCODE.TLBI_S12_VMALL:
      return f.s2p ? everything(EL1, vmidOf(words, f), context) : ILLEGAL;
    case OPCODE.TLBI_S2_IPA:
      return f.s2p ? decodeTlbiS2(words, context) : ILLEGAL;
    case OPCODE.TLBI_NSNH_ALL:
      return everything(EL1, -1, context);
    case OPCODE.ATC_INV:
      return f.ats ? decodeAtcInv(words, context) : ILLEGAL;
    case OPCODE.PRI_RESP:
      return f.pri ? decodePriResp(words, context) : ILLEGAL;
    case OPCODE.RESUME:
      return f.stallModel === 1 ? ILLEGAL : decodeResume(words, f);
    case OPCODE.STALL_TERM:
      return f.stallModel === 1
        ? ILLEGAL
        : { what: 'stall-term', streamId: CMD_STALL_TERM.get.StreamID(words) };
    case OPCODE.SYNC:
      return decodeSync(words);
    default:
      return ILLEGAL;
  }
}

function hasReservedBits(words: ArrayLike<number>): boolean {
  const command = COMMANDS.get(CMD_SYNC.get.Opcode(words));
  return command !== undefined && command.decode(words).stray.length > 0;
}

/** VMIDs and ASIDs have 8 bits without VMID16 and ASID16; the rest of the field is RES0. */
function vmidOf(words: ArrayLike<number>, f: Features): number {
  const vmid = CMD_TLBI_NH_VA.get.VMID(words);
  return f.vmid16 ? vmid : vmid % 256;
}

function asidOf(words: ArrayLike<number>, f: Features): number {
  const asid = CMD_TLBI_NH_VA.get.ASID(words);
  return f.asid16 ? asid : asid % 256;
}

function decodeAtcInv(words: ArrayLike<number>, context: CommandContext): DecodedCommand {
  const { get } = CMD_ATC_INV;
  const { features: f, policy, enabled } = context;
  const size = get.Size(words);
  const oversized = size > ATC_INV_SIZE_ALL;
  if (oversized && policy.oversizedAtcInvalidation === 'illegal') return ILLEGAL;
  if (!enabled || (oversized && policy.oversizedAtcInvalidation === 'nothing')) return NOTHING;
  const sizeLg2 = 12 + Math.min(size, ATC_INV_SIZE_ALL);
  const address = get.Address(words);
  // Without substreams SSV must be 0; as if it were is one of the two things that may happen (4.5.1).
  const pasid = get.SSV(words) === 1 && f.ssidSize > 0 ? get.SubstreamID(words) : undefined;
  return {
    what: 'atc-inv',
    request: {
      streamId: get.StreamID(words),
      substreamId: pasid,
      global: pasid !== undefined && get.Global(words) === 1,
      start: sizeLg2 === 64 ? 0 : address - (address % 2 ** sizeLg2),
      sizeLg2,
    },
  };
}

function decodePriResp(words: ArrayLike<number>, context: CommandContext): DecodedCommand {
  const { get } = CMD_PRI_RESP;
  const response = get.Resp(words);
  if (response > PRI_RESPONSE.SUCCESS) return ILLEGAL;
  if (!context.enabled) return NOTHING;
  const hasPasid = get.SSV(words) === 1 && context.features.ssidSize > 0;
  return {
    what: 'pri-resp',
    response: {
      streamId: get.StreamID(words),
      substreamId: hasPasid ? get.SubstreamID(words) : undefined,
      group: get.PRGIndex(words),
      code: response === PRI_RESPONSE.SUCCESS ? 0 : response === PRI_RESPONSE.INVALID ? 1 : 15,
    },
  };
}

function decodeResume(words: ArrayLike<number>, f: Features): ResumeCommand {
  const { get } = CMD_RESUME;
  const abort = get.Ab(words) === 1 || f.termModel;
  return {
    what: 'resume',
    streamId: get.StreamID(words),
    stag: get.STAG(words),
    action: get.Ac(words) === 1 ? 'retry' : abort ? 'abort' : 'raz-wi',
  };
}

function decodeSync(words: ArrayLike<number>): DecodedCommand {
  const { get } = CMD_SYNC;
  const signal = get.CS(words);
  if (signal === 3) return ILLEGAL;
  return {
    what: 'sync',
    signal,
    msiAddress: get.MSIAddress(words),
    msiData: get.MSIData(words),
  };
}

function decodeCfgiSte(words: ArrayLike<number>): ConfigInvalidation {
  const streamId = CMD_CFGI_STE.get.StreamID(words);
  if (CMD_CFGI_STE.get.Opcode(words) === OPCODE.CFGI_STE) {
    const l1std = CMD_CFGI_STE.get.Leaf(words) === 0;
    return {
      what: 'config',
      first: streamId,
      last: streamId,
      ste: true,
      l1std,
      ssid: -1,
      l1cd: true,
    };
  }
  const range = CMD_CFGI_STE_RANGE.get.Range(words);
  const count = 2 ** (range + 1);
  const first = range === CFGI_ALL_RANGE ? 0 : streamId - (streamId % count);
  const last = range === CFGI_ALL_RANGE ? LAST_SID : first + count - 1;
  return { what: 'config', first, last, ste: true, l1std: true, ssid: -1, l1cd: true };
}

function decodeCfgiCd(words: ArrayLike<number>): ConfigInvalidation {
  const { get } = CMD_CFGI_CD;
  const all = get.Opcode(words) === OPCODE.CFGI_CD_ALL;
  const streamId = get.StreamID(words);
  return {
    what: 'config',
    first: streamId,
    last: streamId,
    ste: false,
    l1std: false,
    ssid: all ? -1 : get.SubstreamID(words),
    l1cd: all || get.Leaf(words) === 0,
  };
}

function everything(
  worlds: readonly number[],
  vmid: number,
  context: CommandContext,
): TlbInvalidation {
  return {
    what: 'tlb',
    stage1: true,
    stage2: worlds === EL1,
    worlds,
    vmid: context.features.s2p ? vmid : -1,
    vmidStep: 2 ** context.vmw,
    asid: -1,
    globals: true,
    start: 0,
    end: 0,
    granuleLg2: 0,
    ttl: 0,
    leaf: false,
  };
}

function decodeTlbiNh(words: ArrayLike<number>, context: CommandContext): DecodedCommand {
  const { get } = CMD_TLBI_NH_VA;
  const all = { ...everything(EL1, vmidOf(words, context.features), context), stage2: false };
  switch (get.Opcode(words)) {
    case OPCODE.TLBI_NH_ALL:
      return all;
    case OPCODE.TLBI_NH_ASID:
      return { ...all, asid: asidOf(words, context.features), globals: false };
    case OPCODE.TLBI_NH_VA:
      return byAddress(
        words,
        { ...all, asid: asidOf(words, context.features) },
        get.Address(words),
        context,
      );
    default:
      return byAddress(words, all, get.Address(words), context);
  }
}

function decodeTlbiS2(words: ArrayLike<number>, context: CommandContext): DecodedCommand {
  const all = { ...everything(EL1, vmidOf(words, context.features), context), stage1: false };
  return byAddress(words, all, CMD_TLBI_S2_IPA.get.Address(words), context);
}

function decodeTlbiEl2(words: ArrayLike<number>, context: CommandContext): DecodedCommand {
  const { get } = CMD_TLBI_NH_VA;
  const opcode = get.Opcode(words);
  if (opcode === OPCODE.TLBI_EL2_ALL) return everything(BOTH_EL2, -1, context);
  if (opcode === OPCODE.TLBI_EL2_ASID)
    return {
      ...everything(E2H, -1, context),
      asid: asidOf(words, context.features),
      globals: false,
    };
  const all = everything(context.e2h ? E2H : EL2, -1, context);
  const tagged = opcode === OPCODE.TLBI_EL2_VA && context.e2h;
  const op = tagged ? { ...all, asid: asidOf(words, context.features) } : all;
  return byAddress(words, op, get.Address(words), context);
}

/** TG says a range, but NUM, SCALE and TTL say none (4.4.1.1). */
function reservedRange(words: ArrayLike<number>, { features: f, policy }: CommandContext): boolean {
  const { get } = CMD_TLBI_NH_VA;
  const tg = get.TG(words);
  if (!f.ril || tg === 0 || get.NUM(words) !== 0 || rangeScale(words, f) !== 0) return false;
  // QEMU takes TTL as written: PRESET_INTERFACE has that choice.
  return (policy.reservedLevelHint === 'consumed' ? get.TTL(words) : effectiveTtl(words, f)) === 0;
}

/** TTL as it acts: a level of the 16 KiB granule that has no leaves without DS acts as 0. */
function effectiveTtl(words: ArrayLike<number>, f: Features): number {
  const { get } = CMD_TLBI_NH_VA;
  const ttl = get.TTL(words);
  return ttl === 1 && get.TG(words) === 2 && !f.ds ? 0 : ttl;
}

function rangeScale(words: ArrayLike<number>, f: Features): number {
  const scale = CMD_TLBI_NH_VA.get.SCALE(words);
  return f.ds ? scale : scale % 32;
}

function byAddress(
  words: ArrayLike<number>,
  base: TlbInvalidation,
  address: number,
  context: CommandContext,
): DecodedCommand {
  const { get } = CMD_TLBI_NH_VA;
  const { features: f } = context;
  if (reservedRange(words, context)) return ILLEGAL;
  const start = lookupKey(address);
  const leaf = get.Leaf(words) === 1;
  const granule = f.ril ? RANGE_GRANULES[get.TG(words)] : undefined;
  if (granule === undefined) return { ...base, start, end: start + PAGE, leaf };
  const bytes = (get.NUM(words) + 1) * 2 ** rangeScale(words, f) * granule.bytes;
  // A range does not run from one half into the other (4.4.1.1).
  const end = Math.min(start + bytes, start < HALF ? HALF : 2 * HALF);
  return { ...base, start, end, leaf, granuleLg2: granule.shift, ttl: effectiveTtl(words, f) };
}

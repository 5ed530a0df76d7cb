/*
 * What a command asks for, and whether it is one (IHI 0070 4.1-4.8, 7.1).
 * Does not model: Secure and impdef commands, DPTI, CFGI_VMS_PIDM (CERROR_ILL, as without MPAM); reserved fields are not checked.
 */
import {
  CFGI_ALL_RANGE,
  CMD_ATC_INV,
  CMD_CFGI_CD,
  CMD_CFGI_STE,
  CMD_CFGI_STE_RANGE,
  CMD_PRI_RESP,
  CMD_SYNC,
  CMD_TLBI_NH_VA,
  GRANULE_4K,
  GRANULE_16K,
  GRANULE_64K,
  OPCODE,
} from '@iommukit/arm-arch';
import type { ConfigInvalidation } from './config-cache.ts';
import type { Features } from './features.ts';
import type { TlbInvalidation } from './tlb.ts';
import { lookupKey } from './translation-key.lanes.ts';

/** CMD_SYNC: how its completion is told. */
export interface SyncCommand {
  readonly what: 'sync';
  /** 0 none, 1 interrupt, 2 event to processors. */
  readonly signal: number;
  readonly msiAddress: number;
  readonly msiData: number;
}

/** A decoded command: something to invalidate, a barrier, nothing, an illegal command, or one this model refuses. */
export type DecodedCommand =
  | TlbInvalidation
  | ConfigInvalidation
  | SyncCommand
  | { readonly what: 'nothing' }
  | { readonly what: 'illegal' }
  | { readonly what: 'atc-inv' }
  | { readonly what: 'pri-resp' };

/** Register state that changes the meaning of commands. */
export interface CommandContext {
  readonly features: Features;
  readonly e2h: boolean;
  /** Effective CR0.VMW. */
  readonly vmw: number;
  readonly enabled: boolean;
}

const NOTHING: DecodedCommand = { what: 'nothing' };
const ILLEGAL: DecodedCommand = { what: 'illegal' };
const LAST_SID = 2 ** 32 - 1;
const HALF = 2 ** 52;
const EL1 = [0];
const EL2 = [1];
const E2H = [2];
const BOTH_EL2 = [1, 2];
const RANGE_GRANULES = [undefined, GRANULE_4K, GRANULE_16K, GRANULE_64K];

/** Decodes the command in `words` (4 lanes); never throws. */
export function decodeCommand(words: ArrayLike<number>, context: CommandContext): DecodedCommand {
  const { features: f } = context;
  if (CMD_SYNC.get.SSec(words) === 1) return ILLEGAL;
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
      return f.s2p ? everything(EL1, CMD_TLBI_NH_VA.get.VMID(words), context) : ILLEGAL;
    case OPCODE.TLBI_S2_IPA:
      if (!f.s2p || reservedRange(words, f)) return ILLEGAL;
      // Only stage-2 entries need go, and there are none.
      return NOTHING;
    case OPCODE.TLBI_NSNH_ALL:
      return everything(EL1, -1, context);
    case OPCODE.ATC_INV:
      if (!f.ats || CMD_ATC_INV.get.Size(words) > 52) return ILLEGAL;
      return context.enabled ? { what: 'atc-inv' } : NOTHING;
    case OPCODE.PRI_RESP:
      if (!f.pri || CMD_PRI_RESP.get.Resp(words) === 3) return ILLEGAL;
      return context.enabled ? { what: 'pri-resp' } : NOTHING;
    case OPCODE.RESUME:
    case OPCODE.STALL_TERM:
      // No transaction is ever stalled here, so that no tag matches (4.6).
      return f.stallModel === 1 ? ILLEGAL : NOTHING;
    case OPCODE.SYNC:
      return decodeSync(words);
    default:
      return ILLEGAL;
  }
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
  const all = everything(EL1, get.VMID(words), context);
  switch (get.Opcode(words)) {
    case OPCODE.TLBI_NH_ALL:
      return all;
    case OPCODE.TLBI_NH_ASID:
      return { ...all, asid: get.ASID(words), globals: false };
    case OPCODE.TLBI_NH_VA:
      return byAddress(words, { ...all, asid: get.ASID(words) }, context.features);
    default:
      return byAddress(words, all, context.features);
  }
}

function decodeTlbiEl2(words: ArrayLike<number>, context: CommandContext): DecodedCommand {
  const { get } = CMD_TLBI_NH_VA;
  const opcode = get.Opcode(words);
  if (opcode === OPCODE.TLBI_EL2_ALL) return everything(BOTH_EL2, -1, context);
  if (opcode === OPCODE.TLBI_EL2_ASID)
    return { ...everything(E2H, -1, context), asid: get.ASID(words), globals: false };
  const all = everything(context.e2h ? E2H : EL2, -1, context);
  const tagged = opcode === OPCODE.TLBI_EL2_VA && context.e2h;
  return byAddress(words, tagged ? { ...all, asid: get.ASID(words) } : all, context.features);
}

/** TG says a range, but NUM, SCALE and TTL say none (4.4.1.1). */
function reservedRange(words: ArrayLike<number>, f: Features): boolean {
  const { get } = CMD_TLBI_NH_VA;
  const tg = get.TG(words);
  if (!f.ril || tg === 0 || get.NUM(words) !== 0 || rangeScale(words, f) !== 0) return false;
  return get.TTL(words) === 0;
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

function byAddress(words: ArrayLike<number>, base: TlbInvalidation, f: Features): DecodedCommand {
  const { get } = CMD_TLBI_NH_VA;
  if (reservedRange(words, f)) return ILLEGAL;
  const start = lookupKey(get.Address(words));
  const leaf = get.Leaf(words) === 1;
  const granule = f.ril ? RANGE_GRANULES[get.TG(words)] : undefined;
  if (granule === undefined) return { ...base, start, end: start + 4096, leaf };
  const bytes = (get.NUM(words) + 1) * 2 ** rangeScale(words, f) * granule.bytes;
  // A range does not run from one half into the other (4.4.1.1).
  const end = Math.min(start + bytes, start < HALF ? HALF : 2 * HALF);
  return { ...base, start, end, leaf, granuleLg2: granule.shift, ttl: effectiveTtl(words, f) };
}

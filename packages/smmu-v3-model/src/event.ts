/*
 * Event records as data, and their encoding (IHI 0070 7.3).
 * Not modelled: F_TLB_CONFLICT, F_CFG_CONFLICT and F_VMS_FETCH, which this SMMU never meets; those of the ports are in `port-event.ts`.
 * Always 0, because the architecture leaves them to the implementation or their place is not certain: Reason of every fetch and walk
 * event, GPCF (no RME), NSIPA (one IPA space), IPA of a stage-1 fault.
 */
import {
  C_BAD_SUBSTREAMID,
  EVENT_CLASS,
  EVENT_CODE,
  F_CD_FETCH,
  F_PERMISSION,
  F_STE_FETCH,
  F_TRANSLATION,
  F_WALK_EABT,
} from '@iommukit/arm-arch';
import type { U64, WritableWords } from '@iommukit/bits';

interface EventHeader {
  readonly streamId: number;
  /** `undefined`: SSV=0. */
  readonly substreamId: number | undefined;
}

interface EventAccess {
  /** The full 64-bit input address, as the device sent it. */
  readonly address: U64;
  readonly rw: 'read' | 'write';
  readonly privileged: boolean;
  readonly instruction: boolean;
  /** The stage that faulted. */
  readonly stage: 1 | 2;
  /** What was being accessed: a CD, a translation table, or the input address. */
  readonly class: 'CD' | 'TT' | 'IN';
}

/**
 * An error of the configuration; the record names the stream alone.
 * @example const event: ConfigEvent = { event: 'C_BAD_STE', streamId: 8, substreamId: undefined };
 */
export interface ConfigEvent extends EventHeader {
  readonly event:
    | 'C_BAD_STREAMID'
    | 'C_BAD_STE'
    | 'F_STREAM_DISABLED'
    | 'C_BAD_SUBSTREAMID'
    | 'C_BAD_CD';
}

/**
 * A configuration structure could not be fetched; `fetchAddress` is its address, bytes.
 * @example const event: FetchEvent = { event: 'F_CD_FETCH', streamId: 8, substreamId: undefined, fetchAddress: 0 };
 */
export interface FetchEvent extends EventHeader {
  readonly event: 'F_STE_FETCH' | 'F_CD_FETCH';
  readonly fetchAddress: number;
}

/**
 * A translation table could not be fetched; `fetchAddress` is the descriptor's address, bytes.
 * @example if (event.event === 'F_WALK_EABT') event.fetchAddress;
 */
export interface WalkEvent extends EventHeader, EventAccess {
  readonly event: 'F_WALK_EABT';
  readonly fetchAddress: number;
}

/**
 * A fault of translation. `ipa` is the page-aligned input of stage 2, present when that stage faulted; `tableAccess` says what was done
 * to the stage-1 descriptor, for F_PERMISSION with class TT; `stag` is present when the transaction stalls.
 * @example if (event.event === 'F_TRANSLATION') event.rw; // 'write'
 */
export interface TranslationEvent extends EventHeader, EventAccess {
  readonly event: 'F_TRANSLATION' | 'F_ADDR_SIZE' | 'F_ACCESS' | 'F_PERMISSION';
  readonly ipa?: number | undefined;
  readonly tableAccess?: 'read' | 'update' | undefined;
  readonly stag?: number | undefined;
}

/**
 * What the SMMU reports (IHI 0070 7.3), by `event`.
 * @example const { event }: SmmuEvent = result.event; // 'F_TRANSLATION'
 */
export type SmmuEvent = ConfigEvent | FetchEvent | WalkEvent | TranslationEvent;

/**
 * Names of the events that this model records.
 * @example const name: SmmuEventName = 'F_TRANSLATION';
 */
export type SmmuEventName = SmmuEvent['event'];

/** Writes the 32-byte record of an event over `words` (8 lanes). */
export function encodeEvent(event: SmmuEvent, words: WritableWords): void {
  words.fill(0);
  const { set } = F_TRANSLATION;
  set.EventNumber(words, EVENT_CODE[event.event]);
  set.StreamID(words, event.streamId);
  if (event.event === 'C_BAD_SUBSTREAMID') {
    C_BAD_SUBSTREAMID.set.SubstreamID(words, event.substreamId ?? 0);
    return;
  }
  if (event.event === 'F_STREAM_DISABLED') return;
  if (event.substreamId !== undefined) {
    set.SSV(words, 1);
    set.SubstreamID(words, event.substreamId);
  }
  if (event.event === 'F_STE_FETCH') F_STE_FETCH.set.FetchAddr(words, event.fetchAddress);
  else if (event.event === 'F_CD_FETCH') F_CD_FETCH.set.FetchAddr(words, event.fetchAddress);
  else if ('address' in event) encodeAccess(event, words);
}

function encodeAccess(event: WalkEvent | TranslationEvent, words: WritableWords): void {
  const { set } = F_WALK_EABT;
  set.PnU(words, event.privileged ? 1 : 0);
  set.InD(words, event.instruction ? 1 : 0);
  set.RnW(words, event.rw === 'read' ? 1 : 0);
  set.S2(words, event.stage === 2 ? 1 : 0);
  set.CLASS(words, EVENT_CLASS[event.class]);
  words[4] = event.address.lo;
  words[5] = event.address.hi;
  if (event.event === 'F_WALK_EABT') {
    set.FetchAddr(words, event.fetchAddress);
    return;
  }
  if (event.ipa !== undefined) F_TRANSLATION.set.IPA(words, event.ipa);
  if (event.tableAccess === 'read') F_PERMISSION.set.TTRnW(words, 1);
  if (event.stag !== undefined) {
    F_TRANSLATION.set.STALL(words, 1);
    F_TRANSLATION.set.STAG(words, event.stag);
  }
}

/*
 * The events that come from the ports to devices rather than from translation (IHI 0070 7.3.2, 7.3.6, 7.3.8, 7.3.19), and every event in
 * one type.
 * Not modelled: R, W, X, Priv and Span of F_BAD_ATS_TREQ, whose places in the record are not certain, and the Reason of F_UUT (always 0);
 * F_TLB_CONFLICT, F_CFG_CONFLICT and F_VMS_FETCH, which this SMMU never meets.
 */
import {
  E_PAGE_REQUEST,
  EVENT_CODE,
  F_BAD_ATS_TREQ,
  F_TRANSL_FORBIDDEN,
  F_UUT,
} from '@iommukit/arm-arch';
import { fromLanes, type U64, type WritableWords } from '@iommukit/bits';
import { encodeEvent, type SmmuEvent } from './event.ts';

/**
 * A translation request of a stream without ATS, or a translated transaction that must not be.
 * @example const event: AtsEvent = { event: 'F_TRANSL_FORBIDDEN', streamId: 8, substreamId: undefined, address, rw: 'read' };
 */
export interface AtsEvent {
  readonly event: 'F_BAD_ATS_TREQ' | 'F_TRANSL_FORBIDDEN';
  readonly streamId: number;
  readonly substreamId: number | undefined;
  readonly address: U64;
  /** What the transaction did; a request is a read. */
  readonly rw: 'read' | 'write';
}

/**
 * A transaction of a kind that the SMMU does not support; attributes as they came, before any override.
 * @example if (event.event === 'F_UUT') event.rw;
 */
export interface UnsupportedEvent {
  readonly event: 'F_UUT';
  readonly streamId: number;
  readonly substreamId: number | undefined;
  readonly address: U64;
  readonly rw: 'read' | 'write';
  readonly privileged: boolean;
  readonly instruction: boolean;
}

/**
 * A hint that pages will be used (3.12.4.1): `span` of them from `address`, with these permissions.
 * @example const hint: PageHint = { event: 'E_PAGE_REQUEST', streamId: 8, substreamId: 1, address, span: 1, unprivileged: 'rw', privileged: '' };
 */
export interface PageHint {
  readonly event: 'E_PAGE_REQUEST';
  readonly streamId: number;
  readonly substreamId: number | undefined;
  readonly address: U64;
  /** Pages, 0 to 255, as the record has it. */
  readonly span: number;
  /** Of `r`, `w` and `x`, those that each privilege asks for. */
  readonly unprivileged: string;
  readonly privileged: string;
}

/**
 * Everything that this model records.
 * @example if (event.event === 'F_BAD_ATS_TREQ') event.address.lo;
 */
export type RecordedEvent = SmmuEvent | AtsEvent | UnsupportedEvent | PageHint;

type PortEvent = AtsEvent | UnsupportedEvent | PageHint;

const PORT_EVENTS: ReadonlySet<string> = new Set([
  'F_BAD_ATS_TREQ',
  'F_TRANSL_FORBIDDEN',
  'F_UUT',
  'E_PAGE_REQUEST',
]);

/** Writes the 32-byte record of an event over `words` (8 lanes). */
export function encodeRecord(event: RecordedEvent, words: WritableWords): void {
  if (!isPortEvent(event)) {
    encodeEvent(event, words);
    return;
  }
  words.fill(0);
  const { set } = F_BAD_ATS_TREQ;
  set.EventNumber(words, EVENT_CODE[event.event]);
  set.StreamID(words, event.streamId);
  if (event.substreamId !== undefined) {
    set.SSV(words, 1);
    set.SubstreamID(words, event.substreamId);
  }
  words[4] = event.address.lo;
  words[5] = event.address.hi;
  if (event.event === 'F_TRANSL_FORBIDDEN')
    F_TRANSL_FORBIDDEN.set.RnW(words, event.rw === 'read' ? 1 : 0);
  else if (event.event === 'F_UUT') encodeUnsupported(event, words);
  else if (event.event === 'E_PAGE_REQUEST') encodeHint(event, words);
}

function isPortEvent(event: RecordedEvent): event is PortEvent {
  return PORT_EVENTS.has(event.event);
}

function encodeUnsupported(event: UnsupportedEvent, words: WritableWords): void {
  const { set } = F_UUT;
  set.PnU(words, event.privileged ? 1 : 0);
  set.InD(words, event.instruction ? 1 : 0);
  set.RnW(words, event.rw === 'read' ? 1 : 0);
}

function encodeHint(event: PageHint, words: WritableWords): void {
  const { set } = E_PAGE_REQUEST;
  const { unprivileged, privileged, address } = event;
  const bit = (permissions: string, one: string): 0 | 1 => (permissions.includes(one) ? 1 : 0);
  set.uR(words, bit(unprivileged, 'r'));
  set.uW(words, bit(unprivileged, 'w'));
  set.uX(words, bit(unprivileged, 'x'));
  set.pR(words, bit(privileged, 'r'));
  set.pW(words, bit(privileged, 'w'));
  set.pX(words, bit(privileged, 'x'));
  set.Span(words, event.span);
  const lo = fromLanes(address.lo, 0);
  words[4] = lo - (lo % 4096);
}

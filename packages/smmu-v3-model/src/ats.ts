/*
 * Translation requests of endpoints and the transactions that follow them (IHI 0070 3.9.1, 13.6, 13.7).
 * Does not model: requests for several translations at once, PASIDs on translated transactions (PASIDTT), CXL, DPT, memory attributes
 * in completions. N, Global and U of a completion are always 0.
 */
import {
  CR0,
  CR2,
  GRANULE_4K,
  GRANULE_16K,
  GRANULE_64K,
  REGISTER_OFFSET as R,
  STE,
} from '@iommukit/arm-arch';
import { fromLanes, type U64 } from '@iommukit/bits';
import type { AtcDetector, AtcOrigin } from './atc-detector.ts';
import type { DmaAccess } from './dma-access.ts';
import type { SmmuEvent, SmmuEventName } from './event.ts';
import type { EventQueue } from './event-queue.ts';
import { type Features, inputSize } from './features.ts';
import type { InterfacePolicy } from './interface-policy.ts';
import { neededBits, permits } from './permission.lanes.ts';
import type { AtsEvent, PageHint, RecordedEvent, UnsupportedEvent } from './port-event.ts';
import type { Stage2 } from './stage2.ts';
import type { CachedStream } from './stream-entry.ts';
import { lookupKey } from './translation-key.lanes.ts';
import type { Translator } from './translator.ts';

const PAGE = 4096;
const READ = 0;
const WRITE = 1;

/**
 * An ATS Translation Request for one page. `privileged` and `execute` exist only with a PASID. `noWrite` is NW: the endpoint does not
 * mean to write.
 * @example const request: TranslationRequest = { streamId: 8, address: { lo: 0x1000, hi: 0 }, noWrite: true };
 */
export interface TranslationRequest {
  readonly streamId: number;
  readonly substreamId?: number | undefined;
  readonly address: U64;
  readonly noWrite: boolean;
  readonly privileged?: boolean | undefined;
  readonly execute?: boolean | undefined;
}

/**
 * An ATS Translation Completion. `success`: what of `[start, start + size)` the endpoint may do, at `output` (a PA, or an IPA with
 * split-stage ATS); nothing granted means that the page is not there. The other two are the PCIe status codes UR and CA, with the
 * event, if one was recorded or lost.
 * @example if (completion.status === 'success' && completion.read) completion.output;
 */
export type TranslationCompletion =
  | {
      readonly status: 'success';
      readonly start: number;
      readonly output: number;
      /** Bytes, a power of two. */
      readonly size: number;
      readonly read: boolean;
      readonly write: boolean;
      readonly execute: boolean;
      readonly privileged: boolean;
      /** What the translation was made from, for the stale-use detector; absent where nothing was translated. */
      readonly origin: AtcOrigin | undefined;
    }
  | {
      readonly status: 'unsupported-request' | 'completer-abort';
      readonly event: RecordedEvent | undefined;
      readonly record: 'written' | 'dropped' | 'none';
    };

/**
 * A transaction that an endpoint marks Translated; `address` is what a completion gave. `origin` is that completion's.
 * @example const transaction: TranslatedTransaction = { streamId: 8, address: { lo: 0x4100_0000, hi: 0 }, rw: 'write' };
 */
export interface TranslatedTransaction {
  readonly streamId: number;
  readonly address: U64;
  readonly rw: 'read' | 'write' | 'atomic';
  readonly origin?: AtcOrigin | undefined;
}

/**
 * What became of a translated transaction. `ok`: it reaches the byte address `paddr`. `abort`: refused without an event. `fault`: an
 * event; the endpoint always gets an abort.
 * @example if (result.outcome === 'fault') result.event.event; // 'F_TRANSL_FORBIDDEN'
 */
export type TranslatedResult =
  | { readonly outcome: 'ok'; readonly paddr: number; readonly streamId: number }
  | {
      readonly outcome: 'abort';
      readonly reason: 'address-above-oas' | 'ste-abort' | 'unrecorded';
      readonly streamId: number;
    }
  | {
      readonly outcome: 'fault';
      readonly event: RecordedEvent;
      readonly response: 'abort';
      readonly record: 'written' | 'dropped' | 'suppressed';
      readonly streamId: number;
    };

/** What ATS needs of the SMMU. */
export interface AtsParts {
  readonly words: Uint32Array;
  readonly features: Features;
  readonly policy: Pick<InterfacePolicy, 'unaskedWrite' | 'completionSize' | 'translatedAboveOas'>;
  readonly translator: Translator;
  readonly stage2: Stage2;
  readonly events: EventQueue;
  readonly detector: AtcDetector | undefined;
  /** The event of the translator's last fault. */
  readonly eventOf: (access: DmaAccess, name: SmmuEventName) => SmmuEvent;
  /** Counts what became of an event that was given to the queue. */
  readonly counted: (written: boolean) => void;
}

/** The port that requests and translated transactions come through. */
export class AtsPort {
  readonly #p: AtsParts;
  readonly #stu: number;

  constructor(parts: AtsParts) {
    this.#p = parts;
    this.#stu = smallestGranule(parts.features);
  }

  /** Answers a translation request. */
  request(request: TranslationRequest): TranslationCompletion {
    const { translator, features } = this.#p;
    if (!features.ats || !this.#isEnabled()) return this.#forbiddenRequest(request);
    const stream = translator.lookupStream(request.streamId);
    if (stream === undefined) return this.#configurationError(request);
    if (stream.kind === 'illegal') {
      translator.fault.raise('C_BAD_STE', 0);
      return this.#configurationError(request);
    }
    if (stream.kind === 'abort')
      return { status: 'unsupported-request', event: undefined, record: 'none' };
    const mode = this.#mode(stream);
    return mode === 'off' ? this.#forbiddenRequest(request) : this.#translate(request, mode);
  }

  /** Passes a translated transaction on, or refuses it. */
  transaction(transaction: TranslatedTransaction): TranslatedResult {
    const { words, translator, features } = this.#p;
    const { streamId } = transaction;
    if (!features.ats || !this.#isEnabled()) return this.#forbidden(transaction);
    if (transaction.origin !== undefined) this.#p.detector?.check(transaction.origin);
    if (CR0.get.ATSCHK(words, R.CR0ACK / 4) === 0) return this.#pass(transaction);
    const stream = translator.lookupStream(streamId);
    if (stream === undefined) return this.#refusedByConfiguration(transaction);
    switch (stream.kind) {
      case 'illegal':
        translator.fault.raise('C_BAD_STE', 0);
        return this.#refusedByConfiguration(transaction);
      case 'abort':
        return { outcome: 'abort', reason: 'ste-abort', streamId };
      default: {
        const mode = this.#mode(stream);
        if (mode === 'off') return this.#forbidden(transaction);
        return mode === 'full' ? this.#pass(transaction) : this.#stage2(transaction, stream);
      }
    }
  }

  /** A transaction of an unsupported kind: always an abort (7.3.2); marked Translated, without an event (3.9.1.3). */
  unsupported(access: DmaAccess, marked: 'untranslated' | 'translated'): TranslatedResult {
    const { streamId, substreamId, address } = access;
    if (marked === 'translated') return { outcome: 'abort', reason: 'unrecorded', streamId };
    const event: UnsupportedEvent = {
      event: 'F_UUT',
      streamId,
      substreamId,
      address,
      rw: access.rw === 'read' ? 'read' : 'write',
      privileged: access.privileged === true,
      instruction: access.instruction === true && access.rw === 'read',
    };
    const record = this.#write(event) ? 'written' : 'dropped';
    return { outcome: 'fault', event, response: 'abort', record, streamId };
  }

  /** A hint, which is recorded where there is room and otherwise forgotten (3.12.4.1). */
  hint(hint: PageHint): boolean {
    return this.#p.events.isWritable && this.#write(hint);
  }

  /** STE.PPAR, for the answer to a page request that overflow lost (8.1). */
  pasidResponse(streamId: number): 'echo' | 'strip' | 'invalid' {
    const { translator } = this.#p;
    const stream = this.#isEnabled() ? translator.lookupStream(streamId) : undefined;
    if (stream !== undefined && stream.kind !== 'illegal')
      return STE.get.PPAR(stream.words) === 1 ? 'echo' : 'strip';
    if (!this.#isEnabled()) return 'invalid';
    if (stream !== undefined) translator.fault.raise('C_BAD_STE', 0);
    const address = { lo: 0, hi: 0 };
    this.#configurationError({ streamId, address, noWrite: true });
    return 'invalid';
  }

  #isEnabled(): boolean {
    return CR0.get.SMMUEN(this.#p.words, R.CR0ACK / 4) === 1;
  }

  /** Effective EATS (5.2): a bypass stream has none, split-stage needs ATSCHK, 11 is 00 without DPT. */
  #mode(stream: CachedStream): 'off' | 'full' | 'split' {
    if (stream.kind === 'bypass') return 'off';
    if (stream.eats === 1) return 'full';
    const checks = CR0.get.ATSCHK(this.#p.words, R.CR0ACK / 4) === 1;
    return stream.eats === 2 && checks ? 'split' : 'off';
  }

  #translate(request: TranslationRequest, mode: 'full' | 'split'): TranslationCompletion {
    const { translator, policy } = this.#p;
    const page = pageOf(request.address);
    const hasPasid = request.substreamId !== undefined;
    const privileged = hasPasid && request.privileged === true;
    const wantsExecute = hasPasid && request.execute === true;
    const output = this.#try(request, page, READ, { privileged, instruction: false });
    if (output < 0 && !isLeafPermission(translator.fault))
      return this.#refusedRequest(request, page, privileged);
    if (output >= 0 && translator.bypassed) return this.#identity(request, page);
    const found = { output, inner: translator.inner, outer: translator.outer };
    const read = output >= 0;
    let write = false;
    if (!request.noWrite) {
      const written = this.#try(request, page, WRITE, { privileged, instruction: false });
      write = written >= 0;
      if (write) {
        found.output = written;
        found.inner = translator.inner;
        found.outer = translator.outer;
      }
    } else if (read && policy.unaskedWrite === 'granted') {
      const need = neededBits(WRITE, false, translator.privileged);
      write =
        permits(found.inner?.permissions ?? need, need) &&
        permits(found.outer?.permissions ?? need, need);
    }
    const origin = this.#origin(request);
    const execute =
      wantsExecute &&
      read &&
      this.#try(request, page, READ, { privileged, instruction: true }) >= 0;
    if (!read && !write) return this.#nothing(page, privileged);
    const { inner, outer } = found;
    const leaf = Math.min(inner?.size ?? Infinity, outer?.size ?? Infinity);
    const size = policy.completionSize === 'leaf' ? leaf : this.#stu;
    let target = found.output;
    if (mode === 'split')
      target = inner === undefined ? page : inner.output + (lookupKey(page) - inner.key);
    return {
      status: 'success',
      start: page - (page % size),
      output: target - (target % size),
      size,
      read,
      write,
      execute,
      privileged,
      origin: { ...origin, inner, outer },
    };
  }

  /** Sends the request through the walk as a transaction of one kind, which updates descriptors as that would (13.7). */
  #try(
    request: TranslationRequest,
    page: number,
    rw: number,
    as: { privileged: boolean; instruction: boolean },
  ): number {
    const { translator } = this.#p;
    translator.setAttributes(as.privileged, as.instruction);
    return translator.resolve(request.streamId, request.substreamId ?? -1, page, rw);
  }

  #origin(request: TranslationRequest): Omit<AtcOrigin, 'inner' | 'outer'> {
    const { stream, context, half } = this.#p.translator;
    const page = pageOf(request.address);
    const { streamId, substreamId } = request;
    return { streamId, substreamId, page, stream, context, half, stale: undefined };
  }

  /** S1DSS=01 without stage 2: identity, with everything allowed, as far as addresses go (13.6.4). */
  #identity(request: TranslationRequest, page: number): TranslationCompletion {
    const size = this.#p.policy.completionSize === 'leaf' ? 2 ** this.#p.features.oas : this.#stu;
    const start = page - (page % size);
    return {
      status: 'success',
      start,
      output: start,
      size,
      read: true,
      write: true,
      execute: false,
      privileged: false,
      origin: { ...this.#origin(request), inner: undefined, outer: undefined },
    };
  }

  /** Success that grants nothing: the size is the smallest (3.9.1.2). */
  #nothing(page: number, privileged: boolean): TranslationCompletion {
    const start = page - (page % this.#stu);
    return {
      status: 'success',
      start,
      output: 0,
      size: this.#stu,
      read: false,
      write: false,
      execute: false,
      privileged,
      origin: undefined,
    };
  }

  /** What an ordinary transaction would fault with, as an answer (3.9.1.2). */
  #refusedRequest(
    request: TranslationRequest,
    page: number,
    privileged: boolean,
  ): TranslationCompletion {
    switch (this.#p.translator.fault.event) {
      case 'F_TRANSLATION':
      case 'F_ADDR_SIZE':
      case 'F_ACCESS':
      case 'F_PERMISSION':
        return this.#nothing(page, privileged);
      default:
        return this.#configurationError(request);
    }
  }

  #forbiddenRequest(request: TranslationRequest): TranslationCompletion {
    const event: AtsEvent = {
      event: 'F_BAD_ATS_TREQ',
      streamId: request.streamId,
      substreamId: request.substreamId,
      address: request.address,
      rw: 'read',
    };
    const record = this.#write(event) ? 'written' : 'dropped';
    return { status: 'unsupported-request', event, record };
  }

  /** CA; the event only with REC_CFG_ATS, for a bad StreamID with RECINVSID too (3.9.1.2). */
  #configurationError(request: TranslationRequest): TranslationCompletion {
    const name = this.#p.translator.fault.event;
    const { streamId, substreamId, address } = request;
    if (name === undefined || !this.#recordsConfiguration())
      return { status: 'completer-abort', event: undefined, record: 'none' };
    const event = this.#p.eventOf({ streamId, substreamId, address, rw: 'read' }, name);
    const record = this.#write(event) ? 'written' : 'dropped';
    return { status: 'completer-abort', event, record };
  }

  #recordsConfiguration(): boolean {
    const { words, features } = this.#p;
    return features.atsRecErr && CR2.get.REC_CFG_ATS(words, R.CR2 / 4) === 1;
  }

  #forbidden(transaction: TranslatedTransaction): TranslatedResult {
    const { streamId, address, rw } = transaction;
    const event: AtsEvent = {
      event: 'F_TRANSL_FORBIDDEN',
      streamId,
      substreamId: undefined,
      address,
      rw: rw === 'read' ? 'read' : 'write',
    };
    const record = this.#write(event) ? 'written' : 'dropped';
    return { outcome: 'fault', event, response: 'abort', record, streamId };
  }

  /** Full ATS, or no checks: the address is a PA (3.9.1.1). */
  #pass({ streamId, address }: TranslatedTransaction): TranslatedResult {
    const { features, policy } = this.#p;
    const limit = 2 ** features.oas;
    const page = pageOf(address);
    const offset = offsetOf(address);
    if (page < limit) return { outcome: 'ok', paddr: page + offset, streamId };
    if (policy.translatedAboveOas === 'abort')
      return { outcome: 'abort', reason: 'address-above-oas', streamId };
    return { outcome: 'ok', paddr: (page % limit) + offset, streamId };
  }

  /** Errors on the way to the STE; RECINVSID does not count here (3.9.1.3). */
  #refusedByConfiguration(transaction: TranslatedTransaction): TranslatedResult {
    const { streamId } = transaction;
    const { fault } = this.#p.translator;
    if (!this.#recordsConfiguration()) return { outcome: 'abort', reason: 'unrecorded', streamId };
    return this.#fault(transaction, fault.event ?? 'C_BAD_STREAMID', { record: true });
  }

  /** Split-stage: the address is an IPA (13.6.3). */
  #stage2(transaction: TranslatedTransaction, stream: CachedStream): TranslatedResult {
    const { translator, stage2, features } = this.#p;
    const { streamId, address, rw } = transaction;
    const page = pageOf(address);
    const privileged = stream.privCfg === 3;
    const instruction = rw === 'read' && stream.instCfg === 3;
    translator.setAttributes(privileged, instruction);
    if (page >= 2 ** inputSize(features)) {
      translator.fault.raise('F_ADDR_SIZE', 0);
      return this.#fault(transaction, 'F_ADDR_SIZE', { record: true });
    }
    const need = neededBits(rw === 'atomic' ? 2 : rw === 'write' ? 1 : 0, instruction, privileged);
    const entry = stage2.resolve(stream, page, need, 'IN');
    if (entry !== undefined) {
      const paddr = entry.output + (page - entry.key) + offsetOf(address);
      return { outcome: 'ok', paddr, streamId };
    }
    const { fault } = translator;
    const record = fault.configuredBy !== 2 || stream.s2r;
    return this.#fault(transaction, fault.event ?? 'F_TRANSLATION', { record });
  }

  #fault(
    transaction: TranslatedTransaction,
    name: SmmuEventName,
    how: { record: boolean },
  ): TranslatedResult {
    const { streamId, address, rw } = transaction;
    const event = this.#p.eventOf({ streamId, address, rw }, name);
    const record = !how.record ? 'suppressed' : this.#write(event) ? 'written' : 'dropped';
    return { outcome: 'fault', event, response: 'abort', record, streamId };
  }

  #write(event: RecordedEvent): boolean {
    const written = this.#p.events.write(event);
    this.#p.counted(written);
    return written;
  }
}

/** A leaf refused, and not the way to it: the other permissions are still asked for. */
function isLeafPermission(fault: Translator['fault']): boolean {
  return fault.event === 'F_PERMISSION' && fault.class === 'IN';
}

function pageOf({ lo, hi }: U64): number {
  const low = fromLanes(lo, 0);
  return fromLanes(low - (low % PAGE), hi);
}

function offsetOf({ lo }: U64): number {
  return fromLanes(lo, 0) % PAGE;
}

/** The smallest granule that the SMMU implements: the smallest translation unit (3.9.1). */
function smallestGranule(f: Features): number {
  if (f.gran4k) return GRANULE_4K.bytes;
  return f.gran16k ? GRANULE_16K.bytes : GRANULE_64K.bytes;
}

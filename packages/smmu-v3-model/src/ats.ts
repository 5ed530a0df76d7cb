/*
 * Translation requests of endpoints and the transactions that follow them (IHI 0070 3.9.1, 13.6, 13.7).
 * Not modelled: CXL, DPT, and what `ats-message.ts` leaves out.
 */
import {
  CR2,
  GRANULE_4K,
  GRANULE_16K,
  GRANULE_64K,
  REGISTER_OFFSET as R,
  STE,
} from '@iommukit/arm-arch';
import { ACCESS_KIND, effectiveAttributes, INSTRUCTION, PRIVILEGED } from './access-mode.lanes.ts';
import type { AtcDetector, AtcOrigin } from './atc-detector.ts';
import type {
  TranslatedResult,
  TranslatedTransaction,
  TranslationCompletion,
  TranslationRequest,
} from './ats-message.ts';
import { checksAts, isEnabled } from './control-register.ts';
import type { DmaAccess } from './dma-access.ts';
import type { SmmuEventName } from './event.ts';
import type { EventQueue } from './event-queue.ts';
import { faultEvent } from './fault-event.ts';
import { type Features, inputSize } from './features.ts';
import type { InterfacePolicy } from './interface-policy.ts';
import { offsetOf, pageOf } from './page-address.ts';
import { neededBits, permits } from './permission.lanes.ts';
import type { AtsEvent, PageHint, RecordedEvent, UnsupportedEvent } from './port-event.ts';
import type { Stage2 } from './stage2.ts';
import type { CachedStream } from './stream-entry.ts';
import { lookupKey } from './translation-key.lanes.ts';
import type { Translator } from './translator.ts';

const { read: READ, write: WRITE } = ACCESS_KIND;

/** What ATS needs of the SMMU. */
export interface AtsParts {
  readonly words: Uint32Array;
  readonly features: Features;
  readonly policy: Pick<InterfacePolicy, 'unaskedWrite' | 'completionSize' | 'translatedAboveOas'>;
  readonly translator: Translator;
  readonly stage2: Stage2;
  readonly events: EventQueue;
  readonly detector: AtcDetector | undefined;
  /** Counts what became of an event that was given to the queue. */
  readonly counted: (record: 'written' | 'dropped') => void;
}

/** The page of a request, and the privilege that its completion names. */
interface RequestedPage {
  readonly page: number;
  readonly privileged: boolean;
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
    if (!checksAts(words)) return this.#pass(transaction);
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
    const record = this.#write(event);
    return { outcome: 'fault', event, response: 'abort', record, streamId };
  }

  /** A hint, which is recorded where there is room and otherwise forgotten (3.12.4.1). */
  hint(hint: PageHint): boolean {
    return this.#p.events.isWritable && this.#write(hint) === 'written';
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
    return isEnabled(this.#p.words);
  }

  /** Effective EATS (5.2): a bypass stream has none, split-stage needs ATSCHK, 11 is 00 without DPT. */
  #mode(stream: CachedStream): 'off' | 'full' | 'split' {
    if (stream.kind === 'bypass') return 'off';
    if (stream.eats === 1) return 'full';
    return stream.eats === 2 && checksAts(this.#p.words) ? 'split' : 'off';
  }

  #translate(request: TranslationRequest, mode: 'full' | 'split'): TranslationCompletion {
    const { translator, policy } = this.#p;
    const page = pageOf(request.address);
    const hasPasid = request.substreamId !== undefined;
    const privileged = hasPasid && request.privileged === true;
    const attributes = privileged ? PRIVILEGED : 0;
    const wantsExecute = hasPasid && request.execute === true;
    const output = this.#try(request, page, READ, attributes);
    if (output < 0 && !isLeafPermission(translator.fault))
      return this.#refusedRequest(request, { page, privileged });
    if (output >= 0 && translator.bypassed) return this.#identity(request, page);
    const found = { output, inner: translator.inner, outer: translator.outer };
    const read = output >= 0;
    let write = false;
    if (!request.noWrite) {
      const written = this.#try(request, page, WRITE, attributes);
      write = written >= 0;
      if (write) {
        found.output = written;
        found.inner = translator.inner;
        found.outer = translator.outer;
      }
    } else if (read && policy.unaskedWrite === 'granted') {
      const need = neededBits(WRITE, translator.attributes);
      write =
        permits(found.inner?.permissions ?? need, need) &&
        permits(found.outer?.permissions ?? need, need);
    }
    const origin = this.#origin(request);
    const execute =
      wantsExecute && read && this.#try(request, page, READ, attributes + INSTRUCTION) >= 0;
    if (!read && !write) return this.#nothing({ page, privileged });
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
  #try(request: TranslationRequest, page: number, rw: number, attributes: number): number {
    const { translator } = this.#p;
    translator.attributes = attributes;
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
  #nothing({ page, privileged }: RequestedPage): TranslationCompletion {
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
  #refusedRequest(request: TranslationRequest, requested: RequestedPage): TranslationCompletion {
    switch (this.#p.translator.fault.event) {
      case 'F_TRANSLATION':
      case 'F_ADDR_SIZE':
      case 'F_ACCESS':
      case 'F_PERMISSION':
        return this.#nothing(requested);
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
    const record = this.#write(event);
    return { status: 'unsupported-request', event, record };
  }

  /** CA; the event only with REC_CFG_ATS, for a bad StreamID with RECINVSID too (3.9.1.2). */
  #configurationError(request: TranslationRequest): TranslationCompletion {
    const name = this.#p.translator.fault.event;
    const { streamId, substreamId, address } = request;
    if (name === undefined || !this.#recordsConfiguration())
      return { status: 'completer-abort', event: undefined, record: 'none' };
    const event = faultEvent(
      this.#p.translator,
      { streamId, substreamId, address, rw: 'read' },
      name,
    );
    const record = this.#write(event);
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
    const record = this.#write(event);
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
    return this.#fault(transaction, fault.event ?? 'C_BAD_STREAMID');
  }

  /** Split-stage: the address is an IPA (13.6.3). */
  #stage2(transaction: TranslatedTransaction, stream: CachedStream): TranslatedResult {
    const { translator, stage2, features } = this.#p;
    const { streamId, address, rw } = transaction;
    const page = pageOf(address);
    // It comes without attributes of its own.
    const attributes = effectiveAttributes(0, stream, ACCESS_KIND[rw]);
    translator.attributes = attributes;
    if (page >= 2 ** inputSize(features)) {
      translator.fault.raise('F_ADDR_SIZE', 0);
      return this.#fault(transaction, 'F_ADDR_SIZE');
    }
    const need = neededBits(ACCESS_KIND[rw], attributes);
    const entry = stage2.resolve(stream, page, need, 'IN');
    if (entry !== undefined) {
      const paddr = entry.output + (page - entry.key) + offsetOf(address);
      return { outcome: 'ok', paddr, streamId };
    }
    const { fault } = translator;
    const recording = fault.configuredBy === 2 && !stream.s2r ? 'suppressed' : 'recorded';
    return this.#fault(transaction, fault.event ?? 'F_TRANSLATION', recording);
  }

  #fault(
    transaction: TranslatedTransaction,
    name: SmmuEventName,
    recording: 'recorded' | 'suppressed' = 'recorded',
  ): TranslatedResult {
    const { streamId, address, rw } = transaction;
    const event = faultEvent(this.#p.translator, { streamId, address, rw }, name);
    const record = recording === 'suppressed' ? recording : this.#write(event);
    return { outcome: 'fault', event, response: 'abort', record, streamId };
  }

  #write(event: RecordedEvent): 'written' | 'dropped' {
    const record = this.#p.events.write(event) ? 'written' : 'dropped';
    this.#p.counted(record);
    return record;
  }
}

/** A leaf refused, and not the way to it: the other permissions are still asked for. */
function isLeafPermission(fault: Translator['fault']): boolean {
  return fault.event === 'F_PERMISSION' && fault.class === 'IN';
}

/** The smallest granule that the SMMU implements: the smallest translation unit (3.9.1). */
function smallestGranule(f: Features): number {
  if (f.gran4k) return GRANULE_4K.bytes;
  return f.gran16k ? GRANULE_16K.bytes : GRANULE_64K.bytes;
}

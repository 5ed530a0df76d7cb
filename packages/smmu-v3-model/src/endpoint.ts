/*
 * A programmable DMA master behind the SMMU, with a translation cache and page requests where it is given them (IHI 0070 3.9).
 * Not modelled: a bus with latency or reordering, several transactions in flight, credits of the PRI queue.
 */
import type { TranslatedResult, TranslationCompletion } from './ats-message.ts';
import type { DmaAccess, DmaResult } from './dma-access.ts';
import type { AtcInvalidation, EndpointPort } from './endpoint-port.ts';
import { ModelUseError } from './model-error.ts';
import { offsetOf, pageOf } from './page-address.ts';
import type { PageRequestResult, PageResponse } from './pri-queue.ts';
import type { SmmuV3Model } from './smmu-model.ts';
import type { StallEnd, StalledTransaction } from './stall-table.ts';
import { type AtcEntry, TranslationCache } from './translation-cache.ts';

/** PRG indices are 9 bits. */
const GROUPS = 512;

/**
 * What an endpoint is. `ats` gives it a translation cache, `pri` page requests, which need `ats`.
 * @example const options: EndpointOptions = { smmu, streamId: 8, ats: true };
 */
export interface EndpointOptions {
  readonly smmu: SmmuV3Model;
  readonly streamId: number;
  readonly ats?: boolean;
  readonly pri?: boolean;
}

/**
 * One access of an endpoint. Without `substreamId` it is unprivileged data, as PCIe has it (13.7), unless the endpoint has no ATS.
 * @example const access: EndpointAccess = { address: { lo: 0x1000, hi: 0 }, rw: 'write' };
 */
export type EndpointAccess = Omit<DmaAccess, 'streamId' | 'attributes'>;

/**
 * How an access went. `untranslated`: through the SMMU. `translated`: by a translation that was cached (`hit`) or just asked for.
 * `refused`: the SMMU does not answer requests for it. `denied`: the translation does not permit it. `page-requested`: it does not,
 * and the page was asked for; the answer, if there is one already, is in `answer`.
 * @example if (result.via === 'translated') result.result.outcome; // 'ok'
 */
export type EndpointResult =
  | { readonly via: 'untranslated'; readonly result: DmaResult }
  | { readonly via: 'translated'; readonly hit: boolean; readonly result: TranslatedResult }
  | { readonly via: 'refused'; readonly completion: TranslationCompletion }
  | { readonly via: 'denied'; readonly completion: TranslationCompletion }
  | {
      readonly via: 'page-requested';
      readonly completion: TranslationCompletion;
      readonly group: number;
      readonly answer: PageRequestResult;
    };

/**
 * A device that does DMA. It connects itself to the SMMU.
 * @example
 * const endpoint = new Endpoint({ smmu, streamId: 8, ats: true });
 * endpoint.access({ address: { lo: 0x1000, hi: 0 }, rw: 'read' }).via; // 'translated'
 */
export class Endpoint implements EndpointPort {
  readonly streamId: number;
  /** How it answers invalidations; `timeout` leaves its cache as it is. */
  invalidationAnswer: 'done' | 'unsupported' | 'timeout' = 'done';
  /** Answers to its page requests, oldest first; whoever drives the endpoint takes them out. */
  readonly pageResponses: PageResponse[] = [];
  /** Ends of its stalled transactions, oldest first; whoever drives the endpoint takes them out. */
  readonly stallEnds: { readonly transaction: StalledTransaction; readonly end: StallEnd }[] = [];
  readonly #smmu: SmmuV3Model;
  readonly #pri: boolean;
  readonly #cache: TranslationCache = new TranslationCache();
  #ats: boolean;
  #group = 0;

  constructor(options: EndpointOptions) {
    const { smmu, streamId, ats = false, pri = false } = options;
    if (pri && !ats)
      throw new ModelUseError(
        'ENDPOINT_PRI_WITHOUT_ATS',
        { streamId },
        'page requests need ATS (3.9.1)',
        'Give the endpoint ats: true',
      );
    this.streamId = streamId;
    this.#smmu = smmu;
    this.#ats = ats;
    this.#pri = pri;
    smmu.connect(this);
  }

  /** The translations that it keeps. */
  get translations(): readonly AtcEntry[] {
    return this.#cache.entries;
  }

  get atsEnabled(): boolean {
    return this.#ats;
  }

  /** Turns ATS on or off, as software does in its configuration space; off empties the cache. */
  setAts(state: 'on' | 'off'): void {
    this.#ats = state === 'on';
    if (!this.#ats) this.#cache.clear();
  }

  /** Does one access, by whichever way is open. */
  access(access: EndpointAccess): EndpointResult {
    const { streamId } = this;
    if (!this.#ats)
      return { via: 'untranslated', result: this.#smmu.translate({ streamId, ...access }) };
    const at = {
      substreamId: access.substreamId,
      privileged: pcieAttributes(access).privileged,
      page: pageOf(access.address),
    };
    const held = this.#cache.lookup(at);
    if (held !== undefined && grants(held, access)) return this.#translated(held, access, 'hit');
    const completion = this.translate(access);
    if (completion.status !== 'success') return { via: 'refused', completion };
    const entry = this.#cache.lookup(at);
    if (entry !== undefined && grants(entry, access))
      return this.#translated(entry, access, 'miss');
    if (!this.#pri) return { via: 'denied', completion };
    const group = this.#nextGroup();
    const answer = this.requestPage(access, { group, last: true });
    return { via: 'page-requested', completion, group, answer };
  }

  /** Asks for a translation and keeps what is granted. */
  translate(access: EndpointAccess): TranslationCompletion {
    const { address, substreamId, rw } = access;
    const { privileged, instruction } = pcieAttributes(access);
    const completion = this.#smmu.translationRequest({
      streamId: this.streamId,
      substreamId,
      address,
      noWrite: rw === 'read',
      privileged,
      execute: instruction,
    });
    if (completion.status === 'success' && (completion.read || completion.write)) {
      const { start, size, output, read, write, execute, origin } = completion;
      this.#cache.insert({
        substreamId,
        privileged,
        start,
        size,
        output,
        read,
        write,
        execute,
        origin,
      });
    }
    return completion;
  }

  /** Sends a page request; an answer of the SMMU itself is kept with those of software. */
  requestPage(
    access: EndpointAccess,
    how: { readonly group: number; readonly last: boolean },
  ): PageRequestResult {
    const { substreamId, rw } = access;
    const { privileged, instruction } = pcieAttributes(access);
    return this.#send({
      streamId: this.streamId,
      substreamId,
      page: pageOf(access.address),
      read: rw !== 'write',
      write: rw !== 'read',
      execute: instruction,
      privileged,
      ...how,
    });
  }

  /** Sends a Stop marker: the PASID makes no more requests (8). */
  stopPasid(substreamId: number): PageRequestResult {
    const { streamId } = this;
    return this.#send({
      streamId,
      substreamId,
      page: 0,
      group: 0,
      read: false,
      write: false,
      last: true,
    });
  }

  invalidate(request: AtcInvalidation): 'done' | 'unsupported' | 'timeout' {
    if (this.invalidationAnswer === 'done') this.#cache.invalidate(request);
    return this.invalidationAnswer;
  }

  pageResponse(response: PageResponse): void {
    this.pageResponses.push(response);
  }

  stallEnded(transaction: StalledTransaction, end: StallEnd): void {
    this.stallEnds.push({ transaction, end });
  }

  #translated(entry: AtcEntry, access: EndpointAccess, cache: 'hit' | 'miss'): EndpointResult {
    const target = entry.output + (pageOf(access.address) - entry.start);
    const lo = (target % 2 ** 32) + offsetOf(access.address);
    const result = this.#smmu.translatedTransaction({
      streamId: this.streamId,
      address: { lo, hi: Math.floor(target / 2 ** 32) },
      rw: access.rw,
      origin: entry.origin,
    });
    return { via: 'translated', hit: cache === 'hit', result };
  }

  #send(request: Parameters<SmmuV3Model['pageRequest']>[0]): PageRequestResult {
    const result = this.#smmu.pageRequest(request);
    if (result.outcome === 'answered') this.pageResponses.push(result.response);
    return result;
  }

  #nextGroup(): number {
    const group = this.#group;
    this.#group = (group + 1) % GROUPS;
    return group;
  }
}

/** Privilege and execution exist only with a PASID (13.7). */
function pcieAttributes(access: EndpointAccess): { privileged: boolean; instruction: boolean } {
  const hasPasid = access.substreamId !== undefined;
  return {
    privileged: hasPasid && access.privileged === true,
    instruction: hasPasid && access.instruction === true && access.rw === 'read',
  };
}

function grants(entry: AtcEntry, access: EndpointAccess): boolean {
  if (pcieAttributes(access).instruction) return entry.execute;
  if (access.rw === 'atomic') return entry.read && entry.write;
  return access.rw === 'read' ? entry.read : entry.write;
}

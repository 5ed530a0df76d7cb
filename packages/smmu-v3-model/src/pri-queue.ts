/*
 * The page request queue, and the answers that the SMMU gives by itself (IHI 0070 8).
 * Not modelled: requests of Secure streams; asynchronous write aborts; reordering of a group's requests, which 8 allows.
 */
import {
  CR0,
  PAGE_REQUEST,
  PAGE_REQUEST_BYTES,
  PRIQ_BASE,
  REGISTER_OFFSET as R,
} from '@iommukit/arm-arch';
import type { MemoryView } from '@iommukit/platform';
import { isEnabled } from './control-register.ts';
import type { Features } from './features.ts';
import type { Interrupts } from './interrupts.ts';
import { OutputQueue } from './output-queue.ts';
import { PRIQ_CONS, PRIQ_PROD } from './queue-index.ts';

/**
 * A page request, as an endpoint sends it. Without `substreamId` there is no PASID, and `execute` and `privileged` do not exist.
 * With a PASID, `last` alone (neither read nor write) makes it a Stop marker.
 * @example const request: PageRequest = { streamId: 8, page: 0x1000, group: 3, read: true, write: true, last: true };
 */
export interface PageRequest {
  readonly streamId: number;
  readonly substreamId?: number | undefined;
  /** Page-aligned address, bytes. */
  readonly page: number;
  /** Page Request Group Index, 0 to 511. */
  readonly group: number;
  readonly read: boolean;
  readonly write: boolean;
  readonly execute?: boolean | undefined;
  readonly privileged?: boolean | undefined;
  readonly last: boolean;
}

/**
 * A PRG Response Message. `code` is the one of PCIe: 0 success, 1 invalid request, 15 response failure.
 * @example const response: PageResponse = { streamId: 8, substreamId: undefined, group: 3, code: 0 };
 */
export interface PageResponse {
  readonly streamId: number;
  /** PASID of the response; `undefined`: none. */
  readonly substreamId: number | undefined;
  readonly group: number;
  readonly code: 0 | 1 | 15;
}

/**
 * What became of a page request. `queued`: software will see it. `answered`: the SMMU answered it, and software never sees it.
 * `dropped`: lost without an answer.
 * @example if (result.outcome === 'answered') result.response.code; // 15
 */
export type PageRequestResult =
  | { readonly outcome: 'queued' }
  | { readonly outcome: 'answered'; readonly response: PageResponse }
  | { readonly outcome: 'dropped' };

/** STE.PPAR of a stream, or `invalid` when there is no valid STE to say it (8.1). Records what it meets on the way. */
export type PasidCheck = (streamId: number) => 'echo' | 'strip' | 'invalid';

/** The page request queue as the SMMU sees it. */
export class PriQueue {
  readonly #words: Uint32Array;
  readonly #features: Features;
  readonly #interrupts: Interrupts;
  readonly #queue: OutputQueue;
  readonly #pasidCheck: PasidCheck;
  readonly #record: Uint32Array = new Uint32Array(PAGE_REQUEST_BYTES / 4);

  constructor(parts: {
    words: Uint32Array;
    memory: MemoryView;
    features: Features;
    interrupts: Interrupts;
    pasidCheck: PasidCheck;
  }) {
    const { words, memory, features } = parts;
    this.#words = words;
    this.#features = features;
    this.#interrupts = parts.interrupts;
    this.#pasidCheck = parts.pasidCheck;
    this.#queue = new OutputQueue(words, memory, {
      prod: PRIQ_PROD / 4,
      cons: PRIQ_CONS / 4,
      recordBytes: PAGE_REQUEST_BYTES,
      lg2: () => Math.min(PRIQ_BASE.get.LOG2SIZE(words, R.PRIQ_BASE / 4), features.priqMaxLg2),
      base: () => PRIQ_BASE.get.ADDR(words, R.PRIQ_BASE / 4),
    });
  }

  /** Takes a request of an endpoint. */
  receive(sent: PageRequest): PageRequestResult {
    // Without substreams no PASID arrives, nor what comes with it (8).
    const request = this.#features.ssidSize > 0 ? sent : { ...sent, substreamId: undefined };
    if (!this.#isEnabled() || this.#interrupts.isActive('PRIQ_ABT_ERR')) return failure(request);
    const { last } = request;
    if (this.#queue.isFull || this.#queue.isOverflowing) {
      this.#queue.overflow();
      this.#interrupts.pageRequest({ wasEmpty: false, last });
      return this.#overflown(request);
    }
    this.#encode(request);
    const result = this.#queue.write(this.#record);
    if (result === 'aborted') {
      this.#interrupts.raise('PRIQ_ABT_ERR');
      return failure(request);
    }
    this.#interrupts.pageRequest({ wasEmpty: result === 'first', last });
    return { outcome: 'queued' };
  }

  /** PRIQEN has no effect while SMMUEN=0 (6.3.9). */
  #isEnabled(): boolean {
    const words = this.#words;
    return this.#features.pri && CR0.get.PRIQEN(words, R.CR0ACK / 4) === 1 && isEnabled(words);
  }

  /** The answer to a request that overflow loses (8.1). */
  #overflown(request: PageRequest): PageRequestResult {
    const { streamId, substreamId, group, last } = request;
    if (!last || isStopMarker(request)) return { outcome: 'dropped' };
    const success = { streamId, group, code: 0 } as const;
    if (substreamId === undefined)
      return { outcome: 'answered', response: { ...success, substreamId: undefined } };
    if (this.#features.pps) return { outcome: 'answered', response: { ...success, substreamId } };
    const check = this.#pasidCheck(streamId);
    if (check === 'invalid') return failure(request);
    return {
      outcome: 'answered',
      response: { ...success, substreamId: check === 'echo' ? substreamId : undefined },
    };
  }

  #encode(request: PageRequest): void {
    const record = this.#record;
    const { set } = PAGE_REQUEST;
    const { substreamId } = request;
    record.fill(0);
    set.StreamID(record, request.streamId);
    if (substreamId !== undefined) {
      set.SSV(record, 1);
      set.SubstreamID(record, substreamId);
      set.Priv(record, request.privileged === true ? 1 : 0);
      set.X(record, request.execute === true ? 1 : 0);
    }
    set.R(record, request.read ? 1 : 0);
    set.W(record, request.write ? 1 : 0);
    set.Last(record, request.last ? 1 : 0);
    set.PRGIndex(record, request.group);
    set.Address(record, request.page);
  }
}

/** L, W, R = 1, 0, 0 with a PASID; without one it is an ordinary request (8). */
export function isStopMarker(request: PageRequest): boolean {
  return request.substreamId !== undefined && request.last && !request.read && !request.write;
}

/** Response Failure, without a PASID; a Stop marker is never answered (8.2). */
function failure(request: PageRequest): PageRequestResult {
  if (isStopMarker(request)) return { outcome: 'dropped' };
  const { streamId, group } = request;
  return {
    outcome: 'answered',
    response: { streamId, substreamId: undefined, group, code: 15 },
  };
}

/*
 * What the SMMU says to an endpoint: invalidations of its translation cache, answers to its page requests, ends of its stalled
 * transactions (IHI 0070 3.9, 4.5).
 * Not modelled: latency of the bus in between, messages that it reorders.
 */
import type { PageResponse } from './pri-queue.ts';
import type { StallEnd, StalledTransaction } from './stall-table.ts';

/**
 * An ATS Invalidate Request (4.5.1): the naturally aligned span of `2 ** sizeLg2` bytes from `start`; 64 is everything.
 * `global` reaches entries of any PASID that were granted as global, which the SMMU never grants.
 * @example const all: AtcInvalidation = { streamId: 8, substreamId: undefined, global: false, start: 0, sizeLg2: 64 };
 */
export interface AtcInvalidation {
  readonly streamId: number;
  /** The PASID; `undefined`: without. */
  readonly substreamId: number | undefined;
  readonly global: boolean;
  readonly start: number;
  readonly sizeLg2: number;
}

/**
 * An endpoint as the SMMU sees it. `Endpoint` is one; a test may give another.
 * @example smmu.connect({ streamId: 8, invalidate: () => 'timeout', pageResponse: () => {}, stallEnded: () => {} });
 */
export interface EndpointPort {
  readonly streamId: number;
  /** `unsupported` is a UR response: the command completes without error (3.9.1.5). `timeout`: no answer, which the next CMD_SYNC reports. */
  invalidate(request: AtcInvalidation): 'done' | 'unsupported' | 'timeout';
  pageResponse(response: PageResponse): void;
  /** A transaction of this endpoint that was stalled has got its answer. */
  stallEnded(transaction: StalledTransaction, end: StallEnd): void;
}

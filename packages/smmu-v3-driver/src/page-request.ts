import { PAGE_REQUEST, PRI_RESPONSE, RESUME_RESPONSE } from '@iommukit/arm-arch';
import { u64Of } from '@iommukit/bits';
import type { DeviceFault } from '@iommukit/iommu-core';
import type { PriResponse } from './command-batch.ts';
import type { LogLine } from './driver-log.ts';
import { hex8, hex16 } from './event-line.ts';
import { FAULT_PERM } from './fault-permission.ts';

const { StreamID, SubstreamID, Priv, X, R, W, Last, SSV, PRGIndex, Address } = PAGE_REQUEST.get;

/**
 * What becomes of a page request in Linux, which expects none: two lines, and a denial for the last of a group
 * (`arm_smmu_handle_ppr`).
 * @example const { lines, response } = unexpectedPageRequest(words);
 */
export interface UnexpectedPageRequest {
  readonly lines: readonly LogLine[];
  /** Issued without a SYNC; null for a request that others of its group follow. */
  readonly response: PriResponse | null;
}

/**
 * Reads a 16-byte record of the page request queue (four lanes).
 * @example unexpectedPageRequest(words).response?.response // 0: denied
 */
export function unexpectedPageRequest(words: ArrayLike<number>): UnexpectedPageRequest {
  const ssv = SSV(words) === 1;
  const substreamId = ssv ? SubstreamID(words) : 0;
  const last = Last(words) === 1;
  const group = PRGIndex(words);
  const streamId = StreamID(words);
  const pasid = substreamId.toString(16).padStart(5, '0');
  const access = `${R(words) === 1 ? 'R' : ''}${W(words) === 1 ? 'W' : ''}${X(words) === 1 ? 'X' : ''}`;
  const privilege = Priv(words) === 1 ? 'privileged' : 'unprivileged';
  const lines: LogLine[] = [
    { level: 'info', text: 'unexpected PRI request received:' },
    {
      level: 'info',
      text: `\tsid ${hex8(streamId)}.0x${pasid}: [${String(group)}${last ? 'L' : ''}] ${privilege} ${access} access at iova ${hex16(u64Of(Address(words)))}`,
    },
  ];
  if (!last) return { lines, response: null };
  return { lines, response: { streamId, substreamId, ssv, group, response: PRI_RESPONSE.FAILURE } };
}

/**
 * A 16-byte record of the page request queue as the page-fault layer takes it (IHI 0070 8.1).
 * @example const { streamId, fault } = pageRequestOf(words);
 */
export function pageRequestOf(words: ArrayLike<number>): { streamId: number; fault: DeviceFault } {
  const perm =
    R(words) * FAULT_PERM.READ +
    W(words) * FAULT_PERM.WRITE +
    X(words) * FAULT_PERM.EXEC +
    Priv(words) * FAULT_PERM.PRIV;
  const pasid = SSV(words) === 1 ? SubstreamID(words) : null;
  const fault = {
    addr: u64Of(Address(words)),
    pasid,
    perm,
    grpid: PRGIndex(words),
    lastPage: Last(words) === 1,
  };
  return { streamId: StreamID(words), fault };
}

/** Codes of answers to page requests (`enum iommu_page_response_code`). */
export const PAGE_RESPONSE_CODE = { SUCCESS: 0, INVALID: 1, FAILURE: 2 } as const;

/**
 * The response of CMD_RESUME to an answer of the page-fault layer (`arm_smmu_page_response`): success retries, invalid and failure
 * abort, any other code terminates.
 * @example resumeResponse(0) // RESUME_RESPONSE.RETRY
 */
export function resumeResponse(code: number): number {
  if (code === PAGE_RESPONSE_CODE.SUCCESS) return RESUME_RESPONSE.RETRY;
  const { INVALID, FAILURE } = PAGE_RESPONSE_CODE;
  const aborts = code === INVALID || code === FAILURE;
  return aborts ? RESUME_RESPONSE.ABORT : RESUME_RESPONSE.TERMINATE;
}

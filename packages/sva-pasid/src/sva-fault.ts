import { fromLanes } from '@iommukit/bits';
import type { DeviceFault, PageRequestGroup, PageResponse } from '@iommukit/iommu-core';
import { ERRNO } from '@iommukit/platform';
import { IopfGroup } from './iopf-group.ts';
import type { Mm } from './mm.ts';
import { SharedIoMm } from './shared-io-mm.ts';

/**
 * Bits of `DeviceFault.perm` (`IOMMU_FAULT_PERM_*`).
 * @example const wantsWrite = Math.floor(fault.perm / IOMMU_FAULT_PERM.WRITE) % 2 === 1;
 */
export const IOMMU_FAULT_PERM = { READ: 1, WRITE: 2, EXEC: 4, PRIV: 8 } as const;

function asks(fault: DeviceFault, bit: number): boolean {
  return Math.floor(fault.perm / bit) % 2 === 1;
}

/**
 * Brings in the page of one request (`iommu_sva_handle_mm`): `invalid` without PASID, after the exit of the process, outside its areas, for
 * an access that the area forbids, and where `handleFault` failed; else `success`, also for a retry.
 * @example const response = handleMmFault(mm, fault);
 */
export function handleMmFault(mm: Mm, fault: DeviceFault): PageResponse {
  const { addr, pasid } = fault;
  if (pasid === null || mm.users === 0) return 'invalid';
  const { lo, hi } = addr;
  // No process reaches up there, and a number would lose bits.
  if (hi >= 2 ** 21) return 'invalid';
  const address = fromLanes(lo, hi);
  const area = mm.areaAt(address);
  if (area === null) return 'invalid';
  const { READ, WRITE, EXEC, PRIV } = IOMMU_FAULT_PERM;
  const write = asks(fault, WRITE);
  const instruction = asks(fault, EXEC);
  if ((asks(fault, READ) && !area.read) || (write && !area.write) || (instruction && !area.exec))
    return 'invalid';
  const result = mm.handleFault(address, { write, instruction, user: !asks(fault, PRIV) });
  return result === 'error' ? 'invalid' : 'success';
}

/** The requests of a group in order, until one fails, and one response (`iommu_sva_handle_iopf`). */
function handleGroup(group: IopfGroup): void {
  const { handle, requests } = group;
  let response: PageResponse = 'success';
  for (const fault of requests) {
    // Its last bind may have been undone since: then nothing is brought in for it.
    response =
      handle instanceof SharedIoMm && handle.live ? handleMmFault(handle.mm, fault) : 'invalid';
    if (response !== 'success') break;
  }
  group.respond(response);
}

/**
 * Handler of page requests of process domains (`iommu_sva_iopf_handler`): queues the work, and 0; -EINVAL for a group that no
 * {@link IopfQueue} made.
 * @example domain.pageRequestHandler = svaPageRequestHandler;
 */
export function svaPageRequestHandler(group: PageRequestGroup): number {
  if (!(group instanceof IopfGroup)) return -ERRNO.EINVAL;
  group.queue.queueWork(() => handleGroup(group));
  return 0;
}

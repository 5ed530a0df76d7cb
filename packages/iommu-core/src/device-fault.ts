import type { U64 } from '@iommukit/bits';
import type { IommuDevice } from './device.ts';
import type { IommuDomain } from './domain.ts';

/**
 * A recoverable fault of a device, as drivers report it (`struct iommu_fault`): the device waits for an answer.
 * @example const fault: DeviceFault = { addr: { lo: 0x1000, hi: 0 }, pasid: null, perm: 1, grpid: 7, lastPage: true };
 */
export interface DeviceFault {
  /** The address that faulted, low bits included. */
  readonly addr: U64;
  /** Process address space id, or null for a request without one. */
  readonly pasid: number | null;
  /** Sum of READ 1, WRITE 2, EXEC 4, PRIV 8. */
  readonly perm: number;
  /** Id of the group of requests that is answered as one. */
  readonly grpid: number;
  /** Last request of its group: an answer is expected. */
  readonly lastPage: boolean;
}

/**
 * Handles one fault instead of the domain's handler; 0 when it took it and will answer, or a negative errno.
 * @example const handler: FaultHandler = (fault) => { faults.push(fault); return 0; };
 */
export type FaultHandler = (fault: DeviceFault) => number;

/**
 * A fault that cannot be repaired (`report_iommu_fault`).
 * @example const fault: DomainFault = { domain, device, iova: 0x1000, write: true };
 */
export interface DomainFault {
  readonly domain: IommuDomain;
  readonly device: IommuDevice;
  /** Bytes, low bits included where the hardware tells them. */
  readonly iova: number;
  /** A write; otherwise a read. */
  readonly write: boolean;
}

/**
 * Told of a fault that cannot be repaired: 0 when it was expected, or a negative errno, and then the driver reports it in its own way.
 * @example domain.faultHandler = ({ iova }) => { log.push(iova); return -95; };
 */
export type DomainFaultHandler = (fault: DomainFault) => number;

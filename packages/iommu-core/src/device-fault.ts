import type { U64 } from '@iommukit/bits';

/**
 * A recoverable fault of a device, as drivers report it (`struct iommu_fault`).
 * @example const fault: DeviceFault = { addr: { lo: 0x1000, hi: 0 }, pasid: null, perm: 1, grpid: 7, lastPage: true };
 */
export interface DeviceFault {
  /** The address that faulted, low bits included. */
  readonly addr: U64;
  /** Process address space id, or null for a request without one. */
  readonly pasid: number | null;
  /** Sum of READ 1, WRITE 2, EXEC 4, PRIV 8. */
  readonly perm: number;
  /** Page request group id (SMMUv3: the stall tag). */
  readonly grpid: number;
  /** Last request of its group: an answer is expected. */
  readonly lastPage: boolean;
}

/**
 * Handles one fault; 0 when it took it, or a negative errno.
 * @example const handler: FaultHandler = (fault) => { faults.push(fault); return 0; };
 */
export type FaultHandler = (fault: DeviceFault) => number;

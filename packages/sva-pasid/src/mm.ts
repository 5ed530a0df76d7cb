import type { ProcessSpace } from '@iommukit/iommu-core';

/**
 * What an area of a process may be used for (`vm_flags`: VM_READ, VM_WRITE, VM_EXEC).
 * @example const area: VmArea = { read: true, write: false, exec: false };
 */
export interface VmArea {
  readonly read: boolean;
  readonly write: boolean;
  readonly exec: boolean;
}

/**
 * One access that faulted, for {@link Mm.handleFault} (`enum fault_flag`).
 * @example const access: MmAccess = { write: true, instruction: false, user: true };
 */
export interface MmAccess {
  /** The page must be writable; otherwise it is only read. */
  readonly write: boolean;
  /** An instruction fetch. */
  readonly instruction: boolean;
  /** An unprivileged access, as processes make them. */
  readonly user: boolean;
}

/**
 * What became of a fault (`vm_fault_t`): `done`: the tables permit the access now; `retry`: they may, if it is tried once more; `error`: they
 * never will (no memory, beyond the end of a file).
 * @example const result: MmFaultResult = mm.handleFault(0x1000, access);
 */
export type MmFaultResult = 'done' | 'retry' | 'error';

/**
 * A process address space that devices share (`struct mm_struct`): its tables and notifiers, as the driver uses them, and the way to have
 * a page brought in. Implement it over any memory manager; `svaBindDevice` and the fault handler are its only users here.
 *
 * **Units.** Addresses are bytes, exact numbers below 2^53; a fault above that is answered without asking. Ranges are [start, end).
 *
 * **Calls.** All are synchronous. `areaAt` changes nothing. `handleFault` runs from an explicit step of a fault queue, never from inside a
 * driver's interrupt or one of its notifications; it may change tables, and notify, as much as it likes. While it runs `users` is not 0.
 *
 * **Tables** change in the order that `ProcessSpace` states: entry, `invalidate` of all notifiers, reuse of the frame.
 *
 * **Exit.** `users` goes to 0; all notifiers hear `release`, once; then tables and frames go. Devices may still be bound: their accesses
 * fault, and those faults are answered `invalid`. No user comes back. The PASID lives on until the last bind is undone.
 *
 * **Identity.** One object is one process: binds are shared by object.
 * @example const handle = svaBindDevice(binder, device, mm);
 */
export interface Mm extends ProcessSpace {
  /**
   * False where the CPU uses the tables in a way that no device can share, and then binds fail with -EBUSY (`arch_pgtable_dma_compat`).
   * Absent: it does not.
   */
  readonly sharesTables?: boolean;
  /** The area that an address lies in, or null (`vma_lookup`). */
  areaAt(address: number): VmArea | null;
  /** Makes the page of an address, in an area that allows the access, present and permitted (`handle_mm_fault`). */
  handleFault(address: number, access: MmAccess): MmFaultResult;
}

/**
 * Told when a process changes its page tables behind the back of whoever caches them (`struct mmu_notifier`).
 *
 * Neither call may touch the process's tables or notifiers, nor throw; both are synchronous: on return the hardware is done.
 * @example const notifier: ProcessNotifier = { invalidate: (start, end) => log.push([start, end]), release() {} };
 */
export interface ProcessNotifier {
  /**
   * Entries of [start, end) bytes, whole pages, were cleared; the memory behind them is not reused before this returns
   * (`arch_invalidate_secondary_tlbs`).
   */
  invalidate(start: number, end: number): void;
  /** The last user of the process is gone, and its tables go after this returns; called once (`release`). */
  release(): void;
}

/**
 * The address space of a process as a driver sees it, which walks its tables for devices (`struct mm_struct`). Whoever owns processes
 * implements it, in `@iommukit/sva-pasid` as part of `Mm`; the driver uses it from `domainAllocSva` to the `free` of the last domain over it.
 *
 * An entry that is valid changes in this order: it is cleared; every notifier hears `invalidate`; the frame behind it is reused, or the
 * entry gets its new value. That holds for more permission too, since a read-only entry may be cached. An entry that was not valid needs no
 * notice: nothing is cached of it.
 * When the last user goes: `users` is 0; every notifier hears `release`; the tables are freed.
 * @example const domain = core.domainAllocSva(device, space);
 */
export interface ProcessSpace {
  /** Who runs in it; 0: it has exited, and its tables are gone or about to go (`mm_users`). */
  readonly users: number;
  /**
   * Where the tables are and how its CPU walks them, constant until the exit. Its fields are the driver's to say (for SMMUv3
   * `ProcessTables` of `@iommukit/smmu-v3-driver`); core does not look.
   */
  readonly tables: unknown;
  /** Registers a notifier, after those that are there: 0, or a negative errno with nothing changed; -EINVAL after the exit (`mmu_notifier_register`). */
  addNotifier(notifier: ProcessNotifier): number;
  /** Forgets a notifier, also after the exit; one that is not registered is ignored (`mmu_notifier_put`). */
  removeNotifier(notifier: ProcessNotifier): void;
}

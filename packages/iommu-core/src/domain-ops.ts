import type { IotlbGather, PhysRun, RangeGather } from '@iommukit/io-pgtable';
import type { IommuDevice } from './device.ts';
import type { IommuDomain } from './domain.ts';

/**
 * What a driver does for one domain (`struct iommu_domain_ops`): it keeps the translations, and sees to it that the hardware forgets those
 * that go. The driver makes one instance for each domain, in `IommuOps.domainAlloc`; core and the users of core call it.
 *
 * **Units.** Addresses and sizes are bytes, as numbers; ranges are [iova, iova + size). Results are 0, a count of bytes, or a negative errno of
 * Linux; a positive errno is an error of the driver. Nothing here throws for what hardware or memory do.
 *
 * **Kinds of domain.** A paging domain (`IommuDomain.isPaging`) is mapped by core and has all that is not optional. Identity and blocked
 * domains, and those of processes, are never mapped, and core does not ask the first two for `iovaToPhys`: there `mapPages` may answer -ENODEV,
 * `unmapPages` 0, and the flushes do nothing.
 *
 * **Order of calls.** Mapping needs no attach and comes before it, after it and between attaches; a domain is attached to any number of
 * devices of its driver. `free` comes last, when no device, no PASID and no batch is left. Calls are synchronous and one at a time for a
 * domain, with one exception: `core.gatherAddPages`, which `unmapPages` calls, may call `iotlbSync` of the same domain before it returns.
 *
 * **What must hold.** When `attachDev`, `setDevPasid`, `iotlbSync`, `flushIotlbAll` or `flushRanges` return 0 or nothing, the hardware is done:
 * no DMA ends where it should not any more. Between an unmap and its sync DMA may still reach the old page, never another one. A device sees
 * a new mapping once `mapPages` has returned, or, where the driver has `iotlbSyncMap`, once that has.
 *
 * **Who owns what.** Tables and whatever else a domain needs are the driver's own, from its own allocator, until `free`. Gathers, pieces and
 * options are the caller's: the driver keeps none of them after the call. `IommuDevice` and `IommuDomain` objects live as long as the
 * driver has seen them attached.
 *
 * **Whole ranges** are an option: a domain has all of `mapRange`, `unmapRange`, `flushRanges` and `releaseTable`, or none of them (then
 * `beginBatch` is -ENODEV). Over a `RangePageTable` of `@iommukit/io-pgtable` the first two and the last are one line each.
 *
 * The contract suite of `@iommukit/iommu-core/contract` runs these rules on any driver.
 * @example const done = domain.ops.unmapPages(iova, 4096, 1, gather);
 */
export interface DomainOps {
  /**
   * Makes the DMA of a device without PASID translate through this domain (`attach_dev`); 0 or a negative errno, and a failure leaves the
   * device where it was. `old` is what it leaves, null for the first attach of a device. Called for each device of a group in turn;
   * -EINVAL: the device is behind other hardware of the same driver. A step back to the default domain is not expected to fail.
   * Nothing that was cached for the device of `old` is used after it.
   */
  attachDev(device: IommuDevice, old: IommuDomain | null): number;
  /**
   * The same for one process address space of a device (`set_dev_pasid`), from PASID 1 up to below `device.maxPasids`: `old` is the domain that
   * the PASID leaves, or null. DMA without PASID and with other PASIDs stays as it is. Absent where a domain cannot be attached to a PASID.
   * Where the driver has PASIDs, its `blockedDomain` has this too: there it takes the PASID out of `old`, and answers 0 also for one that was
   * never attached.
   */
  setDevPasid?(device: IommuDevice, pasid: number, old: IommuDomain | null): number;
  /**
   * Maps up to `pgcount` (at least 1) neighbouring pages of `pgsize` bytes from `iova` on, to as many from `paddr` on. Core has checked that
   * `pgsize` is in `domain.pgsizeBitmap` and that both addresses are multiples of it; whether the aperture holds them it has not.
   * `prot` is a sum of the `IOMMU_*` flags of `@iommukit/io-pgtable`; those that the hardware has no bit for are ignored.
   *
   * 0: `mapped` says how much was done, at least one page; core calls again for the rest. A negative errno: what was done before it stands
   * in `mapped`, and core unmaps that. -EINVAL: neither READ nor WRITE; -ERANGE: outside the aperture; -EEXIST (some formats of Linux have another errno):
   * a page is mapped there, which stays as it is; -ENOMEM: no memory for a table. Tables that were made may stay until `free`.
   */
  mapPages(iova: number, paddr: number, pgsize: number, pgcount: number, prot: number): number;
  /**
   * Bytes that the last `mapPages` mapped, whole pages, 0 when none; core reads it right after the call, also after a failure. Returning 0
   * from `mapPages` with 0 here ends in a `DriverProgressError`.
   */
  readonly mapped: number;
  /**
   * Unmaps up to `pgcount` pages of `pgsize` bytes from `iova` on, aligned as for `mapPages`, and returns the bytes cleared: up to the
   * first hole, 0 when there is one at `iova`. It may stop early: core calls again until 0. A page of `pgsize` that was mapped in smaller
   * pages goes as a whole; of a larger page that reaches beyond nothing goes (0).
   *
   * What was cleared must be invalidated before `iotlbSync(gather)` returns. Either the driver tells core of it, by
   * `core.gatherAddPages(domain, gather, iova, pgsize, count)` (`domain`: the `IommuDomain` around these operations, which the driver remembers
   * when it makes both), page sizes as the leaves had them; core syncs first what does not fit into one
   * gather. Or it leaves the gather alone: core then adds the range itself, without a page size. With `gather.queued` the driver adds nothing:
   * a `flushIotlbAll` follows later. Cached pointers to tables that went with the pages are invalidated here, before the tables are freed.
   */
  unmapPages(iova: number, pgsize: number, pgcount: number, gather: IotlbGather): number;
  /** The physical address of any byte of an IOVA, 0 for a hole. It asks the tables, not what is cached; and changes nothing. */
  iovaToPhys(iova: number): number;
  /** Invalidates everything that is cached of the domain, leaves and table entries, in the devices too, and waits (`flush_iotlb_all`). */
  flushIotlbAll(): void;
  /**
   * Frees the table pages of a queued gather's `freelist`, after the flush (`iommu_put_pages_list`). Absent where an unmap frees no tables, or
   * frees them at once.
   */
  freeTables?(tables: readonly number[]): void;
  /**
   * Invalidates the leaves in [gather.start, gather.end) and waits (`iotlb_sync`). Core calls it only with something gathered, and empties the
   * gather afterwards. `gather.pgsize` is the size of all leaves in it, or 0 when nothing was added by page: then a driver that tells core
   * every page has nothing to do, and one that never does invalidates the range.
   */
  iotlbSync(gather: IotlbGather): void;
  /**
   * Makes new mappings of [iova, iova + size) visible to the hardware (`iotlb_sync_map`), once for each map, scatter list or joined range of a
   * batch; absent when stores are enough. 0, or a negative errno: then core unmaps the range (in a batch it stays mapped).
   */
  iotlbSyncMap?(iova: number, size: number): number;

  /** Starts or ends the tracking of dirty pages: 0, or -EOPNOTSUPP for a domain that was not made for it (`set_dirty_tracking`). */
  setDirtyTracking?(state: 'on' | 'off'): number;
  /**
   * Reports the dirty pages of [iova, iova + size) and makes them clean unless `noClear`: 0 or a negative errno, what was reported before
   * stands. What the hardware may still think of as dirty is added to `gather`, which the caller syncs (`read_and_clear_dirty`). `record` is
   * called for ranges in ascending order, and must not call the domain.
   */
  readAndClearDirty?(
    iova: number,
    size: number,
    options: { readonly noClear: boolean; readonly gather: IotlbGather | null },
    record: (iova: number, bytes: number) => void,
  ): number;

  /**
   * Maps the pieces one after the other from `iova` on: 0, or a negative errno with nothing changed: no store, no command, no table kept
   * (`RangePageTable.mapRange`). Pages that are mapped are never replaced: -EEXIST, with the first such IOVA in `failedAt`; other errnos as for
   * `mapPages`. Page sizes are the driver's choice among `pgsizeBitmap`. An empty table that a larger page replaces is invalidated here,
   * before the store. There is at least one piece; core has joined neighbours, dropped empty pieces and those that are reached over the bus,
   * and checked that all of it is a multiple of the smallest page.
   */
  mapRange?(iova: number, runs: readonly PhysRun[], prot: number): number;
  /** The first IOVA of the last `mapRange` that was mapped already when it returned -EEXIST, otherwise -1. A driver with `mapRange` has it. */
  readonly failedAt?: number;
  /**
   * Clears [iova, iova + size) at once, without any command (`RangePageTable.unmapRange`), and returns the bytes cleared: fewer where a hole,
   * or a larger page of which only a part is meant, ended it. The driver adds to `pending` what must be invalidated, neither more nor less than
   * was cleared: `pending.add(start, end, leafSize)`, or with `HAD_TABLES` as leaf size where cached table entries must go too. A table that
   * nothing points to any more is neither freed nor written: `pending.detach(table)` with any number that `releaseTable` will know it by.
   * `reuseTables`: a wholly covered table of smallest pages is cleared in place, and not detached.
   */
  unmapRange?(
    iova: number,
    size: number,
    pending: RangeGather,
    options?: { readonly reuseTables?: boolean },
  ): number;
  /**
   * Invalidates every record of `pending` (`pending.forEach`) and waits once for all of them, devices' own caches included. A record's leaf
   * size allows leaf-only invalidation; with `HAD_TABLES` instead, cached table entries of the range must go too. Core calls it only
   * with at least one record, once for a flush, before it releases the detached tables, and empties `pending` itself.
   *
   * 0, or a negative errno when the hardware may still hold some of it (a wait that timed out): core then keeps the records and the
   * tables, and may call again.
   */
  flushRanges?(pending: RangeGather): number;
  /** Takes back a table that `unmapRange` detached, after the invalidation; once for each (`RangePageTable.releaseTable`). */
  releaseTable?(table: number): void;

  /**
   * Frees the domain with all that it holds, pages that are still mapped included; no device is attached any more, and nobody uses the
   * domain afterwards. What was never invalidated must be now: the tables, and the tag under which the hardware knew the domain, will be
   * somebody else's.
   */
  free(): void;
}

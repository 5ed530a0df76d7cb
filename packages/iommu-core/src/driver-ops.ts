import type { IotlbGather, PhysRun, RangeGather } from '@iommukit/io-pgtable';
import type { IommuDevice } from './device.ts';
import type { DeviceFault } from './device-fault.ts';
import type { DomainType, IommuDomain } from './domain.ts';
import type { PageResponse } from './page-request.ts';
import type { ReservedRegion } from './reserved-region.ts';

/**
 * What a driver does for one domain (`struct iommu_domain_ops`). One instance for each domain. Addresses and sizes in bytes,
 * results 0, a byte count, or a negative errno. The contract suite of `@iommukit/iommu-core/contract` runs these rules.
 *
 * Whole ranges are an option: a domain has all of `mapRange`, `unmapRange`, `flushRanges` and `releaseTable`, or none of them (then
 * `beginBatch` is -ENODEV). Over a `RangePageTable` of `@iommukit/io-pgtable` the first two and the last are one line each.
 * @example const done = domain.ops.unmapPages(iova, 4096, 1, gather);
 */
export interface DomainOps {
  /**
   * Makes the device translate through this domain; `old` is what it leaves, or null at first. 0 or a negative errno; a failure
   * leaves the device where it was.
   */
  attachDev(device: IommuDevice, old: IommuDomain | null): number;
  /**
   * The same for one process address space of the device (`set_dev_pasid`): `old` is the domain that the PASID leaves, or null.
   * The `blockedDomain` of the driver has it to undo the others. Absent where a domain cannot be attached to a PASID.
   */
  setDevPasid?(device: IommuDevice, pasid: number, old: IommuDomain | null): number;
  /** As `PageTable.mapPages`: 0 or a negative errno, bytes done in `mapped`. Paging domains only. */
  mapPages(iova: number, paddr: number, pgsize: number, pgcount: number, prot: number): number;
  /** Bytes that the last `mapPages` mapped; valid until the next call. */
  readonly mapped: number;
  /** As `PageTable.unmapPages`: bytes cleared, 0 for a hole. */
  unmapPages(iova: number, pgsize: number, pgcount: number, gather: IotlbGather): number;
  /** The physical address of any byte of an IOVA, 0 for a hole. */
  iovaToPhys(iova: number): number;
  /** Invalidates everything of the domain and waits. */
  flushIotlbAll(): void;
  /** Invalidates what is gathered and waits; core empties the gather afterwards. */
  iotlbSync(gather: IotlbGather): void;
  /** Makes new mappings visible where the hardware needs it; absent when it does not. 0 or a negative errno. */
  iotlbSyncMap?(iova: number, size: number): number;

  /** Starts or ends the tracking of dirty pages: 0, or -EOPNOTSUPP for a domain that was not made for it (`set_dirty_tracking`). */
  setDirtyTracking?(state: 'on' | 'off'): number;
  /**
   * Reports the dirty pages of [iova, iova + size) and makes them clean unless `noClear`: 0 or a negative errno, what was reported before
   * stands. What the hardware may still think of as dirty is added to `gather`, which the caller syncs (`read_and_clear_dirty`).
   */
  readAndClearDirty?(
    iova: number,
    size: number,
    options: { readonly noClear: boolean; readonly gather: IotlbGather | null },
    record: (iova: number, bytes: number) => void,
  ): number;

  /**
   * Maps the pieces one after the other from `iova` on: 0, or a negative errno with nothing changed, no store and no command
   * (`RangePageTable.mapRange`). Pages that are mapped are never replaced: -EEXIST, with the first such IOVA in `failedAt`. An
   * empty table that a larger page replaces is invalidated here, before the store. Core has joined neighbours, dropped pieces
   * that are reached over the bus, and checked that all of it is a multiple of the smallest page.
   */
  mapRange?(iova: number, runs: readonly PhysRun[], prot: number): number;
  /** The first IOVA of the last `mapRange` that was mapped already when it returned -EEXIST, otherwise -1. */
  readonly failedAt?: number;
  /**
   * Clears [iova, iova + size) at once, and adds to `pending` what must be invalidated and which tables nothing points to any more;
   * no command (`RangePageTable.unmapRange`). The bytes cleared: fewer where a hole, or a larger page of which only a part is
   * meant, ended it. `reuseTables`: a wholly covered table of smallest pages is cleared in place.
   */
  unmapRange?(
    iova: number,
    size: number,
    pending: RangeGather,
    options?: { readonly reuseTables?: boolean },
  ): number;
  /**
   * Invalidates every record of `pending` and waits once for all of them, devices' own caches included. A record's leaf size
   * allows leaf-only invalidation; with `HAD_TABLES` instead, cached table entries of the range must go too. Core calls it only
   * with at least one record, once for a flush, before it releases the detached tables, and empties `pending` itself.
   *
   * 0, or a negative errno when the hardware may still hold some of it (a wait that timed out): core then keeps the records and the
   * tables, and may call again.
   */
  flushRanges?(pending: RangeGather): number;
  /** Takes back a table that `unmapRange` detached, after the invalidation (`RangePageTable.releaseTable`). */
  releaseTable?(table: number): void;

  /** Frees the domain; no device is attached any more. */
  free(): void;
}

/**
 * What a driver does for its devices (`struct iommu_ops`).
 * @example core.probeDevice(device, driver);
 */
export interface IommuOps {
  /** Claims a device: checks its ids, prepares its tables. 0 or a negative errno. */
  probeDevice(device: IommuDevice): number;
  /** Undoes `probeDevice`; the device does no more DMA. */
  releaseDevice(device: IommuDevice): void;
  /**
   * A new domain of a type for a device, or a negative errno: -EOPNOTSUPP for a type that the hardware does not have. Core fills
   * in `domain.owner`. `unmanaged`, `dma` and `dma-fq` translate; the core asks for `dma` when `dma-fq` fails.
   */
  domainAlloc(type: DomainType, device: IommuDevice): IommuDomain | number;
  /**
   * A domain of type `sva` over the page tables of a process (`domain_alloc_sva`): what `mm` is, the driver and whoever owns processes agree
   * upon; core only passes it on. Absent: -EOPNOTSUPP.
   */
  domainAllocSva?(device: IommuDevice, mm: unknown): IommuDomain | number;
  /** Regions of the IOVA space that the hardware treats specially, for this device. */
  getResvRegions(device: IommuDevice): readonly ReservedRegion[];
  /** The domain type that a device needs; absent or undefined: no preference. */
  defDomainType?(device: IommuDevice): DomainType | undefined;
  /** True when the device must stay as it was found until it is first used: a crash kernel does not disturb DMA in flight (`is_attach_deferred`). */
  isAttachDeferred?(device: IommuDevice): boolean;
  /**
   * The one domain in which every DMA of a device is refused; it can be attached without allocating, and cannot fail. Without it core
   * blocks with an empty `unmanaged` domain, and no PASID can be attached, since nothing could detach it again.
   */
  readonly blockedDomain?: IommuDomain;
  /** PASIDs that the hardware takes, PASID 0 included; absent: none. A device has as many as it and its IOMMU both support. */
  readonly maxPasids?: number;
  /** Answers a page request; `fault` is the last of its group. Absent where the hardware does not wait for answers. */
  pageResponse?(device: IommuDevice, fault: DeviceFault, response: PageResponse): void;
  /** What the hardware offers. */
  readonly capabilities: {
    readonly cacheCoherency: boolean;
    readonly deferredFlush: boolean;
    readonly noexec: boolean;
  };
}

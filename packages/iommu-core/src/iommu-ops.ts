import type { IommuDevice } from './device.ts';
import type { DeviceFault } from './device-fault.ts';
import type { DomainType, IommuDomain } from './domain.ts';
import type { PageResponse } from './page-request.ts';
import type { ProcessSpace } from './process-space.ts';
import type { ReservedRegion } from './reserved-region.ts';

/**
 * What a driver does for its devices (`struct iommu_ops`); one instance for each IOMMU. What it does for a domain is `DomainOps`.
 *
 * **Order of calls** for a device: `probeDevice`; `isAttachDeferred`; `defDomainType`; for the first device of a group `domainAlloc`;
 * `getResvRegions`, whose direct regions are mapped
 * (by `CoreProfile.directFlush` before or after the next step); `attachDev` of the domain. Then whatever its users do. At the end `releaseDevice`, and
 * with the last device of the group `free` of the default domain. Other domains are freed by whoever allocated them. Calls are synchronous
 * and one at a time, and throw nothing for what hardware or memory do: results are 0 or a negative errno of Linux.
 *
 * **What must hold.** A device that is probed and not attached yet, and one that is released, reaches nothing, unless `isAttachDeferred`.
 * Two domains never share translations. A driver that is told of the same device again after `releaseDevice` starts anew.
 *
 * **Who owns what.** `device.priv` is the driver's, and nobody else reads it: set by `probeDevice`, null after `releaseDevice`. An
 * `IommuDomain` from `domainAlloc` belongs to the caller until its `ops.free`; `blockedDomain` is the driver's and is never freed, and
 * an attach to it allocates nothing.
 *
 * **Towards core** a driver calls `core.gatherAddPages` (from `unmapPages`), `core.reportDeviceFault` (when a device waits for an answer) and
 * `core.reportDomainFault` (when nobody can repair one), and nothing else of it while one of its own operations runs.
 * @example core.probeDevice(device, driver);
 */
export interface IommuOps {
  /**
   * Claims a device: checks its ids (`device.info.ids`), prepares its tables, sets `device.priv`. 0; -ENODEV: not this driver's; other
   * negative errnos: it cannot be driven. After a failure the device is as before, and `releaseDevice` is not called.
   */
  probeDevice(device: IommuDevice): number;
  /**
   * Undoes `probeDevice`: takes the device out of whatever domain it is still attached to, which no `attachDev` has done, and sees that its
   * DMA reaches nothing. Cannot fail.
   */
  releaseDevice(device: IommuDevice): void;
  /**
   * A new domain of a type for a device, or a negative errno: -EOPNOTSUPP for a type that the hardware does not have, -ENOMEM without
   * memory. Core fills in `domain.owner`. `unmanaged`, `dma` and `dma-fq` translate and differ only in who uses them; the core asks for `dma` when
   * `dma-fq` fails. `identity`: every address reaches itself; `blocked`: none reaches anything. A paging domain states its page sizes
   * (`pgsizeBitmap`) and an aperture whose ends are multiples of the smallest; they never change. Nothing is mapped in it.
   */
  domainAlloc(type: DomainType, device: IommuDevice): IommuDomain | number;
  /**
   * A domain of type `sva` over the page tables of a process (`domain_alloc_sva`), which no core maps: the driver hears of changes as a
   * notifier of `mm`, from here to `free`. -EOPNOTSUPP: the hardware cannot walk such tables. Absent: -EOPNOTSUPP.
   */
  domainAllocSva?(device: IommuDevice, mm: ProcessSpace): IommuDomain | number;
  /**
   * Regions of the IOVA space that the hardware treats specially, for this device: each with `start` below `end`, in any order. Asked often,
   * also for a device that is not attached: the answer stays the same while the device is probed. The caller does not change the list.
   */
  getResvRegions(device: IommuDevice): readonly ReservedRegion[];
  /** The domain type that a device needs; absent or undefined: no preference. Devices of one group should agree. */
  defDomainType?(device: IommuDevice): DomainType | undefined;
  /** True when the device must stay as it was found until it is first used: a crash kernel does not disturb DMA in flight (`is_attach_deferred`). */
  isAttachDeferred?(device: IommuDevice): boolean;
  /**
   * The one domain in which every DMA of a device is refused; it can be attached without allocating, and cannot fail. Without it core
   * blocks with an empty `unmanaged` domain, and no PASID can be attached, since nothing could detach it again.
   */
  readonly blockedDomain?: IommuDomain;
  /** PASIDs that the hardware takes, PASID 0 included; absent: none. A device has as many as it and its IOMMU both support. Constant. */
  readonly maxPasids?: number;
  /**
   * Answers a page request that `core.reportDeviceFault` took or refused; `fault` is the last of its group, the object that was reported.
   * Called once for a group, perhaps before `reportDeviceFault` returns. Absent where the hardware does not wait for answers.
   */
  pageResponse?(device: IommuDevice, fault: DeviceFault, response: PageResponse): void;
  /** What the hardware offers; constant. */
  readonly capabilities: {
    /** Walks and DMA see the CPU's caches (`IOMMU_CAP_CACHE_COHERENCY`). */
    readonly cacheCoherency: boolean;
    /** Invalidations may be put off: `dma-fq` domains make sense (`IOMMU_CAP_DEFERRED_FLUSH`). */
    readonly deferredFlush: boolean;
    /** `IOMMU_NOEXEC` has a bit (`IOMMU_CAP_NOEXEC` of older kernels). */
    readonly noexec: boolean;
  };
}

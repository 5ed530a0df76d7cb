import type { IotlbGather } from '@iommukit/io-pgtable';
import type { IommuDevice } from './device.ts';
import type { DomainType, IommuDomain } from './domain.ts';
import type { ReservedRegion } from './reserved-region.ts';

/**
 * What a driver does for one domain (`struct iommu_domain_ops`). One instance for each domain. Addresses and sizes in bytes,
 * results 0, a byte count, or a negative errno.
 * @example const done = domain.ops.unmapPages(iova, 4096, 1, gather);
 */
export interface DomainOps {
  /** Makes the device translate through this domain; `old` is what it leaves, or null at first. 0 or a negative errno. */
  attachDev(device: IommuDevice, old: IommuDomain | null): number;
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
  /** Undoes `probeDevice`. */
  releaseDevice(device: IommuDevice): void;
  /** A new domain of a type for a device, or a negative errno. */
  domainAlloc(type: DomainType, device: IommuDevice): IommuDomain | number;
  /** Regions of the IOVA space that the hardware treats specially, for this device. */
  getResvRegions(device: IommuDevice): readonly ReservedRegion[];
  /** The domain type that a device needs; absent or undefined: no preference. */
  defDomainType?(device: IommuDevice): DomainType | undefined;
  /** What the hardware offers. */
  readonly capabilities: {
    readonly cacheCoherency: boolean;
    readonly deferredFlush: boolean;
    readonly noexec: boolean;
  };
}

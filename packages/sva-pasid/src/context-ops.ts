import type { IommuDevice, IommuDomain } from '@iommukit/iommu-core';
import { ERRNO } from '@iommukit/platform';
import type { IoMm } from './io-mm.ts';

/**
 * How a device comes to use an address space (`mm_attach` and `mm_detach` of the 2018 review): by PASID, or by a register of its own
 * (`PageTableSwitch`). When `detach` returns, no DMA ends in the address space any more and nothing of it is cached.
 * @example const contexts: ContextOps = { most: 8, ready: () => 0, attach: () => 0, detach() {} };
 */
export interface ContextOps {
  /** The highest id that the device can use. */
  readonly most: number;
  /** Whether both of the other calls can work: 0 or a negative errno, before anything is allocated. */
  ready(device: IommuDevice): number;
  /** 0, or a negative errno with nothing changed. */
  attach(ioMm: IoMm): number;
  detach(ioMm: IoMm): void;
}

/**
 * Who makes the domains of private address spaces (`mm_alloc` and `mm_free` of the 2018 review). Both, or neither: then core allocates
 * an unmanaged domain of the device's driver.
 * @example const mm: MmOps = { mmAlloc: (_parent, device) => core.domainAllocUnmanaged(device), mmFree: (domain) => core.domainFree(domain) };
 */
export interface MmOps {
  /** An empty domain for one address space, or a negative errno; `parent` is the domain of requests without PASID. */
  mmAlloc?(parent: IommuDomain, device: IommuDevice): IommuDomain | number;
  /** Frees it: once for each that `mmAlloc` returned, when no hardware uses it. */
  mmFree?(domain: IommuDomain): void;
}

/** Address spaces by PASID, through core: the driver writes and clears the context descriptor. */
export function pasidContexts(device: IommuDevice): ContextOps {
  return {
    most: device.maxPasids - 1,
    ready: ({ ops }) => (ops?.blockedDomain?.ops.setDevPasid === undefined ? -ERRNO.ENODEV : 0),
    attach: (ioMm) => {
      const { core, domain, pasid } = ioMm;
      return core.attachDevicePasid({ domain, device: ioMm.device, pasid, handle: ioMm });
    },
    detach: ({ core, domain, device: from, pasid }) => core.detachDevicePasid(domain, from, pasid),
  };
}

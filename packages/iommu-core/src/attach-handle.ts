import type { IommuDomain } from './domain.ts';

/**
 * What an attach was made with (`struct iommu_attach_handle`): the caller keeps it and finds it again by group and PASID. Core fills in
 * the domain; callers extend it with what they need.
 * @example const handle = new AttachHandle(domain); core.attachDevicePasid({ domain, device, pasid: 1, handle });
 */
export class AttachHandle {
  /** The domain of the last successful attach or replace with this handle. */
  domain: IommuDomain;

  constructor(domain: IommuDomain) {
    this.domain = domain;
  }
}

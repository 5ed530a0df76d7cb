import type { IommuDevice } from './device.ts';
import type { IommuDomain } from './domain.ts';

/**
 * Devices that the IOMMU cannot tell apart, and the domain that they share (`struct iommu_group`).
 * @example device.group?.id // 0
 */
export class IommuGroup {
  /** In order of creation, from 0; ids of freed groups are used again, lowest first. */
  readonly id: number;
  readonly key: string;
  readonly devices: IommuDevice[] = [];
  /** Where the devices are now. */
  domain: IommuDomain | null = null;
  defaultDomain: IommuDomain | null = null;

  constructor(id: number, key: string) {
    this.id = id;
    this.key = key;
  }
}

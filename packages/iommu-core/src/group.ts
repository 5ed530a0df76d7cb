import type { AttachHandle } from './attach-handle.ts';
import type { IommuDevice } from './device.ts';
import type { IommuDomain } from './domain.ts';

/**
 * What a PASID of a group is attached to.
 * @example const entry: GroupAttachment | undefined = group.pasids.get(1);
 */
export interface GroupAttachment {
  readonly domain: IommuDomain;
  /** What the caller attached with, or null. */
  readonly handle: AttachHandle | null;
}

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
  /** Where the devices are while their owner has attached nothing: the driver's blocked domain, or an empty one of ours. */
  blockingDomain: IommuDomain | null = null;
  /** Attachments by PASID; 0 stands for DMA without PASID, and is here only when it was attached with a handle. */
  readonly pasids: Map<number, GroupAttachment> = new Map();
  /** Who claimed the group for DMA, or null while device drivers use the default domain. */
  owner: unknown = null;
  /** Claims of the owner, or device drivers that are bound. */
  ownerCount = 0;

  constructor(id: number, key: string) {
    this.id = id;
    this.key = key;
  }
}

import { ERRNO } from '@iommukit/platform';
import type { AttachHandle } from './attach-handle.ts';
import type { IommuDevice } from './device.ts';
import type { DomainType, IommuDomain } from './domain.ts';
import type { DomainMapper } from './domain-mapper.ts';
import type { IommuGroup } from './group.ts';
import { foreign } from './group-domains.ts';

/**
 * What to attach to a PASID, for all devices of the device's group.
 * @example core.attachDevicePasid({ domain, device, pasid: 1, handle: new AttachHandle(domain) });
 */
export interface PasidAttachment {
  readonly domain: IommuDomain;
  readonly device: IommuDevice;
  /** 1 and above. */
  readonly pasid: number;
  /** Found again by `attachHandle`; a replace needs one. */
  readonly handle?: AttachHandle;
}

/** Attaches domains to PASIDs of groups (`iommu_attach_device_pasid` and its kin). Results are 0 or a negative errno. */
export class GroupPasids {
  readonly #mapper: DomainMapper;
  /** Where an attach is under way: the PASID is taken, and has no handle yet. */
  readonly #reserved = new WeakMap<IommuGroup, Set<number>>();

  constructor(mapper: DomainMapper) {
    this.#mapper = mapper;
  }

  attach({ domain, device, pasid, handle }: PasidAttachment): number {
    const { group } = device;
    if (group === null) return -ERRNO.ENODEV;
    const errno = this.#check(group, domain, pasid);
    if (errno !== 0) return errno;
    const reserved = this.#reservedOf(group);
    if (group.pasids.has(pasid) || reserved.has(pasid)) return -ERRNO.EBUSY;
    reserved.add(pasid);
    const result = this.#setAll({ group, domain, pasid, old: null });
    reserved.delete(pasid);
    if (result !== 0) return result;
    this.#publish(group, pasid, { domain, handle: handle ?? null });
    return 0;
  }

  /** `iommu_replace_device_pasid`. */
  replace({ domain, device, pasid, handle }: PasidAttachment): number {
    const { group } = device;
    if (group === null) return -ERRNO.ENODEV;
    if (handle === undefined) return -ERRNO.EINVAL;
    const errno = this.#check(group, domain, pasid);
    if (errno !== 0) return errno;
    const now = group.pasids.get(pasid);
    if (now === undefined) return -ERRNO.EINVAL;
    if (now.handle === handle) {
      this.#mapper.warn(`PASID ${pasid} of group ${group.id} is replaced by its own handle`);
      return -ERRNO.EINVAL;
    }
    if (now.domain !== domain) {
      const result = this.#setAll({ group, domain, pasid, old: now.domain });
      if (result !== 0) return result;
    }
    this.#publish(group, pasid, { domain, handle });
    return 0;
  }

  /** `iommu_detach_device_pasid`. */
  detach(domain: IommuDomain, device: IommuDevice, pasid: number): void {
    const { group } = device;
    if (group === null) return;
    if (group.pasids.get(pasid)?.domain !== domain)
      this.#mapper.warn(`PASID ${pasid} of group ${group.id} is not attached to this domain`);
    for (const member of group.devices)
      if (member.maxPasids > 0) this.#remove(member, pasid, domain);
    group.pasids.delete(pasid);
  }

  /** The handle that a PASID was attached with: -ENOENT without one, -EBUSY when its domain is of another type (`iommu_attach_handle_get`). */
  handleOf(group: IommuGroup, pasid: number, type?: DomainType): AttachHandle | number {
    const handle = group.pasids.get(pasid)?.handle ?? null;
    if (handle === null) return -ERRNO.ENOENT;
    return type !== undefined && handle.domain.type !== type ? -ERRNO.EBUSY : handle;
  }

  #reservedOf(group: IommuGroup): Set<number> {
    let reserved = this.#reserved.get(group);
    if (reserved === undefined) {
      reserved = new Set();
      this.#reserved.set(group, reserved);
    }
    return reserved;
  }

  #publish(
    group: IommuGroup,
    pasid: number,
    entry: { readonly domain: IommuDomain; readonly handle: AttachHandle | null },
  ): void {
    if (entry.handle !== null) entry.handle.domain = entry.domain;
    group.pasids.set(pasid, entry);
  }

  #check(group: IommuGroup, domain: IommuDomain, pasid: number): number {
    const ops = group.devices[0]?.ops;
    if (domain.ops.setDevPasid === undefined) return -ERRNO.EOPNOTSUPP;
    if (ops?.blockedDomain?.ops.setDevPasid === undefined) return -ERRNO.EOPNOTSUPP;
    if (foreign(group, domain) || pasid <= 0) return -ERRNO.EINVAL;
    for (const { maxPasids } of group.devices)
      if (maxPasids > 0 && pasid >= maxPasids) return -ERRNO.EINVAL;
    return 0;
  }

  /** Every device that has PASIDs at all; or those that moved go back (`__iommu_set_group_pasid`). */
  #setAll(move: {
    readonly group: IommuGroup;
    readonly domain: IommuDomain;
    readonly pasid: number;
    readonly old: IommuDomain | null;
  }): number {
    const { group, domain, pasid, old } = move;
    for (const device of group.devices) {
      if (device.maxPasids === 0) continue;
      const errno = domain.ops.setDevPasid?.(device, pasid, old) ?? -ERRNO.EOPNOTSUPP;
      if (errno === 0) continue;
      for (const done of group.devices) {
        if (done === device) break;
        if (done.maxPasids === 0) continue;
        // A driver that does not take its old domain back leaves the PASID blocked.
        if (old === null || (old.ops.setDevPasid?.(done, pasid, domain) ?? -1) !== 0) {
          if (old !== null)
            this.#mapper.warn(`${done.name}: PASID ${pasid} could not return to its old domain`);
          this.#remove(done, pasid, domain);
        }
      }
      return errno;
    }
    return 0;
  }

  #remove(device: IommuDevice, pasid: number, old: IommuDomain): void {
    const errno = device.ops?.blockedDomain?.ops.setDevPasid?.(device, pasid, old) ?? 0;
    if (errno !== 0)
      this.#mapper.warn(`${device.name}: PASID ${pasid} could not be blocked: ${errno}`);
  }
}

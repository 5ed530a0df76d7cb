import { ERRNO } from '@iommukit/platform';
import type { AttachHandle } from './attach-handle.ts';
import type { IommuDevice } from './device.ts';
import { requiresDirect } from './direct-mappings.ts';
import type { IommuDomain } from './domain.ts';
import type { DomainMapper } from './domain-mapper.ts';
import type { IommuGroup } from './group.ts';

/** The PASID that stands for DMA without one (`IOMMU_NO_PASID`). */
const NO_PASID = 0;

/**
 * Moves devices and groups between domains; what happens when a part of a group refuses; and who owns a group's DMA. Results are 0 or a
 * negative errno.
 */
export class GroupDomains {
  readonly #mapper: DomainMapper;

  constructor(mapper: DomainMapper) {
    this.#mapper = mapper;
  }

  /** Moves one device (`__iommu_device_set_domain`). */
  setDevice(domain: IommuDomain, device: IommuDevice, old: IommuDomain | null): number {
    const group = device.group;
    const blocks = domain.type === 'blocked' || domain === group?.blockingDomain;
    if (blocks && requiresDirect(device)) {
      this.#mapper.warn(
        `${device.name}: Firmware has requested this device have a 1:1 IOMMU mapping, rejecting configuring the device without a 1:1 mapping. Contact your platform vendor.`,
      );
      return -ERRNO.EINVAL;
    }
    if (device.attachDeferred) {
      // Its DMA goes on undisturbed until somebody uses it, or wants another domain.
      if (domain === group?.defaultDomain) return 0;
      device.attachDeferred = false;
    }
    return this.#attach(domain, device, old);
  }

  #attach(domain: IommuDomain, device: IommuDevice, old: IommuDomain | null): number {
    const errno = domain.ops.attachDev(device, old);
    if (errno !== 0) return errno;
    device.attachDeferred = false;
    const { trace } = this.#mapper;
    if (trace.on) trace.emit({ name: 'attach_device_to_domain', device: device.name });
    return 0;
  }

  /** Attaches a device that was left as it was found, when it is used for the first time (`iommu_deferred_attach`). */
  attachDeferred(device: IommuDevice, domain: IommuDomain): number {
    return device.attachDeferred ? this.#attach(domain, device, null) : 0;
  }

  /** All devices of a group, or none (`__iommu_group_set_domain`). */
  set(group: IommuGroup, domain: IommuDomain): number {
    const old = group.domain;
    if (old === domain) return 0;
    for (const device of group.devices) {
      const errno = this.setDevice(domain, device, old);
      if (errno === 0) continue;
      this.#goBack(group, domain, device);
      return errno;
    }
    group.domain = domain;
    return 0;
  }

  #goBack(group: IommuGroup, domain: IommuDomain, failed: IommuDevice): void {
    const old = group.domain;
    if (old === null) return;
    for (const device of group.devices) {
      if (device === failed) return;
      if (this.#mustMove(old, device, domain) !== 0)
        this.#mapper.warn(`${device.name} could not return to its old domain`);
    }
  }

  /** The devices must follow; one that refuses is blocked, where that is possible. */
  #mustMove(domain: IommuDomain, device: IommuDevice, old: IommuDomain | null): number {
    const errno = this.setDevice(domain, device, old);
    const blocking = device.group?.blockingDomain ?? null;
    if (errno !== 0 && blocking !== null && blocking !== domain)
      this.#attach(blocking, device, old);
    return errno;
  }

  /** As `set`, but the group moves whatever the driver says (`__iommu_group_set_domain_nofail`). */
  setAnyway(group: IommuGroup, domain: IommuDomain): void {
    const old = group.domain;
    if (old === domain) return;
    for (const device of group.devices)
      if (this.#mustMove(domain, device, old) !== 0)
        this.#mapper.warn(`${device.name} could not return to its default domain`);
    group.domain = domain;
  }

  /** `iommu_attach_group`. */
  attach(group: IommuGroup, domain: IommuDomain): number {
    const now = group.domain;
    if (
      now !== null &&
      now !== group.defaultDomain &&
      now !== group.blockingDomain &&
      now.type !== 'blocked'
    )
      return -ERRNO.EBUSY;
    return foreign(group, domain) ? -ERRNO.EINVAL : this.set(group, domain);
  }

  /** `iommu_attach_group_handle`. */
  attachHandle(group: IommuGroup, domain: IommuDomain, handle: AttachHandle): number {
    if (group.pasids.has(NO_PASID)) return -ERRNO.EBUSY;
    const errno = this.attach(group, domain);
    if (errno !== 0) return errno;
    handle.domain = domain;
    group.pasids.set(NO_PASID, { domain, handle });
    return 0;
  }

  /** `iommu_replace_group_handle`: whatever the group is attached to. */
  replace(group: IommuGroup, domain: IommuDomain, handle: AttachHandle | null): number {
    if (foreign(group, domain)) return -ERRNO.EINVAL;
    const errno = this.set(group, domain);
    if (errno !== 0) return errno;
    if (handle === null) {
      group.pasids.delete(NO_PASID);
    } else {
      handle.domain = domain;
      group.pasids.set(NO_PASID, { domain, handle });
    }
    return 0;
  }

  /** Back to the default domain, or to nothing while the group is owned (`__iommu_group_set_core_domain`). */
  detach(group: IommuGroup): void {
    group.pasids.delete(NO_PASID);
    const domain = group.owner === null ? group.defaultDomain : group.blockingDomain;
    if (domain !== null) this.setAnyway(group, domain);
  }

  /** `iommu_group_claim_dma_owner`. */
  claim(group: IommuGroup, owner: unknown): number {
    if (group.ownerCount > 0) return -ERRNO.EPERM;
    return this.#take(group, owner);
  }

  /** `iommu_device_claim_dma_owner`: the same owner may claim again. */
  claimDevice(group: IommuGroup, owner: unknown): number {
    if (group.ownerCount === 0) return this.#take(group, owner);
    if (group.owner !== owner) return -ERRNO.EPERM;
    group.ownerCount++;
    return 0;
  }

  #take(group: IommuGroup, owner: unknown): number {
    if (owner === null || owner === undefined) return -ERRNO.EINVAL;
    if ((group.domain !== null && group.domain !== group.defaultDomain) || group.pasids.size > 0)
      return -ERRNO.EBUSY;
    const blocking = this.#blockingOf(group);
    if (typeof blocking === 'number') return blocking;
    const errno = this.set(group, blocking);
    if (errno !== 0) return errno;
    group.owner = owner;
    group.ownerCount = 1;
    return 0;
  }

  /** `iommu_group_release_dma_owner`; `claims` of those made are given up. */
  release(group: IommuGroup, claims: number): void {
    if (group.ownerCount === 0 || group.owner === null || group.pasids.size > 0) {
      this.#mapper.warn(`group ${group.id}: its DMA is not owned, or still attached`);
      return;
    }
    group.ownerCount -= claims;
    if (group.ownerCount > 0) return;
    group.owner = null;
    if (group.defaultDomain !== null) this.setAnyway(group, group.defaultDomain);
  }

  /** A device driver is bound (`iommu_device_use_default_domain`). */
  useDefault(group: IommuGroup): number {
    if (group.defaultDomain === null) return -ERRNO.EPROBE_DEFER;
    if (
      group.ownerCount > 0 &&
      (group.domain !== group.defaultDomain || group.owner !== null || group.pasids.size > 0)
    )
      return -ERRNO.EBUSY;
    group.ownerCount++;
    return 0;
  }

  /** It is unbound (`iommu_device_unuse_default_domain`). */
  unuseDefault(group: IommuGroup): void {
    if (group.ownerCount === 0 || group.pasids.size > 0)
      this.#mapper.warn(`group ${group.id}: its default domain is not in use, or a PASID is`);
    if (group.ownerCount > 0) group.ownerCount--;
  }

  /** The driver's blocked domain, or an empty one (`__iommu_group_alloc_blocking_domain`). */
  #blockingOf(group: IommuGroup): IommuDomain | number {
    if (group.blockingDomain !== null) return group.blockingDomain;
    const device = group.devices[0];
    const ops = device?.ops;
    if (device === undefined || ops === undefined || ops === null) return -ERRNO.ENODEV;
    const domain = ops.blockedDomain ?? ops.domainAlloc('unmanaged', device);
    if (typeof domain === 'number') return domain;
    if (ops.blockedDomain === undefined) domain.owner = ops;
    group.blockingDomain = domain;
    return domain;
  }

  /** The last device is gone: an empty domain of ours goes too. */
  freeBlocking(group: IommuGroup): void {
    const domain = group.blockingDomain;
    group.blockingDomain = null;
    if (domain !== null && domain.type !== 'blocked') domain.ops.free();
  }
}

/** True when a device of the group is not of the domain's driver. */
export function foreign(group: IommuGroup, domain: IommuDomain): boolean {
  const { owner } = domain;
  return owner !== null && group.devices.some(({ ops }) => ops !== owner);
}

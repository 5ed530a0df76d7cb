import { ERRNO } from '@iommukit/platform';
import type { IommuDevice } from './device.ts';
import type { DomainType, IommuDomain } from './domain.ts';
import type { DomainMapper } from './domain-mapper.ts';
import type { IommuGroup } from './group.ts';

/** Types of domain that a device can get without asking. @example const type: DefaultDomainType = 'dma'; */
export type DefaultDomainType = 'dma' | 'dma-fq' | 'identity';

/** A domain of the device's driver, with its owner filled in, or a negative errno. */
export function allocDomain(type: DomainType, device: IommuDevice): IommuDomain | number {
  const { ops } = device;
  if (ops === null) return -ERRNO.ENODEV;
  const domain = ops.domainAlloc(type, device);
  if (typeof domain !== 'number' && domain.owner === null) domain.owner = ops;
  return domain;
}

/** Chooses and allocates the default domain of groups. */
export class DefaultDomains {
  type: DefaultDomainType;
  readonly #mapper: DomainMapper;

  constructor(mapper: DomainMapper, type: DefaultDomainType) {
    this.#mapper = mapper;
    this.type = type;
  }

  /** For a group with at least one device; `target` was asked for by hand (`iommu_group_alloc_default_domain`). */
  alloc(group: IommuGroup, target: DefaultDomainType | undefined): IommuDomain | number {
    const wanted = this.#choose(group, target);
    if (typeof wanted === 'number') return wanted;
    const first = group.devices[0] as IommuDevice;
    const type = wanted ?? this.type;
    const domain = allocDomain(type, first);
    if (typeof domain !== 'number' || wanted !== undefined || type === 'dma') return domain;
    this.#mapper.warn(
      `Failed to allocate default IOMMU domain of type ${type} for group ${group.id} - Falling back to dma`,
    );
    return allocDomain('dma', first);
  }

  /** `iommu_get_default_domain_type`: undefined without a preference. */
  #choose(
    group: IommuGroup,
    target: DefaultDomainType | undefined,
  ): DomainType | undefined | number {
    let wanted: DomainType | undefined;
    let untrusted = false;
    for (const device of group.devices) {
      const type = device.ops?.defDomainType?.(device);
      if (type !== undefined && wanted !== undefined && type !== wanted) {
        this.#mapper.warn(
          `IOMMU driver error, requesting conflicting def_domain_type, ${type} and ${wanted}, for devices in group ${group.id}.`,
        );
        wanted = 'identity';
      } else if (type !== undefined) wanted = type;
      if (device.info.isPci === true && device.info.untrusted === true) untrusted = true;
    }
    if (untrusted) {
      if (wanted !== undefined && wanted !== 'dma') {
        this.#mapper.warn(`group ${group.id} needs a DMA domain because of an untrusted device`);
        return -ERRNO.EINVAL;
      }
      wanted = 'dma';
    }
    if (target === undefined) return wanted;
    return wanted !== undefined && wanted !== target ? -ERRNO.EINVAL : target;
  }
}

import { ERRNO } from '@iommukit/platform';
import type { IommuDevice } from './device.ts';
import type { IommuDomain } from './domain.ts';
import type { DomainMapper } from './domain-mapper.ts';
import type { ReservedRegion } from './reserved-region.ts';

function pageUp(value: number, pgsize: number): number {
  return Math.ceil(value / pgsize) * pgsize;
}

/** True when a direct region makes a blocked domain impossible for the device (`require_direct`). */
export function requiresDirect(device: IommuDevice): boolean {
  return device.ops?.getResvRegions(device).some(({ type }) => type === 'direct') ?? false;
}

/**
 * Maps the device's direct regions one to one into a DMA domain, leaving pages alone that translate already
 * (`iommu_create_device_direct_mappings`). 0 or a negative errno.
 */
export function createDirectMappings(
  mapper: DomainMapper,
  domain: IommuDomain,
  device: IommuDevice,
): number {
  if (!domain.isDma) return 0;
  if (domain.minPage === 0) {
    mapper.warn(`${device.name}: a DMA domain without page sizes`);
    return -ERRNO.EINVAL;
  }
  const regions = device.ops?.getResvRegions(device) ?? [];
  for (const region of regions) {
    if (region.type !== 'direct' && region.type !== 'direct-relaxable') continue;
    const errno = mapDirect(mapper, domain, region);
    if (errno !== 0) return errno;
  }
  if (regions.length > 0 && mapper.profile.directFlush !== 'never') domain.ops.flushIotlbAll();
  return 0;
}

function mapDirect(mapper: DomainMapper, domain: IommuDomain, region: ReservedRegion): number {
  const least = domain.minPage;
  // Both ends are rounded up, as the kernel does.
  const start = pageUp(region.start, least);
  const end = pageUp(region.end, least);
  let from = start;
  for (let page = start; page <= end; page += least) {
    // Page 0 is asked for at byte 1: a translation to address 0 could not be told from a hole.
    const present = page === end || domain.ops.iovaToPhys(page === 0 ? 1 : page) !== 0;
    if (!present) continue;
    if (page > from) {
      const errno = mapper.map(domain, from, from, page - from, region.prot);
      if (errno !== 0) return errno;
    }
    from = page + least;
  }
  return 0;
}

import {
  type DomainOps,
  type DomainType,
  type IommuDevice,
  IommuDomain,
} from '@iommukit/iommu-core';
import { ERRNO } from '@iommukit/platform';

/** What a domain without page table asks of its driver. */
export interface FixedDomainParts {
  readonly kind: 'identity' | 'blocked' | 'nested';
  attach(device: IommuDevice): number;
  /** Takes a PASID out of its domain; the blocked domain alone. */
  blockPasid?(device: IommuDevice, pasid: number): number;
  free?(): void;
}

/** Operations of a domain that core does not map: every stream of the device gets one STE. */
export class FixedDomainOps implements DomainOps {
  readonly mapped = 0;
  readonly setDevPasid?: (device: IommuDevice, pasid: number) => number;
  readonly #parts: FixedDomainParts;

  constructor(parts: FixedDomainParts) {
    this.#parts = parts;
    const { blockPasid } = parts;
    if (blockPasid !== undefined)
      this.setDevPasid = (device, pasid) => blockPasid.call(parts, device, pasid);
  }

  attachDev(device: IommuDevice, _old: IommuDomain | null): number {
    return this.#parts.attach(device);
  }

  mapPages(): number {
    return -ERRNO.ENODEV;
  }

  unmapPages(): number {
    return 0;
  }

  iovaToPhys(iova: number): number {
    return this.#parts.kind === 'identity' ? iova : 0;
  }

  flushIotlbAll(): void {}

  iotlbSync(): void {}

  free(): void {
    this.#parts.free?.();
  }
}

/** A domain without page table, over the whole address space. */
export function fixedDomain(type: DomainType, parts: FixedDomainParts): IommuDomain {
  return new IommuDomain({
    type,
    ops: new FixedDomainOps(parts),
    pgsizeBitmap: 0,
    apertureStart: 0,
    apertureEnd: 2 ** 64,
  });
}

import {
  type DomainOps,
  type IommuDevice,
  IommuDomain,
  type ProcessNotifier,
  type ProcessSpace,
} from '@iommukit/iommu-core';
import { ERRNO } from '@iommukit/platform';
import { sharedCd } from './context-descriptor.lanes.ts';
import type { Endpoint } from './domain-invalidation.ts';
import { InvalidationArray } from './invalidation-array.ts';
import { type DomainUser, endpointsOf, type LinkedDomain } from './linked-domain.ts';
import type { ProcessTables } from './process-tables.ts';
import type { InvalidRange } from './range-invalidation.ts';
import type { SmmuDevice } from './smmu-device.ts';

/** What the domain of a process asks of its driver. */
export interface SvaHost {
  attachSva(device: IommuDevice, pasid: number, domain: SvaDomainOps): number;
  /** Invalidates everything of the domain. */
  invalidateAll(domain: LinkedDomain): void;
  /** Invalidates what a process has changed, and waits. */
  invalidateProcessRange(domain: LinkedDomain, range: InvalidRange): void;
  /** Invalidates ranges in the endpoints alone. */
  invalidateEndpointRanges(domain: LinkedDomain, ranges: readonly InvalidRange[]): void;
  /** Takes the ASID back. */
  releaseTag(domain: LinkedDomain): void;
}

/**
 * The address space of a process under an ASID (`struct arm_smmu_domain` of type SVA): its process maps, the driver
 * invalidates when that tells of a change.
 */
export class SvaDomainOps implements DomainOps, LinkedDomain, ProcessNotifier {
  readonly mapped = 0;
  readonly stage = 1;
  readonly nestParent = false;
  readonly users: Set<DomainUser> = new Set<DomainUser>();
  readonly space: ProcessSpace;
  readonly tables: ProcessTables;
  readonly id: number;
  readonly domain: IommuDomain;
  invs: InvalidationArray = new InvalidationArray();
  readonly #asidOf: 'driver' | 'cpu';
  readonly #host: SvaHost;

  constructor(parts: {
    readonly space: ProcessSpace;
    readonly tables: ProcessTables;
    readonly id: number;
    /** Whose the ASID is. */
    readonly asidOf: 'driver' | 'cpu';
    readonly host: SvaHost;
  }) {
    this.space = parts.space;
    this.tables = parts.tables;
    this.id = parts.id;
    this.#asidOf = parts.asidOf;
    this.#host = parts.host;
    this.domain = new IommuDomain({
      type: 'sva',
      ops: this,
      pgsizeBitmap: parts.tables.pageSize,
      apertureStart: 0,
      apertureEnd: 2 ** parts.tables.vaBits,
    });
  }

  /** The page of the process is the granule of its invalidations. */
  get minPage(): number {
    return this.tables.pageSize;
  }

  get handlesFaults(): boolean {
    return this.domain.pageRequestHandler !== null;
  }

  endpoints(): Iterable<Endpoint> {
    return endpointsOf(this.users);
  }

  /** The CD of a device in this domain (`arm_smmu_make_sva_cd`); the tables of a process that is gone are walked no more. */
  cdFor(
    { site, stall }: Pick<SmmuDevice, 'site' | 'stall'>,
    state: 'live' | 'released',
  ): Uint32Array {
    const { accessFlag, dirtyState, tableAccessFlag, stallForce } = site.features;
    return sharedCd(this.tables, this.id, {
      features: { accessFlag, dirty: dirtyState, haft: tableAccessFlag, stall, stallForce },
      released: state === 'released',
      asidOf: this.#asidOf,
    });
  }

  /** DMA without PASID has no process. */
  attachDev(): number {
    return -ERRNO.ENODEV;
  }

  /** -EINVAL: the process has exited (`arm_smmu_sva_set_dev_pasid`). */
  setDevPasid(device: IommuDevice, pasid: number): number {
    return this.space.users === 0 ? -ERRNO.EINVAL : this.#host.attachSva(device, pasid, this);
  }

  mapPages(): number {
    return -ERRNO.ENODEV;
  }

  unmapPages(): number {
    return 0;
  }

  iovaToPhys(): number {
    return 0;
  }

  flushIotlbAll(): void {
    this.#host.invalidateAll(this);
  }

  iotlbSync(): void {}

  /** Pages of any size may have gone, and tables with them (`arm_smmu_mm_arch_invalidate_secondary_tlbs`). */
  invalidate(start: number, end: number): void {
    const granule = this.tables.pageSize;
    const range = { iova: start, size: end - start, granule, leaf: false };
    // Where the ASID is the CPU's, its own TLBI has done the rest.
    if (this.#asidOf === 'cpu') this.#host.invalidateEndpointRanges(this, [range]);
    else this.#host.invalidateProcessRange(this, range);
  }

  /**
   * The process exits while devices are attached (`arm_smmu_mm_release`): its tables are walked no more, and faults say nothing. The CDs stay
   * valid until each device lets go.
   */
  release(): void {
    for (const { device, ssid } of this.users)
      device.rewriteCd(ssid, this.cdFor(device, 'released'));
    this.#host.invalidateAll(this);
  }

  free(): void {
    // The ASID is somebody else's from here on.
    this.#host.invalidateAll(this);
    this.#host.releaseTag(this);
    this.space.removeNotifier(this);
  }
}

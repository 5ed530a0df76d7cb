import { hasPageSize } from '@iommukit/bits';
import { IOMMU_MMIO, IOMMU_NOEXEC, IOMMU_WRITE } from '@iommukit/io-pgtable';
import {
  type DomainType,
  type IommuDevice,
  IommuDomain,
  type IommuOps,
  type ReservedRegion,
} from '@iommukit/iommu-core';
import { ERRNO } from '@iommukit/platform';
import { type Configuration, decodeConfiguration, FEATURE } from './configuration.ts';
import { decodeProperties } from './property.ts';
import type { RequestQueue } from './request-queue.ts';
import { type MapUnit, ViommuDomain, type ViommuHost } from './viommu-domain.ts';

/** Where doorbells are mapped when the device has no window for them (`MSI_IOVA_BASE` and `MSI_IOVA_LENGTH` of the kernel's driver). */
const MSI_START = 0x800_0000;
const MSI_BYTES = 0x10_0000;
const MSI_PROT = IOMMU_WRITE + IOMMU_NOEXEC + IOMMU_MMIO;

/** What the driver is composed of. */
export interface ViommuDriverParts {
  readonly features: number;
  readonly configuration: Uint8Array;
  readonly queue: (configuration: Configuration) => RequestQueue;
  readonly unit: MapUnit;
}

interface EndpointState {
  readonly endpoint: number;
  readonly regions: readonly ReservedRegion[];
  domain: ViommuDomain | null;
}

/** The guest's driver (`drivers/iommu/virtio-iommu.c`): every map and unmap is a request, and there are no tables. */
export class ViommuDriver implements IommuOps, ViommuHost {
  readonly capabilities = { cacheCoherency: true, deferredFlush: true, noexec: false };
  readonly queue: RequestQueue;
  readonly unit: MapUnit;
  readonly #configuration: Configuration;
  readonly #states = new Map<IommuDevice, EndpointState>();
  readonly #freeDomains: number[] = [];
  #nextDomain: number;

  /** The driver, or -ENODEV for a device without map and unmap requests (5.13.5). */
  static create(parts: ViommuDriverParts): ViommuDriver | number {
    const needed = [FEATURE.MAP_UNMAP, FEATURE.INPUT_RANGE, FEATURE.DOMAIN_RANGE, FEATURE.PROBE];
    const has = needed.every((bit) => hasPageSize(parts.features, 2 ** bit));
    return has ? new ViommuDriver(parts) : -ERRNO.ENODEV;
  }

  private constructor(parts: ViommuDriverParts) {
    this.#configuration = decodeConfiguration(parts.configuration);
    this.queue = parts.queue(this.#configuration);
    this.unit = parts.unit;
    this.#nextDomain = this.#configuration.firstDomain;
  }

  get apertureEnd(): number {
    return this.#configuration.inputEnd;
  }

  probeDevice(device: IommuDevice): number {
    const [endpoint, ...aliases] = device.info.ids;
    if (endpoint === undefined || aliases.length > 0) return -ERRNO.EINVAL;
    const { errno, properties } = this.queue.call({ type: 'probe', endpoint });
    if (errno !== 0) return errno === -ERRNO.ENOENT ? -ERRNO.ENODEV : errno;
    const regions = regionsOf(properties);
    const state: EndpointState = { endpoint, regions, domain: null };
    this.#states.set(device, state);
    device.priv = state;
    return 0;
  }

  releaseDevice(device: IommuDevice): void {
    const state = this.#states.get(device);
    if (state === undefined) return;
    this.#leave(device, state);
    this.#states.delete(device);
    device.priv = null;
  }

  domainAlloc(type: DomainType, _device: IommuDevice): IommuDomain | number {
    if (type !== 'unmanaged' && type !== 'dma' && type !== 'dma-fq') return -ERRNO.EOPNOTSUPP;
    const { pageSizes, inputStart, inputEnd, lastDomain } = this.#configuration;
    const id = this.#freeDomains.pop() ?? this.#nextDomain++;
    if (id > lastDomain) {
      this.#nextDomain--;
      return -ERRNO.ENOSPC;
    }
    return new IommuDomain({
      type,
      ops: new ViommuDomain(this, id),
      pgsizeBitmap: pageSizes,
      apertureStart: inputStart,
      apertureEnd: inputEnd,
    });
  }

  getResvRegions(device: IommuDevice): readonly ReservedRegion[] {
    return this.#states.get(device)?.regions ?? [];
  }

  attach(device: IommuDevice, domain: ViommuDomain): number {
    const state = this.#states.get(device);
    if (state === undefined) return -ERRNO.EINVAL;
    const from = state.domain;
    const { errno } = this.#call('attach', domain, state);
    if (errno !== 0) return errno;
    from?.users.delete(device);
    const replayed = this.#join(device, state, domain);
    if (replayed === 0) return 0;
    this.#leave(device, state);
    if (from !== null && this.#call('attach', from, state).errno === 0)
      this.#join(device, state, from);
    return replayed;
  }

  releaseDomain(id: number): void {
    this.#freeDomains.push(id);
  }

  #join(device: IommuDevice, state: EndpointState, domain: ViommuDomain): number {
    state.domain = domain;
    const isFirst = domain.users.size === 0;
    domain.users.add(device);
    return isFirst ? domain.replay() : 0;
  }

  #leave(device: IommuDevice, state: EndpointState): void {
    const { domain } = state;
    if (domain === null) return;
    this.#call('detach', domain, state);
    domain.users.delete(device);
    state.domain = null;
  }

  #call(
    type: 'attach' | 'detach',
    { id }: ViommuDomain,
    { endpoint }: EndpointState,
  ): {
    readonly errno: number;
  } {
    return type === 'attach'
      ? this.queue.call({ type, domain: id, endpoint, flags: 0 })
      : this.queue.call({ type, domain: id, endpoint });
  }
}

function regionsOf(properties: Uint8Array): readonly ReservedRegion[] {
  const regions = decodeProperties(properties).map(
    ({ kind, start, end }): ReservedRegion =>
      kind === 'msi'
        ? { type: 'msi', start, end, prot: MSI_PROT }
        : { type: 'reserved', start, end, prot: 0 },
  );
  if (regions.some(({ type }) => type === 'msi')) return regions;
  const doorbells: ReservedRegion = {
    type: 'msi-software',
    start: MSI_START,
    end: MSI_START + MSI_BYTES,
    prot: MSI_PROT,
  };
  return [...regions, doorbells];
}

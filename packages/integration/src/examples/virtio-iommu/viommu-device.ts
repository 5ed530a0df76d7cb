import { hasPageSize, minPageSize, type U64 } from '@iommukit/bits';
import { IOMMU_READ, IOMMU_WRITE } from '@iommukit/io-pgtable';
import type { IommuCore, IommuDevice, IommuDomain } from '@iommukit/iommu-core';
import { ERRNO, type Runnable } from '@iommukit/platform';
import { type Configuration, encodeConfiguration, FEATURE } from './configuration.ts';
import { type GuestMemory, loadBytes, storeBytes } from './guest-memory.lanes.ts';
import { encodeProperties, type ReservedMemory } from './property.ts';
import { RangeList } from './range-list.ts';
import {
  decodeRequest,
  MAP_FLAG,
  READABLE_BYTES,
  type Request,
  STATUS,
  TAIL_BYTES,
} from './request.ts';
import { type Chain, type Piece, QueueDevice, type QueueLayout } from './virtqueue.ts';

/** What the device is made of. */
export interface ViommuDeviceParts {
  /** The host's core, and the devices that it hands to the guest, by endpoint; claimed, so that they are blocked until attached. */
  readonly core: IommuCore;
  readonly endpoints: ReadonlyMap<number, IommuDevice>;
  readonly memory: GuestMemory;
  readonly layout: QueueLayout;
  readonly configuration: Configuration;
  /** Virtual addresses that no endpoint can use for DMA. */
  readonly reserved: readonly ReservedMemory[];
}

interface GuestDomain {
  readonly host: IommuDomain;
  readonly endpoints: Set<number>;
  /** What each MAP request made; bytes, `end` exclusive. */
  readonly mappings: RangeList<{ readonly start: number; readonly end: number }>;
}

type RequestOf<T extends Request['type']> = Extract<Request, { type: T }>;

/**
 * The host's side of the paravirtual IOMMU: takes requests from the virtqueue, and does them in domains of its own core, whose driver it does not know.
 * Not modelled: the event queue, bypass, MMIO mappings, any transport.
 */
export class ViommuDevice implements Runnable {
  readonly features: number = [
    FEATURE.INPUT_RANGE,
    FEATURE.DOMAIN_RANGE,
    FEATURE.MAP_UNMAP,
    FEATURE.PROBE,
  ].reduce<number>((sum, bit) => sum + 2 ** bit, 0);
  readonly configuration: Uint8Array;
  readonly queue: QueueDevice;
  /** Requests by type, those that could not be read included as `unreadable`. */
  readonly counts: Record<Request['type'] | 'unreadable', number> = {
    attach: 0,
    detach: 0,
    map: 0,
    unmap: 0,
    probe: 0,
    unreadable: 0,
  };
  readonly #parts: ViommuDeviceParts;
  readonly #granule: number;
  readonly #domains = new Map<number, GuestDomain>();
  /** The domain of each endpoint that is attached. */
  readonly #attached = new Map<number, number>();
  #notified = false;

  constructor(parts: ViommuDeviceParts) {
    this.#parts = parts;
    this.#granule = minPageSize(parts.configuration.pageSizes);
    this.configuration = encodeConfiguration(parts.configuration);
    this.queue = new QueueDevice(parts.memory, parts.layout);
  }

  /** The driver has made something available. */
  notify(): void {
    this.#notified = true;
  }

  run(): boolean {
    if (!this.#notified) return false;
    this.#notified = false;
    let busy = false;
    for (let chain = this.queue.next(); chain !== null; chain = this.queue.next()) {
      this.queue.give(chain.head, this.#serve(chain));
      busy = true;
    }
    return busy;
  }

  /** Does one request, and returns how many bytes were written: none for what cannot be read (5.13.6.2). */
  #serve({ readable, writable }: Chain): number {
    const { memory } = this.#parts;
    const request = decodeRequest(gathered(memory, readable));
    const room = writable.reduce((sum, { length }) => sum + length, 0);
    if (request === null || room < TAIL_BYTES) {
      this.counts.unreadable++;
      return 0;
    }
    this.counts[request.type]++;
    const { probeSize } = this.#parts.configuration;
    const listed = request.type === 'probe' ? Math.min(room - TAIL_BYTES, probeSize) : 0;
    const answer = new Uint8Array(listed + TAIL_BYTES);
    answer[listed] =
      request.type === 'probe'
        ? this.#probe(request, answer.subarray(0, listed))
        : this.#status(request);
    scattered(memory, writable, answer);
    return answer.length;
  }

  #status(request: Exclude<Request, { type: 'probe' }>): number {
    switch (request.type) {
      case 'attach':
        return this.#attach(request);
      case 'detach':
        return this.#detach(request);
      case 'map':
        return this.#map(request);
      case 'unmap':
        return this.#unmap(request);
    }
  }

  /** 5.13.6.3.2. */
  #attach({ domain: id, endpoint, flags, reserved }: RequestOf<'attach'>): number {
    // No flag is known without the feature for bypass.
    if (reserved !== 0 || flags !== 0) return STATUS.INVAL;
    const { core, endpoints, configuration } = this.#parts;
    const device = endpoints.get(endpoint);
    if (device === undefined) return STATUS.NOENT;
    if (id < configuration.firstDomain || id > configuration.lastDomain) return STATUS.RANGE;
    const old = this.#attached.get(endpoint);
    if (old === id) return STATUS.OK;
    if (old !== undefined) this.#leave(endpoint, old);
    const known = this.#domains.get(id);
    const host = known?.host ?? core.domainAllocUnmanaged(device);
    if (typeof host === 'number') return statusOf(host);
    const errno = core.attachDevice(host, device);
    if (errno !== 0) {
      if (known === undefined) core.domainFree(host);
      return statusOf(errno);
    }
    host.gatherKind = 'list';
    const domain = known ?? { host, endpoints: new Set(), mappings: new RangeList() };
    domain.endpoints.add(endpoint);
    this.#domains.set(id, domain);
    this.#attached.set(endpoint, id);
    return STATUS.OK;
  }

  /** 5.13.6.4.2. */
  #detach({ domain: id, endpoint }: RequestOf<'detach'>): number {
    if (!this.#parts.endpoints.has(endpoint)) return STATUS.NOENT;
    if (this.#attached.get(endpoint) !== id) return STATUS.INVAL;
    this.#leave(endpoint, id);
    return STATUS.OK;
  }

  /** Takes an endpoint out; a domain that none is left in is no more (5.13.6.4). */
  #leave(endpoint: number, id: number): void {
    const { core, endpoints } = this.#parts;
    const device = endpoints.get(endpoint);
    const domain = this.#domains.get(id);
    if (device === undefined || domain === undefined) return;
    core.detachDevice(domain.host, device);
    domain.endpoints.delete(endpoint);
    this.#attached.delete(endpoint);
    if (domain.endpoints.size > 0) return;
    core.domainFree(domain.host);
    this.#domains.delete(id);
  }

  /** 5.13.6.5.2. */
  #map({ domain: id, virtStart, virtEnd, physStart, flags }: RequestOf<'map'>): number {
    const { core, memory, configuration, reserved } = this.#parts;
    if (flags === 0 || flags > MAP_FLAG.READ + MAP_FLAG.WRITE) return STATUS.INVAL;
    const domain = this.#domains.get(id);
    if (domain === undefined) return STATUS.NOENT;
    const granule = this.#granule;
    const isAligned = [virtStart, physStart].every(({ lo }) => lo % granule === 0);
    if (!isAligned || (virtEnd.lo + 1) % granule !== 0) return STATUS.RANGE;
    const [start, end, paddr] = [startOf(virtStart), endOf(virtEnd), startOf(physStart)];
    if (end <= start) return STATUS.INVAL;
    if (start < configuration.inputStart || end > configuration.inputEnd) return STATUS.RANGE;
    const isTaken = domain.mappings.meeting(start, end).length > 0;
    if (isTaken || reserved.some((region) => region.start < end && start < region.end))
      return STATUS.INVAL;
    const host = memory.hostAddress(paddr, end - start);
    if (host < 0) return STATUS.FAULT;
    let prot = 0;
    if (hasPageSize(flags, MAP_FLAG.READ)) prot += IOMMU_READ;
    if (hasPageSize(flags, MAP_FLAG.WRITE)) prot += IOMMU_WRITE;
    const errno = core.map(domain.host, start, host, end - start, prot);
    if (errno === 0) domain.mappings.add({ start, end });
    return statusOf(errno);
  }

  /** 5.13.6.6.2: one invalidation for all mappings that go. */
  #unmap({ domain: id, virtStart, virtEnd, reserved }: RequestOf<'unmap'>): number {
    if (reserved !== 0) return STATUS.INVAL;
    const domain = this.#domains.get(id);
    if (domain === undefined) return STATUS.NOENT;
    const [start, end] = [startOf(virtStart), endOf(virtEnd)];
    const gone = domain.mappings.meeting(start, end);
    if (gone.some((mapping) => mapping.start < start || mapping.end > end)) return STATUS.RANGE;
    const { core } = this.#parts;
    const gather = core.newGather(domain.host);
    for (const mapping of gone) {
      core.unmapFast(domain.host, mapping.start, mapping.end - mapping.start, gather);
      domain.mappings.delete(mapping);
    }
    core.iotlbSync(domain.host, gather);
    return STATUS.OK;
  }

  /** 5.13.6.7.2. */
  #probe({ endpoint }: RequestOf<'probe'>, properties: Uint8Array): number {
    const { endpoints, reserved, configuration } = this.#parts;
    if (!endpoints.has(endpoint)) return STATUS.NOENT;
    if (properties.length < configuration.probeSize) return STATUS.INVAL;
    const encoded = encodeProperties(reserved, configuration.probeSize);
    if (encoded === null) return STATUS.DEVERR;
    properties.set(encoded);
    return STATUS.OK;
  }
}

function statusOf(errno: number): number {
  if (errno === 0) return STATUS.OK;
  return errno === -ERRNO.ENOMEM ? STATUS.NOMEM : STATUS.DEVERR;
}

function startOf({ lo, hi }: U64): number {
  return hi * 2 ** 32 + lo;
}

/** One more than the last byte: exact where that is page-aligned, and otherwise never rounded below it. */
function endOf({ lo, hi }: U64): number {
  return hi * 2 ** 32 + (lo + 1);
}

function gathered(memory: GuestMemory, pieces: readonly Piece[]): Uint8Array {
  const bytes: number[] = [];
  // No request is longer, whatever the driver says.
  for (const { paddr, length } of pieces)
    bytes.push(...loadBytes(memory, paddr, Math.min(length, READABLE_BYTES.probe - bytes.length)));
  return Uint8Array.from(bytes);
}

function scattered(memory: GuestMemory, pieces: readonly Piece[], bytes: Uint8Array): void {
  let done = 0;
  for (const { paddr, length } of pieces) {
    storeBytes(memory, paddr, bytes.subarray(done, done + length));
    done += length;
  }
}

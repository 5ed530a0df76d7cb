import { hasPageSize, u64Of } from '@iommukit/bits';
import { IOMMU_MMIO, IOMMU_READ, IOMMU_WRITE } from '@iommukit/io-pgtable';
import type { DomainOps, IommuDevice } from '@iommukit/iommu-core';
import { ERRNO } from '@iommukit/platform';
import { lastOf } from './property.ts';
import { RangeList } from './range-list.ts';
import { MAP_FLAG } from './request.ts';
import type { RequestQueue } from './request-queue.ts';

/** A mapping, made by one MAP request; bytes, `end` exclusive. */
interface Mapping {
  readonly start: number;
  readonly end: number;
  readonly paddr: number;
  readonly flags: number;
}

/**
 * What one MAP request covers. `run`: neighbouring pages that core maps in one call, as Linux does it; the device removes such a mapping as a whole
 * (5.13.6.6), so an unmap of its beginning takes all of it. `page`: every page has its own, and can go alone.
 * @example const unit: MapUnit = 'page';
 */
export type MapUnit = 'run' | 'page';

/** What a domain asks of its driver. */
export interface ViommuHost {
  readonly queue: RequestQueue;
  readonly unit: MapUnit;
  /** Exclusive end of what can be mapped, bytes. */
  readonly apertureEnd: number;
  attach(device: IommuDevice, domain: ViommuDomain): number;
  releaseDomain(id: number): void;
}

/** A domain as the guest keeps it: its mappings, which the device forgets whenever no endpoint is left in it, and who is in it. */
export class ViommuDomain implements DomainOps {
  readonly id: number;
  readonly users: Set<IommuDevice> = new Set<IommuDevice>();
  mapped = 0;
  readonly #host: ViommuHost;
  readonly #mappings = new RangeList<Mapping>();

  constructor(host: ViommuHost, id: number) {
    this.#host = host;
    this.id = id;
  }

  attachDev(device: IommuDevice): number {
    return this.#host.attach(device, this);
  }

  mapPages(iova: number, paddr: number, pgsize: number, pgcount: number, prot: number): number {
    this.mapped = 0;
    const end = iova + pgsize * pgcount;
    if (end > this.#host.apertureEnd) return -ERRNO.ERANGE;
    let flags = 0;
    if (hasPageSize(prot, IOMMU_READ)) flags += MAP_FLAG.READ;
    if (hasPageSize(prot, IOMMU_WRITE)) flags += MAP_FLAG.WRITE;
    // No direction, or device registers without the feature for them.
    if (flags === 0 || hasPageSize(prot, IOMMU_MMIO)) return -ERRNO.EINVAL;
    const inTheWay = this.#mappings.meeting(iova, end)[0];
    const room = inTheWay === undefined ? end - iova : inTheWay.start - iova;
    const pages = Math.max(0, Math.floor(room / pgsize));
    const step = this.#host.unit === 'page' ? pgsize : pages * pgsize;
    for (let done = 0; done < pages * pgsize; done += step) {
      const start = iova + done;
      const errno = this.#add({ start, end: start + step, paddr: paddr + done, flags });
      if (errno !== 0) return errno;
      this.mapped += step;
    }
    return pages === pgcount ? 0 : -ERRNO.EEXIST;
  }

  unmapPages(iova: number, pgsize: number, pgcount: number): number {
    const end = iova + pgsize * pgcount;
    let done = iova;
    for (const mapping of this.#mappings.meeting(iova, end)) {
      const isCut = this.#host.unit === 'page' && mapping.end > end;
      if (mapping.start !== done || isCut) break;
      this.#mappings.delete(mapping);
      done = mapping.end;
    }
    if (done > iova && this.users.size > 0) {
      const [virtStart, virtEnd] = [u64Of(iova), lastOf(done)];
      this.#host.queue.post({ type: 'unmap', domain: this.id, virtStart, virtEnd });
    }
    return done - iova;
  }

  iovaToPhys(iova: number): number {
    const mapping = this.#mappings.at(iova);
    return mapping === undefined ? 0 : mapping.paddr + (iova - mapping.start);
  }

  flushIotlbAll(): void {
    this.#host.queue.sync();
  }

  iotlbSync(): void {
    this.#host.queue.sync();
  }

  iotlbSyncMap(): number {
    return this.#host.queue.sync();
  }

  /** Sends every mapping again, to a device that has forgotten them: 0 or the errno of the first that failed. */
  replay(): number {
    for (const mapping of this.#mappings.all) this.#post(mapping);
    return this.#host.queue.sync();
  }

  free(): void {
    this.#host.releaseDomain(this.id);
  }

  #add(mapping: Mapping): number {
    // Without an endpoint the device does not know the domain.
    const errno = this.users.size === 0 ? 0 : this.#post(mapping);
    if (errno === 0) this.#mappings.add(mapping);
    return errno;
  }

  #post({ start, end, paddr, flags }: Mapping): number {
    const [virtStart, virtEnd, physStart] = [u64Of(start), lastOf(end), u64Of(paddr)];
    const { queue } = this.#host;
    return queue.post({ type: 'map', domain: this.id, virtStart, virtEnd, physStart, flags });
  }
}

import { hasPageSize, hex, IommuError } from '@iommukit/bits';
import { IotlbGather, isMultiple, PageRun } from '@iommukit/io-pgtable';
import { ERRNO, type TraceChannel } from '@iommukit/platform';
import type { CoreEvent } from './core-event.ts';
import type { CoreProfile } from './core-profile.ts';
import type { IommuDomain } from './domain.ts';
import { ListGather } from './list-gather.ts';

/**
 * One physically contiguous piece of a scatter-gather list; bytes.
 * @example const sg: SgRun[] = [{ paddr: 0x4000_0000, length: 0x2000 }];
 */
export interface SgRun {
  readonly paddr: number;
  readonly length: number;
  /** Reached over the bus without translation (peer to peer): skipped by map. */
  readonly bus?: boolean;
}

/**
 * A map with the memory that its tables may come from.
 * @example core.mapRequest({ domain, iova: 0x1000, paddr: 0x5000, size: 4096, prot: IOMMU_READ, gfp: 0x820 });
 */
export interface MapRequest {
  readonly domain: IommuDomain;
  /** Bytes, multiples of the smallest page; so are `paddr` and `size`. */
  readonly iova: number;
  readonly paddr: number;
  readonly size: number;
  readonly prot: number;
  /** The kernel's allocation flags: a sum of bits. Those that name a zone (1, 2, 4) or a compound page (0x40000) are refused. */
  readonly gfp: number;
  /** False: the driver is not told yet (`iommu_map_nosync`). */
  readonly publish?: boolean;
}

/** `__GFP_DMA`, `__GFP_HIGHMEM`, `__GFP_DMA32`, `__GFP_COMP`: tables are found by their address alone, wherever they are. */
const REFUSED_GFP = [0x1, 0x2, 0x4, 0x4_0000];

/**
 * A driver said that it mapped pages, but no bytes: the kernel would loop for ever; code `DRIVER_NO_PROGRESS`.
 * @example try { core.map(domain, 0, 0, 4096, 3); } catch (e) { (e as DriverProgressError).operands.iova; }
 */
export class DriverProgressError extends IommuError<{ iova: number; size: number }> {
  override readonly name = 'DriverProgressError';
  constructor(operands: { iova: number; size: number }) {
    super(
      'DRIVER_NO_PROGRESS',
      operands,
      `mapPages returned 0 with nothing mapped at iova ${hex(operands.iova)}`,
      'Return a negative errno from mapPages, or set mapped',
    );
  }
}

/** Splitting by page size, unwinding and gathering: the part of core that runs for every mapping. */
export class DomainMapper {
  readonly trace: TraceChannel<CoreEvent>;
  readonly profile: CoreProfile;
  readonly run: PageRun = new PageRun();
  /** Bytes that `mapPages` did before it ended. */
  #mapped = 0;
  /** One gather of each kind for the synchronous unmap; taken while it is in use. */
  #spare: IotlbGather | null = new IotlbGather();
  #spareList: ListGather | null = new ListGather();

  constructor(trace: TraceChannel<CoreEvent>, profile: CoreProfile) {
    this.trace = trace;
    this.profile = profile;
  }

  warn(text: string): void {
    if (this.trace.on) this.trace.emit({ name: 'warn', text });
  }

  mapRequest(request: MapRequest): number {
    const { domain, iova, paddr, size, prot, gfp, publish = true } = request;
    if (REFUSED_GFP.some((flag) => hasPageSize(gfp, flag))) {
      this.warn(`iommu_map: allocation flags ${hex(gfp)}`);
      return -ERRNO.EINVAL;
    }
    return publish
      ? this.map(domain, iova, paddr, size, prot)
      : this.mapNosync(domain, iova, paddr, size, prot);
  }

  map(domain: IommuDomain, iova: number, paddr: number, size: number, prot: number): number {
    const errno = this.mapNosync(domain, iova, paddr, size, prot);
    if (errno !== 0) return errno;
    return this.syncMap(domain, iova, size);
  }

  /** Lets the driver publish new mappings; a failure unmaps them. */
  syncMap(domain: IommuDomain, iova: number, size: number): number {
    const ops = domain.ops;
    if (ops.iotlbSyncMap === undefined) return 0;
    const errno = ops.iotlbSyncMap(iova, size);
    if (errno !== 0) this.unmap(domain, iova, size);
    return errno;
  }

  mapNosync(domain: IommuDomain, iova: number, paddr: number, size: number, prot: number): number {
    const bitmap = domain.pgsizeBitmap;
    if (!domain.isPaging || bitmap === 0) {
      this.warn('iommu_map: the domain does not translate');
      return -ERRNO.EINVAL;
    }
    const least = domain.minPage;
    let errno: number;
    if (isMultiple(iova, least) && isMultiple(paddr, least) && isMultiple(size, least)) {
      if (domain.batch !== null) {
        // What a batch cleared there may still be cached.
        errno = domain.batch.settle(iova, size);
        if (errno !== 0) return errno;
      }
      errno = this.#mapLoop(domain, iova, paddr, size, prot);
    } else {
      this.warn(
        `unaligned: iova ${hex(iova)} pa 0x${paddr.toString(16).padStart(16, '0')} size ${hex(size)} min_pagesz ${hex(least)}`,
      );
      if (!this.profile.eventsOfFailures) return -ERRNO.EINVAL;
      this.#mapped = 0;
      errno = -ERRNO.EINVAL;
    }
    const mapped = this.#mapped;
    if (this.trace.on && (errno === 0 || this.profile.eventsOfFailures))
      this.trace.emit({ name: 'map', iova, paddr, size: mapped });
    if (errno !== 0) this.unmap(domain, iova, mapped);
    return errno;
  }

  #mapLoop(domain: IommuDomain, iova: number, paddr: number, size: number, prot: number): number {
    const ops = domain.ops;
    const run = this.run;
    let done = 0;
    let errno = 0;
    while (done < size) {
      run.pick(domain.pgsizeBitmap, iova + done, paddr + done, size - done);
      errno = ops.mapPages(iova + done, paddr + done, run.pgsize, run.count, prot);
      // A failing driver may have mapped part of the run: that part is unwound too.
      done += ops.mapped;
      if (errno !== 0) break;
      if (ops.mapped === 0) throw new DriverProgressError({ iova: iova + done, size: size - done });
    }
    this.#mapped = done;
    return errno;
  }

  unmap(domain: IommuDomain, iova: number, size: number): number {
    if (domain.gatherKind === 'list') return this.#unmapByList(domain, iova, size);
    const gather = this.#spare ?? new IotlbGather();
    this.#spare = null;
    gather.init();
    const unmapped = this.unmapFast(domain, iova, size, gather);
    this.iotlbSync(domain, gather);
    this.#spare = gather;
    return unmapped;
  }

  #unmapByList(domain: IommuDomain, iova: number, size: number): number {
    const gather = this.#spareList ?? new ListGather();
    this.#spareList = null;
    const unmapped = this.unmapFast(domain, iova, size, gather);
    this.iotlbSync(domain, gather);
    this.#spareList = gather;
    return unmapped;
  }

  unmapFast(domain: IommuDomain, iova: number, size: number, gather: IotlbGather): number {
    const bitmap = domain.pgsizeBitmap;
    if (!domain.isPaging || bitmap === 0) {
      this.warn('iommu_unmap: the domain does not translate');
      return 0;
    }
    const least = domain.minPage;
    const aligned = isMultiple(iova, least) && isMultiple(size, least);
    if (!aligned)
      this.warn(`unaligned: iova ${hex(iova)} size ${hex(size)} min_pagesz ${hex(least)}`);
    const unmappedSize = aligned ? this.#unmapLoop(domain, iova, size, gather) : 0;
    if (this.trace.on && (aligned || this.profile.eventsOfFailures))
      this.trace.emit({ name: 'unmap', iova, size, unmappedSize });
    return unmappedSize;
  }

  #unmapLoop(domain: IommuDomain, start: number, size: number, gather: IotlbGather): number {
    const ops = domain.ops;
    const run = this.run;
    let done = 0;
    while (done < size) {
      const iova = start + done;
      run.pick(domain.pgsizeBitmap, iova, iova, size - done);
      const cleared = ops.unmapPages(iova, run.pgsize, run.count, gather);
      if (cleared === 0) break;
      // A driver that does not use the gather still gets its sync. The kernel takes the whole size here, from where it stands.
      if (gather.isEmpty) gather.addRange(iova, size);
      done += cleared;
    }
    return done;
  }

  mapSg(domain: IommuDomain, iova: number, sg: readonly SgRun[], prot: number): number {
    let mapped = 0;
    let start = 0;
    let length = 0;
    let errno = 0;
    for (let i = 0; i <= sg.length; i++) {
      // The last pass looks at the last piece again, only to end its run (`iommu_map_sg`).
      const piece = sg[Math.min(i, sg.length - 1)];
      if (piece === undefined) break;
      if (length > 0 && piece.paddr !== start + length) {
        errno = this.mapNosync(domain, iova + mapped, start, length, prot);
        if (errno !== 0) break;
        mapped += length;
        length = 0;
      }
      if (piece.bus === true) continue;
      if (length === 0) start = piece.paddr;
      length += piece.length;
    }
    if (errno === 0 && domain.ops.iotlbSyncMap !== undefined)
      errno = domain.ops.iotlbSyncMap(iova, mapped);
    if (errno === 0) return mapped;
    this.unmap(domain, iova, mapped);
    return errno;
  }

  iotlbSync(domain: IommuDomain, gather: IotlbGather): void {
    if (domain.gatherKind === 'list' && gather instanceof ListGather) {
      this.#syncList(domain, gather);
      return;
    }
    // The kernel compares the first with the last byte: a range of one byte counts as nothing.
    if (gather.start < gather.end - 1) domain.ops.iotlbSync(gather);
    gather.init();
  }

  #syncList(domain: IommuDomain, gather: ListGather): void {
    const { loose, records } = gather;
    if (loose.start < loose.end - 1) {
      loose.queued = gather.queued;
      domain.ops.iotlbSync(loose);
    }
    if (domain.ops.flushRanges === undefined) {
      const one = new IotlbGather();
      records.forEach((start, end, leafSize) => {
        one.init();
        one.pgsize = leafSize;
        one.queued = gather.queued;
        one.addRange(start, end - start);
        domain.ops.iotlbSync(one);
      });
    } else if (!records.isEmpty) {
      const errno = domain.ops.flushRanges(records);
      // As a sync of the kernel's gather: nobody is there to be told.
      if (errno !== 0) this.warn(`the invalidation of ${records.records} ranges failed: ${errno}`);
    }
    gather.init();
  }

  gatherAddPages(
    domain: IommuDomain,
    gather: IotlbGather,
    iova: number,
    pgsize: number,
    count: number,
  ): void {
    if (count === 0) return;
    if (domain.gatherKind === 'list' && gather instanceof ListGather) {
      gather.addPages(iova, pgsize, count);
      return;
    }
    // Only the first page can miss the range: each further one touches the page before it.
    if ((gather.pgsize !== 0 && gather.pgsize !== pgsize) || gather.isDisjoint(iova, pgsize))
      this.iotlbSync(domain, gather);
    gather.pgsize = pgsize;
    gather.addRange(iova, pgsize * count);
  }
}

import { hex } from '@iommukit/bits';
import { isMultiple, type PhysRun, RangeGather } from '@iommukit/io-pgtable';
import { ERRNO } from '@iommukit/platform';
import {
  BatchDroppedError,
  BatchEndedError,
  type BatchRemains,
  type PendingRange,
} from './batch-error.ts';
import type { IommuDomain } from './domain.ts';
import type { DomainMapper, SgRun } from './domain-mapper.ts';
import type { DomainOps } from './domain-ops.ts';
import { MappedRanges } from './mapped-ranges.ts';

/**
 * How a batch behaves.
 * @example core.beginBatch(domain, { reuseTables: true });
 */
export interface BatchOptions {
  /**
   * The device does no DMA to the ranges until the flush: a map does not wait for the invalidation of what was unmapped there. A device
   * that does DMA all the same may reach the old memory.
   */
  readonly quiesced?: boolean;
  /** Tables of smallest pages that an unmap covers wholly are cleared and kept, not freed: a map of the range finds them. */
  readonly reuseTables?: boolean;
}

/**
 * The operation of a batch that failed last, and alone; or a publication.
 * @example batch.failure?.operation // 3: the fourth call
 */
export interface BatchFailure {
  /** Index of the operation, from 0; -1 when `iotlbSyncMap` refused a range at the flush, which stays mapped and unpublished. */
  readonly operation: number;
  readonly errno: number;
  /** First IOVA of the operation, bytes. */
  readonly iova: number;
  /** For -EEXIST: the first page of the operation that was mapped already, from 0 in smallest pages; otherwise -1. */
  readonly page: number;
}

/** The operations of {@link DomainOps} that a batch needs. */
type RangeOps = DomainOps &
  Required<Pick<DomainOps, 'mapRange' | 'unmapRange' | 'flushRanges' | 'releaseTable'>>;

function hasRanges(ops: DomainOps): ops is RangeOps {
  return (
    ops.mapRange !== undefined &&
    ops.unmapRange !== undefined &&
    ops.flushRanges !== undefined &&
    ops.releaseTable !== undefined
  );
}

/**
 * Maps and unmaps of whole ranges, in any order, that share one invalidation and one wait: `flush`. Cleared entries are cleared at
 * once; what was cleared may be cached until the flush, and neither its memory nor its IOVAs may be used for something else before.
 * A map that meets such a range flushes by itself first (unless `quiesced`). An operation that fails undoes itself alone.
 *
 * What is remembered is a record for each range, never for each page: {@link RangeBatch.bytes}. One batch at a time is open on a
 * domain. It must be flushed: one that is left with something pending is reported by the next `beginBatch` on the domain and when the
 * domain is freed, with a `BatchDroppedError`. (Both happen at a definite point of the program, unlike a finalizer.)
 * @example
 * const batch = core.beginBatch(domain);
 * if (typeof batch === 'number') throw new Error('the driver has no ranges');
 * batch.unmapRange(old.iova, old.size);
 * batch.mapSg(next.iova, next.sg, IOMMU_READ + IOMMU_WRITE);
 * batch.flush(); // 0
 */
export class RangeBatch {
  readonly domain: IommuDomain;
  readonly options: BatchOptions;
  /** Operations so far, failed ones included. */
  operations = 0;
  /** Flushes that found something to do: those asked for, and those that a map needed. */
  flushes = 0;
  earlyFlushes = 0;
  /** Most bytes that were held at one time. */
  peakBytes = 0;
  failures = 0;
  failure: BatchFailure | null = null;
  readonly #mapper: DomainMapper;
  readonly #ops: RangeOps;
  readonly #pending = new RangeGather();
  readonly #mapped: MappedRanges | null;
  readonly #unmapOptions: { readonly reuseTables: boolean };
  #ended = false;

  /** Opens a batch: -ENODEV for a driver without range operations, -EINVAL for a domain that core does not map. @internal */
  static begin(
    mapper: DomainMapper,
    domain: IommuDomain,
    options: BatchOptions,
  ): RangeBatch | number {
    if (!domain.isPaging || domain.pgsizeBitmap === 0) return -ERRNO.EINVAL;
    if (!hasRanges(domain.ops)) return -ERRNO.ENODEV;
    domain.batch?.end();
    const batch = new RangeBatch(mapper, domain, { ops: domain.ops, options });
    domain.batch = batch;
    return batch;
  }

  private constructor(
    mapper: DomainMapper,
    domain: IommuDomain,
    parts: { readonly ops: RangeOps; readonly options: BatchOptions },
  ) {
    this.domain = domain;
    this.options = parts.options;
    this.#mapper = mapper;
    this.#ops = parts.ops;
    this.#mapped = parts.ops.iotlbSyncMap === undefined ? null : new MappedRanges();
    this.#unmapOptions = { reuseTables: parts.options.reuseTables ?? false };
  }

  /** Bytes remembered until the flush: 24 for each range to invalidate, 8 for each table, 16 for each mapped range to publish. */
  get bytes(): number {
    return this.#pending.bytes + (this.#mapped?.bytes ?? 0);
  }

  /** Ranges that wait for their invalidation. */
  get records(): number {
    return this.#pending.records;
  }

  /** Tables that wait for it. */
  get detached(): number {
    return this.#pending.detached;
  }

  /**
   * Maps [iova, iova + size) to [paddr, paddr + size): 0, or a negative errno with nothing of it mapped. -EEXIST: a page of it is mapped;
   * -EINVAL: unaligned, or no protection; else what the driver said. Nothing is mapped for a size of 0.
   */
  mapRange(iova: number, paddr: number, size: number, prot: number): number {
    const errno = this.#map(iova, [{ paddr, length: size }], prot);
    return Math.min(errno, 0);
  }

  /**
   * Maps the pieces one after the other from `iova` on, those reached over the bus left out: the bytes, or a negative errno with nothing
   * of it mapped. Unlike `iommu_map_sg` it never ends short.
   */
  mapSg(iova: number, sg: readonly SgRun[], prot: number): number {
    return this.#map(iova, sg, prot);
  }

  #map(iova: number, sg: readonly SgRun[], prot: number): number {
    this.#use();
    const { domain } = this;
    const operation = this.operations++;
    const least = domain.minPage;
    const runs = joined(sg);
    let size = 0;
    let aligned = isMultiple(iova, least);
    for (const { paddr, length } of runs) {
      if (!isMultiple(paddr, least) || !isMultiple(length, least)) aligned = false;
      size += length;
    }
    if (!aligned) {
      this.#mapper.warn(`unaligned: iova ${hex(iova)} size ${hex(size)} min_pagesz ${hex(least)}`);
      return this.#fail({ operation, errno: -ERRNO.EINVAL, iova, page: -1 });
    }
    if (size === 0) return 0;
    const unsettled = this.settle(iova, size);
    if (unsettled !== 0) return this.#fail({ operation, errno: unsettled, iova, page: -1 });
    const errno = this.#ops.mapRange(iova, runs, prot);
    if (errno !== 0) {
      const failedAt = this.#ops.failedAt ?? -1;
      const page = errno === -ERRNO.EEXIST && failedAt >= iova ? (failedAt - iova) / least : -1;
      return this.#fail({ operation, errno, iova, page });
    }
    this.#mapped?.add(iova, iova + size);
    this.#note();
    const { trace } = this.#mapper;
    if (trace.on) {
      let at = iova;
      for (const { paddr, length } of runs) {
        trace.emit({ name: 'map', iova: at, paddr, size: length });
        at += length;
      }
    }
    return size;
  }

  /** Unmaps [iova, iova + size) and returns the bytes: fewer where a hole, or a larger page of which only a part is meant, ended it. */
  unmapRange(iova: number, size: number): number {
    this.#use();
    this.operations++;
    const least = this.domain.minPage;
    if (!isMultiple(iova, least) || !isMultiple(size, least)) {
      this.#mapper.warn(`unaligned: iova ${hex(iova)} size ${hex(size)} min_pagesz ${hex(least)}`);
      return 0;
    }
    if (size === 0) return 0;
    const unmappedSize = this.#ops.unmapRange(iova, size, this.#pending, this.#unmapOptions);
    if (unmappedSize > 0) this.#mapped?.remove(iova, iova + unmappedSize);
    this.#note();
    const { trace } = this.#mapper;
    if (trace.on) trace.emit({ name: 'unmap', iova, size, unmappedSize });
    return unmappedSize;
  }

  /**
   * Invalidates everything that was unmapped, waits once, frees the tables that nothing points to any more, then publishes what was
   * mapped (`iotlbSyncMap`, once for each joined range). 0, or the first negative errno: after a failed invalidation all records and
   * tables are kept; a range that could not be published stays mapped. Either can be flushed again. The batch stays open.
   */
  flush(): number {
    this.#use();
    const errno = this.#invalidate('flush');
    return errno === 0 ? this.#publish() : errno;
  }

  /** Flushes early when a map of [iova, iova + size) would meet what is not invalidated yet: 0 or a negative errno. @internal */
  settle(iova: number, size: number): number {
    const pending = this.#pending;
    if (pending.isEmpty || this.options.quiesced === true || !pending.meets(iova, iova + size))
      return 0;
    return this.#invalidate('early');
  }

  /**
   * Gives up a batch whose hardware is gone or reset: takes the tables back without an invalidation, and says what was left. A device that
   * still does DMA may reach freed memory.
   */
  abandon(): BatchRemains {
    this.#use();
    const remains = this.#remains();
    this.#pending.releaseDetached(this.#ops);
    this.#mapped?.drain(() => true);
    this.#end();
    return remains;
  }

  /** Ends a batch that has nothing pending; throws {@link BatchDroppedError} for one that has. @internal */
  end(): void {
    if (!this.#pending.isEmpty || (this.#mapped?.count ?? 0) > 0)
      throw new BatchDroppedError(this.#remains());
    this.#end();
  }

  #end(): void {
    this.#ended = true;
    this.domain.batch = null;
  }

  #use(): void {
    if (this.#ended) throw new BatchEndedError({ operations: this.operations });
  }

  #note(): void {
    const bytes = this.bytes;
    if (bytes > this.peakBytes) this.peakBytes = bytes;
  }

  #fail(failure: BatchFailure): number {
    this.failures++;
    this.failure = failure;
    const { operation, errno, iova } = failure;
    const { trace } = this.#mapper;
    if (trace.on) trace.emit({ name: 'batch_failure', operation, errno, iova });
    return errno;
  }

  #invalidate(cause: 'flush' | 'early'): number {
    const pending = this.#pending;
    if (pending.isEmpty) return 0;
    const { records, detached: tables } = pending;
    if (records > 0) {
      const errno = this.#ops.flushRanges(pending);
      if (errno !== 0) return errno;
    }
    pending.releaseDetached(this.#ops);
    this.flushes++;
    if (cause === 'early') this.earlyFlushes++;
    const { trace } = this.#mapper;
    if (trace.on) trace.emit({ name: 'batch_flush', cause, records, tables });
    return 0;
  }

  #publish(): number {
    const ops = this.#ops;
    let first = 0;
    this.#mapped?.drain((start, end) => {
      const errno = ops.iotlbSyncMap?.(start, end - start) ?? 0;
      if (errno === 0) return true;
      this.#fail({ operation: -1, errno, iova: start, page: -1 });
      if (first === 0) first = errno;
      return false;
    });
    return first;
  }

  #remains(): BatchRemains {
    const ranges: PendingRange[] = [];
    this.#pending.forEach((start, end, leafSize) => {
      ranges.push({ start, end, leafSize });
    });
    return { ranges, tables: this.#pending.detached, unpublished: this.#mapped?.count ?? 0 };
  }
}

/** The pieces that are mapped, neighbours in memory joined; the list itself when it is so already. */
function joined(sg: readonly SgRun[]): readonly PhysRun[] {
  let end = -1;
  for (const { paddr, length, bus } of sg) {
    if (bus === true || length === 0 || paddr === end) return join(sg);
    end = paddr + length;
  }
  return sg;
}

function join(sg: readonly SgRun[]): PhysRun[] {
  const runs: PhysRun[] = [];
  let start = 0;
  let length = 0;
  for (const piece of sg) {
    if (piece.bus === true || piece.length === 0) continue;
    if (length > 0 && piece.paddr === start + length) {
      length += piece.length;
      continue;
    }
    if (length > 0) runs.push({ paddr: start, length });
    start = piece.paddr;
    length = piece.length;
  }
  if (length > 0) runs.push({ paddr: start, length });
  return runs;
}

import { minPageSize } from '@iommukit/bits';
import type { DomainFaultHandler } from './device-fault.ts';
import type { DomainOps } from './domain-ops.ts';
import type { IommuOps } from './iommu-ops.ts';
import type { PageRequestHandler } from './page-request.ts';
import type { RangeBatch } from './range-batch.ts';

/**
 * Kinds of domain (`enum iommu_domain_type` as names): `dma` is managed by the DMA layer with synchronous invalidation, `dma-fq` with
 * a flush queue, `unmanaged` by its owner; `sva` is the address space of a process, which only its kernel maps.
 * @example const type: DomainType = 'dma';
 */
export type DomainType = 'blocked' | 'identity' | 'unmanaged' | 'dma' | 'dma-fq' | 'sva';

/**
 * What gathers of a domain hold: one range of one page size, as the kernel's, with a sync whenever something does not fit; or a
 * list of ranges of any size, and one sync.
 * @example const gatherKind: GatherKind = 'list';
 */
export type GatherKind = 'range' | 'list';

/**
 * An address space that devices can be attached to (`struct iommu_domain`). Drivers create it in `domainAlloc`.
 * @example const domain = new IommuDomain({ type: 'dma', ops, pgsizeBitmap: 4096, apertureStart: 0, apertureEnd: 2 ** 48 });
 */
export class IommuDomain {
  readonly ops: DomainOps;
  /** Page sizes for map and unmap: the sum of powers of two, bytes; 0 for domains that do not translate. */
  readonly pgsizeBitmap: number;
  /** The smallest of them, bytes, or 0. */
  readonly minPage: number;
  /** First IOVA that can be mapped, bytes. */
  readonly apertureStart: number;
  /** Exclusive end of the IOVAs that can be mapped, bytes. */
  readonly apertureEnd: number;
  /** For gathers that `newGather` makes from now on, and for `unmap`. */
  gatherKind: GatherKind;
  /** True when core maps and unmaps here: neither fixed nor the address space of a process. */
  readonly isPaging: boolean;
  /** The driver that made it; core fills it in. Devices of other drivers cannot be attached. */
  owner: IommuOps | null = null;
  /** Filled and read by the DMA layer alone. */
  dmaCookie: unknown = null;
  /** Who handles page requests of what is attached here; null: they are answered `invalid`. */
  pageRequestHandler: PageRequestHandler | null = null;
  /** Who is told of faults that cannot be repaired (`iommu_set_fault_handler`). */
  faultHandler: DomainFaultHandler | null = null;
  /** The batch that is open on this domain, if any; core alone sets it. */
  batch: RangeBatch | null = null;
  #type: DomainType;

  constructor(init: {
    readonly type: DomainType;
    readonly ops: DomainOps;
    readonly pgsizeBitmap: number;
    readonly apertureStart: number;
    readonly apertureEnd: number;
    /** Default: the kernel's single range. */
    readonly gatherKind?: GatherKind;
  }) {
    this.#type = init.type;
    this.ops = init.ops;
    this.pgsizeBitmap = init.pgsizeBitmap;
    this.minPage = minPageSize(init.pgsizeBitmap);
    this.apertureStart = init.apertureStart;
    this.apertureEnd = init.apertureEnd;
    this.gatherKind = init.gatherKind ?? 'range';
    this.isPaging = init.type === 'unmanaged' || this.isDma;
  }

  get type(): DomainType {
    return this.#type;
  }

  /** Managed by the DMA layer. */
  get isDma(): boolean {
    return this.#type === 'dma' || this.#type === 'dma-fq';
  }

  /** The DMA layer has given a `dma` domain a flush queue; the only change of type that a domain in use can make (`iommu_dma_init_fq`). */
  deferFlushes(): void {
    if (this.#type === 'dma') this.#type = 'dma-fq';
  }

  /** The DMA layer could not give a new `dma-fq` domain a flush queue (`iommu_dma_init_domain`). */
  flushAtOnce(): void {
    if (this.#type === 'dma-fq') this.#type = 'dma';
  }
}

import type { DomainOps } from './driver-ops.ts';

/**
 * Kinds of domain (`enum iommu_domain_type` as names): `dma` is managed by the DMA layer with synchronous invalidation, `dma-fq` with
 * a flush queue, `unmanaged` by its owner.
 * @example const type: DomainType = 'dma';
 */
export type DomainType = 'blocked' | 'identity' | 'unmanaged' | 'dma' | 'dma-fq';

/**
 * An address space that devices can be attached to (`struct iommu_domain`). Drivers create it in `domainAlloc`.
 * @example const domain = new IommuDomain({ type: 'dma', ops, pgsizeBitmap: 4096, apertureStart: 0, apertureEnd: 2 ** 48 });
 */
export class IommuDomain {
  readonly type: DomainType;
  readonly ops: DomainOps;
  /** Page sizes for map and unmap: the sum of powers of two, bytes; 0 for domains that do not translate. */
  readonly pgsizeBitmap: number;
  /** First IOVA that can be mapped, bytes. */
  readonly apertureStart: number;
  /** Exclusive end of the IOVAs that can be mapped, bytes. */
  readonly apertureEnd: number;
  /** Filled and read by the DMA layer alone. */
  dmaCookie: unknown = null;

  constructor(init: {
    readonly type: DomainType;
    readonly ops: DomainOps;
    readonly pgsizeBitmap: number;
    readonly apertureStart: number;
    readonly apertureEnd: number;
  }) {
    this.type = init.type;
    this.ops = init.ops;
    this.pgsizeBitmap = init.pgsizeBitmap;
    this.apertureStart = init.apertureStart;
    this.apertureEnd = init.apertureEnd;
  }
}

import type { FlushOps, IotlbGather } from '@iommukit/io-pgtable';
import type { IommuDomain } from '@iommukit/iommu-core';
import type { PagingDomainOps } from './paging-domain.ts';

/**
 * Where a page table's leaves are gathered: core decides whether they fit (`gatherAddPages`).
 * @example const gatherPages: GatherPages = (domain, gather, iova, granule, count) => core.gatherAddPages(domain, gather, iova, granule, count);
 */
export type GatherPages = (
  domain: IommuDomain,
  gather: IotlbGather,
  iova: number,
  granule: number,
  count: number,
) => void;

/** The flush operations of one domain, made before its table exists. */
export class DomainFlushOps implements FlushOps {
  readonly #gatherPages: GatherPages;
  #target: { readonly ops: PagingDomainOps; readonly domain: IommuDomain } | null = null;

  constructor(gatherPages: GatherPages) {
    this.#gatherPages = gatherPages;
  }

  /** Names the domain that the operations act on. */
  bind(ops: PagingDomainOps, domain: IommuDomain): void {
    this.#target = { ops, domain };
  }

  tlbFlushAll(): void {
    this.#target?.ops.flushIotlbAll();
  }

  tlbFlushWalk(iova: number, size: number, granule: number): void {
    this.#target?.ops.flushWalk(iova, size, granule);
  }

  tlbAddPage(gather: IotlbGather, iova: number, granule: number, count: number): void {
    const target = this.#target;
    if (target !== null) this.#gatherPages(target.domain, gather, iova, granule, count);
  }
}

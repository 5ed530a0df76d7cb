import type { FlushOps, IotlbGather, LpaePageTable, StageOneRegisters } from '@iommukit/io-pgtable';
import type { DomainOps, IommuDevice, IommuDomain } from '@iommukit/iommu-core';
import { ERRNO } from '@iommukit/platform';
import type { StageOneConfig } from './context-descriptor.lanes.ts';

/** What a paging domain asks of its driver. */
export interface DomainHost {
  attachStageOne(device: IommuDevice, domain: PagingDomainOps): number;
  invalidateAsid(asid: number): void;
  invalidateRange(domain: PagingDomainOps, range: DomainRange): void;
  releaseAsid(asid: number): void;
}

/** A range of a domain to invalidate; bytes. */
export interface DomainRange {
  readonly iova: number;
  readonly size: number;
  readonly granule: number;
  readonly leaf: boolean;
}

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

/**
 * A stage-1 domain of the driver: one page table, one ASID. The map and unmap paths are one line each, straight into the table.
 */
export class PagingDomainOps implements DomainOps {
  readonly asid: number;
  /** Bytes that the last `mapPages` mapped. */
  mapped = 0;
  readonly table: LpaePageTable<StageOneRegisters>;
  readonly #host: DomainHost;

  constructor(parts: {
    readonly asid: number;
    readonly table: LpaePageTable<StageOneRegisters>;
    readonly host: DomainHost;
  }) {
    this.asid = parts.asid;
    this.table = parts.table;
    this.#host = parts.host;
  }

  /** The smallest page of the domain, bytes: the granule of range invalidations. */
  get minPage(): number {
    return this.table.granule;
  }

  /** Stage 1 as the context descriptor wants it. */
  get stageOne(): StageOneConfig {
    const { tcr, ttbr, mair } = this.table.registers;
    return { ...tcr, ttbr, mair };
  }

  attachDev(device: IommuDevice, _old: IommuDomain | null): number {
    return this.#host.attachStageOne(device, this);
  }

  mapPages(iova: number, paddr: number, pgsize: number, pgcount: number, prot: number): number {
    const errno = this.table.mapPages(iova, paddr, pgsize, pgcount, prot);
    this.mapped = this.table.mapped;
    return errno;
  }

  unmapPages(iova: number, pgsize: number, pgcount: number, gather: IotlbGather): number {
    return this.table.unmapPages(iova, pgsize, pgcount, gather);
  }

  iovaToPhys(iova: number): number {
    return this.table.iovaToPhys(iova);
  }

  flushIotlbAll(): void {
    this.#host.invalidateAsid(this.asid);
  }

  iotlbSync(gather: IotlbGather): void {
    // Nothing was gathered by page: a walk invalidation has already done the work.
    if (gather.pgsize === 0) return;
    this.#host.invalidateRange(this, {
      iova: gather.start,
      size: gather.end - gather.start,
      granule: gather.pgsize,
      leaf: true,
    });
  }

  free(): void {
    this.table.free();
    this.#host.releaseAsid(this.asid);
  }
}

/** The flush operations of one domain, made before its table exists. */
export class DomainFlushOps implements FlushOps {
  readonly #gatherPages: GatherPages;
  #target: {
    readonly ops: PagingDomainOps;
    readonly domain: IommuDomain;
    readonly host: DomainHost;
  } | null = null;

  constructor(gatherPages: GatherPages) {
    this.#gatherPages = gatherPages;
  }

  /** Names the domain that the operations act on. */
  bind(ops: PagingDomainOps, domain: IommuDomain, host: DomainHost): void {
    this.#target = { ops, domain, host };
  }

  tlbFlushAll(): void {
    const target = this.#target;
    if (target !== null) target.host.invalidateAsid(target.ops.asid);
  }

  tlbFlushWalk(iova: number, size: number, granule: number): void {
    const target = this.#target;
    if (target !== null)
      target.host.invalidateRange(target.ops, { iova, size, granule, leaf: false });
  }

  tlbAddPage(gather: IotlbGather, iova: number, granule: number, count: number): void {
    const target = this.#target;
    if (target !== null) this.#gatherPages(target.domain, gather, iova, granule, count);
  }
}

/** Operations of a domain that does not translate: every stream of the device gets one fixed STE. */
export class FixedDomainOps implements DomainOps {
  readonly mapped = 0;
  readonly #attach: (device: IommuDevice) => number;
  readonly #identity: boolean;

  constructor(kind: 'identity' | 'blocked', attach: (device: IommuDevice) => number) {
    this.#identity = kind === 'identity';
    this.#attach = attach;
  }

  attachDev(device: IommuDevice, _old: IommuDomain | null): number {
    return this.#attach(device);
  }

  mapPages(): number {
    return -ERRNO.ENODEV;
  }

  unmapPages(): number {
    return 0;
  }

  iovaToPhys(iova: number): number {
    return this.#identity ? iova : 0;
  }

  flushIotlbAll(): void {}

  iotlbSync(): void {}

  free(): void {}
}

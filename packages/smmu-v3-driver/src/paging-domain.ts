import { minPageSize } from '@iommukit/bits';
import {
  type DirtyRecord,
  HAD_TABLES,
  type IotlbGather,
  type LpaePageTable,
  type PhysRun,
  type RangeGather,
  type StageOneRegisters,
  type StageTwoRegisters,
} from '@iommukit/io-pgtable';
import type { DomainOps, IommuDevice, IommuDomain } from '@iommukit/iommu-core';
import { ERRNO } from '@iommukit/platform';
import type { StageOneConfig } from './context-descriptor.lanes.ts';
import type { Endpoint } from './domain-invalidation.ts';
import { InvalidationArray } from './invalidation-array.ts';
import { type DomainUser, endpointsOf, type LinkedDomain } from './linked-domain.ts';
import type { InvalidRange } from './range-invalidation.ts';
import type { StageTwoConfig } from './stream-table-entry.lanes.ts';

/** What a paging domain asks of its driver. */
export interface DomainHost {
  attachPaging(device: IommuDevice, domain: PagingDomainOps): number;
  attachPasid(device: IommuDevice, pasid: number, domain: PagingDomainOps): number;
  /** Invalidates everything of the domain. */
  invalidateAll(domain: PagingDomainOps): void;
  /** Invalidates ranges of the domain with one SYNC for all of them, and one for endpoints: 0 or -ETIMEDOUT. */
  invalidateRanges(domain: PagingDomainOps, ranges: readonly InvalidRange[]): number;
  /** Takes the tag of the domain back. */
  releaseTag(domain: PagingDomainOps): void;
}

/** The page table of a domain, by its stage. */
export type StageTable =
  | {
      readonly stage: 1;
      readonly table: LpaePageTable<StageOneRegisters>;
      /** The SMMU marks dirty pages in it (quirk `hd`). */
      readonly dirty: boolean;
    }
  | {
      readonly stage: 2;
      readonly table: LpaePageTable<StageTwoRegisters>;
      /** Leaves say write-back whatever a guest's stage 1 says. */
      readonly forcedWriteBack: boolean;
      /** Guests' stage 1 stands on it. */
      readonly nestParent: boolean;
    };

/**
 * A paging domain of the driver: one page table, one ASID or VMID. The map and unmap paths are one line each, straight into the table.
 */
export class PagingDomainOps implements DomainOps, LinkedDomain {
  /** The ASID of stage 1, the VMID of stage 2; 0 before a kernel that allocates at attach has done so. */
  id: number;
  /** Bytes that the last `mapPages` mapped. */
  mapped = 0;
  readonly stages: StageTable;
  /** Who is attached, in order. */
  readonly users: Set<DomainUser> = new Set<DomainUser>();
  /** Whom an invalidation reaches, for kernels that keep this. */
  invs: InvalidationArray = new InvalidationArray();
  /** The smallest page of the domain, bytes: the granule of range invalidations. */
  readonly minPage: number;
  /** The context descriptor that devices share, for kernels where it is the domain's; -1 before the first attach. */
  sharedCd = -1;
  /** The domain around these operations, once there is one. */
  domain: IommuDomain | null = null;
  readonly #host: DomainHost;

  constructor(parts: {
    readonly id: number;
    readonly stages: StageTable;
    readonly host: DomainHost;
  }) {
    this.id = parts.id;
    this.stages = parts.stages;
    this.minPage = minPageSize(parts.stages.table.pgsizeBitmap);
    this.#host = parts.host;
  }

  get stage(): 1 | 2 {
    return this.stages.stage;
  }

  get table(): LpaePageTable<StageOneRegisters> | LpaePageTable<StageTwoRegisters> {
    return this.stages.table;
  }

  /** Guests' stage 1 stands on this stage 2. */
  get nestParent(): boolean {
    return this.stages.stage === 2 && this.stages.nestParent;
  }

  /** The SMMU marks dirty pages in the table. */
  get dirty(): boolean {
    return this.stages.stage === 1 && this.stages.dirty;
  }

  /** Stage 1 as a context descriptor wants it, or null. */
  get stageOne(): StageOneConfig | null {
    const { stages } = this;
    if (stages.stage !== 1) return null;
    const { tcr, ttbr, mair } = stages.table.registers;
    return { ...tcr, ttbr, mair };
  }

  /** Stage 2 as an STE wants it, or null. */
  get stageTwo(): StageTwoConfig | null {
    const { stages } = this;
    if (stages.stage !== 2) return null;
    const { vtcr, vttbr } = stages.table.registers;
    return { vtcr, vttbr, vmid: this.id, forcedWriteBack: stages.forcedWriteBack };
  }

  /** The endpoints that an invalidation may have to reach. */
  endpoints(): Iterable<Endpoint> {
    return endpointsOf(this.users);
  }

  get handlesFaults(): boolean {
    return this.domain !== null && this.domain.pageRequestHandler !== null;
  }

  attachDev(device: IommuDevice, _old: IommuDomain | null): number {
    return this.#host.attachPaging(device, this);
  }

  setDevPasid(device: IommuDevice, pasid: number, _old: IommuDomain | null): number {
    return this.#host.attachPasid(device, pasid, this);
  }

  mapPages(iova: number, paddr: number, pgsize: number, pgcount: number, prot: number): number {
    const { table } = this.stages;
    const errno = table.mapPages(iova, paddr, pgsize, pgcount, prot);
    this.mapped = table.mapped;
    return errno;
  }

  unmapPages(iova: number, pgsize: number, pgcount: number, gather: IotlbGather): number {
    return this.stages.table.unmapPages(iova, pgsize, pgcount, gather);
  }

  iovaToPhys(iova: number): number {
    return this.stages.table.iovaToPhys(iova);
  }

  /** Nothing to do, as in Linux: a domain made for it always tracks. -EOPNOTSUPP for any other domain. */
  setDirtyTracking(_state: 'on' | 'off'): number {
    return this.dirty ? 0 : -ERRNO.EOPNOTSUPP;
  }

  readAndClearDirty(
    iova: number,
    size: number,
    options: { readonly noClear: boolean; readonly gather: IotlbGather | null },
    record: DirtyRecord,
  ): number {
    const { stages } = this;
    if (stages.stage !== 1 || !stages.dirty) return -ERRNO.EOPNOTSUPP;
    return stages.table.readAndClearDirty(iova, size, options, (at, bytes) => {
      record(at, bytes);
      options.gather?.addRange(at, bytes);
    });
  }

  flushIotlbAll(): void {
    this.#host.invalidateAll(this);
  }

  iotlbSync(gather: IotlbGather): void {
    // Nothing was gathered by page: a walk invalidation has already done the work.
    if (gather.pgsize === 0) return;
    const { start, end, pgsize } = gather;
    const range = { iova: start, size: end - start, granule: pgsize, leaf: true };
    this.#host.invalidateRanges(this, [range]);
  }

  /** Invalidates table entries as well as leaves, at once. */
  flushWalk(iova: number, size: number, granule: number): void {
    this.#host.invalidateRanges(this, [{ iova, size, granule, leaf: false }]);
  }

  mapRange(iova: number, runs: readonly PhysRun[], prot: number): number {
    return this.stages.table.mapRange(iova, runs, prot);
  }

  get failedAt(): number {
    return this.stages.table.failedAt;
  }

  unmapRange(
    iova: number,
    size: number,
    pending: RangeGather,
    options?: { readonly reuseTables?: boolean },
  ): number {
    return this.stages.table.unmapRange(iova, size, pending, options);
  }

  flushRanges(pending: RangeGather): number {
    const ranges: InvalidRange[] = [];
    pending.forEach((start, end, leafSize) => {
      const leaf = leafSize !== HAD_TABLES;
      const granule = leaf ? leafSize : this.minPage;
      ranges.push({ iova: start, size: end - start, granule, leaf });
    });
    return this.#host.invalidateRanges(this, ranges);
  }

  releaseTable(table: number): void {
    this.stages.table.releaseTable(table);
  }

  free(): void {
    this.stages.table.free();
    this.#host.releaseTag(this);
  }
}

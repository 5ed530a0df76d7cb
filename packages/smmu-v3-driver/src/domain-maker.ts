import { arm64LpaeS1, arm64LpaeS2, createPageTable } from '@iommukit/io-pgtable';
import { type DomainType, IommuDomain, type ProcessSpace } from '@iommukit/iommu-core';
import { ERRNO } from '@iommukit/platform';
import { DomainFlushOps } from './domain-flush.ts';
import type { SmmuDriverParts } from './driver-parts.ts';
import type { HardwareFeatures } from './hardware-features.ts';
import { IdSpace } from './id-space.ts';
import type { LinkedDomain } from './linked-domain.ts';
import { type DomainHost, PagingDomainOps } from './paging-domain.ts';
import { type ProcessTables, processTablesOf, svaRefusal } from './process-tables.ts';
import { SvaDomainOps, type SvaHost } from './sva-domain.ts';

/** ASIDs have 16 bits in a CD (IHI 0070 5.4), whatever the SMMU takes of them. */
const MOST_ASID_BITS = 16;

/** Makes paging domains for one SMMU (`arm_smmu_domain_finalise`): a page table, and the ASID or VMID that it is known by. */
export class DomainMaker {
  readonly #parts: SmmuDriverParts;
  readonly #features: HardwareFeatures;
  readonly #host: DomainHost & SvaHost;
  readonly #asids: IdSpace;
  readonly #vmids: IdSpace;

  constructor(parts: SmmuDriverParts, features: HardwareFeatures, host: DomainHost & SvaHost) {
    this.#parts = parts;
    this.#features = features;
    this.#host = host;
    this.#asids = parts.asids ?? new IdSpace(1, 2 ** MOST_ASID_BITS - 1);
    this.#vmids = new IdSpace(1, 2 ** features.vmidBits - 1);
  }

  /** A stage-1 domain: -ENOMEM without a page table, -EBUSY without an ASID. */
  stageOne(type: DomainType, dirtyPages: 'tracked' | 'untracked'): IommuDomain | number {
    const features = this.#features;
    const dirty = dirtyPages === 'tracked';
    const { memory, frames, pgtableProfile, gatherPages, profile } = this.#parts;
    const flush = new DomainFlushOps(gatherPages);
    const table = createPageTable(arm64LpaeS1, {
      pgsizeBitmap: features.pgsizeBitmap,
      ias: features.ias,
      oas: features.oas,
      coherentWalk: features.coherent,
      quirks: { hd: dirty },
      memory,
      frames,
      flush,
      profile: pgtableProfile,
    });
    // Whatever the table refused: Linux sees a null pointer.
    if (typeof table === 'number') return -ERRNO.ENOMEM;
    const id = profile.asidAlloc === 'at-alloc' ? this.#allocAsid() : 0;
    if (id < 0) {
      table.free();
      return -ERRNO.EBUSY;
    }
    const stages = { stage: 1, table, dirty } as const;
    const ops = new PagingDomainOps({ id, stages, host: this.#host });
    return pagingDomain(type, ops, flush, features.ias);
  }

  /** A stage-2 domain, for devices or under the stage 1 of guests: -ENOMEM without a page table, -ENOSPC without a VMID. */
  stageTwo(type: DomainType, under: 'devices' | 'guests'): IommuDomain | number {
    const features = this.#features;
    const { memory, frames, pgtableProfile, gatherPages } = this.#parts;
    const flush = new DomainFlushOps(gatherPages);
    const nestParent = under === 'guests';
    const forcedWriteBack = nestParent && features.forcedWriteBack;
    const table = createPageTable(arm64LpaeS2, {
      pgsizeBitmap: features.pgsizeBitmap,
      ias: features.oas,
      oas: features.oas,
      coherentWalk: features.coherent,
      memory,
      frames,
      flush,
      profile: pgtableProfile,
      ...(forcedWriteBack ? { quirks: { s2fwb: true } } : {}),
    });
    if (typeof table === 'number') return -ERRNO.ENOMEM;
    const id = this.#vmids.alloc();
    if (id < 0) {
      table.free();
      return -ERRNO.ENOSPC;
    }
    const stages = { stage: 2, table, forcedWriteBack, nestParent } as const;
    const ops = new PagingDomainOps({ id, stages, host: this.#host });
    return pagingDomain(type, ops, flush, features.oas);
  }

  /**
   * The address space of a process (`arm_smmu_sva_domain_alloc`): -EOPNOTSUPP where its tables cannot be walked, -EBUSY without an ASID, or
   * what the process said. Only with `processAsids` is the ASID that of its CPU: else the SMMU hears no TLBI of a CPU.
   */
  sva(space: ProcessSpace): IommuDomain | number {
    const tables = processTablesOf(space.tables);
    // The kernels whose descriptors are the domain's give out no PASIDs here.
    const pasids = this.#parts.profile.cdOwner === 'device' && this.#features.stage1;
    if (!pasids || svaRefusal(this.#features, tables) !== null) return -ERRNO.EOPNOTSUPP;
    const asidOf = this.#sharesAsids ? 'cpu' : 'driver';
    const id = asidOf === 'cpu' ? this.#takeAsid(tables) : this.#allocAsid();
    if (id < 0) return -ERRNO.EBUSY;
    const ops = new SvaDomainOps({ space, tables, id, asidOf, host: this.#host });
    const errno = space.addNotifier(ops);
    if (errno === 0) return ops.domain;
    this.#asids.free(id);
    return errno;
  }

  /** Gives a stage-1 domain its ASID where the kernel does so at the attach: 0 or -EBUSY. */
  ensureAsid(domain: PagingDomainOps): number {
    if (domain.id !== 0 || domain.stage !== 1) return 0;
    const asid = this.#allocAsid();
    if (asid < 0) return -ERRNO.EBUSY;
    domain.id = asid;
    return 0;
  }

  /** Takes the tag of a domain back. */
  releaseTag({ id, stage }: LinkedDomain): void {
    if (id !== 0) (stage === 1 ? this.#asids : this.#vmids).free(id);
  }

  get #sharesAsids(): boolean {
    return this.#parts.processAsids === 'cpu' && this.#features.broadcastTlbi;
  }

  /** The CPU's ASID of a process, unless a domain has it. */
  #takeAsid({ asid = 0 }: ProcessTables): number {
    return this.#asids.take(asid) ? asid : -1;
  }

  #allocAsid(): number {
    return this.#asids.alloc(2 ** this.#features.asidBits - 1);
  }
}

function pagingDomain(
  type: DomainType,
  ops: PagingDomainOps,
  flush: DomainFlushOps,
  bits: number,
): IommuDomain {
  const domain = new IommuDomain({
    type,
    ops,
    pgsizeBitmap: ops.table.pgsizeBitmap,
    apertureStart: 0,
    apertureEnd: 2 ** bits,
  });
  flush.bind(ops, domain);
  ops.domain = domain;
  return domain;
}

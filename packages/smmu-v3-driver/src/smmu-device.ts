import { S1DSS } from '@iommukit/arm-arch';
import { log2Floor } from '@iommukit/bits';
import type { IommuDevice } from '@iommukit/iommu-core';
import { ERRNO } from '@iommukit/platform';
import { invalidateEndpoint, invalidateTag } from './array-invalidation.ts';
import { stageOneCd } from './context-descriptor.lanes.ts';
import { ContextTable, LINEAR_CD_BITS } from './context-table.ts';
import { installCd, installSte, invalidateCd, steHasAts, steHasCdTable } from './entry-install.ts';
import { ENTRY_LANES, writeEntryInSteps } from './entry-writer.lanes.ts';
import { FaultQueueUse } from './fault-queue-use.ts';
import { buildEntries, type InvalidationEntry } from './invalidation-array.ts';
import type { DomainUser, LinkedDomain } from './linked-domain.ts';
import { type GuestEntry, nestedSte } from './nested-entry.lanes.ts';
import type { PagingDomainOps } from './paging-domain.ts';
import type { SmmuSite } from './smmu-site.ts';
import {
  abortSte,
  bypassSte,
  type CdTable,
  cdTableSte,
  stageTwoSte,
} from './stream-table-entry.lanes.ts';

/**
 * What a device and its firmware can do beyond sending stream ids; absent is false.
 * @example const traits: DeviceTraits = { ats: true };
 */
export interface DeviceTraits {
  /** Endpoint and root complex do ATS. */
  readonly ats?: boolean;
  /** The device tolerates stalled transactions (`dma-can-stall`). */
  readonly stall?: boolean;
}

/**
 * Switches ATS in an endpoint (`pci_enable_ats`, `pci_disable_ats`); `pageLg2` is the smallest translation unit.
 * @example const ats: AtsControl = { enable: (device, pageLg2) => log.push(device.name), disable() {} };
 */
export interface AtsControl {
  enable(device: IommuDevice, pageLg2: number): void;
  disable(device: IommuDevice): void;
}

/** A guest's stream over the stage 2 of its parent. */
export interface NestedTarget {
  readonly kind: 'nested';
  readonly domain: PagingDomainOps;
  readonly guest: GuestEntry;
}

/** Where the requests without PASID of a device go. */
export type AttachTarget =
  | { readonly kind: 'identity' | 'blocked' }
  | { readonly kind: 'paging'; readonly domain: PagingDomainOps }
  | NestedTarget;

const BLOCKED: AttachTarget = { kind: 'blocked' };

/** An attach under way (`struct arm_smmu_attach_state`). */
interface Attach {
  readonly ssid: number;
  /** Where the address space goes; null: nowhere that translates. */
  readonly domain: LinkedDomain | null;
  /** The endpoint may hold translations afterwards. */
  readonly ats: boolean;
}

/** One address space of the device in a domain, and the entries that it added to the domain's array. */
interface Link {
  readonly domain: LinkedDomain;
  readonly user: DomainUser;
  /** Its faults are handled since it is here (`using_iopf`). */
  readonly handlesFaults: boolean;
  readonly entries: readonly InvalidationEntry[];
}

/** The driver's own state of a device (`struct arm_smmu_master`). */
export class SmmuDevice {
  readonly device: IommuDevice;
  /** As the kernel keeps them; bridged functions may have duplicates. */
  readonly streamIds: readonly number[];
  readonly distinct: readonly number[];
  readonly site: SmmuSite;
  readonly ssidBits: number;
  readonly stall: boolean;
  /** The endpoint may hold translations. */
  atsEnabled = false;
  /** PASIDs whose CD is valid. */
  usedSsids = 0;
  readonly #atsSupported: boolean;
  #cds: ContextTable | null = null;
  #target: AttachTarget = BLOCKED;
  #attached = false;
  #inSte = false;
  #steAts = false;
  readonly #links = new Map<number, Link>();
  readonly #faults: FaultQueueUse;

  constructor(parts: {
    readonly device: IommuDevice;
    readonly streamIds: readonly number[];
    readonly site: SmmuSite;
    readonly traits: DeviceTraits;
  }) {
    const { device, streamIds, site, traits } = parts;
    const { features } = site;
    this.device = device;
    this.streamIds = streamIds;
    this.distinct = [...new Set(streamIds)];
    this.site = site;
    const pasids = device.info.maxPasids ?? 1;
    const wanted = Math.min(features.ssidBits, pasids > 1 ? log2Floor(pasids) : 0);
    this.ssidBits = features.twoLevelCdTable ? wanted : Math.min(wanted, LINEAR_CD_BITS);
    this.stall = features.stallForce || (features.stalls && traits.stall === true);
    this.#atsSupported = features.ats && traits.ats === true;
    this.#faults = new FaultQueueUse(device, site.faultQueue, {
      stall: this.stall,
      requests: site.routesRequests && this.#atsSupported,
      streams: streamIds.length,
    });
  }

  /** Where requests without PASID go now. */
  get target(): AttachTarget {
    return this.#target;
  }

  /** Moves the requests without PASID (`arm_smmu_attach_dev` and its kin): 0 or a negative errno with nothing changed. */
  attach(target: AttachTarget): number {
    const domain = 'domain' in target ? target.domain : null;
    if (domain?.stage === 2 && this.usedSsids > 0) return -ERRNO.EBUSY;
    if (domain?.stage === 1) {
      const errno = this.#ownsCds ? this.#ensureCd(0) : this.#ensureSharedCd(domain);
      if (errno < 0) return errno;
    }
    const refused = this.#takeFaults(domain);
    if (refused < 0) return refused;
    const { profile } = this.site;
    if (profile.reattach === 'through-abort' && this.#attached && target.kind !== 'blocked')
      this.#writeSte(abortSte(profile));
    const ats = this.#atsSupported && (this.usedSsids > 0 || wantsAts(target));
    const attach = { ssid: 0, domain, ats };
    const leave = this.#join(attach);
    this.#target = target;
    this.#attached = domain !== null;
    this.#install(target, attach);
    this.#commit(attach);
    leave();
    return 0;
  }

  /** Gives one PASID to a stage-1 domain, by the CD of that (`arm_smmu_set_pasid`): 0 or a negative errno with nothing changed. */
  attachPasid(ssid: number, domain: LinkedDomain, cd: Uint32Array | null): number {
    if (!this.#ownsCds) return -ERRNO.EOPNOTSUPP;
    if (cd === null || ssid === 0 || ssid >= 2 ** this.ssidBits) return -ERRNO.EINVAL;
    const target = this.#target;
    if ('domain' in target && target.domain.stage !== 1) return -ERRNO.EINVAL;
    const errno = this.#ensureCd(ssid) || this.#takeFaults(domain);
    if (errno < 0) return errno;
    const ats = this.#atsSupported;
    const attach = { ssid, domain, ats };
    const leave = this.#join(attach);
    this.#writeCd(ssid, cd);
    if (!this.#inSte || this.#steAts !== ats) this.#writeSte(this.#cdTableSte(target, attach));
    this.#commit(attach);
    leave();
    return 0;
  }

  /** Takes a PASID back (`arm_smmu_blocking_set_dev_pasid`): 0, also for one that was never given. */
  detachPasid(ssid: number): number {
    this.#clearCd(ssid);
    if (this.atsEnabled) invalidateEndpoint(this.site.unit, this.streamIds, ssid);
    this.#leave(ssid);
    // The last PASID is gone: a device that does not translate needs no CD table any more.
    const target = this.#target;
    if (this.usedSsids === 0 && this.#inSte && !('domain' in target)) this.attach(target);
    return 0;
  }

  /** Changes the CD of a PASID in place. */
  rewriteCd(ssid: number, cd: Uint32Array): void {
    this.#writeCd(ssid, cd);
  }

  /** The device is gone: its streams abort, its descriptors are freed. */
  release(): void {
    for (const ssid of [...this.#links.keys()]) if (ssid > 0) this.detachPasid(ssid);
    this.attach(BLOCKED);
    this.#cds?.free();
    this.#cds = null;
  }

  get #ownsCds(): boolean {
    return this.site.profile.cdOwner === 'device';
  }

  #install(target: AttachTarget, attach: Attach): void {
    const { features, profile } = this.site;
    const device = { ats: attach.ats, stall: this.stall };
    if (target.kind === 'paging' && target.domain.stageOne !== null) {
      const { stageOne, id, dirty } = target.domain;
      // CD first: the STE makes it reachable.
      if (this.#ownsCds) this.#writeCd(0, stageOneCd(stageOne, id, { stall: this.stall, dirty }));
      this.#writeSte(this.#cdTableSte(target, attach));
      return;
    }
    const stageTwo = 'domain' in target ? target.domain.stageTwo : null;
    if (stageTwo !== null)
      this.#writeSte(
        target.kind === 'nested'
          ? nestedSte(target.guest, stageTwo, features, device)
          : stageTwoSte(stageTwo, features, device),
      );
    else if (this.usedSsids > 0) this.#writeSte(this.#cdTableSte(target, attach));
    else
      this.#writeSte(target.kind === 'identity' ? bypassSte(features, profile) : abortSte(profile));
    // Nothing reaches the CD any more: clear it for the next attach.
    if (this.#ownsCds) this.#clearCd(0);
  }

  /** The STE over the CD table, which says what requests without PASID do. */
  #cdTableSte(target: AttachTarget, { ats }: Pick<Attach, 'ats'>): Uint32Array {
    const { features } = this.site;
    const s1dss = S1DSS_OF[target.kind];
    const shared = target.kind === 'paging' ? target.domain.sharedCd : -1;
    const table: CdTable =
      shared >= 0
        ? { base: shared, format: 0, cdMax: 0, s1dss }
        : {
            base: this.#cds?.base ?? 0,
            format: this.#cds?.format ?? 0,
            cdMax: this.#cds?.cdMax ?? 0,
            s1dss,
          };
    return cdTableSte(table, features, { ats, stall: this.stall });
  }

  #writeSte(ste: Uint32Array): void {
    installSte(this.site, this.distinct, (id) => this.site.strtab.entry(id), ste);
    this.#inSte = steHasCdTable(ste);
    this.#steAts = steHasAts(ste);
  }

  #writeCd(ssid: number, cd: Uint32Array): void {
    const pa = this.#cds?.entry(ssid) ?? -1;
    if (pa >= 0) this.usedSsids += installCd(this.site, this.streamIds, { pa, ssid }, cd);
  }

  #clearCd(ssid: number): void {
    this.#writeCd(ssid, new Uint32Array(ENTRY_LANES));
  }

  #ensureCd(ssid: number): number {
    const { memory, coherent, features, stream } = this.site;
    if (this.#cds === null) {
      const made = ContextTable.create({
        memory,
        source: coherent,
        ssidBits: this.ssidBits,
        twoLevel: features.twoLevelCdTable,
      });
      if (typeof made === 'number') return made;
      this.#cds = made;
    }
    const linked = this.#cds.ensure(ssid);
    if (linked === 1) invalidateCd(stream, this.streamIds, { ssid, leaf: 0 });
    return Math.min(linked, 0);
  }

  /** The descriptor of 6.1, which is the domain's: nobody is listed in the domain yet, so two SYNCs go out alone. */
  #ensureSharedCd(domain: PagingDomainOps): number {
    const { stageOne } = domain;
    if (domain.sharedCd >= 0 || stageOne === null) return 0;
    const { memory, coherent, stream } = this.site;
    const table = ContextTable.create({ memory, source: coherent, ssidBits: 0, twoLevel: false });
    if (typeof table === 'number') return table;
    domain.sharedCd = table.base;
    const sync = (): void => {
      stream.begin();
      stream.submit();
    };
    const cd = stageOneCd(stageOne, domain.id, { stall: this.stall, dirty: domain.dirty });
    writeEntryInSteps({ memory, pa: table.base, usedBits: () => {}, sync }, cd);
    return 0;
  }

  /**
   * Makes an address space known to its new domain, before hardware uses it (`arm_smmu_attach_prepare`). Returns what forgets it in the
   * old one, to be called when hardware does not use that any more.
   */
  #join({ ssid, domain, ats }: Attach): () => void {
    const { unit, profile, ats: control } = this.site;
    const old = this.#links.get(ssid);
    if (domain === null) this.#links.delete(ssid);
    else {
      const entries = buildEntries(unit, {
        stage: domain.stage,
        id: domain.id,
        minPage: domain.minPage,
        nestParent: domain.nestParent,
        streamIds: this.streamIds,
        ats,
        ssid,
      });
      if (profile.invalidation === 'array') domain.invs = domain.invs.merge(entries);
      const user: DomainUser = { device: this, ssid };
      domain.users.add(user);
      this.#links.set(ssid, { domain, user, entries, handlesFaults: domain.handlesFaults });
    }
    if (this.atsEnabled && !ats && ssid === 0) control?.disable(this.device);
    return () => {
      if (old !== undefined) this.#forget(old);
    };
  }

  #takeFaults(domain: LinkedDomain | null): number {
    return domain?.handlesFaults === true ? this.#faults.enable() : 0;
  }

  #leave(ssid: number): void {
    const link = this.#links.get(ssid);
    if (link === undefined) return;
    this.#links.delete(ssid);
    this.#forget(link);
  }

  /** Takes a link out of its domain; a tag that nobody uses any more is invalidated now (`arm_smmu_install_old_domain_invs`). */
  #forget({ domain, user, entries, handlesFaults }: Link): void {
    domain.users.delete(user);
    if (handlesFaults) this.#faults.disable();
    const { invalidation, lastFlush } = this.site.profile;
    if (invalidation === 'domain') return;
    domain.invs.unref(entries);
    const [tag] = entries;
    if (tag !== undefined && tag.users === 0 && lastFlush === 'detach') invalidateTag(tag);
    domain.invs = domain.invs.purge() ?? domain.invs;
  }

  /** What endpoints hold of the old address space goes, after the SMMU answers by the new one (`arm_smmu_attach_commit`). */
  #commit({ ssid, domain, ats }: Attach): void {
    const { unit, ats: control, features } = this.site;
    const was = this.atsEnabled;
    this.atsEnabled = ats;
    if (!ats && !was) return;
    invalidateEndpoint(unit, this.streamIds, ats && was ? ssid : 0);
    if (!ats || was) return;
    const minPage = domain?.minPage ?? features.minPage;
    control?.enable(this.device, log2Floor(minPage));
  }
}

const S1DSS_OF = {
  paging: S1DSS.SSID0,
  nested: S1DSS.SSID0,
  identity: S1DSS.BYPASS,
  blocked: S1DSS.TERMINATE,
} as const;

/** Requests of devices that do not translate are not answered, unless a PASID needs it. */
function wantsAts(target: AttachTarget): boolean {
  return target.kind === 'paging' || (target.kind === 'nested' && target.guest.wantsAts);
}

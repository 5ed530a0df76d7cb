import { CD_BYTES } from '@iommukit/arm-arch';
import { IOMMU_MMIO, IOMMU_NOEXEC, IOMMU_WRITE } from '@iommukit/io-pgtable';
import type {
  DeviceFault,
  DomainType,
  IommuDevice,
  IommuDomain,
  IommuOps,
  PageResponse,
  ProcessSpace,
  ReservedRegion,
} from '@iommukit/iommu-core';
import { ERRNO, TraceChannel } from '@iommukit/platform';
import { invalidateArrayRanges, invalidateWholeArray } from './array-invalidation.ts';
import type { CommandQueue } from './command-queue.ts';
import { stageOneCd } from './context-descriptor.lanes.ts';
import { allocDeviceMemory, type DeviceMemory } from './device-memory.ts';
import { disableDevice, resetDevice } from './device-reset.ts';
import { DeviceTable, smmuDeviceOf } from './device-table.ts';
import {
  type DomainUnit,
  invalidateDomain,
  invalidateDomainRanges,
  invalidateEndpoints,
} from './domain-invalidation.ts';
import { DomainMaker } from './domain-maker.ts';
import type { DriverEvent } from './driver-event.ts';
import { NO_LOG } from './driver-log.ts';
import type { SmmuDriverParts } from './driver-parts.ts';
import { makeQueues } from './driver-queues.ts';
import type { EventQueue } from './event-queue.ts';
import { FaultReports } from './fault-reports.ts';
import { fixedDomain } from './fixed-domain.ts';
import { answerGlobalErrors } from './global-error-interrupt.ts';
import type { HardwareFeatures } from './hardware-features.ts';
import { probeHardware } from './hardware-probe.ts';
import type { LinkedDomain } from './linked-domain.ts';
import { type GuestSte, guestEntry } from './nested-entry.lanes.ts';
import type { PageRequestQueue } from './page-request-queue.ts';
import { type DomainHost, PagingDomainOps } from './paging-domain.ts';
import type { InvalidRange } from './range-invalidation.ts';
import { bypassRmrStreams, rmrRegions } from './rmr-stream.ts';
import type { AttachTarget } from './smmu-device.ts';
import { makeSite, type SmmuSite } from './smmu-site.ts';
import type { StreamTable } from './stream-table.ts';
import type { SvaDomainOps, SvaHost } from './sva-domain.ts';

/** The window that Linux reserves for doorbell mappings (`MSI_IOVA_BASE`, `MSI_IOVA_LENGTH`). */
const MSI_START = 0x800_0000;
const MSI_END = 0x810_0000;
const PTE_BYTES = 8;

/**
 * The SMMUv3 driver of Linux over registers and memory: probe and reset, stream table, context descriptors, stage 1, stage 2 and nested
 * domains, PASIDs, invalidation, events. PRI and MSIs stay unused where the hardware has them.
 * @example const driver = SmmuV3Driver.probe(parts); if (typeof driver !== 'number') core.probeDevice(device, driver);
 */
export class SmmuV3Driver implements IommuOps, DomainHost, SvaHost {
  readonly features: HardwareFeatures;
  readonly trace: TraceChannel<DriverEvent>;
  readonly cmdq: CommandQueue;
  readonly evtq: EventQueue;
  /** Null without page requests in the hardware. */
  readonly priq: PageRequestQueue | null;
  readonly strtab: StreamTable;
  readonly blockedDomain: IommuDomain;
  readonly #parts: SmmuDriverParts;
  readonly #devices: DeviceTable;
  readonly #reports: FaultReports;
  readonly #site: SmmuSite;
  readonly #domains: DomainMaker;
  readonly #domainUnit: DomainUnit;

  /** Probes the hardware and brings it up: a driver, or the negative errno with which the kernel's probe fails. */
  static probe(parts: SmmuDriverParts): SmmuV3Driver | number {
    const driver = SmmuV3Driver.create(parts);
    if (typeof driver === 'number') return driver;
    const errno = driver.reset();
    return errno < 0 ? errno : driver;
  }

  /** Reads the ID registers and allocates queues and stream table, before `reset`: a driver, or a negative errno. */
  static create(parts: SmmuDriverParts): SmmuV3Driver | number {
    const { registers, memory, coherent, profile, firmwareCoherent, rmrs, log = NO_LOG } = parts;
    const features = probeHardware({
      registers,
      profile,
      log,
      ...(firmwareCoherent === undefined ? {} : { firmwareCoherent }),
    });
    if (typeof features === 'number') return features;
    const own = allocDeviceMemory({ memory, source: coherent, log, profile, features });
    if (typeof own === 'number') return own;
    const { cmdq, evtq, priq, strtab } = own;
    if (rmrs !== undefined) bypassRmrStreams(rmrs, { strtab, memory, log, features, profile });
    const priqLg2 = priq?.lg2 ?? 0;
    const found = { ...features, cmdqLg2: cmdq.lg2, evtqLg2: evtq.lg2, priqLg2 };
    return new SmmuV3Driver(parts, found, own);
  }

  private constructor(parts: SmmuDriverParts, features: HardwareFeatures, memory: DeviceMemory) {
    this.#parts = parts;
    this.features = features;
    this.strtab = memory.strtab;
    this.trace = new TraceChannel<DriverEvent>();
    this.#devices = new DeviceTable(parts.log ?? NO_LOG);
    this.#reports = new FaultReports(parts, this.#devices);
    const { trace, strtab } = this;
    const ground = { features, memory, trace, devices: this.#devices, reports: this.#reports };
    const { cmdq, stream, evtq, priq } = makeQueues(parts, ground);
    this.cmdq = cmdq;
    this.evtq = evtq;
    this.priq = priq;
    this.#site = makeSite(parts, { features, strtab, stream });
    this.#domainUnit = { ...this.#site.unit, ats: features.ats };
    this.#domains = new DomainMaker(parts, features, this);
    this.blockedDomain = this.#fixedDomain('blocked');
  }

  get capabilities(): IommuOps['capabilities'] {
    return { cacheCoherency: this.features.coherent, deferredFlush: true, noexec: true };
  }

  /** PASIDs that the SMMU takes, PASID 0 included; the kernels whose descriptors are the domain's give out none. */
  get maxPasids(): number {
    return this.#parts.profile.cdOwner === 'device' ? 2 ** this.features.ssidBits : 1;
  }

  /** Brings the SMMU from any state to translating with empty caches (`arm_smmu_device_reset`): 0 or -ETIMEDOUT. */
  reset(): number {
    const { registers, platform, log = NO_LOG } = this.#parts;
    const { strtab, cmdq, evtq, priq, features } = this;
    const { hyp, ats } = features;
    const shares = this.#parts.processAsids === 'cpu' && features.broadcastTlbi;
    const broadcastTlbi = shares ? 'heard' : 'ignored';
    return resetDevice({
      ...{ registers, platform, log, strtab, cmdq, evtq, priq, hyp, ats },
      broadcastTlbi,
    });
  }

  /** Switches the SMMU off (`arm_smmu_device_shutdown`): what comes then is up to GBPA. 0 or -ETIMEDOUT; `reset` brings it up again. */
  shutdown(): number {
    const { registers, platform, log = NO_LOG } = this.#parts;
    return disableDevice({ registers, platform, log });
  }

  /** What the interrupt of global errors calls: names them, replaces an illegal command, acknowledges. True when one was active. */
  globalErrorInterrupt(): boolean {
    const { registers, memory, log = NO_LOG } = this.#parts;
    const disable = (): void => void this.shutdown();
    return answerGlobalErrors({ registers, memory, log, queue: this.cmdq, disable });
  }

  probeDevice(device: IommuDevice): number {
    const traits = this.#parts.traitsOf?.(device) ?? {};
    return this.#devices.claim(device, this.#site, traits);
  }

  releaseDevice(device: IommuDevice): void {
    this.#devices.release(device);
  }

  /** The device that sends a stream id, or undefined. */
  deviceOfStream(streamId: number): IommuDevice | undefined {
    return this.#devices.ofStream(streamId)?.device;
  }

  domainAlloc(type: DomainType, _device: IommuDevice): IommuDomain | number {
    if (type === 'identity' || type === 'blocked') return this.#fixedDomain(type);
    if (type === 'sva') return -ERRNO.EOPNOTSUPP;
    return this.features.stage1
      ? this.#domains.stageOne(type, 'untracked')
      : this.#domains.stageTwo(type, 'devices');
  }

  /**
   * A stage-1 domain whose dirty pages the SMMU marks itself (`IOMMU_HWPT_ALLOC_DIRTY_TRACKING`): -EOPNOTSUPP where it cannot, or the
   * kernel does not track.
   */
  allocDirtyTracking(): IommuDomain | number {
    const { stage1, dirtyState } = this.features;
    if (!stage1 || !dirtyState || !this.#parts.profile.dirtyTracking) return -ERRNO.EOPNOTSUPP;
    return this.#domains.stageOne('unmanaged', 'tracked');
  }

  /**
   * A stage-2 domain under which guests have their own stage 1 (`IOMMU_HWPT_ALLOC_NEST_PARENT`): -EOPNOTSUPP where the SMMU has not both
   * stages or the kernel does not nest.
   */
  allocNestParent(): IommuDomain | number {
    if (!this.features.nesting || this.#parts.profile.steFields !== 'mev-s2fwb')
      return -ERRNO.EOPNOTSUPP;
    return this.#domains.stageTwo('unmanaged', 'guests');
  }

  /**
   * A guest's stream over its parent (`arm_vsmmu_alloc_domain_nested`): -EIO for an entry that a guest may not have, -EINVAL for a parent
   * that is none. Map and unmap the parent; the guest owns its stage 1.
   */
  allocNested(parent: IommuDomain, ste: GuestSte): IommuDomain | number {
    const { ops } = parent;
    if (!(ops instanceof PagingDomainOps) || !ops.nestParent) return -ERRNO.EINVAL;
    const guest = guestEntry(ste);
    if (typeof guest === 'number') return guest;
    return fixedDomain('unmanaged', {
      kind: 'nested',
      attach: (device) => this.#attach(device, { kind: 'nested', domain: ops, guest }),
    });
  }

  /**
   * The address space of a process, whose `tables` are `ProcessTables`: -EOPNOTSUPP where the SMMU or the kernel cannot share them, -EBUSY
   * without an ASID, or what its `addNotifier` said. The ASID is the driver's own.
   */
  domainAllocSva(_device: IommuDevice, mm: ProcessSpace): IommuDomain | number {
    return this.#domains.sva(mm);
  }

  getResvRegions(device: IommuDevice): readonly ReservedRegion[] {
    const prot = IOMMU_WRITE + IOMMU_NOEXEC + IOMMU_MMIO;
    const doorbells = { type: 'msi-software', start: MSI_START, end: MSI_END, prot } as const;
    return [doorbells, ...rmrRegions(this.#parts.rmrs ?? [], device.info.ids)];
  }

  /**
   * Lets a stalled transaction go on or fail (`arm_smmu_page_response`): CMD_RESUME without SYNC; a routed page request is answered with
   * CMD_PRI_RESP.
   */
  pageResponse(device: IommuDevice, fault: DeviceFault, response: PageResponse): void {
    this.#reports.answer(this.#site.stream, smmuDeviceOf(device), fault, response);
  }

  attachPaging(device: IommuDevice, domain: PagingDomainOps): number {
    return this.#domains.ensureAsid(domain) || this.#attach(device, { kind: 'paging', domain });
  }

  attachPasid(device: IommuDevice, pasid: number, domain: PagingDomainOps): number {
    const known = smmuDeviceOf(device);
    const { stageOne, id, dirty } = domain;
    if (known.site !== this.#site) return -ERRNO.EINVAL;
    const cd = stageOne === null ? null : stageOneCd(stageOne, id, { stall: known.stall, dirty });
    return known.attachPasid(pasid, domain, cd);
  }

  attachSva(device: IommuDevice, pasid: number, domain: SvaDomainOps): number {
    const known = smmuDeviceOf(device);
    if (known.site !== this.#site) return -ERRNO.EINVAL;
    return known.attachPasid(pasid, domain, domain.cdFor(known, 'live'));
  }

  invalidateAll(domain: LinkedDomain): void {
    if (this.#parts.profile.invalidation === 'array') {
      invalidateWholeArray(domain.invs);
      return;
    }
    // A kernel that gives tags at attach has nothing to invalidate before.
    if (domain.id === 0) return;
    if (this.trace.on) this.trace.emit({ name: 'tlb_inv_context', asid: domain.id });
    invalidateDomain(this.#domainUnit, domain, domain.endpoints());
  }

  invalidateRanges(domain: LinkedDomain, ranges: readonly InvalidRange[]): number {
    return this.#parts.profile.invalidation === 'array'
      ? invalidateArrayRanges(domain.invs, ranges)
      : invalidateDomainRanges(this.#domainUnit, domain, ranges, domain.endpoints());
  }

  invalidateProcessRange(domain: LinkedDomain, range: InvalidRange): void {
    const { size, granule } = range;
    const byDomain = this.#parts.profile.invalidation === 'domain';
    // As many pages as a table has entries: where kernels invalidate by domain, only processes have this limit (CMDQ_MAX_TLBI_OPS).
    const long = !this.features.rangeInvalidation && size >= (granule / PTE_BYTES) * granule;
    if (byDomain && long) this.invalidateAll(domain);
    else this.invalidateRanges(domain, [range]);
  }

  invalidateEndpointRanges(domain: LinkedDomain, ranges: readonly InvalidRange[]): void {
    invalidateEndpoints(this.#domainUnit, ranges, domain.endpoints());
  }

  releaseTag(domain: LinkedDomain & { readonly sharedCd?: number }): void {
    this.#domains.releaseTag(domain);
    const { sharedCd = -1 } = domain;
    if (sharedCd >= 0) this.#parts.coherent.free(sharedCd, CD_BYTES);
  }

  #attach(device: IommuDevice, target: AttachTarget): number {
    const known = smmuDeviceOf(device);
    return known.site === this.#site ? known.attach(target) : -ERRNO.EINVAL;
  }

  #fixedDomain(kind: 'identity' | 'blocked'): IommuDomain {
    return fixedDomain(kind, {
      kind,
      // Fixed domains are one for all SMMUs: the device knows its own.
      attach: (device) => smmuDeviceOf(device).attach({ kind }),
      ...(kind === 'blocked'
        ? { blockPasid: (device, pasid) => smmuDeviceOf(device).detachPasid(pasid) }
        : {}),
    });
  }
}

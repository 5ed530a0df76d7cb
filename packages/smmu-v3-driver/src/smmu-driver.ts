import { CD_BYTES, PRI_RESPONSE } from '@iommukit/arm-arch';
import { IommuError } from '@iommukit/bits';
import {
  arm64LpaeS1,
  arm64LpaeS2,
  createPageTable,
  IOMMU_MMIO,
  IOMMU_NOEXEC,
  IOMMU_WRITE,
  type IoPgtableProfile,
} from '@iommukit/io-pgtable';
import {
  type DeviceFault,
  type DomainType,
  type IommuDevice,
  IommuDomain,
  type IommuOps,
  type PageResponse,
  type ReservedRegion,
} from '@iommukit/iommu-core';
import {
  ERRNO,
  type FrameAllocator,
  type MemoryView,
  type MmioFrame,
  type Platform,
  TraceChannel,
} from '@iommukit/platform';
import { invalidateArrayRanges, invalidateWholeArray } from './array-invalidation.ts';
import type { CoherentMemory } from './coherent-memory.ts';
import type { PriResponse } from './command-batch.ts';
import { CommandQueue } from './command-queue.ts';
import { CommandStream, type QueueQuirks } from './command-stream.ts';
import { allocDeviceMemory, type DeviceMemory } from './device-memory.ts';
import { disableDevice, resetDevice } from './device-reset.ts';
import {
  type DomainUnit,
  invalidateDomain,
  invalidateDomainRanges,
} from './domain-invalidation.ts';
import type { DriverEvent } from './driver-event.ts';
import type { LogSink } from './driver-log.ts';
import type { DriverProfile } from './driver-profile.ts';
import { EventQueue } from './event-queue.ts';
import type { EventRecord } from './event-record.ts';
import { FixedDomainOps } from './fixed-domain.ts';
import { answerGlobalErrors } from './global-error-interrupt.ts';
import { type HardwareFeatures, probeHardware } from './hardware-features.ts';
import { IdSpace } from './id-space.ts';
import { type GuestSte, guestEntry } from './nested-entry.lanes.ts';
import { resumeResponse } from './page-request.ts';
import { PageRequestQueue } from './page-request-queue.ts';
import {
  DomainFlushOps,
  type DomainHost,
  type GatherPages,
  PagingDomainOps,
} from './paging-domain.ts';
import type { QueueWords } from './queue-words.lanes.ts';
import type { InvalidRange } from './range-invalidation.ts';
import { bypassRmrStreams, type RmrStreams, rmrRegions } from './rmr-stream.ts';
import {
  type AtsControl,
  type AttachTarget,
  type DeviceTraits,
  SmmuDevice,
  type SmmuSite,
} from './smmu-device.ts';
import { handleEvent } from './stalled-event.ts';
import type { StreamTable } from './stream-table.ts';

/** Codes of answers to page requests (`enum iommu_page_response_code`). */
const PAGE_RESPONSE: Readonly<Record<PageResponse, number>> = {
  success: 0,
  invalid: 1,
  failure: 2,
};
/** The same in CMD_PRI_RESP. */
const PRI_ANSWER: Readonly<Record<PageResponse, number>> = {
  success: PRI_RESPONSE.SUCCESS,
  invalid: PRI_RESPONSE.INVALID,
  failure: PRI_RESPONSE.FAILURE,
};
const MOST_ASID_BITS = 16;
/** The window that Linux reserves for doorbell mappings (`MSI_IOVA_BASE`, `MSI_IOVA_LENGTH`). */
const MSI_START = 0x800_0000;
const MSI_END = 0x810_0000;

/**
 * What the driver is composed of.
 * @example const driver = SmmuV3Driver.probe({ registers, memory, frames, coherent, platform, profile, pgtableProfile, gatherPages });
 */
export interface SmmuDriverParts {
  /** Both register pages of the SMMU. */
  readonly registers: MmioFrame;
  /** Memory as the CPU sees it. */
  readonly memory: MemoryView;
  /** Where page-table pages come from. */
  readonly frames: FrameAllocator;
  /** Where queues, stream tables and context descriptors come from. */
  readonly coherent: CoherentMemory;
  readonly platform: Platform;
  readonly profile: DriverProfile;
  readonly pgtableProfile: IoPgtableProfile;
  /** Core's gather: `(domain, gather, iova, granule, count) => core.gatherAddPages(...)`. */
  readonly gatherPages: GatherPages;
  readonly log?: LogSink;
  /**
   * True when somebody answered the event, which is then not printed. It runs inside the event thread, perhaps while a command list
   * waits for room: it must not map, unmap or attach.
   */
  readonly onEvent?: (record: EventRecord) => boolean;
  /** Takes the fault of a stalled transaction (core's fault routing): 0, or a negative errno. Absent: stalls are printed like others. */
  readonly reportFault?: (device: IommuDevice, fault: DeviceFault) => number;
  /** Beyond Linux: page requests go to `reportFault` as stalls do. Default: they are denied, as Linux denies them. */
  readonly pageRequests?: 'deny' | 'route';
  /** What a device and its firmware can do; absent: neither ATS nor stalls. */
  readonly traitsOf?: (device: IommuDevice) => DeviceTraits;
  /** Switches ATS in endpoints. */
  readonly ats?: AtsControl;
  /** What errata of this SMMU demand. */
  readonly quirks?: DriverQuirks;
  /** What firmware says of coherence; it counts more than IDR0. Absent: as IDR0 says. */
  readonly firmwareCoherent?: boolean;
  /** Memory that firmware left devices using: their streams pass from the first moment on. */
  readonly rmrs?: readonly RmrStreams[];
  /** What producers in several workers share of the command queue; each worker has a driver over the same memory and registers. */
  readonly queueWords?: QueueWords;
  /** Place of this SMMU among several; sorts invalidation arrays. */
  readonly order?: number;
  /** ASIDs, when several SMMUs share them as in Linux: `new IdSpace(1, 0xffff)`. */
  readonly asids?: IdSpace;
}

/**
 * What errata of an SMMU demand; absent is false.
 * @example const quirks: DriverQuirks = { skipPrefetch: true };
 */
export interface DriverQuirks extends QueueQuirks {
  /** CMD_PREFETCH_CONFIG is left out (`ARM_SMMU_OPT_SKIP_PREFETCH`). */
  readonly skipPrefetch?: boolean;
  /** SYNCs are waited for by CONS even where the SMMU could write an MSI (`disable_msipolling`). */
  readonly disableMsiPolling?: boolean;
}

/**
 * The SMMUv3 driver of Linux over registers and memory: probe and reset, stream table, context descriptors, stage 1, stage 2 and nested
 * domains, PASIDs, invalidation, events. PRI and MSIs stay unused where the hardware has them.
 * @example const driver = SmmuV3Driver.probe(parts); if (typeof driver !== 'number') core.probeDevice(device, driver);
 */
export class SmmuV3Driver implements IommuOps, DomainHost {
  readonly features: HardwareFeatures;
  readonly trace: TraceChannel<DriverEvent>;
  readonly cmdq: CommandQueue;
  readonly evtq: EventQueue;
  /** Null without page requests in the hardware. */
  readonly priq: PageRequestQueue | null;
  readonly strtab: StreamTable;
  readonly blockedDomain: IommuDomain;
  readonly #parts: SmmuDriverParts;
  /** Page requests that the page-fault layer has, and the stream that each came from. */
  readonly #routed = new WeakMap<DeviceFault, number>();
  readonly #asids: IdSpace;
  readonly #vmids: IdSpace;
  readonly #devices = new Map<number, SmmuDevice>();
  readonly #site: SmmuSite;
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
    const log: LogSink = parts.log ?? (() => {});
    const { registers, memory, coherent, profile, firmwareCoherent, rmrs } = parts;
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
    this.trace = new TraceChannel<DriverEvent>();
    this.#asids = parts.asids ?? new IdSpace(1, 2 ** MOST_ASID_BITS - 1);
    this.#vmids = new IdSpace(1, 2 ** features.vmidBits - 1);
    this.strtab = memory.strtab;
    const log: LogSink = parts.log ?? (() => {});
    const shared = {
      memory: parts.memory,
      registers: parts.registers,
      platform: parts.platform,
      trace: this.trace,
      log,
    };
    const quirks = parts.quirks ?? {};
    // Linux polls the SYNC itself where the SMMU writes MSIs that the CPU sees in its cache.
    const polls = features.msi && features.coherent && quirks.disableMsiPolling !== true;
    this.cmdq = new CommandQueue({
      ...shared,
      base: memory.cmdq.base,
      lg2: memory.cmdq.lg2,
      signal: polls ? 'msi' : 'sev',
      ...(parts.queueWords === undefined ? {} : { words: parts.queueWords }),
    });
    const stream = new CommandStream(this.cmdq, {
      forceSync: features.forceSync || quirks.forceSync === true,
      repeat: quirks.repeat === true && parts.profile.repeatErratum === 'known',
    });
    this.#site = {
      memory: parts.memory,
      coherent: parts.coherent,
      stream,
      profile: parts.profile,
      skipPrefetch: quirks.skipPrefetch === true,
      strtab: this.strtab,
      features,
      unit: {
        order: parts.order ?? 0,
        ranges: features.rangeInvalidation,
        e2h: false,
        rules: parts.profile,
        stream,
      },
      ...(parts.ats === undefined ? {} : { ats: parts.ats }),
    };
    this.#domainUnit = { ...this.#site.unit, ats: features.ats };
    this.blockedDomain = this.#fixedDomain('blocked');
    this.evtq = new EventQueue({
      ...shared,
      profile: parts.profile,
      base: memory.evtq.base,
      lg2: memory.evtq.lg2,
      handle: (record) => this.#handle(record),
      clientOf: (streamId) => this.deviceOfStream(streamId)?.name ?? null,
    });
    const { priq } = memory;
    const respond = (response: PriResponse): void => {
      stream.begin();
      stream.room().priResponse(response);
      stream.send();
    };
    this.priq =
      priq === null
        ? null
        : new PageRequestQueue({
            ...shared,
            base: priq.base,
            lg2: priq.lg2,
            respond,
            ...(parts.pageRequests === 'route'
              ? { route: (streamId: number, fault: DeviceFault) => this.#route(streamId, fault) }
              : {}),
          });
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
    const { registers, platform, log = () => {} } = this.#parts;
    const { strtab, cmdq, evtq, priq, features } = this;
    const { hyp, ats } = features;
    return resetDevice({ registers, platform, log, strtab, cmdq, evtq, priq, hyp, ats });
  }

  /** Switches the SMMU off (`arm_smmu_device_shutdown`): what comes then is up to GBPA. 0 or -ETIMEDOUT; `reset` brings it up again. */
  shutdown(): number {
    const { registers, platform, log = () => {} } = this.#parts;
    return disableDevice({ registers, platform, log });
  }

  /** What the interrupt of global errors calls: names them, replaces an illegal command, acknowledges. True when one was active. */
  globalErrorInterrupt(): boolean {
    const { registers, memory, log = () => {} } = this.#parts;
    const disable = (): void => void this.shutdown();
    return answerGlobalErrors({ registers, memory, log, queue: this.cmdq, disable });
  }

  probeDevice(device: IommuDevice): number {
    const { ids } = device.info;
    const { log, profile } = this.#parts;
    const streamIds = profile.streamOrder === 'ascending' ? ids.toSorted((a, b) => a - b) : ids;
    for (const id of new Set(streamIds)) {
      const errno = this.strtab.ensure(id);
      if (errno < 0) return errno;
      const other = this.#devices.get(id);
      if (other === undefined) continue;
      const { name } = other.device;
      if (profile.sharedStream === 'in-tree') {
        log?.({ level: 'warn', text: `stream ${id} already in tree from dev ${name}` });
        return -ERRNO.EINVAL;
      }
      const what = `Aliasing StreamID 0x${id.toString(16)} (from ${name})`;
      log?.({ level: 'warn', text: `${what} unsupported, expect DMA to be broken` });
      return -ERRNO.ENODEV;
    }
    const traits = this.#parts.traitsOf?.(device) ?? {};
    const known = new SmmuDevice({ device, streamIds, site: this.#site, traits });
    for (const id of known.distinct) this.#devices.set(id, known);
    device.priv = known;
    return 0;
  }

  releaseDevice(device: IommuDevice): void {
    const known = deviceOf(device);
    known.release();
    for (const id of known.distinct) this.#devices.delete(id);
    device.priv = null;
  }

  /** The device that sends a stream id, or undefined. */
  deviceOfStream(streamId: number): IommuDevice | undefined {
    return this.#devices.get(streamId)?.device;
  }

  domainAlloc(type: DomainType, _device: IommuDevice): IommuDomain | number {
    if (type === 'identity' || type === 'blocked') return this.#fixedDomain(type);
    if (type === 'sva') return -ERRNO.EOPNOTSUPP;
    return this.features.stage1
      ? this.#stageOneDomain(type, 'untracked')
      : this.#stageTwoDomain(type, false);
  }

  /**
   * A stage-1 domain whose dirty pages the SMMU marks itself (`IOMMU_HWPT_ALLOC_DIRTY_TRACKING`): -EOPNOTSUPP where it cannot, or the
   * kernel does not track.
   */
  allocDirtyTracking(): IommuDomain | number {
    const { stage1, dirtyState } = this.features;
    if (!stage1 || !dirtyState || !this.#parts.profile.dirtyTracking) return -ERRNO.EOPNOTSUPP;
    return this.#stageOneDomain('unmanaged', 'tracked');
  }

  /**
   * A stage-2 domain under which guests have their own stage 1 (`IOMMU_HWPT_ALLOC_NEST_PARENT`): -EOPNOTSUPP where the SMMU has not both
   * stages or the kernel does not nest.
   */
  allocNestParent(): IommuDomain | number {
    if (!this.features.nesting || !this.#nests) return -ERRNO.EOPNOTSUPP;
    return this.#stageTwoDomain('unmanaged', true);
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
    return fixed(
      'unmanaged',
      new FixedDomainOps({
        kind: 'nested',
        attach: (device) => this.#attach(device, { kind: 'nested', domain: ops, guest }),
      }),
    );
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
    const known = deviceOf(device);
    const { stream } = this.#site;
    stream.begin();
    const routed = this.#routed.get(fault);
    if (routed !== undefined) {
      const { pasid, grpid: group } = fault;
      const target = { streamId: routed, substreamId: pasid ?? 0, ssv: pasid !== null, group };
      stream.room().priResponse({ ...target, response: PRI_ANSWER[response] });
      stream.send();
      return;
    }
    const code = resumeResponse(PAGE_RESPONSE[response]);
    stream.room().resume(known.streamIds[0] ?? 0, fault.grpid, code);
    stream.send();
  }

  attachPaging(device: IommuDevice, domain: PagingDomainOps): number {
    if (domain.id === 0 && domain.stage === 1) {
      const asid = this.#allocAsid();
      if (asid < 0) return -ERRNO.EBUSY;
      domain.id = asid;
    }
    return this.#attach(device, { kind: 'paging', domain });
  }

  attachPasid(device: IommuDevice, pasid: number, domain: PagingDomainOps): number {
    const known = deviceOf(device);
    return known.site === this.#site ? known.attachPasid(pasid, domain) : -ERRNO.EINVAL;
  }

  invalidateAll(domain: PagingDomainOps): void {
    if (this.#parts.profile.invalidation === 'array') {
      invalidateWholeArray(domain.invs);
      return;
    }
    // A kernel that gives tags at attach has nothing to invalidate before.
    if (domain.id === 0) return;
    if (this.trace.on) this.trace.emit({ name: 'tlb_inv_context', asid: domain.id });
    invalidateDomain(this.#domainUnit, domain, domain.endpoints());
  }

  invalidateRanges(domain: PagingDomainOps, ranges: readonly InvalidRange[]): number {
    return this.#parts.profile.invalidation === 'array'
      ? invalidateArrayRanges(domain.invs, ranges)
      : invalidateDomainRanges(this.#domainUnit, domain, ranges, domain.endpoints());
  }

  releaseTag(domain: PagingDomainOps): void {
    if (domain.id !== 0) (domain.stage === 1 ? this.#asids : this.#vmids).free(domain.id);
    if (domain.sharedCd >= 0) this.#parts.coherent.free(domain.sharedCd, CD_BYTES);
  }

  get #nests(): boolean {
    return this.#parts.profile.steFields === 'mev-s2fwb';
  }

  #route(streamId: number, fault: DeviceFault): number {
    const device = this.deviceOfStream(streamId);
    if (device === undefined) return -ERRNO.EINVAL;
    // Before the report: whoever takes it may answer at once.
    this.#routed.set(fault, streamId);
    const errno = this.#parts.reportFault?.(device, fault) ?? -ERRNO.ENODEV;
    if (errno !== 0) this.#routed.delete(fault);
    return errno;
  }

  #handle(record: EventRecord): boolean {
    const { onEvent, reportFault, profile } = this.#parts;
    if (onEvent?.(record) === true) return true;
    if (reportFault === undefined) return false;
    const parties = {
      deviceOf: (streamId: number) => this.deviceOfStream(streamId),
      report: reportFault,
    };
    return handleEvent(record, parties, profile) === 0;
  }

  #attach(device: IommuDevice, target: AttachTarget): number {
    const known = deviceOf(device);
    return known.site === this.#site ? known.attach(target) : -ERRNO.EINVAL;
  }

  #allocAsid(): number {
    return this.#asids.alloc(2 ** this.features.asidBits - 1);
  }

  #fixedDomain(kind: 'identity' | 'blocked'): IommuDomain {
    const blocks = kind === 'blocked';
    return fixed(
      kind,
      new FixedDomainOps({
        kind,
        // Fixed domains are one for all SMMUs: the device knows its own.
        attach: (device) => deviceOf(device).attach({ kind }),
        ...(blocks ? { blockPasid: (device, pasid) => deviceOf(device).detachPasid(pasid) } : {}),
      }),
    );
  }

  #stageOneDomain(type: DomainType, dirtyPages: 'tracked' | 'untracked'): IommuDomain | number {
    const { features } = this;
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
    const ops = new PagingDomainOps({ id, stages: { stage: 1, table, dirty }, host: this });
    return this.#pagingDomain(type, ops, flush, features.ias);
  }

  #stageTwoDomain(type: DomainType, nestParent: boolean): IommuDomain | number {
    const { features } = this;
    const { memory, frames, pgtableProfile, gatherPages } = this.#parts;
    const flush = new DomainFlushOps(gatherPages);
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
    const ops = new PagingDomainOps({ id, stages, host: this });
    return this.#pagingDomain(type, ops, flush, features.oas);
  }

  #pagingDomain(
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
    return domain;
  }
}

function fixed(type: DomainType, ops: FixedDomainOps): IommuDomain {
  return new IommuDomain({
    type,
    ops,
    pgsizeBitmap: 0,
    apertureStart: 0,
    apertureEnd: 2 ** 64,
  });
}

function deviceOf(device: IommuDevice): SmmuDevice {
  const known = device.priv;
  if (!(known instanceof SmmuDevice)) throw new DeviceNotProbed({ device: device.name });
  return known;
}

/**
 * A device was used that no `probeDevice` of this driver accepted; code `DEVICE_NOT_PROBED`.
 * @example try { driver.releaseDevice(device); } catch (e) { (e as DeviceNotProbed).operands.device; }
 */
export class DeviceNotProbed extends IommuError<{ device: string }> {
  override readonly name = 'DeviceNotProbed';
  constructor(operands: { device: string }) {
    super('DEVICE_NOT_PROBED', operands, `${operands.device} is unknown`, 'Call core.probeDevice');
  }
}

import { IommuError } from '@iommukit/bits';
import {
  arm64LpaeS1,
  createPageTable,
  IOMMU_MMIO,
  IOMMU_NOEXEC,
  IOMMU_WRITE,
  type IoPgtableProfile,
} from '@iommukit/io-pgtable';
import {
  type DomainType,
  type IommuDevice,
  IommuDomain,
  type IommuOps,
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
import type { CoherentMemory } from './coherent-memory.ts';
import { CommandBatch } from './command-batch.ts';
import { CommandQueue } from './command-queue.ts';
import { cdUsedBits, stageOneCd } from './context-descriptor.lanes.ts';
import { resetDevice } from './device-reset.ts';
import type { DriverEvent } from './driver-event.ts';
import type { LogSink } from './driver-log.ts';
import type { DriverProfile } from './driver-profile.ts';
import { writeEntry } from './entry-writer.lanes.ts';
import { EventQueue } from './event-queue.ts';
import type { EventRecord } from './event-record.ts';
import { type HardwareFeatures, probeHardware } from './hardware-features.ts';
import { IdSpace } from './id-space.ts';
import {
  DomainFlushOps,
  type DomainHost,
  type DomainRange,
  FixedDomainOps,
  type GatherPages,
  PagingDomainOps,
} from './paging-domain.ts';
import { allocQueue, type QueueMemory } from './queue-memory.ts';
import { addRange } from './range-invalidation.ts';
import { clear, StreamTable } from './stream-table.ts';
import { abortSte, bypassSte, cdTableSte, steUsedBits } from './stream-table-entry.lanes.ts';

const CD_BYTES = 64;
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
   * True when somebody answered the event, which is then not printed. Absent: every event is printed. It runs inside the event
   * thread, perhaps while a command list waits for room: it must not map, unmap or attach.
   */
  readonly onEvent?: (record: EventRecord) => boolean;
}

/** The driver's own state of a device (`struct arm_smmu_master`). */
interface Master {
  readonly device: IommuDevice;
  /** The SMMU in front of the device. */
  readonly driver: SmmuV3Driver;
  /** As the firmware lists them; bridged functions may have duplicates. */
  readonly streamIds: readonly number[];
  readonly distinct: readonly number[];
  /** Physical address of its CD table, or -1 before the first stage-1 attach. */
  cdtab: number;
}

/**
 * The SMMUv3 driver of Linux over registers and memory: probe and reset, stream table, context descriptors, invalidation, events.
 * Stage 1 with one CD for each device. An SMMU with stage 2 alone is refused with a code; ATS, PRI, stalls, substreams, MSIs and the
 * EL2 regime (E2H) stay unused where the hardware has them.
 * @example const driver = SmmuV3Driver.probe(parts); if (typeof driver !== 'number') core.probeDevice(device, driver);
 */
export class SmmuV3Driver implements IommuOps, DomainHost {
  readonly features: HardwareFeatures;
  readonly trace: TraceChannel<DriverEvent>;
  readonly cmdq: CommandQueue;
  readonly evtq: EventQueue;
  readonly strtab: StreamTable;
  readonly #parts: SmmuDriverParts;
  readonly #asids: IdSpace;
  readonly #masters = new Map<number, Master>();
  readonly #batch = new CommandBatch();

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
    const features = probeHardware(parts.registers, parts.profile, log);
    if (typeof features === 'number') return features;
    if (!features.stage1)
      throw new UnmodelledFeature('UNMODELLED_STAGE2', {
        feature: 'an SMMU that has only stage 2',
      });
    const { memory, coherent } = parts;
    const cmdq = allocQueue(coherent, log, { name: 'cmdq', lg2: features.cmdqLg2, entryBytes: 16 });
    if (cmdq === null) return -ERRNO.ENOMEM;
    const evtq = allocQueue(coherent, log, { name: 'evtq', lg2: features.evtqLg2, entryBytes: 32 });
    if (evtq === null) {
      coherent.free(cmdq.base, cmdq.bytes);
      return -ERRNO.ENOMEM;
    }
    const strtab = StreamTable.create({
      memory,
      source: coherent,
      log,
      sidBits: features.sidBits,
      twoLevel: features.twoLevelStreamTable,
    });
    if (typeof strtab === 'number') {
      coherent.free(evtq.base, evtq.bytes);
      coherent.free(cmdq.base, cmdq.bytes);
      return strtab;
    }
    const found = { ...features, cmdqLg2: cmdq.lg2, evtqLg2: evtq.lg2 };
    return new SmmuV3Driver(parts, found, { cmdq, evtq, strtab });
  }

  private constructor(
    parts: SmmuDriverParts,
    features: HardwareFeatures,
    memory: {
      readonly cmdq: QueueMemory;
      readonly evtq: QueueMemory;
      readonly strtab: StreamTable;
    },
  ) {
    this.#parts = parts;
    this.features = features;
    this.trace = new TraceChannel<DriverEvent>();
    this.#asids = new IdSpace(1, 2 ** features.asidBits - 1);
    this.strtab = memory.strtab;
    const log: LogSink = parts.log ?? (() => {});
    const shared = {
      memory: parts.memory,
      registers: parts.registers,
      platform: parts.platform,
      trace: this.trace,
      log,
    };
    this.cmdq = new CommandQueue({ ...shared, base: memory.cmdq.base, lg2: memory.cmdq.lg2 });
    this.evtq = new EventQueue({
      ...shared,
      profile: parts.profile,
      base: memory.evtq.base,
      lg2: memory.evtq.lg2,
      handle: parts.onEvent ?? (() => false),
    });
  }

  get capabilities(): IommuOps['capabilities'] {
    return { cacheCoherency: this.features.coherent, deferredFlush: true, noexec: true };
  }

  /** Brings the SMMU from any state to translating with empty caches (`arm_smmu_device_reset`): 0 or -ETIMEDOUT. */
  reset(): number {
    const { registers, platform, log = () => {} } = this.#parts;
    const { strtab, cmdq, evtq, features } = this;
    return resetDevice({ registers, platform, log, strtab, cmdq, evtq, hyp: features.hyp });
  }

  probeDevice(device: IommuDevice): number {
    const { ids } = device.info;
    const { log, profile } = this.#parts;
    const streamIds = profile.streamOrder === 'ascending' ? ids.toSorted((a, b) => a - b) : ids;
    const distinct = [...new Set(streamIds)];
    for (const id of distinct) {
      const errno = this.strtab.ensure(id);
      if (errno < 0) return errno;
      const other = this.#masters.get(id);
      if (other === undefined) continue;
      log?.({ level: 'warn', text: `stream ${id} already in tree from dev ${other.device.name}` });
      return -ERRNO.EINVAL;
    }
    const master: Master = { device, driver: this, streamIds, distinct, cdtab: -1 };
    for (const id of distinct) this.#masters.set(id, master);
    device.priv = master;
    return 0;
  }

  releaseDevice(device: IommuDevice): void {
    const master = this.#masterOf(device);
    this.#attachFixed(device, 'blocked');
    for (const id of master.distinct) this.#masters.delete(id);
    if (master.cdtab >= 0) this.#parts.coherent.free(master.cdtab, CD_BYTES);
    device.priv = null;
  }

  /** The device that sends a stream id, or undefined. */
  deviceOfStream(streamId: number): IommuDevice | undefined {
    return this.#masters.get(streamId)?.device;
  }

  domainAlloc(type: DomainType, _device: IommuDevice): IommuDomain | number {
    const { features } = this;
    if (type === 'identity' || type === 'blocked') {
      return new IommuDomain({
        type,
        ops: new FixedDomainOps(type, (device) => this.#attachFixed(device, type)),
        pgsizeBitmap: 0,
        apertureStart: 0,
        apertureEnd: 2 ** 64,
      });
    }
    const { memory, frames, pgtableProfile, gatherPages } = this.#parts;
    const flush = new DomainFlushOps(gatherPages);
    const table = createPageTable(arm64LpaeS1, {
      pgsizeBitmap: features.pgsizeBitmap,
      ias: features.ias,
      oas: features.oas,
      coherentWalk: features.coherent,
      memory,
      frames,
      flush,
      profile: pgtableProfile,
    });
    // Whatever the table refused: Linux sees a null pointer.
    if (typeof table === 'number') return -ERRNO.ENOMEM;
    const asid = this.#asids.alloc();
    if (asid < 0) {
      table.free();
      return -ERRNO.EBUSY;
    }
    const ops = new PagingDomainOps({ asid, table, host: this });
    const domain = new IommuDomain({
      type,
      ops,
      pgsizeBitmap: table.pgsizeBitmap,
      apertureStart: 0,
      apertureEnd: 2 ** features.ias,
    });
    flush.bind(ops, domain, this);
    return domain;
  }

  getResvRegions(_device: IommuDevice): readonly ReservedRegion[] {
    const prot = IOMMU_WRITE + IOMMU_NOEXEC + IOMMU_MMIO;
    return [{ type: 'msi-software', start: MSI_START, end: MSI_END, prot }];
  }

  attachStageOne(device: IommuDevice, domain: PagingDomainOps): number {
    const master = this.#masterOf(device);
    if (master.driver !== this) return -ERRNO.EINVAL;
    const { coherent, memory } = this.#parts;
    if (master.cdtab < 0) {
      const cdtab = coherent.alloc(CD_BYTES);
      if (cdtab < 0) return -ERRNO.ENOMEM;
      clear(memory, cdtab, CD_BYTES);
      master.cdtab = cdtab;
    }
    // CD first: the STE makes it reachable.
    this.#writeCd(master, stageOneCd(domain.stageOne, domain.asid, { stall: false }));
    const ste = cdTableSte(master.cdtab, { s1Stalld: this.features.stalls });
    this.#installSte(master, ste);
    return 0;
  }

  invalidateAsid(asid: number): void {
    if (this.trace.on) this.trace.emit({ name: 'tlb_inv_context', asid });
    const batch = this.#batch;
    batch.reset();
    batch.tlbiNhAsid(asid);
    this.cmdq.issueSync(batch);
  }

  invalidateRange(domain: PagingDomainOps, range: DomainRange): void {
    if (range.size === 0) return;
    const batch = this.#batch;
    batch.reset();
    const scope = {
      asid: domain.asid,
      minPage: domain.minPage,
      rangeInvalidation: this.features.rangeInvalidation,
    };
    addRange(batch, this.cmdq, scope, range);
    this.cmdq.issueSync(batch);
  }

  releaseAsid(asid: number): void {
    this.#asids.free(asid);
  }

  #masterOf(device: IommuDevice): Master {
    const master = device.priv as Master | null;
    if (master === null) throw new DeviceNotProbed({ device: device.name });
    return master;
  }

  #attachFixed(device: IommuDevice, kind: 'identity' | 'blocked'): number {
    const master = this.#masterOf(device);
    const { driver } = master;
    const ste = kind === 'blocked' ? abortSte() : bypassSte(driver.features.attrTypesOverride);
    driver.#installSte(master, ste);
    // Nothing reaches the CD any more: clear it for the next attach.
    if (master.cdtab >= 0) driver.#writeCd(master, new Uint32Array(ste.length));
    return 0;
  }

  #writeCd(master: Master, cd: Uint32Array): void {
    const { memory } = this.#parts;
    const batch = this.#batch;
    const sync = (): void => {
      batch.reset();
      for (const id of master.streamIds) {
        if (batch.isFull) {
          this.cmdq.issue(batch);
          batch.reset();
        }
        batch.cfgiCd(id, 0);
      }
      this.cmdq.issueSync(batch);
    };
    writeEntry({ memory, pa: master.cdtab, usedBits: cdUsedBits, sync }, cd);
  }

  #installSte(master: Master, ste: Uint32Array): void {
    const { memory } = this.#parts;
    const batch = this.#batch;
    for (const id of master.distinct) {
      const sync = (): void => {
        batch.reset();
        batch.cfgiSte(id);
        this.cmdq.issueSync(batch);
      };
      writeEntry({ memory, pa: this.strtab.entry(id), usedBits: steUsedBits, sync }, ste);
      batch.reset();
      batch.prefetchConfig(id);
      this.cmdq.issue(batch);
    }
  }
}

/**
 * Hardware or a request that this driver does not model; the code names it (`UNMODELLED_STAGE2`).
 * @example try { SmmuV3Driver.probe(parts); } catch (e) { (e as UnmodelledFeature).code; }
 */
export class UnmodelledFeature extends IommuError<{ feature: string }> {
  override readonly name = 'UnmodelledFeature';
  constructor(code: string, operands: { feature: string }) {
    super(code, operands, `${operands.feature} is not modelled`, 'Use an SMMU with stage 1');
  }
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

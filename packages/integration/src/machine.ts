import { REGISTER_FRAME_BYTES } from '@iommukit/arm-arch';
import { IommuError } from '@iommukit/bits';
import { DmaApi, type DmaEvent, type FlushQueueSettings } from '@iommukit/dma-api';
import { type CoreEvent, type DefaultDomainType, IommuCore } from '@iommukit/iommu-core';
import {
  errnoName,
  FrameAllocator,
  type MemoryView,
  MmioBus,
  PhysicalMemory,
  SimPlatform,
  TraceChannel,
} from '@iommukit/platform';
import {
  type CoherentMemory,
  type EventRecord,
  type LogLine,
  type SmmuDriverParts,
  SmmuV3Driver,
} from '@iommukit/smmu-v3-driver';
import {
  type CachePolicy,
  type IdrWords,
  type InterruptLine,
  SmmuV3Model,
} from '@iommukit/smmu-v3-model';
import { IopfQueue, type IopfQueueParts } from '@iommukit/sva-pasid';
import type { KernelProfile } from './kernel-profile.ts';

const SMMU_BASE = 0x0905_0000;

/**
 * A physical memory map for a machine: RAM, and a pool for page-table pages; bytes.
 * @example const map: MemoryMap = { ram: { base: 0x4000_0000, size: 0x3000_0000 }, tables: { base: 0x1_0000_0000, size: 0x1000_0000 } };
 */
export interface MemoryMap {
  readonly ram: { readonly base: number; readonly size: number };
  /** Page-table pages; above RAM, so that the high lane of every address is used. */
  readonly tables: { readonly base: number; readonly size: number };
}

/**
 * How a machine handles page faults of devices.
 * @example const pageFaults: PageFaultOptions = { pageRequests: 'route', afterUs: 1_000_000 };
 */
export interface PageFaultOptions extends Omit<IopfQueueParts, 'name' | 'timeout'> {
  /** Page requests are denied, as Linux denies them (the default), or go the way of stalls. */
  readonly pageRequests?: 'deny' | 'route';
  /** Beyond Linux: groups that nobody answers are given up after so many microseconds. */
  readonly afterUs?: number;
}

/**
 * What a machine is made of.
 * @example const options: MachineOptions = { idr, profile: kernelProfile('6.12'), cpus: 1, memory: MEMORY_OF_CAPTURES };
 */
export interface MachineOptions {
  /** Raw ID words of the SMMU. */
  readonly idr: IdrWords;
  readonly profile: KernelProfile;
  readonly cpus: number;
  readonly memory: MemoryMap;
  /** Source of the driver's own queues and tables. Absent: the top of RAM. */
  readonly coherent?: CoherentMemory;
  readonly policy?: Partial<CachePolicy>;
  /** Type of the domains that devices get: `dma-fq` is lazy. Absent: `dma`. */
  readonly defaultDomainType?: DefaultDomainType;
  /** Changes to the flush queues of lazy domains. */
  readonly flushQueue?: FlushQueueSettings;
  /** What the CPU sees memory through, and what the SMMU does: a cache, an observer. Absent: memory itself. */
  readonly views?: {
    readonly cpu?: (memory: PhysicalMemory) => MemoryView;
    readonly device?: (memory: PhysicalMemory) => MemoryView;
  };
  readonly log?: (line: LogLine) => void;
  readonly onEvent?: (record: EventRecord) => boolean;
  /** Stalls go to core and a fault queue. Absent: they are printed like other events. */
  readonly pageFaults?: PageFaultOptions;
  /** What devices can do, and who switches their ATS. */
  readonly devices?: Pick<SmmuDriverParts, 'traitsOf' | 'ats'>;
  /** Decides when a wired interrupt reaches the driver, by calling `deliver`. Absent: at once. */
  readonly onInterrupt?: (line: InterruptLine, deliver: () => void) => void;
}

/**
 * The memory map of the captures: QEMU's `virt` machine with 768 MiB.
 * @example new Machine({ idr, profile, cpus: 1, memory: MEMORY_OF_CAPTURES });
 */
export const MEMORY_OF_CAPTURES: MemoryMap = {
  ram: { base: 0x4000_0000, size: 0x3000_0000 },
  tables: { base: 0x1_0000_0000, size: 0x1000_0000 },
};

/**
 * The machine composed of all layers: memory, the SMMU model on an MMIO bus, its driver, core and the DMA API. The driver is not
 * probed by the constructor: `boot` does that, so that listeners can be attached first.
 * @example const machine = new Machine(options); machine.boot(); machine.core.probeDevice(device, machine.driver);
 */
export class Machine {
  readonly memory: PhysicalMemory;
  readonly frames: FrameAllocator;
  readonly platform: SimPlatform;
  readonly model: SmmuV3Model;
  readonly core: IommuCore;
  readonly dma: DmaApi;
  /** Page faults of devices, where they are handled. */
  readonly faults: IopfQueue | null;
  readonly coreTrace: TraceChannel<CoreEvent> = new TraceChannel<CoreEvent>();
  readonly dmaTrace: TraceChannel<DmaEvent> = new TraceChannel<DmaEvent>();
  readonly #options: MachineOptions;
  #driver: SmmuV3Driver | null = null;

  constructor(options: MachineOptions) {
    this.#options = options;
    const { memory, profile, idr, cpus, flushQueue } = options;
    this.memory = new PhysicalMemory([memory.ram, memory.tables]);
    this.frames = new FrameAllocator(memory.tables);
    this.platform = new SimPlatform();
    this.model = new SmmuV3Model({
      memory: options.views?.device?.(this.memory) ?? this.memory,
      idr,
      ...(options.policy === undefined ? {} : { policy: options.policy }),
      onInterrupt: (line) => {
        if (options.onInterrupt === undefined) this.#interrupt(line);
        else options.onInterrupt(line, () => this.#interrupt(line));
      },
    });
    this.platform.register(this.model);
    this.faults = this.#faultQueue(options.pageFaults);
    this.core = new IommuCore({
      trace: this.coreTrace,
      profile: profile.core,
      defaultDomainType: options.defaultDomainType ?? 'dma',
    });
    this.dma = new DmaApi({
      core: this.core,
      platform: this.platform,
      cpus,
      profile: profile.dma,
      iovaProfile: profile.iova,
      trace: this.dmaTrace,
      ...(flushQueue === undefined ? {} : { flushQueue }),
    });
  }

  /** Its kernel has the two-step calls of the DMA layer. */
  get hasTwoStep(): boolean {
    return this.#options.profile.dma.twoStepDestroy !== 'absent';
  }

  /** The driver; throws before `boot`. */
  get driver(): SmmuV3Driver {
    if (this.#driver === null) throw new MachineError('NOT_BOOTED', { what: 'the driver' });
    return this.#driver;
  }

  /** Probes and resets the SMMU; throws {@link MachineError} with the errno when that fails. */
  boot(prepare?: (driver: SmmuV3Driver) => void): void {
    const { memory, profile, coherent, log, onEvent, views, devices } = this.#options;
    const bus = new MmioBus();
    bus.attach(SMMU_BASE, REGISTER_FRAME_BYTES, this.model.registers);
    const driver = SmmuV3Driver.create({
      registers: bus.frameAt(SMMU_BASE),
      memory: views?.cpu?.(this.memory) ?? this.memory,
      frames: this.frames,
      coherent: coherent ?? topOf(memory.ram),
      platform: this.platform,
      profile: profile.driver,
      pgtableProfile: profile.pgtable,
      gatherPages: (domain, gather, iova, granule, count) =>
        this.core.gatherAddPages(domain, gather, iova, granule, count),
      ...(log === undefined ? {} : { log }),
      ...(onEvent === undefined ? {} : { onEvent }),
      ...devices,
      ...this.#faultParts(),
    });
    if (typeof driver === 'number')
      throw new MachineError('PROBE_FAILED', { what: errnoName(driver) });
    this.#driver = driver;
    prepare?.(driver);
    const errno = driver.reset();
    if (errno < 0) throw new MachineError('PROBE_FAILED', { what: errnoName(errno) });
  }

  #interrupt(line: InterruptLine): void {
    if (line === 'eventq') this.#driver?.evtq.thread();
    else if (line === 'gerror') this.#driver?.globalErrorInterrupt();
    else if (line === 'priq') this.#driver?.priq?.thread();
  }

  #faultQueue(wanted: PageFaultOptions | undefined): IopfQueue | null {
    if (wanted === undefined) return null;
    const { afterUs, pageRequests: _way, ...parts } = wanted;
    const { clock } = this.platform;
    const name = `smmu3.0x${SMMU_BASE.toString(16)}`;
    return new IopfQueue({
      ...parts,
      name,
      ...(afterUs === undefined ? {} : { timeout: { clock, afterUs } }),
    });
  }

  #faultParts(): Partial<SmmuDriverParts> {
    const { pageFaults } = this.#options;
    if (pageFaults === undefined || this.faults === null) return {};
    return {
      reportFault: (device, fault) => this.core.reportDeviceFault(device, fault),
      faultQueue: this.faults,
      pageRequests: pageFaults.pageRequests ?? 'deny',
    };
  }
}

/** The last 64 MiB of RAM as the source of the driver's own memory. */
function topOf(ram: MemoryMap['ram']): FrameAllocator {
  const size = Math.min(0x400_0000, ram.size / 2);
  return new FrameAllocator({ base: ram.base + ram.size - size, size });
}

/**
 * The machine cannot be used; codes `NOT_BOOTED`, `PROBE_FAILED`.
 * @example try { machine.boot(); } catch (e) { (e as MachineError).operands.what; }
 */
export class MachineError extends IommuError<{ what: string }> {
  override readonly name = 'MachineError';
  constructor(code: string, operands: { what: string }) {
    super(
      code,
      operands,
      `the SMMU is not up: ${operands.what}`,
      'Boot the machine with ID words that the driver accepts',
    );
  }
}

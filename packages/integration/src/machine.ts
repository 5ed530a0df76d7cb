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
  SmmuV3Driver,
} from '@iommukit/smmu-v3-driver';
import { type CachePolicy, type IdrWords, SmmuV3Model } from '@iommukit/smmu-v3-model';
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
        if (line === 'eventq') this.#driver?.evtq.thread();
        else if (line === 'gerror') this.#driver?.globalErrorInterrupt();
        else if (line === 'priq') this.#driver?.priq?.thread();
      },
    });
    this.platform.register(this.model);
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
    const { memory, profile, coherent, log, onEvent, views } = this.#options;
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
    });
    if (typeof driver === 'number')
      throw new MachineError('PROBE_FAILED', { what: errnoName(driver) });
    this.#driver = driver;
    prepare?.(driver);
    const errno = driver.reset();
    if (errno < 0) throw new MachineError('PROBE_FAILED', { what: errnoName(errno) });
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

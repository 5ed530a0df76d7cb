import { IO_PGTABLE_PROFILES, IOMMU_READ, IOMMU_WRITE } from '@iommukit/io-pgtable';
import { IommuDevice, type IommuDomain } from '@iommukit/iommu-core';
import {
  FrameAllocator,
  type MemoryView,
  type MmioFrame,
  PhysicalMemory,
  SimPlatform,
} from '@iommukit/platform';
import {
  DRIVER_PROFILES,
  type DriverKernel,
  type LogLine,
  type SmmuDriverParts,
  SmmuV3Driver,
} from '@iommukit/smmu-v3-driver';
import { type InterruptLine, type ModelOptions, SmmuV3Model } from '@iommukit/smmu-v3-model';

const RAM = { base: 0x4000_0000, size: 0x3000_0000 };
export const POOL = { base: 0x4000_0000, size: 0x400_0000 };
export const COHERENT = { base: 0x4800_0000, size: 0x400_0000 };
/** Keeps whatever it may for as long as it may, and notices what it used too long. */
export const ADVERSARY = {
  tlb: 'keep',
  walk: 'keep',
  nested: 'both',
  config: 'keep',
  invalidate: 'at-sync',
  detectStale: true,
} as const;

export interface ModelRigOptions {
  readonly idr: ModelOptions['idr'];
  readonly kernel?: DriverKernel;
  /** Memory as the SMMU sees it. */
  readonly modelView?: (memory: MemoryView) => MemoryView;
  /** Memory as the driver sees it. */
  readonly driverView?: (memory: MemoryView) => MemoryView;
  readonly registers?: (frame: MmioFrame) => MmioFrame;
  /** Interrupts that reach nobody. */
  readonly lost?: readonly InterruptLine[];
  readonly parts?: Partial<SmmuDriverParts>;
}

/** The model of an SMMU and what drivers over it are probed with. */
export class ModelRig {
  readonly memory: PhysicalMemory = new PhysicalMemory([RAM]);
  readonly frames: FrameAllocator = new FrameAllocator(POOL);
  readonly coherent: FrameAllocator = new FrameAllocator(COHERENT);
  readonly platform: SimPlatform = new SimPlatform();
  readonly model: SmmuV3Model;
  readonly log: LogLine[] = [];
  readonly lost: Set<InterruptLine>;
  readonly #options: ModelRigOptions;
  #driver: SmmuV3Driver | null = null;

  constructor(options: ModelRigOptions) {
    this.#options = options;
    this.lost = new Set(options.lost ?? []);
    this.model = new SmmuV3Model({
      memory: options.modelView?.(this.memory) ?? this.memory,
      idr: options.idr,
      policy: ADVERSARY,
      onInterrupt: (line) => {
        if (this.lost.has(line)) return;
        if (line === 'gerror') this.#driver?.globalErrorInterrupt();
        if (line === 'eventq') this.#driver?.evtq.thread();
        if (line === 'priq') this.#driver?.priq?.thread();
      },
    });
    this.platform.register(this.model);
  }

  /** Probes: a driver, or an errno. A second call is another kernel on the same hardware. */
  probe(parts: Partial<SmmuDriverParts> = {}): SmmuV3Driver | number {
    const { kernel = '7.3', driverView, registers, parts: always } = this.#options;
    const made = SmmuV3Driver.create({
      registers: registers?.(this.model.registers) ?? this.model.registers,
      memory: driverView?.(this.memory) ?? this.memory,
      frames: this.frames,
      coherent: this.coherent,
      platform: this.platform,
      profile: DRIVER_PROFILES[kernel],
      pgtableProfile: IO_PGTABLE_PROFILES[kernel],
      gatherPages: (_domain, gather, iova, granule, count) => {
        gather.pgsize = granule;
        gather.addRange(iova, granule * count);
      },
      log: (line) => this.log.push(line),
      ...always,
      ...parts,
    });
    if (typeof made === 'number') return made;
    this.#driver = made;
    const errno = made.reset();
    return errno < 0 ? errno : made;
  }

  up(parts: Partial<SmmuDriverParts> = {}): SmmuV3Driver {
    const driver = this.probe(parts);
    if (typeof driver === 'number') throw new Error(`probe: ${driver}`);
    return driver;
  }

  lines(level: LogLine['level']): string[] {
    return this.log.filter((line) => line.level === level).map((line) => line.text);
  }

  /** Where a write of a stream goes: an address, or why not. */
  write(streamId: number, address: number): number | string {
    const found = this.model.translate({ streamId, address: { lo: address, hi: 0 }, rw: 'write' });
    if (found.outcome === 'ok' || found.outcome === 'bypass') return found.paddr;
    if (found.outcome === 'abort') return found.reason;
    return found.outcome === 'fault' ? found.event.event : found.outcome;
  }
}

/** A register frame that tells of every write after it took effect. */
export function observedFrame(
  frame: MmioFrame,
  onWrite: (offset: number, lo: number) => void,
): MmioFrame {
  return {
    get hi() {
      return frame.hi;
    },
    read32: (offset) => frame.read32(offset),
    read64: (offset) => frame.read64(offset),
    write32(offset, value) {
      frame.write32(offset, value);
      onWrite(offset, value);
    },
    write64(offset, lo, hi) {
      frame.write64(offset, lo, hi);
      onWrite(offset, lo);
    },
  };
}

export function probed(driver: SmmuV3Driver, name: string, ids: readonly number[]): IommuDevice {
  const device = new IommuDevice({ name, ids, groupKey: name });
  const errno = driver.probeDevice(device);
  if (errno < 0) throw new Error(`probe ${name}: ${errno}`);
  return device;
}

/** A domain with one page of 4 KiB mapped, and the device attached to it. */
export function attached(
  driver: SmmuV3Driver,
  device: IommuDevice,
  page: { readonly iova: number; readonly paddr: number },
): IommuDomain {
  const domain = driver.domainAlloc('dma', device);
  if (typeof domain === 'number') throw new Error(`domain: ${domain}`);
  domain.ops.mapPages(page.iova, page.paddr, 0x1000, 1, IOMMU_READ + IOMMU_WRITE);
  const errno = domain.ops.attachDev(device, null);
  if (errno < 0) throw new Error(`attach: ${errno}`);
  return domain;
}

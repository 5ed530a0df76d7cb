import { IO_PGTABLE_PROFILES } from '@iommukit/io-pgtable';
import { IommuDevice, type IommuDomain } from '@iommukit/iommu-core';
import { FrameAllocator, type MemoryView, PhysicalMemory, SimPlatform } from '@iommukit/platform';
import {
  type CoherentMemory,
  DRIVER_PROFILES,
  type DriverEvent,
  type DriverProfile,
  type EventRecord,
  type LogLine,
  type SmmuDriverParts,
  SmmuV3Driver,
} from '../src/index.ts';
import { FakeSmmu, type IdWords, QEMU_IDS } from './fake-smmu.lanes.ts';

// Not whole MiB, so that memory comes in blocks of 64 KiB: a machine zeroes fewer bytes.
export const RAM = { base: 0x4000_0000, size: 0x2fff_0000 };
const POOL = { base: 0x4800_0000, size: 0x1000_0000 };
const COHERENT = { base: 0x6000_0000, size: 0x1000_0000 };

export interface RigOptions {
  readonly ids?: IdWords;
  readonly coherent?: CoherentMemory;
  readonly frames?: FrameAllocator;
  readonly profile?: Partial<DriverProfile>;
  readonly onEvent?: (record: EventRecord) => boolean;
  readonly view?: (memory: MemoryView) => MemoryView;
  readonly parts?: Partial<SmmuDriverParts>;
}

/** A fake SMMU, memory, and what a driver is probed with. */
export class Rig {
  readonly memory: PhysicalMemory = new PhysicalMemory([RAM]);
  readonly frames: FrameAllocator;
  readonly coherentPool: FrameAllocator = new FrameAllocator(COHERENT);
  readonly platform: SimPlatform = new SimPlatform();
  readonly smmu: FakeSmmu;
  readonly log: LogLine[] = [];
  readonly lists: Extract<DriverEvent, { name: 'cmdlist' }>[] = [];
  readonly events: DriverEvent[] = [];
  readonly #options: RigOptions;

  constructor(options: RigOptions = {}) {
    this.#options = options;
    this.frames = options.frames ?? new FrameAllocator(POOL);
    this.smmu = new FakeSmmu(this.memory, options.ids ?? QEMU_IDS);
    this.platform.register(this.smmu);
  }

  create(): SmmuV3Driver | number {
    const { coherent = this.coherentPool, profile, onEvent, view, parts } = this.#options;
    const driver = SmmuV3Driver.create({
      registers: this.smmu,
      memory: view?.(this.memory) ?? this.memory,
      frames: this.frames,
      coherent,
      platform: this.platform,
      profile: { ...DRIVER_PROFILES['6.12'], ...profile },
      pgtableProfile: IO_PGTABLE_PROFILES['6.12'],
      gatherPages: (_domain, gather, iova, granule, count) => {
        gather.pgsize = granule;
        gather.addRange(iova, granule * count);
      },
      log: (line) => this.log.push(line),
      ...(onEvent === undefined ? {} : { onEvent }),
      ...parts,
    });
    if (typeof driver !== 'number')
      driver.trace.listen((event) => {
        this.events.push(event);
        if (event.name === 'cmdlist') this.lists.push(event);
      });
    return driver;
  }

  /** A driver that is up; what probing issued is forgotten. */
  up(): SmmuV3Driver {
    const driver = this.create();
    if (typeof driver === 'number') throw new Error(`create: ${driver}`);
    const errno = driver.reset();
    if (errno < 0) throw new Error(`reset: ${errno}`);
    this.forget();
    return driver;
  }

  forget(): void {
    this.log.length = 0;
    this.lists.length = 0;
    this.events.length = 0;
    this.smmu.commands.length = 0;
    this.smmu.writes.length = 0;
  }

  /** The lists issued so far as the captures print them: n, sync, c0d0, c0d1. */
  listLines(): string[] {
    return this.lists.map(({ n, sync, first: [a, b, c, d] }) => {
      const q = (lo: number, hi: number): string =>
        `0x${(BigInt(hi) * 2n ** 32n + BigInt(lo)).toString(16)}`;
      return `n=${n} sync=${sync} c0d0=${q(a, b)} c0d1=${q(c, d)}`;
    });
  }

  /** Doublewords of memory. */
  words(pa: number, count: number): bigint[] {
    return Array.from({ length: count }, (_, i) => {
      const lo = this.memory.load64(pa + i * 8);
      return BigInt(this.memory.hi) * 2n ** 32n + BigInt(lo);
    });
  }
}

export function device(name: string, ids: readonly number[]): IommuDevice {
  return new IommuDevice({ name, ids, groupKey: name, isPci: true });
}

export function probed(driver: SmmuV3Driver, name: string, ids: readonly number[]): IommuDevice {
  const dev = device(name, ids);
  const errno = driver.probeDevice(dev);
  if (errno < 0) throw new Error(`probe ${name}: ${errno}`);
  return dev;
}

export function domainOf(
  driver: SmmuV3Driver,
  dev: IommuDevice,
  type: IommuDomain['type'] = 'dma',
): IommuDomain {
  const domain = driver.domainAlloc(type, dev);
  if (typeof domain === 'number') throw new Error(`domain: ${domain}`);
  return domain;
}

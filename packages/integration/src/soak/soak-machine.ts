/* The machine of a soak: seven devices behind one SMMU that keeps whatever it may, four CPUs, one cache. */
import { REGISTER_OFFSET } from '@iommukit/arm-arch';
import {
  DmaApi,
  DmaDebug,
  type DmaDevice,
  type DmaDirection,
  type DmaEvent,
  Swiotlb,
} from '@iommukit/dma-api';
import { IommuDevice } from '@iommukit/iommu-core';
import { FrameAllocator, type MemoryView, NonCoherentView, TraceChannel } from '@iommukit/platform';
import type { EventRecord } from '@iommukit/smmu-v3-driver';
import { CACHE_EVERYTHING, encodeFeatures, FEATURE_PRESETS } from '@iommukit/smmu-v3-model';
import { kernelProfile } from '../kernel-profile.ts';
import { Machine, MachineError, MEMORY_OF_CAPTURES } from '../machine.ts';
import { SoakDigest } from './soak-digest.ts';
import { SOAK_CPUS } from './soak-operation.ts';
import { SoakRanges } from './soak-ranges.ts';
import { SoakSpace } from './soak-space.ts';
import { SoakTwin } from './soak-twin.ts';
import { FirstViolation } from './soak-violation.ts';

const { CMDQ_PROD, CMDQ_CONS } = REGISTER_OFFSET;
const KERNEL = '7.3';
const PAGE = 4096;
const LINE = 64;
const POISON = 0xa5a5a5a5;
const MAX_PASIDS = 1024;

/** Memory that drivers get their buffers from, and bounce slots: below the SMMU driver's own. */
const DATA = { base: 0x4800_0000, size: 0x40_0000 } as const;
const SLOTS = { base: 0x6000_0000, size: 0x20_0000 } as const;

interface DeviceRow {
  readonly name: string;
  readonly coherent: boolean;
  readonly domain: 'strict' | 'lazy';
  readonly untrusted?: true;
  readonly pasids?: true;
  readonly stall?: true;
}

/** The first five are those of the streaming operations. */
const ROWS: readonly DeviceRow[] = [
  { name: '0000:00:01.0', coherent: true, domain: 'strict' },
  { name: '0000:00:02.0', coherent: false, domain: 'strict' },
  { name: '0000:00:03.0', coherent: true, domain: 'strict', untrusted: true },
  { name: '0000:00:04.0', coherent: true, domain: 'lazy' },
  { name: '0000:00:05.0', coherent: false, domain: 'lazy' },
  { name: '0000:00:06.0', coherent: true, domain: 'strict', pasids: true },
  { name: 'accelerator', coherent: true, domain: 'strict', pasids: true, stall: true },
];

/** Indices of the devices with PASIDs. */
export const PASID_DEVICE = 5;
export const STALL_DEVICE = 6;

/** One device with all that is known of its DMA. */
export interface SoakDevice {
  readonly index: number;
  readonly streamId: number;
  readonly device: IommuDevice;
  readonly dev: DmaDevice;
  readonly lazy: boolean;
  /** What it reads and writes: the cache of the CPUs, or memory behind it. */
  readonly view: MemoryView;
  readonly space: SoakSpace;
  readonly ranges: SoakRanges;
}

/**
 * All that operations work on: the machine, its devices, and what is known of them beside the layers.
 * @example runSoak({ seed: 1, steps: 100, prepare: (on) => { on.device(0).dev.domain.ops.iotlbSync = () => {}; } }).ok // false
 */
export class SoakMachine {
  readonly machine: Machine;
  readonly cpu: NonCoherentView;
  readonly api: DmaApi;
  readonly debug: DmaDebug;
  readonly swiotlb: Swiotlb;
  readonly frames: FrameAllocator = new FrameAllocator(DATA);
  readonly twin: SoakTwin = new SoakTwin(DATA);
  readonly devices: readonly SoakDevice[];
  readonly digest: SoakDigest = new SoakDigest();
  readonly violation: FirstViolation = new FirstViolation();
  /** Uses of stale entries by devices of lazy domains, before the flush. */
  pendingUses = 0;
  /** Events that the driver took. */
  events = 0;

  constructor() {
    this.machine = this.#machine();
    const { machine } = this;
    machine.boot();
    this.cpu = new NonCoherentView(machine.memory);
    const { dma: profile, iova: iovaProfile } = kernelProfile(KERNEL);
    this.debug = new DmaDebug({ profile, errors: 'all' });
    const { platform, core } = machine;
    this.swiotlb = new Swiotlb({ ...SLOTS, memory: this.cpu, platform, cpus: SOAK_CPUS });
    this.api = new DmaApi({
      core,
      platform,
      cpus: SOAK_CPUS,
      profile,
      iovaProfile,
      trace: new TraceChannel<DmaEvent>(),
      caches: {
        forDevice: (paddr, size) => this.cpu.clean(paddr, size),
        forCpu: (paddr, size, dir) => this.#forCpu(paddr, size, dir),
      },
      bounce: this.swiotlb,
      flushQueue: { size: 16 },
      checking: true,
      debug: this.debug,
      memory: { frames: this.frames, view: this.cpu, atomicPool: 0 },
    });
    this.#watchTableFrames();
    this.#watchDataFrames();
    this.devices = ROWS.map((row, index) => this.#device(row, index));
  }

  /** A device by its index; there is always one. */
  device(index: number): SoakDevice {
    return this.devices[index] as SoakDevice;
  }

  /** Where a device's read or write ends up, by the SMMU: an address or -1. No event is recorded. */
  reach(device: SoakDevice, iova: number, rw: 'read' | 'write'): number {
    const offset = iova % PAGE;
    const write = rw === 'write' ? 1 : 0;
    const page = this.machine.model.translateFast(device.streamId, iova - offset, write);
    return page < 0 ? -1 : page + offset;
  }

  /** The driver has got no command out that the SMMU has not taken. */
  get drained(): boolean {
    const { registers } = this.machine.model;
    return registers.read32(CMDQ_PROD) === registers.read32(CMDQ_CONS);
  }

  #machine(): Machine {
    return new Machine({
      idr: encodeFeatures({
        ...FEATURE_PRESETS['qemu-11-nested'],
        oas: 48,
        ssidSize: 10,
        sidSize: 5,
        cd2l: true,
        stallModel: 0,
        stallMax: 16,
      }),
      profile: kernelProfile(KERNEL),
      cpus: SOAK_CPUS,
      memory: MEMORY_OF_CAPTURES,
      policy: { ...CACHE_EVERYTHING, staleLimit: 64 },
      pageFaults: {},
      onEvent: (record) => this.#event(record),
      devices: {
        traitsOf: ({ name }) => ({ stall: ROWS.some((row) => row.name === name && row.stall) }),
      },
    });
  }

  #event({ code, streamId, substreamId, words }: EventRecord): boolean {
    const { digest } = this;
    this.events++;
    digest.add(code);
    digest.add(streamId);
    digest.add(substreamId ?? -1);
    for (const { lo, hi } of words) {
      digest.add(lo);
      digest.add(hi);
    }
    return false;
  }

  #device(row: DeviceRow, index: number): SoakDevice {
    const { core, driver } = this.machine;
    const streamId = 8 + index;
    const device = new IommuDevice({
      name: row.name,
      ids: [streamId],
      groupKey: row.name,
      isPci: row.stall !== true,
      untrusted: row.untrusted === true,
      ...(row.pasids === true ? { maxPasids: MAX_PASIDS } : {}),
    });
    const errno = core.probeDevice(device, driver);
    if (errno !== 0) throw new MachineError('NOT_BOOTED', { what: `probe: ${errno}` });
    const dev = this.api.setupDevice(device, {
      dmaBits: 64,
      coherentDmaBits: 64,
      coherent: row.coherent,
      maxSegSize: index % 2 === 0 ? 0x1_0000 : 0x2000,
      // As NVMe: slots keep the place in a page, which bounced two-step mappings need.
      minAlignMask: row.untrusted === true ? PAGE - 1 : 0,
    });
    const { group } = device;
    if (group === null || dev.space === null)
      throw new MachineError('NOT_BOOTED', { what: 'no IOVA space' });
    const lazy = row.domain === 'lazy';
    if (lazy) core.setGroupType(group, 'dma-fq', (domain) => this.api.initFlushQueue(domain));
    const space = new SoakSpace(dev.domain);
    const ranges = new SoakRanges(
      dev.space.iovad,
      (pfn, pages) => this.#freeing(index, pfn, pages),
      (text) => this.violation.report('leak', `${row.name}: ${text}`),
    );
    const view = row.coherent ? this.cpu : this.machine.memory;
    return { index, streamId, device, dev, lazy, view, space, ranges };
  }

  /** An IOVA range may be handed out again: nobody may reach anything through it. */
  #freeing(index: number, pfn: number, pages: number): void {
    const device = this.device(index);
    if (!this.drained) this.violation.report('reuse', `pfn ${pfn} goes back before a SYNC is done`);
    for (let i = 0; i < pages; i++) {
      const at = this.reach(device, (pfn + i) * PAGE, 'read');
      if (at >= 0)
        this.violation.report(
          'reuse',
          `${device.device.name}: IOVA 0x${((pfn + i) * PAGE).toString(16)} goes back while it reaches 0x${at.toString(16)}`,
        );
    }
  }

  /** Freed table pages get a content that no walk may see. */
  #watchTableFrames(): void {
    const { frames, memory } = this.machine;
    const free = frames.free.bind(frames);
    frames.free = (pa, bytes) => {
      if (!this.drained)
        this.violation.report('reuse', `table 0x${pa.toString(16)} is freed before a SYNC is done`);
      free(pa, bytes);
      for (let at = pa; at < pa + bytes; at += PAGE) memory.lanes(at)?.fill(POISON);
    };
  }

  #watchDataFrames(): void {
    const { frames, twin } = this;
    const alloc = frames.alloc.bind(frames);
    frames.alloc = (bytes) => {
      const pa = alloc(bytes);
      if (pa >= 0) for (let at = 0; at < bytes; at += PAGE) twin.use(pa + at);
      return pa;
    };
  }

  #forCpu(paddr: number, size: number, dir: DmaDirection): void {
    if (dir === 'TO_DEVICE') return;
    // Lines at the ends may hold a neighbour's bytes.
    if (paddr % LINE !== 0) this.cpu.clean(paddr, 1);
    if ((paddr + size) % LINE !== 0) this.cpu.clean(paddr + size - 1, 1);
    this.cpu.invalidate(paddr, size);
  }
}

import type { U64 } from '@iommukit/bits';
import { IommuDevice } from '@iommukit/iommu-core';
import { FrameAllocator } from '@iommukit/platform';
import type { DeviceTraits, LogLine } from '@iommukit/smmu-v3-driver';
import {
  CACHE_EVERYTHING,
  type CachePolicy,
  Endpoint,
  encodeFeatures,
  FEATURE_PRESETS,
  type Features,
  type InterruptLine,
  type StallEnd,
  type StalledTransaction,
} from '@iommukit/smmu-v3-model';
import {
  IOMMU_FIRST_GLOBAL_PASID,
  PASID_MAX,
  PasidAllocator,
  SvaBinder,
} from '@iommukit/sva-pasid';
import { kernelProfile, Machine, type PageFaultOptions } from '../src/index.ts';
import { DemandPagedMm } from '../src/mm/demand-paged-mm.ts';
import { PageFrames } from '../src/mm/page-frames.ts';

export const PAGE = 4096;
const MEMORY = {
  ram: { base: 0x4000_0000, size: 0x3000_0000 },
  tables: { base: 0x1_0000_0000, size: 0x1000_0000 },
};
/** Page-table pages of processes, and their pages: below what the driver takes from the top of RAM. */
const TABLE_POOL = { base: 0x4000_0000, size: 0x100_0000 };
const PAGE_POOL = 0x4200_0000;

export const SVA_FEATURES: Features = {
  ...FEATURE_PRESETS['qemu-11-nested'],
  oas: 48,
  ssidSize: 16,
  cd2l: true,
  stallModel: 0,
  stallMax: 16,
  ats: true,
  pri: true,
  pps: true,
  priqMaxLg2: 4,
};

export interface SvaRigOptions {
  readonly features?: Partial<Features>;
  readonly kernel?: string;
  /** How devices fault; default: they stall. */
  readonly by?: 'stall' | 'pri';
  /** Frames for pages of processes; default 256. */
  readonly frames?: number;
  readonly pageFaults?: PageFaultOptions;
  /** Interrupts that wait for `deliver`. */
  readonly held?: readonly InterruptLine[];
  readonly policy?: Partial<CachePolicy>;
}

/** A machine whose SMMU keeps all it may, with processes over demand-paged memory. */
export class SvaRig {
  readonly machine: Machine;
  readonly binder: SvaBinder;
  readonly pageFrames: PageFrames;
  readonly pagePool: FrameAllocator;
  readonly tableFrames: FrameAllocator = new FrameAllocator(TABLE_POOL);
  readonly log: LogLine[] = [];
  readonly warnings: string[] = [];
  readonly held: Set<InterruptLine>;
  readonly #by: 'stall' | 'pri';
  readonly #waiting: (() => void)[] = [];

  constructor(options: SvaRigOptions = {}) {
    const { features, kernel = '7.3', by = 'stall', frames = 256, pageFaults } = options;
    this.#by = by;
    this.held = new Set(options.held ?? []);
    const traits: DeviceTraits = by === 'stall' ? { stall: true } : { ats: true };
    this.machine = new Machine({
      idr: encodeFeatures({ ...SVA_FEATURES, ...features }),
      profile: kernelProfile(kernel),
      cpus: 1,
      memory: MEMORY,
      policy: { ...CACHE_EVERYTHING, ...options.policy },
      log: (line) => this.log.push(line),
      pageFaults: {
        warn: (text) => this.warnings.push(text),
        pageRequests: by === 'pri' ? 'route' : 'deny',
        ...pageFaults,
      },
      devices: { traitsOf: () => traits },
      onInterrupt: (line, deliver) => {
        if (this.held.has(line)) this.#waiting.push(deliver);
        else deliver();
      },
    });
    this.machine.boot();
    this.pagePool = new FrameAllocator({ base: PAGE_POOL, size: frames * PAGE });
    this.pageFrames = new PageFrames(this.machine.memory, this.pagePool);
    const space = { first: IOMMU_FIRST_GLOBAL_PASID, last: PASID_MAX, order: 'lowest' } as const;
    this.binder = new SvaBinder(this.machine.core, new PasidAllocator(space));
  }

  /** Uses of what a command should have removed; while one is under way, old and new may be used. */
  get staleUses() {
    return this.machine.model.staleUses.filter((use) => use.class !== 'pending');
  }

  get faults() {
    const { faults } = this.machine;
    if (faults === null) throw new Error('no fault queue');
    return faults;
  }

  /** Interrupts that waited reach the driver. */
  deliver(): number {
    const waiting = this.#waiting.splice(0);
    for (const deliver of waiting) deliver();
    return waiting.length;
  }

  device(id: number, maxPasids = 2 ** 16): IommuDevice {
    const name = `0000:00:0${id}.0`;
    const device = new IommuDevice({ name, ids: [id], groupKey: name, maxPasids });
    const errno = this.machine.core.probeDevice(device, this.machine.driver);
    if (errno !== 0) throw new Error(`probe: ${errno}`);
    return device;
  }

  process(): DemandPagedMm {
    const { tableFrames, pageFrames: frames } = this;
    return new DemandPagedMm({ memory: this.machine.memory, tableFrames, frames });
  }

  engine(device: IommuDevice): DmaEngine {
    return new DmaEngine(this, device.info.ids[0] as number, this.#by);
  }
}

export type Access = { readonly pasid?: number; readonly address: number };
/** What a job has come to: a value that was read, `written`, `refused`, or that it waits still. */
export type JobState = U64 | 'written' | 'refused' | 'waiting';

export interface Job {
  readonly access: Access;
  readonly value: U64 | null;
  state: JobState;
  /** Answers that it got to page requests. */
  answers: string[];
}

/** A device that reads and writes doublewords by DMA, and goes on where a fault was repaired. */
export class DmaEngine {
  readonly endpoint: Endpoint;
  /** Page requests sent, and answers to them. */
  requests = 0;
  answers = 0;
  stalls = 0;
  resumed = 0;
  readonly #rig: SvaRig;
  readonly #jobs: Job[] = [];
  /** Jobs that wait for a page, by group. */
  readonly #groups = new Map<number, Job>();

  constructor(rig: SvaRig, streamId: number, by: 'stall' | 'pri') {
    this.#rig = rig;
    const smmu = rig.machine.model;
    const pri = by === 'pri';
    this.endpoint = new Endpoint({ smmu, streamId, ats: pri, pri });
    // A retry that translates moves its data then and there: later its page may be another's.
    this.endpoint.stallEnded = (transaction, end) => this.#ended(transaction, end);
  }

  read(access: Access): Job {
    return this.#start({ access, value: null, state: 'waiting', answers: [] });
  }

  write(access: Access, lo: number): Job {
    return this.#start({ access, value: { lo, hi: 0 }, state: 'waiting', answers: [] });
  }

  /** Jobs without an end. */
  get waiting(): number {
    return this.#jobs.filter(({ state }) => state === 'waiting').length;
  }

  /** Takes answers to page requests, and goes on; true when there were any. */
  step(): boolean {
    const responses = this.endpoint.pageResponses.splice(0);
    for (const { group, code } of responses) {
      this.answers++;
      const job = this.#groups.get(group);
      if (job === undefined) throw new Error(`an answer to group ${group}, which waits for none`);
      this.#groups.delete(group);
      job.answers.push(String(code));
      if (code === 0) this.#go(job);
      else job.state = 'refused';
    }
    this.#forget();
    return responses.length > 0;
  }

  /** Runs fault work and the device until nothing moves. */
  settle(): void {
    let steps = 0;
    for (let moved = true; moved; steps++) {
      if (steps > 10_000) throw new Error('the device never comes to rest');
      moved = this.#rig.faults.step();
      if (this.step()) moved = true;
    }
    this.#forget();
  }

  #start(job: Job): Job {
    this.#jobs.push(job);
    this.#go(job);
    this.step();
    return job;
  }

  #ended({ access }: StalledTransaction, end: StallEnd): void {
    const { substreamId, address } = access;
    const job = this.#jobs.find(
      (each) => each.state === 'waiting' && sameAccess(each.access, substreamId, address),
    );
    if (job === undefined) throw new Error('an end without a job');
    this.resumed++;
    if (end.outcome === 'ok') this.#move(job, end.paddr);
    else job.state = 'refused';
  }

  #go(job: Job): void {
    const { pasid, address } = job.access;
    const { endpoint } = this;
    const rw = job.value === null ? 'read' : 'write';
    const sent = endpoint.access({
      ...(pasid === undefined ? {} : { substreamId: pasid }),
      address: lanes(address),
      rw,
    });
    if (sent.via === 'page-requested') {
      this.requests++;
      // Its answer may be there already: the SMMU answers what overflow loses.
      this.#groups.set(sent.group, job);
      return;
    }
    if (sent.via !== 'untranslated' && sent.via !== 'translated') {
      job.state = 'refused';
      return;
    }
    const { result } = sent;
    if (result.outcome === 'stall') this.stalls++;
    else if (result.outcome === 'ok' || result.outcome === 'bypass') this.#move(job, result.paddr);
    else job.state = 'refused';
  }

  #move(job: Job, paddr: number): void {
    const { memory } = this.#rig.machine;
    if (job.value === null) {
      const lo = memory.load64(paddr);
      job.state = { lo, hi: memory.hi };
    } else {
      memory.store64(paddr, job.value.lo, job.value.hi);
      job.state = 'written';
    }
  }

  #forget(): void {
    for (let i = this.#jobs.length - 1; i >= 0; i--)
      if (this.#jobs[i]?.state !== 'waiting') this.#jobs.splice(i, 1);
  }
}

function lanes(address: number): U64 {
  return { lo: address % 2 ** 32, hi: Math.floor(address / 2 ** 32) };
}

function sameAccess(access: Access, ssid: number | undefined, address: U64): boolean {
  const { lo, hi } = lanes(access.address);
  return access.pasid === ssid && address.lo === lo && address.hi === hi;
}

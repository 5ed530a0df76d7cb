/* The SMMU of a worker soak and its device, one thread: it takes commands, and reads pages whose state it knows. */
import { IommuCore, IommuDevice } from '@iommukit/iommu-core';
import { createPrng, SimPlatform, TraceChannel } from '@iommukit/platform';
import { SmmuV3Driver } from '@iommukit/smmu-v3-driver';
import {
  CACHE_EVERYTHING,
  encodeFeatures,
  FEATURE_PRESETS,
  SmmuV3Model,
} from '@iommukit/smmu-v3-model';
import { kernelProfile } from '../kernel-profile.ts';
import { MachineError } from '../machine.ts';
import {
  iovaOf,
  PAGE_PHASE,
  QUEUE_LG2,
  QUEUE_REGISTERS,
  type QueuePlace,
  type SharedBuffers,
  ThreadPlatform,
  targetOf,
  WorkerWorld,
} from './worker-world.ts';

const STREAM = 8;
/** Accesses of the device between two looks at the queue. */
const ACCESSES = 16;
const { prod: PROD, cons: CONS } = QUEUE_REGISTERS;

/** What the SMMU's thread is told. */
export interface SmmuTask {
  readonly role: 'smmu';
  readonly buffers: SharedBuffers;
  readonly seed: number;
}

/** What it answers in the end. */
export interface SmmuAnswer {
  readonly accesses: number;
  /** Accesses of pages that nobody was changing. */
  readonly settled: number;
  readonly commands: number;
  /** Stale entries that were used in the window that a driver allows. */
  readonly races: number;
  readonly broken: readonly string[];
}

/** The SMMU with one device in a strict domain. */
export class WorkerSmmu {
  readonly place: QueuePlace;
  readonly #world: WorkerWorld;
  readonly #model: SmmuV3Model;
  readonly #core: IommuCore;
  readonly #device: IommuDevice;
  readonly #broken: string[] = [];
  readonly #seed: number;
  #settled = 0;
  #accesses = 0;
  #commands = 0;

  constructor({ buffers, seed }: SmmuTask) {
    const world = new WorkerWorld(buffers);
    const { memory } = world;
    this.#world = world;
    this.#seed = seed;
    this.#model = new SmmuV3Model({
      memory,
      idr: encodeFeatures({
        ...FEATURE_PRESETS['qemu-11-nested'],
        oas: 48,
        sidSize: 5,
        cmdqMaxLg2: QUEUE_LG2,
      }),
      policy: { ...CACHE_EVERYTHING, staleLimit: 100_000 },
    });
    const platform = new SimPlatform();
    platform.register(this.#model);
    const profile = kernelProfile('7.3');
    this.#core = new IommuCore({
      trace: new TraceChannel(),
      profile: profile.core,
      defaultDomainType: 'dma',
    });
    const driver = SmmuV3Driver.create({
      registers: this.#model.registers,
      memory,
      frames: world.frames,
      coherent: world.coherent,
      platform,
      profile: profile.driver,
      pgtableProfile: profile.pgtable,
      queueWords: world.words,
      gatherPages: (domain, gather, iova, granule, count) =>
        this.#core.gatherAddPages(domain, gather, iova, granule, count),
    });
    if (typeof driver === 'number') throw new MachineError('PROBE_FAILED', { what: `${driver}` });
    driver.reset();
    this.#device = new IommuDevice({ name: '0000:00:01.0', ids: [STREAM], groupKey: 'a' });
    const errno = this.#core.probeDevice(this.#device, driver);
    const domain = this.#device.group?.domain;
    if (errno !== 0 || domain === null || domain === undefined || !('table' in domain.ops))
      throw new MachineError('NOT_BOOTED', { what: `probe: ${errno}` });
    const { table, id } = domain.ops as unknown as { table: { base: number }; id: number };
    const { registers } = this.#model;
    world.registers.write32(PROD, registers.read32(PROD));
    world.registers.write32(CONS, registers.read32(CONS));
    this.place = { queue: driver.cmdq.base, table: table.base, asid: id };
  }

  /** Takes commands and reads pages until all CPUs are done. */
  run(): SmmuAnswer {
    const random = createPrng(this.#seed);
    const { pages, registers } = this.#world;
    const idle = new ThreadPlatform();
    for (;;) {
      const { done } = this.#world;
      const worked = this.#takeCommands();
      for (let i = 0; i < ACCESSES; i++) this.#access(random.below(pages));
      if (done && !worked) break;
      // Between two steps of the CPUs there is nothing new to see.
      if (!worked)
        idle.pollUntil(() => registers.read32(PROD) !== registers.read32(CONS) || this.#world.done);
    }
    return this.#end();
  }

  #takeCommands(): boolean {
    const shared = this.#world.registers;
    const own = this.#model.registers;
    const prod = shared.read32(PROD);
    if (prod === own.read32(PROD)) return false;
    const entries = 2 ** (QUEUE_LG2 + 1);
    this.#commands += (prod - own.read32(PROD) + entries) % entries;
    // Consumes them all, inside the write.
    own.write32(PROD, prod);
    if (own.read32(CONS) !== prod) this.#wrong(`CONS is ${own.read32(CONS)}, PROD ${prod}`);
    shared.write32(CONS, own.read32(CONS));
    return true;
  }

  #access(page: number): void {
    const world = this.#world;
    const before = world.state(page);
    const got = this.#model.translateFast(STREAM, iovaOf(world.workers, page), 0);
    this.#accesses++;
    // Somebody was at work: old and new are both allowed.
    if (world.state(page) !== before) return;
    const phase = before % 4;
    if (phase === PAGE_PHASE.mapping || phase === PAGE_PHASE.unmapping) return;
    this.#settled++;
    const wanted = phase === PAGE_PHASE.mapped ? targetOf(page, Math.floor(before / 4)) : -1;
    if (got !== wanted)
      this.#wrong(`page ${page} in state ${before} is at ${got}, expected ${wanted}`);
  }

  #end(): SmmuAnswer {
    for (let page = 0; page < this.#world.pages; page++) this.#access(page);
    let races = 0;
    for (const { class: kind, iova } of this.#model.staleUses)
      if (kind === 'missing') this.#wrong(`a stale entry is left: iova ${iova?.toString(16)}`);
      else races++;
    this.#core.releaseDevice(this.#device);
    const { used } = this.#world.frames;
    if (used !== 0) this.#wrong(`${used} table frames leak`);
    if (this.#model.tlbSize !== 0) this.#wrong(`${this.#model.tlbSize} translations leak`);
    return {
      accesses: this.#accesses,
      settled: this.#settled,
      commands: this.#commands,
      races,
      broken: this.#broken,
    };
  }

  #wrong(text: string): void {
    if (this.#broken.length < 8) this.#broken.push(`SMMU: ${text}`);
  }
}

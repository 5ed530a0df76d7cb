/* One CPU of a worker soak: it maps and unmaps pages in tables that others change too, and invalidates through the queue of all. */
import { OPCODE } from '@iommukit/arm-arch';
import { SZ_1G, SZ_2M, SZ_4K } from '@iommukit/bits';
import {
  arm64LpaeS1,
  IO_PGTABLE_PROFILES,
  IOMMU_READ,
  IOMMU_WRITE,
  IotlbGather,
  type LpaePageTable,
} from '@iommukit/io-pgtable';
import { createPrng, TraceChannel } from '@iommukit/platform';
import { CommandBatch, CommandQueue, type DriverEvent } from '@iommukit/smmu-v3-driver';
import { MachineError } from '../machine.ts';
import {
  iovaOf,
  OWN_PAGES,
  PAGE_PHASE,
  pageOf,
  QUEUE_LG2,
  type QueuePlace,
  regionOf,
  SHARED_PAGES,
  type SharedBuffers,
  ThreadPlatform,
  targetOf,
  WorkerWorld,
} from './worker-world.ts';

const PROT = IOMMU_READ + IOMMU_WRITE;
/** Commands of a batch at most. */
const BATCH = 32;

/** What a CPU is told. */
export interface CpuTask extends QueuePlace {
  readonly role: 'cpu';
  readonly buffers: SharedBuffers;
  /** From 0 on. */
  readonly who: number;
  readonly seed: number;
  readonly steps: number;
}

/** What it answers. */
export interface CpuAnswer {
  readonly steps: number;
  readonly syncs: number;
  /** Results that must not be, the first few. */
  readonly broken: readonly string[];
}

/** Does all steps, and undoes what is mapped at the end. */
export function runCpu(task: CpuTask): CpuAnswer {
  const cpu = new WorkerCpu(task);
  const random = createPrng(task.seed * 31 + task.who);
  for (let step = 0; step < task.steps; step++) {
    if (random.below(32) === 0) cpu.toggleRegion();
    else cpu.togglePage(random.below(SHARED_PAGES));
  }
  return cpu.end(task.steps);
}

class WorkerCpu {
  readonly #world: WorkerWorld;
  readonly #who: number;
  readonly #asid: number;
  readonly #queue: CommandQueue;
  readonly #batch = new CommandBatch();
  /** Ranges go into the batch at once; the table asks for one all the same. */
  readonly #gather = new IotlbGather();
  readonly #table: LpaePageTable<unknown>;
  readonly #broken: string[] = [];

  constructor({ buffers, who, queue, table, asid }: CpuTask) {
    const world = new WorkerWorld(buffers);
    this.#world = world;
    this.#who = who;
    this.#asid = asid;
    this.#queue = new CommandQueue({
      memory: world.memory,
      registers: world.registers,
      platform: new ThreadPlatform(),
      trace: new TraceChannel<DriverEvent>(),
      log: () => {},
      base: queue,
      lg2: QUEUE_LG2,
      words: world.words,
    });
    const handle = arm64LpaeS1.attach(
      {
        pgsizeBitmap: SZ_4K + SZ_2M + SZ_1G,
        ias: 48,
        oas: 48,
        coherentWalk: true,
        quirks: {},
        memory: world.memory,
        frames: world.frames,
        flush: {
          tlbFlushAll: () => this.#invalidate(0, SZ_1G, SZ_4K, 'tables'),
          tlbFlushWalk: (iova, size, granule) => {
            this.#invalidate(iova, size, granule, 'tables');
            this.#sync();
          },
          tlbAddPage: (_gather, iova, granule, count) =>
            this.#invalidate(iova, granule * count, granule, 'leaves'),
        },
        profile: IO_PGTABLE_PROFILES['7.3'],
      },
      table,
    );
    if (typeof handle === 'number')
      throw new MachineError('NOT_BOOTED', { what: `attach: ${handle}` });
    this.#table = handle;
  }

  /** Maps a page between those of others, or unmaps it. */
  togglePage(index: number): void {
    const page = pageOf(this.#who, index);
    if (this.#phase(page) === PAGE_PHASE.unmapped) this.#map(page);
    else this.#unmap([page], iovaOf(this.#world.workers, page), SZ_4K);
  }

  /** Maps pages in the worker's own 2 MiB, or clears all of those at once, with their table. */
  toggleRegion(): void {
    const pages = Array.from({ length: OWN_PAGES }, (_, i) => pageOf(this.#who, SHARED_PAGES + i));
    if (this.#phase(pages[0] ?? 0) === PAGE_PHASE.unmapped)
      for (const page of pages) this.#map(page);
    else this.#unmap(pages, regionOf(this.#who), SZ_2M);
  }

  end(steps: number): CpuAnswer {
    for (let i = 0; i < SHARED_PAGES; i++)
      if (this.#phase(pageOf(this.#who, i)) === PAGE_PHASE.mapped) this.togglePage(i);
    if (this.#phase(pageOf(this.#who, SHARED_PAGES)) === PAGE_PHASE.mapped) this.toggleRegion();
    this.#world.leave();
    return { steps, syncs: this.#queue.syncs, broken: this.#broken };
  }

  #phase(page: number): number {
    return this.#world.state(page) % 4;
  }

  #map(page: number): void {
    const world = this.#world;
    const generation = Math.floor(world.state(page) / 4) + 1;
    world.setState(page, generation * 4 + PAGE_PHASE.mapping);
    const iova = iovaOf(world.workers, page);
    const target = targetOf(page, generation);
    const errno = this.#table.mapPages(iova, target, SZ_4K, 1, PROT);
    if (errno !== 0) this.#wrong(`mapPages of page ${page}: ${errno}`);
    const found = this.#table.iovaToPhys(iova);
    if (found !== target) this.#wrong(`page ${page} is at ${found} after its map`);
    world.setState(page, generation * 4 + PAGE_PHASE.mapped);
  }

  #unmap(pages: readonly number[], iova: number, size: number): void {
    const world = this.#world;
    for (const page of pages) world.setState(page, world.state(page) + 1);
    const done = this.#table.unmapPages(iova, size, 1, this.#gather);
    if (done !== size) this.#wrong(`unmapPages of ${size} bytes at ${iova}: ${done}`);
    this.#sync();
    this.#gather.init();
    for (const page of pages) world.setState(page, world.state(page) - 3);
  }

  #invalidate(iova: number, size: number, granule: number, what: 'leaves' | 'tables'): void {
    const batch = this.#batch;
    for (let address = iova; address < iova + size; address += granule) {
      if (batch.num === BATCH) this.#sync();
      batch.tlbiAddress({
        opcode: OPCODE.TLBI_NH_VA,
        asid: this.#asid,
        vmid: 0,
        address,
        num: 0,
        scale: 0,
        tg: 0,
        ttl: 0,
        leaf: what === 'leaves' ? 1 : 0,
      });
    }
  }

  #sync(): void {
    if (this.#batch.num === 0) return;
    const errno = this.#queue.issueSync(this.#batch);
    if (errno !== 0) this.#wrong(`CMD_SYNC: ${errno}`);
    this.#batch.reset();
  }

  #wrong(text: string): void {
    if (this.#broken.length < 8) this.#broken.push(`CPU ${this.#who}: ${text}`);
  }
}

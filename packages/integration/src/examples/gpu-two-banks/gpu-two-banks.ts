import { SZ_4K } from '@iommukit/bits';
import { IOMMU_READ, IOMMU_WRITE } from '@iommukit/io-pgtable';
import {
  CORE_PROFILES,
  type CoreEvent,
  IommuCore,
  IommuDevice,
  type RangeBatch,
  type SgRun,
} from '@iommukit/iommu-core';
import {
  errnoName,
  FrameAllocator,
  MmioBus,
  PhysicalMemory,
  TraceChannel,
} from '@iommukit/platform';
import {
  IOMMU_SVA_FEAT_PRIVATE,
  type IoMm,
  PageTableSwitch,
  svaAllocPasid,
  svaDeviceInit,
  svaDeviceShutdown,
} from '@iommukit/sva-pasid';
import { GpuDomain } from './gpu-domain.ts';
import { GpuDriver } from './gpu-driver.ts';
import { GPU_FRAME_BYTES } from './gpu-registers.ts';
import { GpuUnit } from './gpu-unit.ts';

const RAM = { base: 0x4000_0000, size: 0x400_0000 };
/** Page tables at the bottom of it, pictures above. */
const TABLES = { base: RAM.base, size: 0x100_0000 };
const PICTURES = { base: RAM.base + TABLES.size, size: 0x200_0000 };
const GPU_BASE = 0x0500_0000;
/** IOVAs: the ring in the kernel's space; the texture and the target in that of each client. */
const RING = 0x1_0000;
const TEXTURE = 0x100_0000;
const TARGET = 0x200_0000;
/** Pages of a texture, scattered in memory, and of a target. */
const PAGES = 16;
const WORDS = (PAGES * SZ_4K) / 4;
const BOTH = IOMMU_READ + IOMMU_WRITE;

/**
 * What to render.
 * @example const options: GpuFrames = { clients: 2, frames: 4 };
 */
export interface GpuFrames {
  /** Private address spaces, at the same IOVAs; rendered in turn. */
  readonly clients: number;
  /** Frames of each client. */
  readonly frames: number;
  /** `forgotten`: the driver never flushes, so that stale pages show. Default: once before each job. */
  readonly flush?: 'once' | 'forgotten';
}

/**
 * What was counted, beside the work itself.
 * @example if (summary.flushes === summary.frames && summary.wrongWords === 0) print('one flush a frame');
 */
export interface GpuSummary {
  readonly frames: number;
  /** Ranges that were mapped or unmapped, in batches. */
  readonly operations: number;
  readonly pagesMapped: number;
  /** Invalidations, and waits, that the GPU got while frames were made. */
  readonly flushes: number;
  readonly waits: number;
  /** Lookups of physical addresses in the tables by software. */
  readonly lookups: number;
  /** Most bytes that a batch remembered. */
  readonly peakBytes: number;
  /** Words that the GPU copied, and those that were not what the CPU had put there. */
  readonly words: number;
  readonly wrongWords: number;
  /** Frames of tables that were not given back at the end. */
  readonly leaked: number;
  /** The same as lines. */
  readonly lines: readonly string[];
}

/** A client: its address space, the batch that is open there, and the pictures of its last frame. */
interface Client {
  readonly ioMm: IoMm;
  readonly batch: RangeBatch;
  texture: readonly SgRun[];
  target: readonly SgRun[];
}

/** The composition: memory, a GPU with registers on a bus, its driver, core, and the switch of bank 1. */
class GpuMachine {
  readonly memory: PhysicalMemory = new PhysicalMemory([RAM]);
  readonly tables: FrameAllocator = new FrameAllocator(TABLES);
  readonly pictures: FrameAllocator = new FrameAllocator(PICTURES);
  readonly gpu: GpuUnit = new GpuUnit(this.memory);
  readonly core: IommuCore = new IommuCore({
    trace: new TraceChannel<CoreEvent>(),
    profile: CORE_PROFILES['7.3'],
    defaultDomainType: 'dma',
  });
  readonly device: IommuDevice = new IommuDevice({ name: 'gpu', ids: [0], groupKey: 'gpu' });
  readonly banks: PageTableSwitch;

  constructor(clients: number) {
    const bus = new MmioBus();
    bus.attach(GPU_BASE, GPU_FRAME_BYTES, this.gpu);
    const { core, device, memory, tables: frames } = this;
    const driver = new GpuDriver({ core, units: [bus.frameAt(GPU_BASE)], memory, frames });
    must(core.probeDevice(device, driver));
    this.banks = new PageTableSwitch(driver.contextBank(device, clients));
    const contexts = this.banks;
    must(svaDeviceInit({ core, device, features: IOMMU_SVA_FEAT_PRIVATE, contexts }));
  }

  /** A new private address space with a batch that stays open: the GPU is idle there from each job to the flush. */
  client(): Client {
    const { core, device } = this;
    const domain = device.group?.domain;
    if (domain == null) throw new Error('the GPU has no domain');
    const ioMm = svaAllocPasid(domain, device);
    if (typeof ioMm === 'number') throw new Error(errnoName(ioMm));
    const batch = core.beginBatch(ioMm.domain, { quiesced: true });
    if (typeof batch === 'number') throw new Error(errnoName(batch));
    return { ioMm, batch, texture: [], target: [] };
  }

  /** Scattered pages: the first of every two. */
  picture(): readonly SgRun[] {
    return Array.from({ length: PAGES }, () => ({
      paddr: this.pictures.alloc(2 * SZ_4K),
      length: SZ_4K,
    }));
  }

  /** Nobody reaches a picture any more: its memory may be used again. */
  forget(picture: readonly SgRun[]): void {
    for (const { paddr } of picture) this.pictures.free(paddr, 2 * SZ_4K);
  }
}

/**
 * A GPU without PASIDs, whose driver and hardware are made for this from the published interfaces alone: short-descriptor tables that it walks by
 * itself, two context banks, batches with one flush for each frame, and a private address space by handle for each client.
 * @example const { flushes, frames, wrongWords } = gpuTwoBanks({ clients: 2, frames: 4 }); // 8, 8, 0
 */
export function gpuTwoBanks(options: GpuFrames): GpuSummary {
  const machine = new GpuMachine(options.clients);
  const { core, device, gpu, memory } = machine;
  const kernel = device.group?.domain;
  if (kernel == null) throw new Error('the GPU has no domain');
  const ring = machine.pictures.alloc(SZ_4K);
  must(core.map(kernel, RING, ring, SZ_4K, IOMMU_READ));
  for (const [i, word] of [TEXTURE, TARGET, WORDS].entries()) memory.store32(ring + 4 * i, word);

  const clients = Array.from({ length: options.clients }, () => machine.client());
  for (const client of clients) mapPictures(machine, client);
  const before = { invalidations: gpu.invalidations, syncs: gpu.syncs };
  let words = 0;
  let wrongWords = 0;
  for (let frame = 0; frame < options.frames; frame++)
    for (const [i, client] of clients.entries()) {
      const old = [client.texture, client.target];
      unmapPictures(client);
      mapPictures(machine, client);
      const seed = (frame * options.clients + i + 1) * 0x1_0000;
      paint(machine, client, seed);
      if (options.flush !== 'forgotten') {
        must(client.batch.flush());
        for (const picture of old) machine.forget(picture);
      }
      must(machine.banks.switchTo(client.ioMm));
      words += Math.max(0, gpu.run(RING));
      wrongWords += differences(machine, client, seed);
    }
  const counted = {
    flushes: gpu.invalidations - before.invalidations,
    waits: gpu.syncs - before.syncs,
  };
  const tally = clients.map(({ ioMm, batch }) => ({
    operations: batch.operations,
    peakBytes: batch.peakBytes,
    lookups: ioMm.domain.ops instanceof GpuDomain ? ioMm.domain.ops.table.counters.walks : -1,
  }));
  for (const { batch } of clients) batch.abandon();
  must(svaDeviceShutdown(device));
  core.releaseDevice(device);
  const sum = (count: (one: (typeof tally)[number]) => number): number =>
    tally.reduce((total, one) => total + count(one), 0);
  return withLines({
    frames: options.frames * options.clients,
    operations: sum(({ operations }) => operations),
    pagesMapped: (options.frames + 1) * options.clients * 2 * PAGES,
    ...counted,
    lookups: sum(({ lookups }) => lookups),
    peakBytes: Math.max(0, ...tally.map(({ peakBytes }) => peakBytes)),
    words,
    wrongWords,
    leaked: machine.tables.used,
  });
}

/** Two ranges out, and nothing invalidated yet. */
function unmapPictures({ batch }: Client): void {
  const size = PAGES * SZ_4K;
  for (const iova of [TEXTURE, TARGET])
    if (batch.unmapRange(iova, size) !== size) throw new Error('a picture was not mapped');
}

/** Two ranges in: other pages at the same IOVAs. */
function mapPictures(machine: GpuMachine, client: Client): void {
  const { batch } = client;
  const size = PAGES * SZ_4K;
  client.texture = machine.picture();
  client.target = machine.picture();
  if (batch.mapSg(TEXTURE, client.texture, IOMMU_READ) !== size) throw new Error('no texture');
  if (batch.mapSg(TARGET, client.target, BOTH) !== size) throw new Error('no target');
}

/** The CPU's part: every word of the texture tells which frame, page and place it is. */
function paint({ memory }: GpuMachine, { texture }: Client, seed: number): void {
  for (const [page, { paddr }] of texture.entries())
    for (let at = 0; at < SZ_4K; at += 4) memory.store32(paddr + at, seed + page * SZ_4K + at);
}

function differences({ memory }: GpuMachine, { target }: Client, seed: number): number {
  let wrong = 0;
  for (const [page, { paddr }] of target.entries())
    for (let at = 0; at < SZ_4K; at += 4)
      if (memory.load32(paddr + at) !== seed + page * SZ_4K + at) wrong++;
  return wrong;
}

function withLines(summary: Omit<GpuSummary, 'lines'>): GpuSummary {
  const { frames, operations, pagesMapped, flushes, waits, lookups, peakBytes } = summary;
  const lines = [
    `frames ${frames}: ${operations} ranges, ${pagesMapped} pages mapped`,
    `invalidations ${flushes}, waits ${waits}, lookups ${lookups}, most bytes remembered ${peakBytes}`,
    `words copied by the GPU ${summary.words}, wrong ${summary.wrongWords}; frames of tables left ${summary.leaked}`,
  ];
  return { ...summary, lines };
}

function must(errno: number): void {
  if (errno !== 0) throw new Error(errnoName(errno));
}

import {
  arm64LpaeS1,
  createPageTable,
  IO_PGTABLE_PROFILES,
  type IotlbGather,
  type PageTable,
} from '@iommukit/io-pgtable';
import {
  CORE_PROFILES,
  type DomainOps,
  type DomainType,
  IommuCore,
  IommuDevice,
  IommuDomain,
  type IommuOps,
} from '@iommukit/iommu-core';
import { IOVA_PROFILES } from '@iommukit/iova-allocator';
import {
  FrameAllocator,
  type MemoryView,
  PhysicalMemory,
  SimPlatform,
  TraceChannel,
} from '@iommukit/platform';
import {
  DMA_PROFILES,
  DmaApi,
  type DmaApiOptions,
  type DmaCaches,
  type DmaDevice,
  type DmaDeviceOptions,
  type DmaEvent,
  type FlushQueueSettings,
  Swiotlb,
} from '../src/index.ts';
import { SpeculativeView } from './speculative-view.lanes.ts';

const MIB = 0x10_0000;
const LINE = 64;
/** Where the parts of memory are. */
export const LAYOUT = {
  ram: 0x4000_0000,
  tables: 0x4000_0000 + 32 * MIB,
  pool: 0x4000_0000 + 48 * MIB,
  end: 0x4000_0000 + 64 * MIB,
} as const;

/** A device's access was refused: no translation, or no permission. */
export class AccessFault extends Error {}

interface Cached {
  readonly paddr: number;
  readonly readable: boolean;
  readonly writable: boolean;
}

/** A driver over real page tables, whose devices keep translations until they are told to drop them. */
class Domain implements DomainOps {
  readonly table: PageTable;
  readonly tlb = new Map<number, Cached>();
  readonly prots = new Map<number, number>();
  mapped = 0;
  readonly #machine: RealMachine;

  constructor(machine: RealMachine) {
    this.#machine = machine;
    const table = createPageTable(arm64LpaeS1, {
      pgsizeBitmap: 0x4020_1000,
      ias: 48,
      oas: 48,
      coherentWalk: true,
      memory: machine.memory,
      frames: machine.frames,
      flush: {
        tlbFlushAll: () => this.tlb.clear(),
        tlbFlushWalk: (iova, size) => this.#drop(iova, size),
        tlbAddPage: (gather, iova, granule, count) => {
          if (this.domain !== null)
            machine.core.gatherAddPages(this.domain, gather, iova, granule, count);
        },
      },
      profile: IO_PGTABLE_PROFILES['7.3'],
    });
    if (typeof table === 'number') throw new Error(`no table: ${table}`);
    this.table = table;
  }

  domain: IommuDomain | null = null;

  attachDev(): number {
    return 0;
  }

  mapPages(iova: number, paddr: number, pgsize: number, pgcount: number, prot: number): number {
    const errno = this.table.mapPages(iova, paddr, pgsize, pgcount, prot);
    this.mapped = this.table.mapped;
    for (let at = 0; at < this.mapped; at += 4096) this.prots.set(iova + at, prot);
    return errno;
  }

  unmapPages(iova: number, pgsize: number, pgcount: number, gather: IotlbGather): number {
    return this.table.unmapPages(iova, pgsize, pgcount, gather);
  }

  iovaToPhys(iova: number): number {
    return this.table.iovaToPhys(iova);
  }

  flushIotlbAll(): void {
    this.#machine.flushes++;
    this.tlb.clear();
  }

  iotlbSync(gather: IotlbGather): void {
    this.#machine.syncs++;
    this.#drop(gather.start, gather.end - gather.start);
  }

  free(): void {
    this.table.free();
  }

  #drop(iova: number, size: number): void {
    for (let at = iova - (iova % 4096); at < iova + size; at += 4096) this.tlb.delete(at);
  }
}

export interface RealOptions {
  readonly type?: DomainType;
  readonly coherent?: boolean;
  readonly untrusted?: boolean;
  readonly bounce?: boolean;
  readonly cpus?: number;
  readonly flushQueue?: FlushQueueSettings;
  readonly api?: Partial<DmaApiOptions>;
}

/** Memory, tables, slots and devices that really read and write, for tests of bytes. */
export class RealMachine implements IommuOps {
  readonly memory = new PhysicalMemory([{ base: LAYOUT.ram, size: LAYOUT.end - LAYOUT.ram }]);
  readonly frames = new FrameAllocator({ base: LAYOUT.tables, size: 16 * MIB });
  readonly platform = new SimPlatform();
  readonly core: IommuCore;
  readonly dma: DmaApi;
  /** What a CPU sees: its caches are not coherent with devices that do not snoop. */
  readonly cpu: MemoryView;
  readonly swiotlb: Swiotlb | null;
  readonly printed: string[] = [];
  readonly warnings: string[] = [];
  /** First pfn and pages of what the allocator has handed out, by domain. */
  readonly live = new Map<string, number>();
  readonly capabilities = { cacheCoherency: true, deferredFlush: true, noexec: true };
  flushes = 0;
  syncs = 0;
  /** Cache operations that have an effect, in order; one of them can be left out. */
  cacheCalls = 0;
  omit = -1;
  /** Those that found nothing of their bytes in the cache. */
  readonly idleCacheCalls = new Set<number>();
  readonly #options: RealOptions;
  readonly #cache: SpeculativeView | null;

  constructor(options: RealOptions = {}) {
    this.#options = options;
    this.#cache = options.coherent === false ? new SpeculativeView(this.memory) : null;
    this.cpu = this.#cache ?? this.memory;
    this.swiotlb =
      options.bounce === false
        ? null
        : new Swiotlb({
            memory: this.cpu,
            platform: this.platform,
            base: LAYOUT.pool,
            size: 2 * MIB,
            cpus: options.cpus ?? 2,
            print: (text) => this.printed.push(text),
          });
    this.core = new IommuCore({
      trace: new TraceChannel(),
      profile: CORE_PROFILES['7.3'],
      defaultDomainType: options.type === 'dma-fq' ? 'dma-fq' : 'dma',
    });
    const trace = new TraceChannel<DmaEvent>();
    let pages = 0;
    trace.listen((event) => {
      if (event.name === 'alloc_fast') pages = event.size;
      if (event.name === 'alloc_fast_ret' && event.pfn !== 0)
        this.live.set(`${event.iovad}:${event.pfn}`, pages);
      if (event.name === 'free_fast' && !this.live.delete(`${event.iovad}:${event.pfn}`))
        throw new Error(`pfn ${event.pfn} freed twice`);
      if (event.name === 'warn' || event.name === 'warn_on') this.warnings.push(event.text);
    });
    this.dma = new DmaApi({
      core: this.core,
      platform: this.platform,
      cpus: options.cpus ?? 2,
      profile: DMA_PROFILES['7.3'],
      iovaProfile: IOVA_PROFILES['7.3'],
      trace,
      caches: this.#caches(),
      ...(this.swiotlb === null ? {} : { bounce: this.swiotlb }),
      ...(options.flushQueue === undefined ? {} : { flushQueue: options.flushQueue }),
      ...options.api,
    });
  }

  #caches(): DmaCaches {
    const cache = this.#cache;
    return {
      forDevice: (paddr, size) => {
        if (cache === null) return;
        if (!cache.holds(paddr, size, 'dirty')) this.idleCacheCalls.add(this.cacheCalls);
        if (this.cacheCalls++ !== this.omit) cache.clean(paddr, size);
      },
      forCpu: (paddr, size, dir) => {
        // Nothing was written by the device.
        if (cache === null || dir === 'TO_DEVICE') return;
        if (!cache.holds(paddr, size, 'any')) this.idleCacheCalls.add(this.cacheCalls);
        if (this.cacheCalls++ === this.omit) return;
        // Lines that are shared with a neighbour are written back first, as arm64's `dcache_inval_poc` does.
        const last = Math.floor((paddr + size - 1) / LINE) * LINE;
        if (paddr % LINE !== 0) cache.clean(paddr - (paddr % LINE), LINE);
        if ((paddr + size) % LINE !== 0) cache.clean(last, LINE);
        cache.invalidate(paddr, size);
      },
    };
  }

  /** The cache fetches lines on its own account, as speculation does. */
  prefetch(paddr: number, size: number): void {
    this.#cache?.prefetch(paddr, size);
  }

  /** The cache writes dirty lines back to make room. */
  evict(paddr: number, size: number): void {
    this.#cache?.clean(paddr, size);
  }

  device(options: Partial<DmaDeviceOptions> = {}, name = 'd', groupKey: string = name): DmaDevice {
    const device = new IommuDevice({
      name,
      ids: [1],
      groupKey,
      isPci: true,
      untrusted: this.#options.untrusted === true,
    });
    const errno = this.core.probeDevice(device, this);
    if (errno !== 0) throw new Error(`probe: ${errno}`);
    return this.dma.setupDevice(device, {
      dmaBits: 48,
      coherentDmaBits: 48,
      coherent: this.#options.coherent !== false,
      ...options,
    });
  }

  probeDevice(): number {
    return 0;
  }

  releaseDevice(): void {}

  domainAlloc(type: DomainType): IommuDomain {
    const ops = new Domain(this);
    ops.domain = new IommuDomain({
      type,
      ops,
      pgsizeBitmap: 0x4020_1000,
      apertureStart: 0,
      apertureEnd: 2 ** 48,
    });
    return ops.domain;
  }

  getResvRegions(): readonly [] {
    return [];
  }

  /** Where the device's access to a byte goes; its TLB remembers. */
  translate(dev: DmaDevice, iova: number, access: 'read' | 'write'): number {
    const ops = dev.domain.ops;
    if (!(ops instanceof Domain)) throw new Error('not ours');
    const page = iova - (iova % 4096);
    let cached = ops.tlb.get(page);
    if (cached === undefined) {
      const paddr = ops.table.iovaToPhys(page);
      if (paddr === 0) throw new AccessFault(`no translation for ${iova.toString(16)}`);
      const prot = ops.prots.get(page) ?? 0;
      // Stage 1 has no write-only entry: what can be written can be read.
      cached = { paddr, readable: (prot & 3) !== 0, writable: (prot & 2) !== 0 };
      ops.tlb.set(page, cached);
    }
    if (access === 'read' ? !cached.readable : !cached.writable)
      throw new AccessFault(`${access} of ${iova.toString(16)} not allowed`);
    return cached.paddr + (iova % 4096);
  }

  /** What the device reads, past all CPU caches. */
  deviceRead(dev: DmaDevice, dmaAddr: number, size: number): Uint8Array {
    const bytes = new Uint8Array(size);
    this.#pages(dev, dmaAddr, size, 'read', (paddr, at, count) => {
      bytes.set(load(this.memory, paddr, count), at);
    });
    return bytes;
  }

  deviceWrite(dev: DmaDevice, dmaAddr: number, bytes: Uint8Array): void {
    this.#pages(dev, dmaAddr, bytes.length, 'write', (paddr, at, count) => {
      store(this.memory, paddr, bytes.subarray(at, at + count));
    });
  }

  #pages(
    dev: DmaDevice,
    dmaAddr: number,
    size: number,
    access: 'read' | 'write',
    visit: (paddr: number, at: number, count: number) => void,
  ): void {
    for (let at = 0; at < size; ) {
      const count = Math.min(size - at, 4096 - ((dmaAddr + at) % 4096));
      visit(this.translate(dev, dmaAddr + at, access), at, count);
      at += count;
    }
  }

  cpuRead(paddr: number, size: number): Uint8Array {
    return load(this.cpu, paddr, size);
  }

  cpuWrite(paddr: number, bytes: Uint8Array): void {
    store(this.cpu, paddr, bytes);
  }

  /** A store past the CPU's caches. */
  rawWrite(paddr: number, bytes: Uint8Array): void {
    store(this.memory, paddr, bytes);
  }

  /** Releases all devices and their domains; what is then still in use. */
  teardown(devices: readonly DmaDevice[]): { live: number; frames: number; slots: number } {
    // Flush queues run dry.
    this.platform.clock.advance(2_000_000);
    const live = this.live.size;
    for (const dev of devices) {
      if (dev.device.group?.devices.length === 1) this.dma.releaseDomain(dev.domain);
      this.core.releaseDevice(dev.device);
    }
    return {
      live,
      frames: this.frames.used,
      slots: this.swiotlb?.report().usedSlots ?? 0,
    };
  }
}

function load(view: MemoryView, paddr: number, size: number): Uint8Array {
  const bytes = new Uint8Array(size);
  const phase = paddr % 4;
  for (let word = -phase; word < size; word += 4) {
    const value = view.load32(paddr + word);
    for (let i = Math.max(0, -word); i < 4 && word + i < size; i++)
      bytes[word + i] = value >>> (i * 8);
  }
  return bytes;
}

function store(view: MemoryView, paddr: number, bytes: Uint8Array): void {
  const phase = paddr % 4;
  for (let word = -phase; word < bytes.length; word += 4) {
    let value = view.load32(paddr + word);
    for (let i = Math.max(0, -word); i < 4 && word + i < bytes.length; i++)
      value = (value & ~(0xff << (i * 8))) | ((bytes[word + i] as number) << (i * 8));
    view.store32(paddr + word, value);
  }
}

/** Bytes that differ from each other and from those of other seeds. */
export function pattern(seed: number, count: number): Uint8Array {
  const bytes = new Uint8Array(count);
  for (let i = 0; i < count; i++) bytes[i] = seed * 37 + i * 11 + (i >> 8) * 3 + 1;
  return bytes;
}

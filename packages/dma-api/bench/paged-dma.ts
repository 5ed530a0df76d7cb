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
  IommuCore,
  IommuDevice,
  IommuDomain,
  type IommuOps,
} from '@iommukit/iommu-core';
import { IOVA_PROFILES } from '@iommukit/iova-allocator';
import { FrameAllocator, PhysicalMemory, SimPlatform, TraceChannel } from '@iommukit/platform';
import { DMA_PROFILES, DmaApi, type DmaDebug, type DmaDevice, Swiotlb } from '../src/index.ts';

const MIB = 0x10_0000;
/** Buffers are below this; tables and bounce slots above. */
export const BUFFERS = 0x4000_0000;

/** Commands that invalidations take, and how often somebody would wait. */
export interface InvalidationCounts {
  commands: number;
  syncs: number;
}

class Domain implements DomainOps {
  mapped = 0;
  readonly #table: PageTable;
  readonly #counts: InvalidationCounts;
  /** The least that a driver does: commands of two doublewords into a ring, without a wait for hardware. */
  readonly #ring = new Uint32Array(4096);

  constructor(table: PageTable, counts: InvalidationCounts) {
    this.#table = table;
    this.#counts = counts;
  }

  attachDev(): number {
    return 0;
  }

  mapPages(iova: number, paddr: number, pgsize: number, pgcount: number, prot: number): number {
    const errno = this.#table.mapPages(iova, paddr, pgsize, pgcount, prot);
    this.mapped = this.#table.mapped;
    return errno;
  }

  unmapPages(iova: number, pgsize: number, pgcount: number, gather: IotlbGather): number {
    return this.#table.unmapPages(iova, pgsize, pgcount, gather);
  }

  iovaToPhys(iova: number): number {
    return this.#table.iovaToPhys(iova);
  }

  flushIotlbAll(): void {
    this.#invalidate(0x11, 0);
  }

  iotlbSync(gather: IotlbGather): void {
    this.#invalidate(0x12, gather.start);
  }

  #invalidate(opcode: number, iova: number): void {
    this.#issue(opcode, iova);
    this.#issue(0x46, 0);
    this.#counts.syncs++;
  }

  #issue(opcode: number, iova: number): void {
    const at = (this.#counts.commands++ % 1024) * 4;
    this.#ring[at] = opcode;
    this.#ring[at + 2] = iova % 2 ** 32;
  }

  free(): void {}
}

/** A driver whose domains are four-level tables in `frames`, and whose invalidations are counted. */
function driverOver(
  memory: PhysicalMemory,
  frames: FrameAllocator,
  counts: InvalidationCounts,
): IommuOps {
  return {
    probeDevice: () => 0,
    releaseDevice() {},
    domainAlloc(type) {
      const table = createPageTable(arm64LpaeS1, {
        pgsizeBitmap: 0x4020_1000,
        ias: 48,
        oas: 48,
        coherentWalk: true,
        memory,
        frames,
        flush: { tlbFlushAll() {}, tlbFlushWalk() {}, tlbAddPage() {} },
        profile: IO_PGTABLE_PROFILES['7.3'],
      });
      if (typeof table === 'number') return table;
      return new IommuDomain({
        type,
        ops: new Domain(table, counts),
        pgsizeBitmap: table.pgsizeBitmap,
        apertureStart: 0,
        apertureEnd: 2 ** 48,
      });
    },
    getResvRegions: () => [],
    capabilities: { cacheCoherency: true, deferredFlush: true, noexec: true },
  };
}

/** A device over real four-level tables, with bounce slots, and caches that cost nothing. */
export class PagedDma {
  readonly dma: DmaApi;
  readonly dev: DmaDevice;
  readonly platform = new SimPlatform();
  readonly counts: InvalidationCounts = { commands: 0, syncs: 0 };
  cleaned = 0;

  constructor(kind: {
    readonly coherent: boolean;
    readonly untrusted: boolean;
    /** Default: strict. */
    readonly type?: 'dma' | 'dma-fq';
    readonly debug?: DmaDebug;
  }) {
    const { platform, counts } = this;
    const memory = new PhysicalMemory([{ base: BUFFERS, size: 32 * MIB }]);
    const frames = new FrameAllocator({ base: BUFFERS + 8 * MIB, size: 16 * MIB });
    const core = new IommuCore({
      trace: new TraceChannel(),
      profile: CORE_PROFILES['7.3'],
      defaultDomainType: kind.type ?? 'dma',
    });
    this.dma = new DmaApi({
      core,
      platform,
      cpus: 1,
      profile: DMA_PROFILES['7.3'],
      iovaProfile: IOVA_PROFILES['7.3'],
      trace: new TraceChannel(),
      ...(kind.debug === undefined ? {} : { debug: kind.debug }),
      caches: {
        forDevice: (_paddr, size) => {
          this.cleaned += size;
        },
        forCpu: (_paddr, size) => {
          this.cleaned += size;
        },
      },
      bounce: new Swiotlb({
        memory,
        platform,
        base: BUFFERS + 24 * MIB,
        size: 2 * MIB,
        cpus: 1,
        print() {},
      }),
    });
    const { untrusted } = kind;
    const device = new IommuDevice({ name: 'd', ids: [1], groupKey: 'd', untrusted });
    core.probeDevice(device, driverOver(memory, frames, counts));
    this.dev = this.dma.setupDevice(device, {
      dmaBits: 48,
      coherentDmaBits: 48,
      coherent: kind.coherent,
    });
  }
}

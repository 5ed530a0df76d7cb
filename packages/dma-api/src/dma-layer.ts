import { hex } from '@iommukit/bits';
import type { IommuCore } from '@iommukit/iommu-core';
import type { Counters, TraceChannel } from '@iommukit/platform';
import type { BounceBuffers } from './bounce-buffers.ts';
import type { DmaCaches } from './dma-caches.ts';
import type { DmaDebug } from './dma-debug.ts';
import type { DmaDevice } from './dma-device.ts';
import { DmaDomain } from './dma-domain.ts';
import { DmaError } from './dma-error.ts';
import type { DmaEvent } from './dma-event.ts';
import type { DmaProfile } from './dma-profile.ts';
import type { DmaAttrs, DmaDirection } from './dma-prot.ts';
import type { IovaSpaces } from './iova-space.ts';
import type { PageSource } from './page-source.ts';

/**
 * What the streaming calls count. `walks`: lookups of a physical address in the page table; `walksSaved`: those that a handle or a page given by
 * the caller made unnecessary; `checks`: lookups only to compare such an address in checking mode.
 * @example const before = { ...dma.counters }; dma.unmapHandle(dev, handle); dma.counters.walksSaved - before.walksSaved; // 1
 */
export type DmaCounters = Counters<'walks' | 'walksSaved' | 'checks'>;

/**
 * Which small allocations share cache lines with others, so that a device that does not snoop must not write to them (`dma_kmalloc_needs_bounce`). Bytes.
 * @example const kmalloc: KmallocRule = { minAlign: 128, cacheAlign: 64 }; // arm64
 */
export interface KmallocRule {
  /** `ARCH_DMA_MINALIGN`: twice this and more is always aligned. */
  readonly minAlign: number;
  /** `dma_get_cache_alignment`. */
  readonly cacheAlign: number;
}

/**
 * Where the machine's memory lies, as far as devices without IOMMU ask. Bytes.
 * @example const ram: RamExtent = { start: 0x4000_0000, end: 0x1_4000_0000 };
 */
export interface RamExtent {
  readonly start: number;
  /** Exclusive (`max_pfn` times the page). */
  readonly end: number;
  /** Exclusive end of the zone for narrow devices (`zone_dma_limit` plus 1); absent: there is none. */
  readonly dmaZoneEnd?: number;
}

/** What all parts of the DMA layer share: who they call, what they count, how they report. */
export class DmaLayer {
  readonly core: IommuCore;
  readonly spaces: IovaSpaces;
  readonly profile: DmaProfile;
  readonly trace: TraceChannel<DmaEvent>;
  readonly counters: DmaCounters;
  readonly caches: DmaCaches | null;
  readonly bounce: BounceBuffers | null;
  readonly kmalloc: KmallocRule | null;
  /** Addresses that callers give are compared with the page table. */
  readonly checking: boolean;
  /** Told of every call when it is there (`CONFIG_DMA_API_DEBUG`). */
  readonly debug: DmaDebug | null;
  readonly ram: RamExtent;
  /** Where coherent memory comes from; null: only from providers. */
  readonly pages: PageSource | null;

  constructor(parts: {
    readonly core: IommuCore;
    readonly spaces: IovaSpaces;
    readonly profile: DmaProfile;
    readonly trace: TraceChannel<DmaEvent>;
    readonly counters: DmaCounters;
    readonly caches: DmaCaches | null;
    readonly bounce: BounceBuffers | null;
    readonly kmalloc: KmallocRule | null;
    readonly checking: boolean;
    readonly debug: DmaDebug | null;
    readonly ram: RamExtent;
    readonly pages: PageSource | null;
  }) {
    this.core = parts.core;
    this.spaces = parts.spaces;
    this.profile = parts.profile;
    this.trace = parts.trace;
    this.counters = parts.counters;
    this.caches = parts.caches;
    this.bounce = parts.bounce;
    this.kmalloc = parts.kmalloc;
    this.checking = parts.checking;
    this.debug = parts.debug;
    this.ram = parts.ram;
    this.pages = parts.pages;
  }

  /** The IOVA space of a device; throws {@link DmaError} `DMA_SETUP` for one without. */
  spaceOf(dev: DmaDevice): DmaDomain {
    const space = dev.domain.dmaCookie;
    if (space instanceof DmaDomain) return space;
    throw new DmaError(
      'DMA_SETUP',
      dev.name,
      `is in a domain of type ${dev.domain.type} without IOVA space`,
      'Call initDomain or setupDevice first',
    );
  }

  /** The physical address of a byte, counted; 0 for a hole. */
  walk(dev: DmaDevice, iova: number): number {
    this.counters.walks++;
    return this.core.iovaToPhys(dev.domain, iova);
  }

  /** Checking mode: throws {@link DmaError} `PAGE_MISMATCH` when `paddr` is not what is mapped at `iova`. */
  checkMapped(dev: DmaDevice, iova: number, paddr: number): void {
    if (!this.checking) return;
    this.counters.checks++;
    const mapped = this.core.iovaToPhys(dev.domain, iova);
    if (mapped === paddr) return;
    throw new DmaError(
      'PAGE_MISMATCH',
      dev.name,
      `has ${hex(mapped)} mapped at ${hex(iova)}, not ${hex(paddr)}`,
      'Pass the physical address that was mapped',
    );
  }

  /** `arch_sync_dma_for_device` without its barrier. */
  cleanForDevice(paddr: number, size: number, dir: DmaDirection): void {
    this.caches?.forDevice(paddr, size, dir);
  }

  /** `arch_sync_dma_for_cpu` without its barrier. */
  cleanForCpu(paddr: number, size: number, dir: DmaDirection): void {
    this.caches?.forCpu(paddr, size, dir);
  }

  /** Waits for the cache maintenance (`arch_sync_dma_flush`). */
  barrier(): void {
    this.caches?.flush?.();
  }

  /** A printed line. */
  print(level: 'notice' | 'warn', text: string): void {
    if (this.trace.on) this.trace.emit({ name: level, text });
  }

  /** A `WARN_ON`; `message` is what it prints beside its trace, if anything. */
  warnOn(what: string, message: string | null = null): void {
    if (this.trace.on) this.trace.emit({ name: 'warn_on', text: what, message });
  }
}

/** The device's mapping of this kind needs the caches cleaned. */
export function cleans(dev: DmaDevice, attrs: DmaAttrs | undefined): boolean {
  return dev.coherence === 'non-coherent' && attrs?.skipCpuSync !== true;
}

import type { SgRun } from '@iommukit/iommu-core';
import { AtomicPool, defaultPoolSize } from './atomic-pool.ts';
import type { DmaDevice } from './dma-device.ts';
import type { DirectMapping } from './dma-direct.ts';
import { DmaError } from './dma-error.ts';
import type { DmaLayer } from './dma-layer.ts';
import { type DmaAttrs, type DmaDirection, dmaProt } from './dma-prot.ts';
import { freeRuns, ScatteredAllocations } from './noncontiguous.ts';
import type { PageSource } from './page-source.ts';
import type { RangeMapper } from './range-mapper.ts';
import { DMA_MAPPING_ERROR } from './scatter-list.ts';
import type { Streaming } from './streaming.ts';

/**
 * Where coherent memory comes from in place of the layer's own memory: runs whose lengths are multiples of the page.
 * @example const pages: PageProvider = { alloc: (size) => [{ paddr: frames.alloc(size), length: size }], free() {} };
 */
export interface PageProvider {
  /** Runs that add up to `size` bytes, zeroed; null when there is no memory. */
  alloc(size: number): readonly SgRun[] | null;
  free(runs: readonly SgRun[]): void;
}

/**
 * How to allocate (`gfp_t` and `DMA_ATTR_*`).
 * @example const request: AllocRequest = { wait: 'cannot-wait', attrs: { forceContiguous: true } };
 */
export interface AllocRequest {
  /** Default `may-wait`; `cannot-wait` is `GFP_ATOMIC`. */
  readonly wait?: 'may-wait' | 'cannot-wait';
  readonly attrs?: DmaAttrs;
}

/** Where an allocation's pages are from. @example const kind: MemoryOrigin = 'scattered'; */
export type MemoryOrigin = 'provider' | 'scattered' | 'contiguous' | 'pool';

/**
 * A coherent allocation.
 * @example const ring = dma.allocCoherent(dev, 0x4000); ring?.dmaAddress;
 */
export interface CoherentMemory {
  readonly dmaAddress: number;
  /** Bytes that were asked for. */
  readonly size: number;
  /** Its pages in order. */
  readonly runs: readonly SgRun[];
  readonly origin: MemoryOrigin;
}

/** Memory that device and CPU share for long (`iommu_dma_alloc`, `dma_direct_alloc`). */
export class CoherentAllocations {
  readonly #layer: DmaLayer;
  readonly #ranges: RangeMapper;
  readonly #direct: DirectMapping;
  readonly #streaming: Streaming;
  readonly #scattered: ScatteredAllocations;
  readonly #pool: AtomicPool | null;
  readonly #live = new Map<object, DmaDevice>();

  constructor(
    layer: DmaLayer,
    parts: {
      readonly ranges: RangeMapper;
      readonly direct: DirectMapping;
      readonly streaming: Streaming;
      readonly pool: AtomicPool | null;
    },
  ) {
    this.#layer = layer;
    this.#ranges = parts.ranges;
    this.#direct = parts.direct;
    this.#streaming = parts.streaming;
    this.#pool = parts.pool;
    this.#scattered = new ScatteredAllocations(layer, parts.ranges);
  }

  /** Pages of the provider behind one IOVA. */
  allocFrom(dev: DmaDevice, size: number, pages: PageProvider): CoherentMemory | null {
    const granule = dev.space?.granule ?? 4096;
    const bytes = Math.ceil(size / granule) * granule;
    const runs = pages.alloc(bytes);
    if (runs === null) return null;
    const dmaAddress = this.#mapRuns(dev, runs, bytes, pages);
    if (dmaAddress !== DMA_MAPPING_ERROR)
      return this.#keep(dev, { dmaAddress, size, runs, origin: 'provider' });
    pages.free(runs);
    return null;
  }

  #mapRuns(dev: DmaDevice, runs: readonly SgRun[], bytes: number, pages: PageProvider): number {
    const { core, spaces } = this.#layer;
    if (dev.space === null) {
      const [first, ...others] = runs;
      if (first !== undefined && others.length === 0)
        return this.#direct.reachesCoherent(dev, first.paddr, bytes)
          ? this.#direct.toDma(dev, first.paddr)
          : DMA_MAPPING_ERROR;
      pages.free(runs);
      throw new DmaError(
        'PAGES_SCATTERED',
        dev.name,
        `bypasses the IOMMU and got ${runs.length} runs of pages`,
        'Provide one contiguous run',
      );
    }
    const iova = spaces.alloc(dev, dev.space, bytes, dev.coherentEnd);
    if (iova === 0) return DMA_MAPPING_ERROR;
    const prot = dmaProt('BIDIRECTIONAL', undefined, dev.coherence);
    if (core.mapSg(dev.domain, iova, runs, prot) === bytes) return iova;
    spaces.free(dev.space, iova, bytes);
    return DMA_MAPPING_ERROR;
  }

  /** From the layer's own memory: scattered where the caller may wait, else the pool or one piece (`iommu_dma_alloc`). */
  alloc(dev: DmaDevice, size: number, request: AllocRequest): CoherentMemory | null {
    const source = this.sourceOf(dev, size);
    const { wait = 'may-wait', attrs } = request;
    if (dev.space !== null && wait === 'may-wait' && attrs?.forceContiguous !== true)
      return this.allocScattered(dev, size, attrs);
    const bytes = source.pageAlign(size);
    const fits = (at: number) => dev.space !== null || this.#direct.reachesCoherent(dev, at, bytes);
    if (wait === 'cannot-wait' && dev.coherence === 'non-coherent') {
      const paddr = this.#pool?.alloc(bytes, fits) ?? -1;
      if (paddr >= 0) return this.#map(dev, size, { paddr, length: bytes }, 'pool', attrs);
      this.#warnPool(dev, attrs);
      return null;
    }
    const paddr = source.allocReachable(source.orderOf(bytes), fits);
    if (paddr < 0) return null;
    const over = source.pageSize * 2 ** source.orderOf(bytes) - bytes;
    if (over > 0) source.free(paddr + bytes, over);
    if (dev.coherence === 'non-coherent') this.#layer.cleanForDevice(paddr, size, 'BIDIRECTIONAL');
    source.zero(paddr, bytes);
    return this.#map(dev, size, { paddr, length: bytes }, 'contiguous', attrs);
  }

  /** From 7.2 on a pool that is full is told from one that is missing, and only the latter says so against `noWarn`. */
  #warnPool(dev: DmaDevice, attrs: DmaAttrs | undefined): void {
    const { profile } = this.#layer;
    const full = this.#pool !== null && profile.fullPool === 'exhausted';
    if (full && attrs?.noWarn === true) return;
    this.#layer.warnOn(
      'no room in the atomic pool',
      full ? `DMA pool exhausted for ${dev.name}` : `Failed to get suitable pool for ${dev.name}`,
    );
  }

  /** Always scattered (`iommu_dma_alloc_remap`, `iommu_dma_alloc_noncontiguous`). */
  allocScattered(dev: DmaDevice, size: number, attrs: DmaAttrs | undefined): CoherentMemory | null {
    const source = this.sourceOf(dev, size);
    const found = this.#scattered.alloc(dev, size, source, attrs);
    if (found === null) return null;
    for (const { paddr, length } of found.runs) source.zero(paddr, length);
    return this.#keep(dev, { ...found, size, origin: 'scattered' });
  }

  /** One piece, mapped for streaming; its size is rounded up to pages (`dma_common_alloc_pages`, `dma_direct_alloc_pages`). */
  allocPages(dev: DmaDevice, size: number, dir: DmaDirection): CoherentMemory | null {
    const source = this.sourceOf(dev, size);
    const bytes = source.pageAlign(size);
    const order = source.orderOf(bytes);
    const paddr = source.allocReachable(
      order,
      (at) => dev.space !== null || this.#direct.reachesCoherent(dev, at, bytes),
    );
    if (paddr < 0) return null;
    const over = source.pageSize * 2 ** order - bytes;
    if (over > 0) source.free(paddr + bytes, over);
    const skip = { skipCpuSync: true };
    const dmaAddress =
      dev.space === null
        ? this.#direct.toDma(dev, paddr)
        : this.#streaming.map(dev, paddr, bytes, dir, skip);
    if (dmaAddress === DMA_MAPPING_ERROR) {
      source.free(paddr, bytes);
      return null;
    }
    source.zero(paddr, bytes);
    const runs = [{ paddr, length: bytes }];
    return this.#keep(dev, { dmaAddress, size: bytes, runs, origin: 'contiguous' });
  }

  /** Undoes `allocPages` (`dma_common_free_pages`). */
  freePages(dev: DmaDevice, memory: CoherentMemory, dir: DmaDirection): void {
    const { dmaAddress, size } = memory;
    if (dev.space !== null)
      this.#streaming.unmap(dev, dmaAddress, size, dir, { skipCpuSync: true });
    this.#giveBack(dev, memory, undefined);
  }

  /** Invalidated first, then the pages go back to where they are from. */
  free(dev: DmaDevice, memory: CoherentMemory, pages: PageProvider | undefined): void {
    if (dev.space !== null) this.#ranges.unmap(dev, memory.dmaAddress, memory.size);
    this.#giveBack(dev, memory, pages);
  }

  /** To where the pages are from, whichever call frees them. */
  #giveBack(dev: DmaDevice, memory: CoherentMemory, pages: PageProvider | undefined): void {
    const { size, runs, origin } = memory;
    this.#live.delete(memory);
    if (origin === 'provider') pages?.free(runs);
    else if (origin === 'pool') this.#freeToPool(runs);
    else freeRuns(this.sourceOf(dev, size), runs);
  }

  #freeToPool(runs: readonly SgRun[]): void {
    for (const { paddr, length } of runs) this.#pool?.free(paddr, length);
  }

  /** Throws {@link DmaError} `MEMORY_FOREIGN` for memory that is not a live allocation of the device, or without its provider. */
  check(dev: DmaDevice, memory: CoherentMemory, pages?: PageProvider): void {
    const mine = this.#live.get(memory) === dev;
    if (mine && (memory.origin === 'provider') === (pages !== undefined)) return;
    throw new DmaError(
      'MEMORY_FOREIGN',
      dev.name,
      mine ? 'frees memory of a provider without it, or the reverse' : 'does not hold this memory',
      'Free what an alloc call returned once, by the same device, with the same provider',
    );
  }

  /** The layer's memory; throws {@link DmaError} `DMA_MEMORY` without, `DMA_PARAMETER` for a size of nothing. */
  sourceOf(dev: DmaDevice, size: number): PageSource {
    const { pages } = this.#layer;
    if (pages === null)
      throw new DmaError(
        'DMA_MEMORY',
        dev.name,
        'wants memory, and there is none to take it from',
        'Pass memory to DmaApi, or a PageProvider to the call',
      );
    if (Number.isSafeInteger(size) && size > 0) return pages;
    throw new DmaError('DMA_PARAMETER', dev.name, `wants ${size} bytes`, 'Ask for 1 or more');
  }

  #map(
    dev: DmaDevice,
    size: number,
    run: SgRun,
    origin: 'contiguous' | 'pool',
    attrs: DmaAttrs | undefined,
  ): CoherentMemory | null {
    const runs = [run];
    const prot = dmaProt('BIDIRECTIONAL', attrs, dev.coherence);
    const dmaAddress =
      dev.space === null
        ? this.#direct.toDma(dev, run.paddr)
        : this.#ranges.map(dev, run.paddr, size, prot, dev.coherentEnd);
    if (dmaAddress !== DMA_MAPPING_ERROR)
      return this.#keep(dev, { dmaAddress, size, runs, origin });
    if (origin === 'pool') this.#freeToPool(runs);
    else freeRuns(this.sourceOf(dev, size), runs);
    return null;
  }

  #keep(dev: DmaDevice, memory: CoherentMemory): CoherentMemory {
    this.#live.set(memory, dev);
    return memory;
  }
}

/** The pool for callers that cannot wait, when there is memory for it; of no size given, the kernel's default. */
export function atomicPoolOf(
  layer: DmaLayer,
  size: number | undefined,
  clock: ConstructorParameters<typeof AtomicPool>[1]['clock'],
): AtomicPool | null {
  const { pages, ram } = layer;
  if (pages === null || size === 0) return null;
  return new AtomicPool(size ?? defaultPoolSize(ram.end - ram.start, pages), {
    source: pages,
    clock,
    prepare: (paddr, bytes) => layer.cleanForDevice(paddr, bytes, 'BIDIRECTIONAL'),
    warn: (text) => layer.print('warn', text),
  });
}

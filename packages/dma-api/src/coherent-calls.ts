import type { SgRun } from '@iommukit/iommu-core';
import { ERRNO, type Platform } from '@iommukit/platform';
import {
  type AllocRequest,
  atomicPoolOf,
  CoherentAllocations,
  type CoherentMemory,
  type PageProvider,
} from './coherent.ts';
import type { DmaDevice } from './dma-device.ts';
import type { DmaLayer } from './dma-layer.ts';
import type { DmaAttrs, DmaDirection } from './dma-prot.ts';
import { HandleCalls } from './handle-calls.ts';
import { joinRuns } from './page-source.ts';
import { type SgElement, sgElement } from './scatter-list.ts';
import type { LiveMapping } from './streaming.ts';

/**
 * A part of an allocation that is to appear in an address space; pages (`vm_pgoff`, `vma_pages`).
 * @example const window: MmapWindow = { pgoff: 0, pages: 4 };
 */
export interface MmapWindow {
  readonly pgoff: number;
  readonly pages: number;
}

/** The calls of a `DmaApi` that allocate, over its handle calls. */
export class CoherentCalls extends HandleCalls {
  readonly #coherent: CoherentAllocations;
  /** The list that debugging knows an allocation of scattered pages by. */
  readonly #lists = new WeakMap<CoherentMemory, { sg: SgElement[]; dir: DmaDirection }>();

  constructor(
    layer: DmaLayer,
    pool: { readonly size: number | undefined; readonly clock: Platform['clock'] },
  ) {
    super(layer);
    this.#coherent = new CoherentAllocations(layer, {
      ranges: this.ranges,
      direct: this.direct,
      streaming: this.streaming,
      pool: atomicPoolOf(layer, pool.size, pool.clock),
    });
  }

  /**
   * Memory that device and CPU share for long, mapped BIDIRECTIONAL below the coherent mask (`dma_alloc_coherent`): pages from the provider behind one
   * IOVA, or without one as `allocAttrs`. Null when there is no memory, no IOVA, or no table; nothing is kept then.
   * Throws {@link DmaError} `DMA_MEMORY`, `DMA_PARAMETER`; `PAGES_SCATTERED` after the pages went back to their provider.
   */
  allocCoherent(dev: DmaDevice, size: number, pages?: PageProvider): CoherentMemory | null {
    if (pages === undefined) return this.allocAttrs(dev, size);
    return this.#allocated(dev, size, this.#coherent.allocFrom(dev, size, pages));
  }

  /** Gives back what `allocCoherent` returned, with the same provider: unmapped and invalidated first, then the pages (`dma_free_coherent`). Throws {@link DmaError} `MEMORY_FOREIGN`. */
  freeCoherent(dev: DmaDevice, memory: CoherentMemory, pages?: PageProvider): void {
    this.freeAttrs(dev, memory, undefined, pages);
  }

  /**
   * As `allocCoherent` from the layer's memory (`dma_alloc_attrs`). Who may wait gets scattered pages behind one IOVA, as large pieces as the domain maps;
   * `forceContiguous`, who cannot wait, and devices without IOMMU one piece; who cannot wait, for a device that does not snoop, a part of the atomic pool.
   */
  allocAttrs(dev: DmaDevice, size: number, request: AllocRequest = {}): CoherentMemory | null {
    const memory = this.#coherent.alloc(dev, size, request);
    return this.#allocated(dev, size, memory, request.attrs);
  }

  /** Gives back what `allocAttrs` returned (`dma_free_attrs`). Throws {@link DmaError} `MEMORY_FOREIGN`. */
  freeAttrs(dev: DmaDevice, memory: CoherentMemory, attrs?: DmaAttrs, pages?: PageProvider): void {
    this.#coherent.check(dev, memory, pages);
    if (this.trace.on && this.layer.profile.events !== 'none')
      this.trace.emit({
        name: 'dma_free',
        device: dev.name,
        dmaAddr: memory.dmaAddress,
        size: memory.size,
      });
    this.layer.debug?.free(dev, known(memory, 'BIDIRECTIONAL'), 'coherent', attrs);
    this.#coherent.free(dev, memory, pages);
  }

  /** Tells of an allocation, or of a failed one. */
  #allocated(
    dev: DmaDevice,
    size: number,
    memory: CoherentMemory | null,
    attrs?: DmaAttrs,
  ): CoherentMemory | null {
    const { profile, debug } = this.layer;
    const told = memory !== null || profile.failedAllocEvent;
    if (this.trace.on && profile.events !== 'none' && told)
      this.trace.emit({
        name: 'dma_alloc',
        device: dev.name,
        dmaAddr: memory?.dmaAddress ?? 0,
        size,
      });
    if (memory !== null) debug?.alloc(dev, known(memory, 'BIDIRECTIONAL'), 'coherent', attrs);
    return memory;
  }

  /** Contiguous pages mapped for streaming: the driver syncs them (`dma_alloc_pages`). Null as `allocAttrs`; `size` of the result is rounded up to pages. */
  allocPages(dev: DmaDevice, size: number, dir: DmaDirection): CoherentMemory | null {
    const memory = this.#coherent.allocPages(dev, size, dir);
    if (memory !== null) this.layer.debug?.alloc(dev, known(memory, dir), 'noncoherent');
    return memory;
  }

  /** Gives back what `allocPages` returned (`dma_free_pages`). Throws {@link DmaError} `MEMORY_FOREIGN`. */
  freePages(dev: DmaDevice, memory: CoherentMemory, dir: DmaDirection): void {
    this.#coherent.check(dev, memory);
    this.layer.debug?.free(dev, known(memory, dir), 'noncoherent');
    this.#coherent.freePages(dev, memory, dir);
  }

  /**
   * Pages from anywhere behind one DMA address, which the driver syncs as a list (`dma_alloc_noncontiguous`): one piece for a device without IOMMU.
   * Null with a warning for any other attribute than `allocSinglePages`, else as `allocAttrs`.
   */
  allocNoncontiguous(
    dev: DmaDevice,
    size: number,
    dir: DmaDirection,
    attrs?: DmaAttrs,
  ): CoherentMemory | null {
    const others = Object.entries({ ...attrs, allocSinglePages: false });
    if (others.some(([, set]) => set === true)) {
      this.layer.warnOn('only allocSinglePages is an attribute of allocNoncontiguous');
      return null;
    }
    const memory =
      dev.space === null
        ? this.#coherent.allocPages(dev, size, dir)
        : this.#coherent.allocScattered(dev, size, attrs);
    if (memory === null) return null;
    const sg = memory.runs.map(({ paddr, length }) => sgElement(paddr, length));
    const [first] = sg;
    if (first === undefined) return memory;
    first.dmaAddress = memory.dmaAddress;
    const granule = dev.space?.granule ?? 1;
    first.dmaLength = Math.ceil(memory.size / granule) * granule;
    this.#lists.set(memory, { sg, dir });
    this.layer.debug?.mapSg(dev, sg, 1, dir, attrs);
    return memory;
  }

  /** Gives back what `allocNoncontiguous` returned (`dma_free_noncontiguous`). Throws {@link DmaError} `MEMORY_FOREIGN`. */
  freeNoncontiguous(dev: DmaDevice, memory: CoherentMemory, dir: DmaDirection): void {
    this.#coherent.check(dev, memory);
    const list = this.#lists.get(memory);
    if (list !== undefined) this.layer.debug?.unmapSg(dev, list.sg, dir);
    if (dev.space === null) this.#coherent.freePages(dev, memory, dir);
    else this.#coherent.free(dev, memory, undefined);
  }

  /** The pages that an address of the kernel would show one after the other (`dma_vmap_noncontiguous`): their physical addresses. */
  vmapNoncontiguous(dev: DmaDevice, memory: CoherentMemory): number[] {
    this.#coherent.check(dev, memory);
    const { pageSize } = this.#coherent.sourceOf(dev, memory.size);
    const count = Math.ceil(memory.size / pageSize);
    return pagesOf(memory.runs, pageSize).slice(0, count);
  }

  /**
   * The physical pages that a mapping of an allocation into an address space would show (`dma_mmap_attrs`), or -ENXIO for a window that begins or ends
   * behind it.
   */
  mmapCoherent(memory: CoherentMemory, { pgoff, pages }: MmapWindow): number[] | number {
    const pageSize = this.layer.pages?.pageSize ?? 4096;
    const count = Math.ceil(memory.size / pageSize);
    if (pgoff >= count || pages > count - pgoff) return -ERRNO.ENXIO;
    return pagesOf(memory.runs, pageSize).slice(pgoff, pgoff + pages);
  }

  /** The memory as runs, adjacent ones joined: cut to the size that was asked for when it is scattered, in whole pages otherwise (`dma_get_sgtable_attrs`). */
  getSgtable(memory: CoherentMemory): SgRun[] {
    const pageSize = this.layer.pages?.pageSize ?? 4096;
    const whole = Math.ceil(memory.size / pageSize) * pageSize;
    return joinRuns(memory.runs, memory.origin === 'scattered' ? memory.size : whole);
  }
}

function known(memory: CoherentMemory, dir: DmaDirection): LiveMapping {
  const { dmaAddress, size, runs } = memory;
  return { dmaAddr: dmaAddress, paddr: runs[0]?.paddr ?? 0, size, dir };
}

function pagesOf(runs: readonly SgRun[], pageSize: number): number[] {
  return runs.flatMap(({ paddr, length }) =>
    Array.from({ length: Math.ceil(length / pageSize) }, (_, i) => paddr + i * pageSize),
  );
}

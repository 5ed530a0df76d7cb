import type { DmaEvent } from '@iommukit/dma-api';
import type { CoreEvent } from '@iommukit/iommu-core';
import type { TraceChannel } from '@iommukit/platform';

/** What a run has handed out, from the events of its layers: IOVA ranges, and bytes mapped in page tables. */
export class ModeLedger {
  /** IOVA ranges handed out so far. */
  allocations = 0;
  /** Warnings of the DMA layer and of core. */
  warnings = 0;
  /** Bytes that page tables map now. */
  mappedBytes = 0;
  /** Live ranges, by IOVA space and first page frame. */
  readonly #live = new Set<string>();

  constructor(dma: TraceChannel<DmaEvent>, core: TraceChannel<CoreEvent>) {
    dma.listen((event) => {
      if (event.name === 'alloc_fast_ret') {
        if (event.pfn === 0) return;
        this.allocations++;
        this.#live.add(`${event.iovad} ${event.pfn}`);
      } else if (event.name === 'free_fast') this.#live.delete(`${event.iovad} ${event.pfn}`);
      else if (event.name === 'warn_on') this.warnings++;
    });
    core.listen((event) => {
      if (event.name === 'map') this.mappedBytes += event.size;
      else if (event.name === 'unmap') this.mappedBytes -= event.unmappedSize;
      else if (event.name === 'warn') this.warnings++;
    });
  }

  /** IOVA ranges handed out and not taken back. */
  get liveRanges(): number {
    return this.#live.size;
  }
}

import { minPageSize, pageSizes } from '@iommukit/bits';
import type { SgRun } from '@iommukit/iommu-core';
import type { DmaDevice } from './dma-device.ts';
import type { DmaLayer } from './dma-layer.ts';
import { type DmaAttrs, dmaProt } from './dma-prot.ts';
import { joinRuns, type PageSource } from './page-source.ts';
import type { RangeMapper } from './range-mapper.ts';

/** Scattered pages behind one IOVA: the bytes taken from the source, their runs, and the address. */
export interface ScatteredPages {
  readonly dmaAddress: number;
  readonly runs: readonly SgRun[];
}

/** Pages from anywhere, as large as the domain maps in one piece, behind one IOVA (`__iommu_dma_alloc_noncontiguous`). */
export class ScatteredAllocations {
  readonly #layer: DmaLayer;
  readonly #ranges: RangeMapper;

  constructor(layer: DmaLayer, ranges: RangeMapper) {
    this.#layer = layer;
    this.#ranges = ranges;
  }

  /** Null when there is no memory, no IOVA below the coherent mask, or no table; then nothing is kept. */
  alloc(
    dev: DmaDevice,
    size: number,
    source: PageSource,
    attrs: DmaAttrs | undefined,
  ): ScatteredPages | null {
    const { core, spaces } = this.#layer;
    const space = this.#layer.spaceOf(dev);
    const { sizes, bytes } = plan(
      dev,
      size,
      source,
      attrs?.allocSinglePages === true ? 'single' : 'large',
    );
    const wanted = source.pageAlign(bytes);
    const taken = takePages(source, wanted, sizes);
    if (taken === null) return null;
    const mapped = Math.ceil(bytes / space.granule) * space.granule;
    const iova = spaces.alloc(dev, space, mapped, dev.coherentEnd);
    if (iova !== 0) {
      const runs = joinRuns(taken, mapped);
      if (dev.coherence === 'non-coherent')
        for (const { paddr, length } of runs)
          this.#layer.cleanForDevice(paddr, length, 'BIDIRECTIONAL');
      const prot = dmaProt('BIDIRECTIONAL', attrs, dev.coherence);
      if (core.mapSg(dev.domain, iova, runs, prot) === mapped)
        return { dmaAddress: iova, runs: joinRuns(taken, wanted) };
      spaces.free(space, iova, mapped);
    }
    freeRuns(source, taken);
    return null;
  }

  free(
    dev: DmaDevice,
    { dmaAddress, runs }: ScatteredPages,
    size: number,
    source: PageSource,
  ): void {
    this.#ranges.unmap(dev, dmaAddress, size);
    freeRuns(source, runs);
  }
}

/** The pieces that may be asked for, and the bytes that are needed. */
function plan(
  dev: DmaDevice,
  size: number,
  { pageSize }: PageSource,
  pages: 'large' | 'single',
): { readonly sizes: readonly number[]; readonly bytes: number } {
  // The kernel keeps the sizes in 32 bits.
  const bitmap = dev.domain.pgsizeBitmap % 2 ** 32;
  const least = Math.max(minPageSize(bitmap), pageSize);
  const bytes = least === pageSize ? size : Math.ceil(size / least) * least;
  const sizes = pageSizes(bitmap).filter((one) => one > least);
  return { sizes: pages === 'single' ? [least] : [least, ...sizes], bytes };
}

/** Largest pieces first; a size that failed once is never tried again (`__iommu_dma_alloc_pages`). */
function takePages(source: PageSource, bytes: number, sizes: readonly number[]): SgRun[] | null {
  const taken: SgRun[] = [];
  let allowed = sizes.filter((size) => source.orderOf(size) <= source.maxPageOrder);
  for (let left = bytes; left > 0; ) {
    const limit = left;
    allowed = allowed.filter((size) => size <= limit);
    let paddr = -1;
    let size = 0;
    while (paddr < 0) {
      size = allowed.at(-1) ?? 0;
      if (size === 0) {
        freeRuns(source, taken);
        return null;
      }
      paddr = source.alloc(source.orderOf(size));
      if (paddr < 0) allowed.pop();
    }
    taken.push({ paddr, length: size });
    left -= size;
  }
  return taken;
}

/** Gives runs of whole pages back. */
export function freeRuns(source: PageSource, runs: readonly SgRun[]): void {
  for (const { paddr, length } of runs) source.free(paddr, length);
}

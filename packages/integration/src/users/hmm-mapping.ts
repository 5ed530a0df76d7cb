import { DMA_MAPPING_ERROR, type DmaApi, type DmaDevice, DmaIovaState } from '@iommukit/dma-api';
import { ERRNO } from '@iommukit/platform';

const DIR = 'BIDIRECTIONAL';
const PAGE = 4096;
const ADDRESS_BYTES = 8;

/** How an {@link HmmMapping} is made. */
export interface HmmMappingOptions {
  readonly dma: DmaApi;
  readonly dev: DmaDevice;
  /** Pages of 4 KiB of the object. */
  readonly pages: number;
  /** `single`: an address for each page, as where there is no IOVA range. Absent: two steps if a range can be had. */
  readonly ranges?: 'single';
}

/**
 * Memory whose pages a device asks for one by one and loses one by one (`hmm_dma_map_alloc`, `hmm_dma_map_pfn`, `hmm_dma_unmap_pfn`): one IOVA range for
 * all, or an address for each page. Not modelled: peer memory, entries of other sizes.
 * @example const map = HmmMapping.alloc({ dma, dev, pages: 512 }); if (typeof map !== 'number') map.fault(3, 0x4000_0000);
 */
export class HmmMapping {
  readonly #options: HmmMappingOptions;
  readonly #state: DmaIovaState;
  /** DMA addresses by page where each has its own. */
  readonly #addresses: Float64Array | null;
  readonly #mapped: Set<number> = new Set<number>();

  private constructor(options: HmmMappingOptions, state: DmaIovaState) {
    this.#options = options;
    this.#state = state;
    this.#addresses = state.usesIova
      ? null
      : new Float64Array(options.pages).fill(DMA_MAPPING_ERROR);
  }

  /**
   * A mapping of nothing yet, or -EOPNOTSUPP for a device whose data would have to be copied or cleaned on the way: pages that the CPU goes
   * on using cannot be.
   */
  static alloc(options: HmmMappingOptions): HmmMapping | number {
    const { dma, dev, pages, ranges } = options;
    const limited = Math.min(dev.dmaEnd, dev.busEnd) < 2 ** 32;
    if (dev.coherence === 'non-coherent' || dev.untrusted || limited) return -ERRNO.EOPNOTSUPP;
    const state = new DmaIovaState();
    if (ranges !== 'single') dma.iovaTryAlloc(dev, state, 0, pages * PAGE);
    return new HmmMapping(options, state);
  }

  /** Bytes of the list of addresses. */
  get listBytes(): number {
    return this.#addresses === null ? 0 : this.#addresses.length * ADDRESS_BYTES;
  }

  /** The DMA address of a page that the device asks for, at `paddr` now; or a negative errno. A page that is mapped already costs nothing. */
  fault(page: number, paddr: number): number {
    const { dma, dev } = this.#options;
    if (this.#mapped.has(page)) return this.#addressOf(page);
    const offset = page * PAGE;
    const state = this.#state;
    if (this.#addresses === null) {
      const link = {
        paddr,
        offset,
        size: PAGE,
        dir: DIR,
        attrs: { requireCoherent: true },
      } as const;
      let errno = dma.iovaLink(dev, state, link);
      if (errno !== 0) return errno;
      errno = dma.iovaSync(dev, state, offset, PAGE);
      if (errno !== 0) {
        dma.iovaUnlink(dev, state, { offset, size: PAGE, dir: DIR });
        return errno;
      }
    } else {
      const dmaAddr = dma.mapPhys(dev, paddr, PAGE, DIR);
      if (dmaAddr === DMA_MAPPING_ERROR) return -ERRNO.ENOMEM;
      this.#addresses[page] = dmaAddr;
    }
    this.#mapped.add(page);
    return this.#addressOf(page);
  }

  /** The CPU takes a page back; false when the device did not have it. The device must have dropped its own translation. */
  invalidate(page: number): boolean {
    if (!this.#mapped.delete(page)) return false;
    const { dma, dev } = this.#options;
    if (this.#addresses === null)
      dma.iovaUnlink(dev, this.#state, { offset: page * PAGE, size: PAGE, dir: DIR });
    else dma.unmapPhys(dev, this.#addressOf(page), PAGE, DIR);
    return true;
  }

  /** Takes `count` mapped pages back in one unlink; one by one where each has its own address. */
  invalidateRange(first: number, count: number): void {
    const { dma, dev } = this.#options;
    if (this.#addresses !== null) {
      for (let page = first; page < first + count; page++) this.invalidate(page);
      return;
    }
    for (let page = first; page < first + count; page++) this.#mapped.delete(page);
    const offset = first * PAGE;
    dma.iovaUnlink(dev, this.#state, { offset, size: count * PAGE, dir: DIR });
  }

  /** Ends the mapping (`hmm_dma_map_free`); no page may be mapped. */
  free(): void {
    const { dma, dev } = this.#options;
    if (this.#addresses === null) dma.iovaFree(dev, this.#state);
  }

  #addressOf(page: number): number {
    return this.#addresses?.[page] ?? this.#state.addr + page * PAGE;
  }
}

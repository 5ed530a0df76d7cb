import type { Platform } from '@iommukit/platform';
import type { PageSource } from './page-source.ts';

interface Chunk {
  readonly paddr: number;
  /** One a page: taken. */
  readonly pages: Uint8Array;
}

/** What an {@link AtomicPool} calls. */
export interface AtomicPoolSite {
  readonly source: PageSource;
  readonly clock: Platform['clock'];
  /** Cleans the caches of memory that joins the pool. */
  prepare(paddr: number, bytes: number): void;
  warn(text: string): void;
}

/** Coherent memory for callers that cannot wait, kept ready and grown from a work item (`kernel/dma/pool.c`, one pool for all zones). */
export class AtomicPool {
  readonly #site: AtomicPoolSite;
  /** What should always be free (`atomic_pool_size`). */
  readonly #reserve: number;
  /** Newest first. */
  readonly #chunks: Chunk[] = [];
  #free = 0;
  #size = 0;
  #growing = false;

  constructor(size: number, site: AtomicPoolSite) {
    this.#site = site;
    this.#reserve = size;
    if (size > 0 && !this.#expand(size))
      site.warn(`DMA: failed to allocate ${size / 1024} KiB GFP_KERNEL pool for atomic allocation`);
  }

  /** Bytes of the pool, and those that are free. */
  get report(): { readonly size: number; readonly free: number } {
    return { size: this.#size, free: this.#free };
  }

  /** The first of `bytes` bytes (whole pages), aligned to their order and zeroed, or -1; what `fits` refuses stays free. */
  alloc(bytes: number, fits: (paddr: number) => boolean): number {
    const { source, clock } = this.#site;
    const count = bytes / source.pageSize;
    for (const chunk of this.#chunks) {
      const first = firstFit(chunk.pages, count, 2 ** source.orderOf(bytes));
      if (first < 0) continue;
      const paddr = chunk.paddr + first * source.pageSize;
      if (!fits(paddr)) return -1;
      chunk.pages.fill(1, first, first + count);
      this.#free -= bytes;
      if (this.#free < this.#reserve && !this.#growing) {
        this.#growing = true;
        clock.schedule(0, () => this.#grow());
      }
      source.zero(paddr, bytes);
      return paddr;
    }
    return -1;
  }

  /** Takes memory back; false when it is not of the pool (`dma_free_from_pool`). */
  free(paddr: number, bytes: number): boolean {
    const { pageSize } = this.#site.source;
    for (const { paddr: start, pages } of this.#chunks) {
      const first = (paddr - start) / pageSize;
      if (first < 0 || first >= pages.length) continue;
      pages.fill(0, first, first + bytes / pageSize);
      this.#free += bytes;
      return true;
    }
    return false;
  }

  /** As large again as the pool is (`atomic_pool_resize`). */
  #grow(): void {
    this.#growing = false;
    if (this.#free < this.#reserve) this.#expand(this.#size);
  }

  /** A chunk of this size, or of half of it as often as there is no memory. */
  #expand(size: number): boolean {
    const { source, prepare } = this.#site;
    let order = Math.min(source.orderOf(size), source.maxPageOrder);
    let paddr = source.alloc(order);
    while (paddr < 0 && order > 0) paddr = source.alloc(--order);
    if (paddr < 0) return false;
    const pages = 2 ** order;
    const bytes = pages * source.pageSize;
    prepare(paddr, bytes);
    this.#chunks.unshift({ paddr, pages: new Uint8Array(pages) });
    this.#free += bytes;
    this.#size += bytes;
    return true;
  }
}

const LEAST_POOL = 0x2_0000;

/** 128 KiB for each GiB of memory, at least one of them and at most the largest order (`dma_atomic_pool_init`). */
export function defaultPoolSize(ramBytes: number, source: PageSource): number {
  const share = Math.floor(ramBytes / source.pageSize / 8192) * source.pageSize;
  return Math.max(LEAST_POOL, Math.min(share, source.pageSize * 2 ** source.maxPageOrder));
}

/** `gen_pool_first_fit_order_align`. */
function firstFit(pages: Uint8Array, count: number, align: number): number {
  for (let first = 0; first + count <= pages.length; first += align) {
    const taken = pages.indexOf(1, first);
    if (taken < 0 || taken >= first + count) return first;
  }
  return -1;
}

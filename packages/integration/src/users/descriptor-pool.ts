import type { CoherentMemory, DmaApi, DmaDevice, PageProvider } from '@iommukit/dma-api';

const PAGE = 4096;

/**
 * A block that driver and device both see.
 * @example const list: DescriptorBlock = { paddr: 0x4000_0100, dmaAddr: 0xffff_f100 };
 */
export interface DescriptorBlock {
  readonly paddr: number;
  readonly dmaAddr: number;
}

/**
 * Small blocks of coherent memory, a power of two of bytes each, cut from whole pages (`struct dma_pool`). No block crosses a page.
 * @example const pool = new DescriptorPool(dma, dev, pages, 256); const list = pool.alloc(); pool.destroy();
 */
export class DescriptorPool {
  /** Bytes of a block. */
  readonly size: number;
  readonly #dma: DmaApi;
  readonly #dev: DmaDevice;
  readonly #pages: PageProvider;
  readonly #taken: CoherentMemory[] = [];
  readonly #free: DescriptorBlock[] = [];

  constructor(dma: DmaApi, dev: DmaDevice, pages: PageProvider, size: number) {
    this.#dma = dma;
    this.#dev = dev;
    this.#pages = pages;
    this.size = size;
  }

  /** A block, of a new page if need be; null when there is no memory. */
  alloc(): DescriptorBlock | null {
    if (this.#free.length === 0) this.#grow();
    return this.#free.pop() ?? null;
  }

  free(block: DescriptorBlock): void {
    this.#free.push(block);
  }

  /** Gives all pages back; no block may be in use. */
  destroy(): void {
    for (const memory of this.#taken) this.#dma.freeCoherent(this.#dev, memory, this.#pages);
    this.#taken.length = 0;
    this.#free.length = 0;
  }

  #grow(): void {
    const memory = this.#dma.allocCoherent(this.#dev, PAGE, this.#pages);
    const run = memory?.runs[0];
    if (memory === null || run === undefined) return;
    this.#taken.push(memory);
    for (let at = PAGE - this.size; at >= 0; at -= this.size)
      this.#free.push({ paddr: run.paddr + at, dmaAddr: memory.dmaAddress + at });
  }
}

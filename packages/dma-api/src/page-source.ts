import type { SgRun } from '@iommukit/iommu-core';
import type { FrameAllocator, MemoryView } from '@iommukit/platform';
import { zeroBytes } from './byte-copy.lanes.ts';
import { DmaError } from './dma-error.ts';

/**
 * What is needed of an allocator of frames; `FrameAllocator` of `@iommukit/platform` is one.
 * @example const frames: Frames = new FrameAllocator({ base: 0x4000_0000, size: 0x400_0000 });
 */
export type Frames = Pick<FrameAllocator, 'alloc' | 'free' | 'base' | 'size'>;

/**
 * Memory that the DMA layer allocates from. Bytes.
 * @example const memory: DmaMemory = { frames: new FrameAllocator({ base: 0x4000_0000, size: 0x400_0000 }) };
 */
export interface DmaMemory {
  readonly frames: Frames;
  /** Frames for devices that do not reach what `frames` gave (`GFP_DMA32`, `GFP_DMA`); another range than that of `frames`. */
  readonly lowFrames?: Frames;
  /** Memory is zeroed through this; absent: its content is nobody's concern. */
  readonly view?: MemoryView;
  /** The kernel's page, a power of two from 4 KiB; default 4 KiB. */
  readonly pageSize?: number;
  /** Most pages that come in one piece, as an order (`MAX_PAGE_ORDER`); default 10. */
  readonly maxPageOrder?: number;
  /** Size of the pool for callers that cannot wait (`coherent_pool=`), 0 for none; default 128 KiB for each GiB of memory, at least 128 KiB. */
  readonly atomicPool?: number;
}

const FRAME = 4096;

/** Pages by order, zeroed on demand (`alloc_pages`). */
export class PageSource {
  readonly pageSize: number;
  readonly maxPageOrder: number;
  readonly #memory: DmaMemory;

  constructor(memory: DmaMemory) {
    const { pageSize = FRAME, maxPageOrder = 10 } = memory;
    if (!(pageSize >= FRAME) || !Number.isInteger(Math.log2(pageSize)))
      throw refusal(`got a page of ${pageSize} bytes`, 'Pass a power of two from 4096');
    if (!(maxPageOrder >= 0) || !(pageSize * 2 ** maxPageOrder <= 2 ** 32))
      throw refusal(`got a largest order of ${maxPageOrder}`, 'Pass 0 or more, up to 4 GiB in all');
    this.#memory = memory;
    this.pageSize = pageSize;
    this.maxPageOrder = maxPageOrder;
  }

  /** Least order whose pages hold `bytes` (`get_order`). */
  orderOf(bytes: number): number {
    let order = 0;
    while (this.pageSize * 2 ** order < bytes) order++;
    return order;
  }

  /** Bytes of whole pages (`PAGE_ALIGN`). */
  pageAlign(bytes: number): number {
    return Math.ceil(bytes / this.pageSize) * this.pageSize;
  }

  /** The first byte of 2^order pages, aligned to their size, or -1. */
  alloc(order: number): number {
    return this.#from(this.#memory.frames, order);
  }

  /** As `alloc` where `reaches` holds, from the low frames otherwise; what is out of reach is given back (`__dma_direct_alloc_pages`). */
  allocReachable(order: number, reaches: (paddr: number) => boolean): number {
    for (const frames of [this.#memory.frames, this.#memory.lowFrames]) {
      const paddr = frames === undefined ? -1 : this.#from(frames, order);
      if (paddr < 0) continue;
      if (reaches(paddr)) return paddr;
      frames?.free(paddr, this.pageSize * 2 ** order);
    }
    return -1;
  }

  /** Gives whole pages back, each by itself: runs need not be those of `alloc`. */
  free(paddr: number, bytes: number): void {
    const { frames, lowFrames } = this.#memory;
    const low = lowFrames !== undefined && holds(lowFrames, paddr);
    const pool = low ? lowFrames : frames;
    for (let at = paddr; at < paddr + bytes; at += this.pageSize) pool.free(at, this.pageSize);
  }

  /** Zeroes memory so that every view sees it, as through an uncached mapping. */
  zero(paddr: number, bytes: number): void {
    const { view } = this.#memory;
    if (view === undefined) return;
    zeroBytes(view, paddr, bytes);
    view.clean(paddr, bytes);
  }

  #from(frames: Frames, order: number): number {
    return order > this.maxPageOrder ? -1 : frames.alloc(this.pageSize * 2 ** order);
  }
}

function holds({ base, size }: Frames, paddr: number): boolean {
  return paddr >= base && paddr < base + size;
}

/** Adjacent runs joined, and the last one cut to `bytes` in all (`sg_alloc_table_from_pages`). */
export function joinRuns(runs: readonly SgRun[], bytes: number): SgRun[] {
  const joined: { paddr: number; length: number }[] = [];
  let left = bytes;
  for (const run of runs) {
    const length = Math.min(run.length, left);
    if (length <= 0) break;
    const last = joined.at(-1);
    if (last !== undefined && last.paddr + last.length === run.paddr) last.length += length;
    else joined.push({ paddr: run.paddr, length });
    left -= length;
  }
  return joined;
}

function refusal(what: string, fix: string): DmaError {
  return new DmaError('DMA_PARAMETER', 'memory', what, fix);
}

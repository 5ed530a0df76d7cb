import type { DmaDirection } from './dma-prot.ts';

/** One piece of a scatter-gather event. @example const piece: SgPiece = { address: 0xffff_f000, length: 4096 }; */
export interface SgPiece {
  readonly address: number;
  readonly length: number;
}

/**
 * What the DMA layer tells: the kernel's `dma:*` tracepoints and the probes on the IOVA allocator's entry points that captures
 * have. Addresses and sizes in bytes, pfns and their sizes in granules. `iovad` numbers the IOVA domains in order of their `init`, from 0.
 * @example dma.trace.listen((event) => { if (event.name === 'alloc_fast_ret') log.push(event.pfn); });
 */
export type DmaEvent =
  | {
      readonly name: 'dma_map_page' | 'dma_map_phys';
      readonly device: string;
      readonly dir: DmaDirection;
      readonly dmaAddr: number;
      readonly size: number;
      readonly paddr: number;
    }
  | {
      readonly name: 'dma_unmap_page' | 'dma_unmap_phys';
      readonly device: string;
      readonly dir: DmaDirection;
      readonly dmaAddr: number;
      readonly size: number;
    }
  | {
      readonly name: 'dma_map_sg';
      readonly device: string;
      readonly dir: DmaDirection;
      readonly mapped: readonly SgPiece[];
      readonly pieces: readonly SgPiece[];
    }
  | {
      readonly name: 'dma_unmap_sg';
      readonly device: string;
      readonly dir: DmaDirection;
      readonly pieces: readonly SgPiece[];
    }
  | {
      readonly name: 'dma_alloc' | 'dma_free';
      readonly device: string;
      readonly dmaAddr: number;
      readonly size: number;
    }
  | {
      readonly name: 'init';
      readonly iovad: number;
      readonly granule: number;
      readonly startPfn: number;
    }
  | {
      readonly name: 'reserve';
      readonly iovad: number;
      readonly pfnLo: number;
      readonly pfnHi: number;
    }
  | {
      readonly name: 'alloc_fast';
      readonly iovad: number;
      readonly size: number;
      readonly limitPfn: number;
      readonly flush: 'flush' | 'no-flush';
    }
  | { readonly name: 'alloc_fast_ret'; readonly iovad: number; readonly pfn: number }
  | {
      readonly name: 'free_fast';
      readonly iovad: number;
      readonly pfn: number;
      readonly size: number;
    }
  /** A printed line. */
  | { readonly name: 'notice' | 'warn'; readonly text: string }
  /** A `WARN_ON`: what was wrong, in our words, and what the kernel prints above the trace, if anything. */
  | { readonly name: 'warn_on'; readonly text: string; readonly message: string | null };

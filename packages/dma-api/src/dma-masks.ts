import { minPageSize } from '@iommukit/bits';
import { ERRNO } from '@iommukit/platform';
import { CoherentCalls } from './coherent-calls.ts';
import type { DmaDevice } from './dma-device.ts';
import { DmaError } from './dma-error.ts';
import { SWIOTLB_SLOT } from './swiotlb-pool.lanes.ts';

/** The size that is no limit (`SIZE_MAX`, rounded up). */
const UNLIMITED = 2 ** 64;
/** Most pages of an IOVA that the per-CPU caches keep (`iova_rcache_range`). */
const CACHED_PAGES = 32;
/** An IOVA space takes any mask, and asks for no more. */
const IOMMU_BITS = 32;

/** What a device reaches, and what its driver may ask of it; over the other calls of a `DmaApi` (`kernel/dma/mapping.c`). */
export class MaskCalls extends CoherentCalls {
  /**
   * Tells how many address bits the device has for streaming mappings (`dma_set_mask` with `DMA_BIT_MASK(bits)`): 0, or -EIO when memory is out of reach
   * of so few, and nothing changed. Behind an IOMMU every mask will do. Throws {@link DmaError} `DMA_PARAMETER` unless `bits` is 1 to 64.
   */
  setMask(dev: DmaDevice, bits: number): number {
    if (!this.#supported(dev, bits)) return -ERRNO.EIO;
    dev.dmaEnd = 2 ** bits;
    return 0;
  }

  /** The same for coherent allocations (`dma_set_coherent_mask`). */
  setCoherentMask(dev: DmaDevice, bits: number): number {
    if (!this.#supported(dev, bits)) return -ERRNO.EIO;
    dev.coherentEnd = 2 ** bits;
    return 0;
  }

  /** Both (`dma_set_mask_and_coherent`): 0, or -EIO and nothing changed. */
  setMaskAndCoherent(dev: DmaDevice, bits: number): number {
    const errno = this.setMask(dev, bits);
    return errno === 0 ? this.setCoherentMask(dev, bits) : errno;
  }

  #supported(dev: DmaDevice, bits: number): boolean {
    checkWhole(dev, 'address bits', bits, [1, 64]);
    return dev.space !== null || this.direct.supports(dev, bits);
  }

  /** Address bits of the mask that reaches everything: 32 behind an IOMMU, else those of the last byte of memory (`dma_get_required_mask`). */
  requiredMask(dev: DmaDevice): number {
    return dev.space !== null ? IOMMU_BITS : this.direct.requiredBits(dev);
  }

  /** Memory is out of reach of the device's mask or bus (`dma_addressing_limited`). */
  addressingLimited(dev: DmaDevice): boolean {
    const mask = dev.dmaEnd === 1 ? UNLIMITED : dev.dmaEnd;
    if (Math.min(mask, dev.busEnd) < 2 ** this.requiredMask(dev)) return true;
    return dev.space === null && !this.direct.mapsAllRam(dev);
  }

  /** Longest mapping that can work, bytes; 2^64 where nothing limits it, else what a bounce slot holds (`dma_max_mapping_size`). */
  maxMappingSize(dev: DmaDevice): number {
    const { bounce } = this.layer;
    const bounces =
      dev.space !== null ? dev.untrusted : bounce?.active === true && this.addressingLimited(dev);
    if (!bounces || bounce === null) return UNLIMITED;
    return bounce.maxMappingSize - Math.ceil(dev.minAlignMask / SWIOTLB_SLOT) * SWIOTLB_SLOT;
  }

  /** Longest mapping whose IOVA comes from the per-CPU caches, bytes (`dma_opt_mapping_size`); at most `maxMappingSize`. */
  optMappingSize(dev: DmaDevice): number {
    const max = this.maxMappingSize(dev);
    if (dev.space === null) return max;
    return Math.min(max, (this.layer.pages?.pageSize ?? dev.space.granule) * CACHED_PAGES);
  }

  /** Low address bits that must be 0 where two elements of a list become one segment, as a mask; 0: never (`dma_get_merge_boundary`). */
  mergeBoundary(dev: DmaDevice): number {
    return dev.space === null ? 0 : minPageSize(dev.domain.pgsizeBitmap) - 1;
  }

  /** Unmaps have something to do, so that the driver must remember its addresses (`dma_need_unmap`, 7.2 on). */
  needUnmap(dev: DmaDevice): boolean {
    return dev.space !== null || !this.#skipsSync(dev);
  }

  /** A sync of this mapping has something to do (`dma_need_sync`). */
  needSync(dev: DmaDevice, dmaAddr: number): boolean {
    if (this.#skipsSync(dev)) return false;
    if (dev.space !== null || dev.coherence === 'non-coherent') return true;
    return this.layer.bounce?.owns(this.direct.toPhys(dev, dmaAddr)) === true;
  }

  /** `dma_skip_sync`, unless debugging wants to see every call. */
  #skipsSync(dev: DmaDevice): boolean {
    const { profile, debug } = this.layer;
    if (profile.skipSync === 'never' || debug !== null) return false;
    return dev.coherence === 'coherent' && !dev.usedBounce;
  }

  /** Longest segment that `mapSg` may build, bytes below 2^32 (`dma_set_max_seg_size`). Throws {@link DmaError} `DMA_PARAMETER`. */
  setMaxSegSize(dev: DmaDevice, size: number): void {
    checkWhole(dev, 'a segment size', size, [1, 2 ** 32 - 1]);
    dev.maxSegSize = size;
  }

  /** Boundary that no segment may cross, a power of two up to 2^64, bytes (`dma_set_seg_boundary` of this less 1). Throws {@link DmaError} `DMA_PARAMETER`. */
  setSegBoundary(dev: DmaDevice, boundary: number): void {
    checkPower(dev, 'a segment boundary', boundary, UNLIMITED);
    dev.segBoundary = boundary;
  }

  /** Low address bits that a mapping must keep, as a mask (`dma_set_min_align_mask`). Throws {@link DmaError} `DMA_PARAMETER` unless it is 2^n - 1. */
  setMinAlignMask(dev: DmaDevice, mask: number): void {
    checkPower(dev, 'an alignment mask plus 1', mask + 1, 2 ** 32);
    dev.minAlignMask = mask;
  }
}

function checkWhole(
  dev: DmaDevice,
  what: string,
  value: number,
  [low, high]: readonly [number, number],
): void {
  if (Number.isInteger(value) && value >= low && value <= high) return;
  throw new DmaError(
    'DMA_PARAMETER',
    dev.name,
    `got ${what} of ${value}`,
    `Pass a whole number from ${low} to ${high}`,
  );
}

function checkPower(dev: DmaDevice, what: string, value: number, most: number): void {
  if (value >= 1 && value <= most && 2 ** Math.round(Math.log2(value)) === value) return;
  throw new DmaError(
    'DMA_PARAMETER',
    dev.name,
    `got ${what} of ${value}`,
    `Pass a power of two up to ${most}`,
  );
}

import { IOMMU_CACHE, IOMMU_MMIO, IOMMU_PRIV, IOMMU_READ, IOMMU_WRITE } from '@iommukit/io-pgtable';

/**
 * Who writes the buffer, by the kernel's names (`enum dma_data_direction`).
 * @example const dir: DmaDirection = 'TO_DEVICE'; // the device reads
 */
export type DmaDirection = 'BIDIRECTIONAL' | 'TO_DEVICE' | 'FROM_DEVICE' | 'NONE';

/**
 * Attributes of a mapping (`DMA_ATTR_*`).
 * @example const attrs: DmaAttrs = { skipCpuSync: true };
 */
export interface DmaAttrs {
  /** The target is device memory: never cached, nothing to clean. */
  readonly mmio?: boolean;
  /** Only privileged accesses. */
  readonly privileged?: boolean;
  /** The mapping must not need bounce buffers or cache maintenance: unmap does none. */
  readonly requireCoherent?: boolean;
  /** The caller does the cache maintenance. */
  readonly skipCpuSync?: boolean;
  /** The CPU does not need to reach a coherent allocation (`DMA_ATTR_NO_KERNEL_MAPPING`). */
  readonly noKernelMapping?: boolean;
  /** A coherent allocation takes single pages at once, without trying larger ones first (`DMA_ATTR_ALLOC_SINGLE_PAGES`). */
  readonly allocSinglePages?: boolean;
  /** A coherent allocation must be contiguous in memory too (`DMA_ATTR_FORCE_CONTIGUOUS`). */
  readonly forceContiguous?: boolean;
  /** Nothing is printed when there is no memory or no bounce slot (`DMA_ATTR_NO_WARN`). */
  readonly noWarn?: boolean;
}

/** Whether a device snoops the CPU's caches. @example const coherence: Coherence = 'coherent'; */
export type Coherence = 'coherent' | 'non-coherent';

/**
 * The protection of a mapping, a sum of `IOMMU_*` (`dma_info_to_prot`): CACHE for coherent devices, MMIO instead of it for device
 * memory, READ and WRITE by direction. Direction `NONE` gives 0 whatever else was said.
 * @example dmaProt('TO_DEVICE', undefined, 'coherent') // 5
 */
export function dmaProt(
  dir: DmaDirection,
  attrs: DmaAttrs | undefined,
  coherence: Coherence,
): number {
  let prot = 0;
  if (attrs?.mmio === true) prot = IOMMU_MMIO;
  else if (coherence === 'coherent') prot = IOMMU_CACHE;
  if (attrs?.privileged === true) prot += IOMMU_PRIV;
  switch (dir) {
    case 'BIDIRECTIONAL':
      return prot + IOMMU_READ + IOMMU_WRITE;
    case 'TO_DEVICE':
      return prot + IOMMU_READ;
    case 'FROM_DEVICE':
      return prot + IOMMU_WRITE;
    case 'NONE':
      return 0;
  }
}

import type { KernelVersion } from '@iommukit/iommu-core';

/**
 * What differs between kernel versions in this layer.
 * @example const profile: DmaProfile = DMA_PROFILES['6.12'];
 */
export interface DmaProfile {
  /** PCI devices try 32-bit IOVAs first: until the first failure (`latch`), or every time (6.1). */
  readonly try32: 'latch' | 'every-time';
  /** Names of the events of single mappings: `dma_map_page`, `dma_map_phys` (7.2 on), or no `dma_*` event at all (6.1). */
  readonly events: 'none' | 'page' | 'phys';
  /** A coherent allocation that fails emits `dma_alloc` with address 0. */
  readonly failedAllocEvent: boolean;
}

/**
 * The profile of each kernel version.
 * @example DMA_PROFILES['7.2'].events // 'phys'
 */
export const DMA_PROFILES: Readonly<Record<KernelVersion, DmaProfile>> = {
  '6.1': { try32: 'every-time', events: 'none', failedAllocEvent: false },
  '6.12': { try32: 'latch', events: 'page', failedAllocEvent: false },
  '7.2': { try32: 'latch', events: 'phys', failedAllocEvent: true },
  '7.3': { try32: 'latch', events: 'phys', failedAllocEvent: true },
};

import type { DmaDirection } from './dma-prot.ts';

/**
 * Cache maintenance for devices that do not snoop (`arch_sync_dma_for_device`, `arch_sync_dma_for_cpu`). Physical bytes.
 * @example const caches: DmaCaches = { forDevice: (paddr, size) => view.clean(paddr, size), forCpu() {} };
 */
export interface DmaCaches {
  forDevice(paddr: number, size: number, dir: DmaDirection): void;
  forCpu(paddr: number, size: number, dir: DmaDirection): void;
  /** Waits until the maintenance before it is done (`arch_sync_dma_flush`); once after a list. Absent: it is done at once. */
  flush?(): void;
}

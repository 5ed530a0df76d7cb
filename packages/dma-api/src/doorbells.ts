import { IOMMU_MMIO, IOMMU_NOEXEC, IOMMU_WRITE } from '@iommukit/io-pgtable';
import { ERRNO } from '@iommukit/platform';
import type { DmaDevice } from './dma-device.ts';
import type { DmaLayer } from './dma-layer.ts';

const DOORBELL_PROT = IOMMU_WRITE + IOMMU_NOEXEC + IOMMU_MMIO;

/** The IOVA of the doorbell at `paddr`, mapped once for a page and a domain; -ENOMEM when it cannot be (`iommu_dma_sw_msi`). */
export function mapDoorbell(layer: DmaLayer, dev: DmaDevice, paddr: number): number {
  const space = dev.space;
  if (space === null) return paddr;
  const offset = paddr % space.granule;
  const page = paddr - offset;
  for (const known of space.msiPages) if (known.paddr === page) return known.iova + offset;
  const iova = layer.spaces.alloc(dev, space, space.granule, dev.dmaEnd);
  if (iova === 0) return -ERRNO.ENOMEM;
  if (layer.core.map(dev.domain, iova, page, space.granule, DOORBELL_PROT) !== 0) {
    layer.spaces.free(space, iova, space.granule);
    return -ERRNO.ENOMEM;
  }
  space.msiPages.unshift({ paddr: page, iova });
  return iova + offset;
}

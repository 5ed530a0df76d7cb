import { expect, it } from 'vitest';

it('exports exactly these names', async () => {
  expect(Object.keys(await import('../src/index.ts')).sort()).toEqual([
    'IOMMU_FIRST_GLOBAL_PASID',
    'IOMMU_NO_PASID',
    'IOMMU_PASID_INVALID',
    'PASID_MAX',
    'PasidAllocator',
    'PasidError',
  ]);
});

import { expect, test } from 'vitest';

test('exported names', async () => {
  expect(Object.keys(await import('../src/index.ts')).sort()).toEqual([
    'GeometryError',
    'IOMMU_CACHE',
    'IOMMU_MMIO',
    'IOMMU_NOEXEC',
    'IOMMU_PRIV',
    'IOMMU_READ',
    'IOMMU_WRITE',
    'IO_PGTABLE_PROFILES',
    'IotlbGather',
    'LpaePageTable',
    'arm64LpaeS1',
    'createPageTable',
    'lpaeGeometry',
  ]);
});

import { expect, it } from 'vitest';

it('exports exactly these names', async () => {
  expect(Object.keys(await import('../src/index.ts')).sort()).toEqual([
    'AttachHandle',
    'BatchDroppedError',
    'BatchEndedError',
    'CORE_PROFILES',
    'CoreStateError',
    'DriverProgressError',
    'IommuCore',
    'IommuDevice',
    'IommuDomain',
    'IommuGroup',
    'ListGather',
    'RangeBatch',
    'insertResvRegion',
    'resvRegionLine',
  ]);
});

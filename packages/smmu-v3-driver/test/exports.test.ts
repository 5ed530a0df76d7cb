import { expect, test } from 'vitest';

test('exported names', async () => {
  expect(Object.keys(await import('../src/index.ts')).sort()).toEqual([
    'CommandQueue',
    'CommandQueueStuck',
    'DRIVER_PROFILES',
    'DeviceNotProbed',
    'EventQueue',
    'SmmuV3Driver',
    'UnmodelledFeature',
    'abortSte',
    'bypassSte',
    'cdTableSte',
    'stageOneCd',
    'writeEntry',
  ]);
});

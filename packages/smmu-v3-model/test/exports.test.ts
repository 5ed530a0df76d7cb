import { expect, test } from 'vitest';

test('the exported names are these', async () => {
  expect(Object.keys(await import('../src/index.ts')).sort()).toEqual([
    'DEFAULT_POLICY',
    'ModelUseError',
    'SmmuV3Model',
    'UnmodelledError',
    'decodeFeatures',
  ]);
});

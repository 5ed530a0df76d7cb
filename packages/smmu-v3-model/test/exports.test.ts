import { expect, test } from 'vitest';

test('the exported names are these', async () => {
  expect(Object.keys(await import('../src/index.ts')).sort()).toEqual([
    'CACHE_EVERYTHING',
    'CACHE_NOTHING',
    'DEFAULT_INTERFACE_POLICY',
    'DEFAULT_POLICY',
    'Endpoint',
    'FEATURE_PRESETS',
    'FeatureError',
    'ModelUseError',
    'PRESET_INTERFACE',
    'SmmuV3Model',
    'UnmodelledError',
    'decodeFeatures',
    'encodeFeatures',
    'renderExplanation',
  ]);
});

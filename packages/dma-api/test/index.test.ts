import { expect, it } from 'vitest';

it('exports exactly these names', async () => {
  expect(Object.keys(await import('../src/index.ts')).sort()).toEqual([
    'DMA_MAPPING_ERROR',
    'DMA_PROFILES',
    'DmaApi',
    'DmaDevice',
    'DmaDomain',
    'DmaError',
    'dmaProt',
    'sgElement',
  ]);
});

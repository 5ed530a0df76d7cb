import { expect, it } from 'vitest';

it('exports exactly these names', async () => {
  expect(Object.keys(await import('../src/index.ts')).sort()).toEqual([
    'DMA_HANDLE_BYTES',
    'DMA_MAPPING_ERROR',
    'DMA_PROFILES',
    'DmaApi',
    'DmaDebug',
    'DmaDevice',
    'DmaDomain',
    'DmaError',
    'DmaIovaState',
    'ExposureMeter',
    'FLUSH_QUEUE_PER_CPU',
    'FLUSH_QUEUE_SINGLE',
    'FlushQueue',
    'SWIOTLB_SEGMENT',
    'SWIOTLB_SLOT',
    'Swiotlb',
    'dmaProt',
    'sgElement',
  ]);
});

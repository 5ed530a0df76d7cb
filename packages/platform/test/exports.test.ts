import { expect, test } from 'vitest';

test('the exported names are pinned', async () => {
  expect(Object.keys(await import('../src/index.ts')).sort()).toEqual([
    'BusError',
    'ERRNO',
    'FrameAllocator',
    'FrameError',
    'MemoryRangeError',
    'MmioBus',
    'MmioError',
    'NonCoherentView',
    'PhysicalMemory',
    'SharedMemory',
    'SimClock',
    'SimPlatform',
    'TraceChannel',
    'counted',
    'createCounters',
    'createPrng',
    'errnoName',
    'observeView',
  ]);
});

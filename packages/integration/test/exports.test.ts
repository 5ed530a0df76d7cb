import { expect, test } from 'vitest';

test('the exported names', async () => {
  expect(Object.keys(await import('../src/index.ts')).sort()).toEqual([
    'MEMORY_OF_CAPTURES',
    'Machine',
    'MachineError',
    'UnknownKernel',
    'kernelProfile',
    'replayCapture',
    'shippedCapture',
    'shippedCaptures',
    'streamLeaves',
  ]);
});

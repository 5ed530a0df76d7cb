import { expect, test } from 'vitest';

test('the exported names', async () => {
  expect(Object.keys(await import('../src/index.ts')).sort()).toEqual([
    'MEMORY_OF_CAPTURES',
    'Machine',
    'MachineError',
    'PATHOLOGY_SIZES',
    'UnknownKernel',
    'VectorError',
    'iovaPathology',
    'kernelProfile',
    'replayCapture',
    'replayIovaProbes',
    'runVectorFile',
    'shippedCapture',
    'shippedCaptures',
    'streamLeaves',
    'writableVectors',
    'writeVectors',
  ]);
});

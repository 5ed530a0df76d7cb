import { expect, test } from 'vitest';

test('the exported names', async () => {
  expect(Object.keys(await import('../src/index.ts')).sort()).toEqual([
    'DemandPagedMm',
    'FlushProbesNeeded',
    'MEMORY_OF_CAPTURES',
    'Machine',
    'MachineError',
    'PATHOLOGY_SIZES',
    'PageFrames',
    'UnknownKernel',
    'UnknownScenario',
    'VectorError',
    'iovaPathology',
    'kernelProfile',
    'replayCapture',
    'replayIovaProbes',
    'runScenarios',
    'runVectorFile',
    'scenariosOf',
    'shippedCapture',
    'shippedCaptures',
    'streamLeaves',
    'writableVectors',
    'writeVectors',
  ]);
});

import { expect, it } from 'vitest';

it('exports exactly the reviewed names', async () => {
  expect(Object.keys(await import('../src/index.ts')).sort()).toEqual([
    'DMA_MAPPING_ERROR',
    'FtraceParser',
    'InputError',
    'contextName',
    'inputText',
    'openCapture',
    'openText',
    'parseDmesg',
    'parseFtrace',
    'parseFtraceStream',
    'parseGuestOps',
    'parseIomem',
    'parseQemuOps',
    'readBytes',
    'readLeaves',
    'readRegs',
    'readSnapshot',
    'readText',
    'readTruth',
    'readVerdicts',
  ]);
});

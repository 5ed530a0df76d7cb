import { expect, test } from 'vitest';

test('the exported names', async () => {
  expect(Object.keys(await import('../src/index.ts')).sort()).toEqual([
    'AbsentMemory',
    'DumpMemory',
    'Programming',
    'cdReports',
    'commandQueueOf',
    'domainsOf',
    'dumpFiles',
    'eventQueueOf',
    'mapsOf',
    'openDump',
    'steReports',
    'verifyCapture',
    'walkAccess',
    'whyNoSte',
  ]);
});

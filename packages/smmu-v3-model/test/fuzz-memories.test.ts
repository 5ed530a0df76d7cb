import { describe, expect, test } from 'vitest';
import { fuzzMemory, newFuzzReport } from './fuzz-memories.lanes.ts';

const MEMORIES = process.env['IOMMUKIT_SOAK'] === undefined ? 100 : 1000;

describe('any bit pattern in registers, queues and tables has an architected outcome', () => {
  const report = newFuzzReport();
  test(`${MEMORIES} random memories`, { timeout: 60_000 }, () => {
    for (let seed = 1; seed <= MEMORIES; seed++) fuzzMemory(seed, report);
    expect(report.wrong).toEqual([]);
    expect([...report.unmodelled]).toEqual([]);
    expect(report.memories).toBe(MEMORIES);
  });

  test('the memories reach translations, faults and silent aborts', () => {
    const keys = [...report.outcomes.keys()];
    expect(keys).toEqual(expect.arrayContaining(['ok', 'bypass', 'abort']));
    const faults = new Set(keys.map((key) => key.replace(/^(fault|stall) /, '')));
    for (const event of [
      'C_BAD_STREAMID',
      'F_STE_FETCH',
      'C_BAD_STE',
      'F_STREAM_DISABLED',
      'C_BAD_SUBSTREAMID',
      'C_BAD_CD',
      'F_TRANSLATION',
      'F_ADDR_SIZE',
      'F_ACCESS',
      'F_PERMISSION',
    ])
      expect(faults).toContain(event);
  });
});

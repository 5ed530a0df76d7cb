import { expect, test } from 'vitest';
import { ContractError, pageTableContract } from '../src/contract/index.ts';
import { SUBJECTS } from './subjects.ts';

// Looking at their tables takes longest; every rule runs here for the same formats, coherent or with a fixed top.
const LONG = /((64K|16K|MediaTek|RISC-V|VT-d|AMD|DART).*, not coherent|a top that grows)$/;
const SOAK = process.env['IOMMUKIT_SOAK'] !== undefined;

test('exported names of the contract', async () => {
  expect(Object.keys(await import('../src/contract/index.ts')).sort()).toEqual([
    'ContractError',
    'GENERIC_PT_TRAITS',
    'IO_PGTABLE_TRAITS',
    'pageTableContract',
  ]);
});

// One suite over every format, granule, page size, level and way of walking; a test for each subject, of 50 to 1000 cases.
for (const subject of SUBJECTS.filter(({ name }) => SOAK || !LONG.test(name)))
  test(subject.name, () => {
    const cases = pageTableContract(subject);
    const broken: string[] = [];
    for (const { name, run } of cases)
      try {
        run();
      } catch (error) {
        if (!(error instanceof ContractError)) throw error;
        broken.push(`${name}: ${error.message}`);
      }
    expect(broken).toEqual([]);
    expect(cases.length).toBeGreaterThan(20);
    expect(new Set(cases.map(({ name }) => name)).size).toBe(cases.length);
  });

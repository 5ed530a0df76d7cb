import { expect, test } from 'vitest';
import { ContractError, pageTableContract } from '../src/contract/index.ts';
import { SUBJECTS } from './subjects.ts';

// Looking at their tables takes longest; every rule runs here for every format, coherent, with a fixed top and of its shortest shape.
const LONG =
  /((64K|16K|MediaTek|RISC-V|VT-d|AMD|DART|v7s|x86-64|kernel|hd|tops|one entry).*, not coherent|upper half, not coherent|S1 64K 52, tables above 2\^48|S2 64K 52|tables above 4 GiB|a top that grows|16K 48|S1 64K|S2 64K|S1 4K 48|S2 4K 48|S1 4K 48, not coherent|S2 4K 48, not coherent|Mali 48, not coherent|32-bit S1, not coherent|top of two, not coherent|MediaTek|kernel 6\.1|no gaps|stage 57|Sv39, 64K pages|Sv57, 64K pages|Sv48, both halves|x86-64 48, both halves)$/;
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

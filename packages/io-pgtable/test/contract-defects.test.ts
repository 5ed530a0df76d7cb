import { expect, test } from 'vitest';
import { ContractError, pageTableContract } from '../src/contract/index.ts';
import type { MockDefect } from './mock-format.lanes.ts';
import { mockSubject, type Walk } from './subjects.ts';

// The suite is worth what it catches: each row is one defect in the mock format, and the rules that must name it.
const rows: { defect: MockDefect; coherent?: true; rule: RegExp }[] = [
  { defect: 'table not zeroed', coherent: true, rule: /sound|linked/ },
  { defect: 'link before zero', coherent: true, rule: /sound|linked/ },
  { defect: 'link before clean', rule: /a linked table is clean/ },
  { defect: 'no clean of leaves', rule: /clean before|as the device sees/ },
  { defect: 'flush before clean', rule: /entries are clean before an invalidation/ },
  { defect: 'free before flush', coherent: true, rule: /freed after the flush/ },
  { defect: 'never flushes tables', coherent: true, rule: /freed after the flush/ },
  { defect: 'flushes too little', coherent: true, rule: /freed after the flush/ },
  { defect: 'leaks on failure', coherent: true, rule: /live tables|tables left/ },
  { defect: 'leaks emptied tables', coherent: true, rule: /one unmap of/ },
  { defect: 'forgets the last page of a table', coherent: true, rule: /hole/ },
  { defect: 'overwrites', coherent: true, rule: /second map/ },
  { defect: 'wrong errno', coherent: true, rule: /second map/ },
  { defect: 'changes on refusal', coherent: true, rule: /unchanged/ },
  { defect: 'counts one store too many', coherent: true, rule: /stores counted/ },
  { defect: 'counts no lines', rule: /lines counted/ },
  { defect: 'partial success not reported', coherent: true, rule: /before the conflict/ },
  { defect: 'offset lost', coherent: true, rule: /last byte/ },
  { defect: 'neighbour mapped', coherent: true, rule: /hole/ },
  { defect: 'unmaps past a hole', coherent: true, rule: /up to the hole/ },
  { defect: 'gathers when queued', coherent: true, rule: /queued gather/ },
  { defect: 'tears an entry', coherent: true, rule: /stored whole/ },
  { defect: 'group of three', coherent: true, rule: /last byte/ },
  { defect: 'no final flush', coherent: true, rule: /flushes everything/ },
  { defect: 'leaks the top', coherent: true, rule: /left after free/ },
  { defect: 'silent warning', coherent: true, rule: /warnings are told/ },
  { defect: 'accepts any direction', coherent: true, rule: /without a direction/ },
  { defect: 'accepts any address', coherent: true, rule: /out of range|map of 0x/ },
];

function broken(defect: MockDefect, walk: Walk): string[] {
  const rules: string[] = [];
  const note = (error: unknown): void => {
    if (!(error instanceof ContractError)) throw error;
    expect(error.code).toBe('CONTRACT');
    rules.push(error.operands.rule);
  };
  try {
    for (const { run } of pageTableContract(mockSubject(walk, defect)))
      try {
        run();
      } catch (error) {
        note(error);
      }
  } catch (error) {
    note(error);
  }
  return rules;
}

for (const { defect, coherent, rule } of rows)
  test(`caught: ${defect}`, () => {
    expect(broken(defect, coherent ? 'coherent' : 'not coherent').join('; ')).toMatch(rule);
  });

test('without a defect nothing is broken', () => {
  expect(broken('none', 'coherent')).toEqual([]);
  expect(broken('none', 'not coherent')).toEqual([]);
});

import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { runSequence } from './golden-run.lanes.ts';

const FILES = [
  { name: 'pt_edges_s1_4k', ops: 471, atLeast: 2000 },
  { name: 'pt_overrun_s1_4k', ops: 402, atLeast: 2900 },
  { name: 'pt_s1_16k_48', ops: 452, atLeast: 5600 },
];

for (const { name, ops, atLeast } of FILES)
  test(`golden vectors ${name}: every record, no mismatch`, () => {
    const path = new URL(`fixtures/${name}.json`, import.meta.url);
    const outcome = runSequence(JSON.parse(readFileSync(path, 'utf8')));
    expect(outcome.mismatches).toEqual([]);
    expect(outcome.ops).toBe(ops);
    expect(outcome.compared).toBeGreaterThan(atLeast);
  });

test('the comparison notices one wrong bit', () => {
  const path = new URL('fixtures/pt_edges_s1_4k.json', import.meta.url);
  const file = JSON.parse(readFileSync(path, 'utf8'));
  const op = file.ops.find(
    (row: { op: string; ret: string }) => row.op === 'iova_to_phys' && row.ret !== '0x0',
  );
  op.ret = `0x${(BigInt(op.ret) ^ 0x1000n).toString(16)}`;
  expect(runSequence(file).mismatches).toHaveLength(1);
});

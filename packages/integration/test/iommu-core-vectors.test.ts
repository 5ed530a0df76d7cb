import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { runVectorFile, VectorError } from '../src/index.ts';

const data = new URL('../data/golden/', import.meta.resolve('@iommukit/vectors'));

interface Case {
  readonly op: string;
  [field: string]: unknown;
}

/** The cases of a file, parsed anew, so that a test may change them. */
function cases(name: string): Case[] {
  const file = new URL(`${name}.json`, data);
  return (JSON.parse(readFileSync(file, 'utf8')) as { readonly cases: Case[] }).cases;
}

const run = (rows: readonly object[]) =>
  runVectorFile({ kind: 'iommu-core', name: 'a', description: 'a', cases: rows }, 'a');

describe('a changed result is noticed', () => {
  const rows: [file: string, op: string, field: string, value: unknown][] = [
    ['core_pgsize', 'pgsize', 'count', '0x7777'],
    ['core_pgsize', 'pgsize', 'pgsize', '0x1'],
    ['core_map', 'map', 'ret', -7],
    ['core_map', 'map', 'calls', [['map']]],
    ['core_map', 'map_nosync', 'calls', []],
    ['core_map', 'map', 'warns', 3],
    ['core_map', 'map', 'log', [['err', 'nothing']]],
    ['core_unmap', 'unmap', 'ret', '0x1'],
    ['core_unmap', 'unmap_fast', 'gather', ['0x0', '0x0', '0x0']],
    ['core_map_sg', 'map_sg', 'ret', '0x1'],
    ['core_map_sg', 'map_sg', 'errno', -7],
    ['core_gather_resv', 'gather', 'states', []],
    ['core_gather_resv', 'resv', 'result', []],
    ['core_gather_resv', 'resv', 'sysfs', ['nothing']],
    ['core_gather_resv', 'direct', 'ret', 7],
    ['core_gather_resv', 'direct', 'require_direct', 0],
  ];
  test.each(rows)('%s, %s: %s', (file, op, field, value) => {
    const row = cases(file).find((one) => one.op === op && Object.hasOwn(one, field));
    if (row === undefined) throw new Error('no such case');
    expect(run([row]).mismatches).toBe(0);
    const report = run([{ ...row, [field]: value }]);
    expect(report).toMatchObject({ ok: false, mismatches: 1 });
    expect(report.first).toMatchObject({ operation: 0, what: field, expected: value });
  });

  test('a missing result and an unknown one', () => {
    const [row] = cases('core_pgsize');
    const { count: _, ...without } = row as Case;
    expect(() => run([without])).toThrow(VectorError);
    expect(run([{ ...row, colour: 1 }]).first).toMatchObject({ what: 'colour', expected: 1 });
    const mapped = cases('core_map').find(({ calls }) => calls !== undefined) as Case;
    const { calls: __, ...silent } = mapped;
    expect(run([silent]).first).toMatchObject({ what: 'calls' });
  });
});

describe('bad input is one line', () => {
  const [good] = cases('core_map');
  const rows: [string, object][] = [
    ['an operation that nobody knows', { op: 'fly' }],
    ['an address that is none', { ...good, iova: 'x' }],
    ['a type of domain that core does not have', { ...good, type: 64 }],
    ['an address that no double holds', { ...good, iova: '0xfffffffffffff001' }],
  ];
  test.each(rows)('%s', (_name, row) => {
    expect(() => run([row])).toThrow(VectorError);
    expect(() => run([row])).toThrow(/^[^\n]+$/);
  });
});

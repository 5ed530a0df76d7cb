import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { runGenericPtMatrix } from '../src/vectors/generic-pt-cfg-vectors.ts';
import { runGenericPt } from '../src/vectors/generic-pt-vectors.lanes.ts';
import { VectorTally } from '../src/vectors/vector-tally.ts';
import type { JsonRow } from '../src/vectors/vector-values.lanes.ts';

const folder = new URL('../data/golden/', import.meta.resolve('@iommukit/vectors'));
const read = (name: string): JsonRow =>
  JSON.parse(readFileSync(new URL(`${name}.json`, folder), 'utf8')) as JsonRow;

function run(file: JsonRow): VectorTally {
  const tally = new VectorTally();
  if (file['kind'] === 'generic-pt') runGenericPt(file, tally);
  else runGenericPtMatrix(file, tally);
  return tally;
}

// Operations or cases, as the documentation of the recordings counts them.
const FILES: readonly [name: string, operations: number][] = [
  ['gpt_amdv1_48_nogaps_sme', 702],
  ['gpt_amdv1_64', 902],
  ['gpt_amdv1_mock', 354],
  ['gpt_cfg_matrix', 412],
  ['gpt_edges_amdv1', 913],
  ['gpt_edges_x86_64', 443],
  ['gpt_riscv64_sv48', 702],
  ['gpt_vtdss_39_incoherent', 602],
  ['gpt_vtdss_48_dirty', 803],
  ['gpt_x86_64_48_sign_incoherent', 702],
];

test('all recordings of generic page tables are run', () => {
  const names = readdirSync(folder).filter((name) => name.startsWith('gpt_'));
  expect(names.sort()).toEqual(FILES.map(([name]) => `${name}.json`));
});

test.each(FILES)('%s: %i operations without a difference', (name, operations) => {
  const tally = run(read(name));
  expect(tally.first).toBeUndefined();
  expect([tally.operations, tally.mismatches]).toEqual([operations, 0]);
  expect(tally.compared).toBeGreaterThan(operations);
});

/** The first operation of a kind in a file, to be changed. */
function first(file: JsonRow, op: string, key: string): [row: JsonRow, index: number] {
  const rows = file['ops'] as JsonRow[];
  const index = rows.findIndex((row) => row['op'] === op && row[key] !== undefined);
  return [rows[index] ?? {}, index];
}

const flip = (text: string): string => `0x${(BigInt(text) ^ 1n).toString(16)}`;

describe('one wrong bit is noticed', () => {
  test('in a looked-up address', () => {
    const file = read('gpt_amdv1_64');
    const [row, index] = first(file, 'iova_to_phys', 'ret');
    row['ret'] = flip(row['ret']);
    const tally = run(file);
    expect([tally.mismatches, tally.first?.operation, tally.first?.what]).toEqual([
      1,
      index,
      'ret',
    ]);
  });

  test('in an entry of a table', () => {
    const file = read('gpt_riscv64_sv48');
    const [row, index] = first(file, 'checkpoint', 'tables');
    const [number, , entries] = row['tables'][0];
    entries[0][1].raw = flip(entries[0][1].raw);
    const tally = run(file);
    expect([tally.mismatches, tally.first?.operation]).toEqual([1, index]);
    expect(tally.first?.what).toBe(`table ${number}[${entries[0][0]}]`);
  });

  test('in cache maintenance, a gather, pages, dirty records, a result of a configuration', () => {
    const changes: [string, string, string, (row: JsonRow) => void][] = [
      ['gpt_edges_x86_64', 'map', 'calls', ({ calls }) => calls.pop()],
      ['gpt_amdv1_64', 'unmap', 'gather', (r) => (r['gather'].end = flip(r['gather'].end))],
      ['gpt_amdv1_mock', 'map', 'pages', (r) => r['pages'][0][1]++],
      [
        'gpt_vtdss_48_dirty',
        'read_and_clear_dirty',
        'dirty',
        (r) => r['dirty'].push(['0x0', '0x1000']),
      ],
      ['gpt_vtdss_48_dirty', 'hw_dirty', 'ret', (r) => (r['ret'].pte = flip(r['ret'].pte))],
    ];
    for (const [name, op, key, change] of changes) {
      const file = read(name);
      const [row, index] = first(file, op, key);
      change(row);
      const tally = run(file);
      expect([tally.mismatches, tally.first?.operation, tally.first?.what]).toEqual([
        1,
        index,
        key,
      ]);
    }
    const matrix = read('gpt_cfg_matrix');
    matrix['cases'][0].errno = -12;
    expect(run(matrix).first).toEqual({ operation: 0, what: 'errno', expected: -12, got: -22 });
  });

  test('a field that the runner does not know', () => {
    const file = read('gpt_vtdss_48_dirty');
    const [row] = first(file, 'map', 'ret');
    row['later'] = 1;
    file['cfg'].later = 2;
    expect(run(file).mismatches).toBe(2);
  });
});

describe('a file of another shape is an error that says where', () => {
  const rows: [string, (file: JsonRow) => void, string][] = [
    ['unknown operation', (f) => (f['ops'][3].op = 'remap'), 'operation 3.op: expected map, unmap'],
    ['unknown format', (f) => (f['format'] = 'amdv9'), 'init.format: expected amdv1, amdv1_mock'],
    ['no operations', (f) => (f['ops'] = {}), 'file.ops: expected a list'],
    ['no configuration', (f) => (f['cfg'] = null), 'file.cfg: expected an object'],
    [
      'no sizes',
      (f) => (f['cfg'].hw_max_vasz_lg2 = '48'),
      'init.cfg.hw_max_vasz_lg2: expected a number',
    ],
    ['no address', (f) => (f['ops'][0].iova = 7.5), 'operation 0.iova: expected'],
    ['no result', (f) => (f['ops'][0].ret = undefined), 'operation 0.ret: expected the result'],
  ];
  test.each(rows)('%s', (_name, change, message) => {
    const file = read('gpt_vtdss_48_dirty');
    change(file);
    expect(() => run(file)).toThrow(message);
  });
});

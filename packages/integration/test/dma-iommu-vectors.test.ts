import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { runVectorFile, VectorError } from '../src/index.ts';

const data = new URL('../data/golden/', import.meta.resolve('@iommukit/vectors'));

interface Step {
  readonly op: string;
  [field: string]: unknown;
}

interface Case {
  readonly op?: string;
  readonly domain?: Readonly<Record<string, unknown>>;
  readonly steps?: readonly Step[];
  [field: string]: unknown;
}

/** The cases of a file, parsed anew, so that a test may change them. */
function cases(name: string): Case[] {
  const text = readFileSync(new URL(`${name}.json`, data), 'utf8');
  return (JSON.parse(text) as { readonly cases: Case[] }).cases;
}

const run = (rows: readonly object[]) =>
  runVectorFile({ kind: 'dma-iommu', name: 'a', description: 'a', cases: rows }, 'a');

/** The first case of a file that has such a step, and where it is. */
function find(file: string, holds: (step: Step) => boolean): { row: Case; at: number } {
  for (const row of cases(file)) {
    const at = row.steps?.findIndex(holds) ?? -1;
    if (at >= 0) return { row, at };
  }
  throw new Error('no such case');
}

/** The case with one member of one step changed. */
function changed(row: Case, at: number, members: object): Case {
  const steps = (row.steps ?? []).map((step, k) => (k === at ? { ...step, ...members } : step));
  return { ...row, steps };
}

describe('a changed result is noticed, with its case and step', () => {
  const rows: [file: string, op: string, field: string, value: unknown][] = [
    ['dma_alloc', 'iova_alloc', 'ret', '0x1000'],
    ['dma_alloc', 'iova_alloc', 'pci_32bit', 1],
    ['dma_alloc', 'iova_alloc', 'calls', []],
    ['dma_alloc', 'iova_alloc', 'log', [['notice', 'nothing']]],
    ['dma_alloc', 'phys_map', 'ret', '0x0'],
    ['dma_alloc', 'phys_map', 'warns', 3],
    ['dma_alloc', 'msi', 'iova', '0x1'],
    ['dma_alloc', 'msi', 'shift', 11],
    ['dma_sg', 'sg_map', 'ret', 77],
    ['dma_sg', 'sg_map', 'out', []],
    ['dma_sg', 'sg_unmap', 'calls', [['unmap']]],
    ['dma_iova', 'try_alloc', 'addr', '0x1'],
    ['dma_iova', 'try_alloc', 'state_size', '0x1'],
    ['dma_iova', 'link', 'ret', -7],
    ['dma_iova', 'sync', 'ret', -7],
    ['dma_iova', 'destroy', 'calls', []],
    ['dma_fq', 'fq_init', 'timeout', 11],
    ['dma_fq', 'queue', 'calls', []],
    ['dma_fq', 'timer', 'not_armed', 0],
  ];
  test.each(rows)('%s, %s: %s', (file, op, field, value) => {
    const { row, at } = find(
      file,
      (step) => step.op === op && Object.hasOwn(step, field) && step[field] !== value,
    );
    expect(run([row]).mismatches).toBe(0);
    const report = run([row, changed(row, at, { [field]: value })]);
    expect(report).toMatchObject({ ok: false, operations: 2, mismatches: 1 });
    expect(report.first).toMatchObject({ operation: 1, what: `step ${at} ${op}: ${field}` });
    expect(report.first?.expected).toEqual(value);
  });

  test('the ends of a ring', () => {
    const { row, at } = find('dma_fq', ({ op }) => op === 'queue');
    const state = row.steps?.[at]?.['state'] as { readonly rings: readonly object[] };
    const report = run([changed(row, at, { state: { ...state, start: 9 } })]);
    expect(report.first).toMatchObject({ operation: 0, what: `step ${at} queue: state` });
  });

  test('a protection', () => {
    const [row] = cases('dma_alloc');
    expect(row).toMatchObject({ op: 'prot', ret: 3 });
    expect(run([{ ...row, ret: 7 }]).first).toMatchObject({ what: 'ret', expected: 7, got: 3 });
  });

  test('what is recorded without being known, and what is done without being recorded', () => {
    const { row, at } = find('dma_sg', ({ op }) => op === 'sg_unmap');
    expect(run([changed(row, at, { colour: 1 })]).first).toMatchObject({ expected: 1 });
    const steps = (row.steps ?? []).map((step, k) => {
      const { calls: _, ...silent } = step;
      return k === at ? silent : step;
    });
    expect(run([{ ...row, steps }]).first).toMatchObject({ what: `step ${at} sg_unmap: calls` });
  });
});

describe('bad input is one line that says where', () => {
  const { row } = find('dma_iova', ({ op }) => op === 'link');
  const queued = find('dma_fq', ({ op }) => op === 'queue');
  const link = row.steps?.findIndex(({ op }) => op === 'link') ?? 0;
  const rows: [name: string, row: object, says: string][] = [
    ['an operation that nobody knows', { op: 'fly' }, 'operation 0.op: expected one of prot'],
    ['no steps', { domain: row.domain }, 'operation 0.steps: expected an array, got nothing'],
    ['no domain', { steps: row.steps }, 'operation 0.domain: expected an object, got nothing'],
    [
      'a step that nobody knows',
      changed(row, 0, { op: 'fly' }),
      'operation 0.steps[0].op: expected one of iova_alloc',
    ],
    [
      'an address that is none',
      changed(row, link, { phys: 'x' }),
      `operation 0.steps[${link}].phys: expected a string "0x"`,
    ],
    [
      'a direction that is none',
      changed(row, link, { dir: 'UP' }),
      `operation 0.steps[${link}].dir: expected one of BIDIRECTIONAL`,
    ],
    [
      'an attribute that is none',
      changed(row, link, { attrs: ['SHINY'] }),
      `operation 0.steps[${link}].attrs[0]: expected one of MMIO`,
    ],
    [
      'an address that no double holds',
      changed(row, link, { phys: '0xfffffffffffff001' }),
      'phys: expected a value that a double holds exactly',
    ],
    [
      'a mask with holes',
      { ...row, domain: { ...row.domain, mask: '0xff0' } },
      'domain.mask: expected a mask of low bits, got "0xff0"',
    ],
    [
      'a CPU that the recordings do not have',
      changed(queued.row, queued.at, { cpu: 4 }),
      `operation 0.steps[${queued.at}].cpu: expected an integer from 0 to 3, got 4`,
    ],
    [
      'a queue that was never made',
      { ...queued.row, steps: queued.row.steps?.slice(queued.at, queued.at + 1) },
      'steps: expected fq_init before the queue is used',
    ],
  ];
  test.each(rows)('%s', (_name, bad, says) => {
    expect(() => run([bad])).toThrow(VectorError);
    try {
      run([bad]);
    } catch (error) {
      const { message } = error as VectorError;
      expect(message).toContain(says);
      expect(message).toMatch(/^a: [^\n]+$/);
    }
  });

  test('a domain without pages is a mismatch: no code can be asked', () => {
    const report = run([{ ...row, domain: { ...row.domain, pgsize_bitmap: '0x0' } }]);
    expect(report).toMatchObject({ ok: false, first: { operation: 0, what: 'thrown' } });
  });
});

test('whatever stands in place of a value: a report, or one line', () => {
  const rows = ['dma_alloc', 'dma_sg', 'dma_iova', 'dma_fq'].flatMap(cases);
  const other = fc.constantFrom<unknown>(
    ...['0x0', '0x1', '0xfff', '0x8000000000000000', '0xffffffffffffffff', 'x'],
    ...[-1, 0, 3, 1e6, null, [], {}, true],
  );
  fc.assert(
    fc.property(
      fc.nat(rows.length - 1),
      fc.infiniteStream(fc.nat(99)),
      other,
      (at, picks, value) => {
        const row = replaced(rows[at], picks, value);
        try {
          expect(run([row as object]).operations).toBe(1);
        } catch (error) {
          expect(error).toBeInstanceOf(VectorError);
          expect((error as VectorError).message).toMatch(/^a: [^\n]+$/);
        }
      },
    ),
    { numRuns: 300, seed: 8 },
  );
});

/** A copy in which one value is another: members are picked from the top down. */
function replaced(tree: unknown, picks: Iterator<number>, value: unknown): unknown {
  if (typeof tree !== 'object' || tree === null || Object.keys(tree).length === 0) return value;
  const pick = picks.next().value ?? 0;
  const keys = Object.keys(tree);
  if (pick >= 90) return value;
  const key = keys[pick % keys.length] ?? '';
  const inner = replaced((tree as Record<string, unknown>)[key], picks, value);
  return Array.isArray(tree)
    ? tree.map((item: unknown, i) => (String(i) === key ? inner : item))
    : { ...tree, [key]: inner };
}

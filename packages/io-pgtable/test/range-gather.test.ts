import { createPrng } from '@iommukit/platform';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { HAD_TABLES, RangeGather } from '../src/index.ts';

function records(gather: RangeGather): number[][] {
  const list: number[][] = [];
  gather.forEach((...record) => void list.push(record));
  return list;
}

const P = 0x1000;

describe('records', () => {
  const rows: { name: string; added: [number, number, number][]; expected: number[][] }[] = [
    {
      name: 'ascending',
      added: [
        [0, P, P],
        [P, 3 * P, P],
      ],
      expected: [[0, 3 * P, P]],
    },
    {
      name: 'descending',
      added: [
        [P, 2 * P, P],
        [0, P, P],
      ],
      expected: [[0, 2 * P, P]],
    },
    {
      name: 'the gap between two',
      added: [
        [0, P, P],
        [2 * P, 3 * P, P],
        [P, 2 * P, P],
      ],
      expected: [[0, 3 * P, P]],
    },
    {
      name: 'apart',
      added: [
        [4 * P, 5 * P, P],
        [0, P, P],
      ],
      expected: [
        [0, P, P],
        [4 * P, 5 * P, P],
      ],
    },
    {
      name: 'other leaf size',
      added: [
        [0, P, P],
        [P, 3 * P, 2 * P],
      ],
      expected: [
        [0, P, P],
        [P, 3 * P, 2 * P],
      ],
    },
    {
      name: 'tables',
      added: [
        [0, P, P],
        [0, P, HAD_TABLES],
        [P, 2 * P, HAD_TABLES],
      ],
      expected: [
        [0, 2 * P, 0],
        [0, P, P],
      ],
    },
    {
      name: 'over everything',
      added: [
        [P, 2 * P, P],
        [3 * P, 4 * P, P],
        [7 * P, 8 * P, P],
        [0, 5 * P, P],
      ],
      expected: [
        [0, 5 * P, P],
        [7 * P, 8 * P, P],
      ],
    },
    {
      name: 'upper half',
      added: [
        [2 ** 64 - P, 2 ** 64, P],
        [2 ** 64 - 2 * P, 2 ** 64 - P, P],
      ],
      expected: [[2 ** 64 - 2 * P, 2 ** 64, P]],
    },
  ];
  for (const { name, added, expected } of rows)
    test(name, () => {
      const gather = new RangeGather();
      for (const [start, end, leafSize] of added) gather.add(start, end, leafSize);
      expect(records(gather)).toEqual(expected);
      expect(gather.bytes).toBe(24 * expected.length);
    });

  test('agree with a set of pages for any order, and so does the overlap query', () => {
    const range = fc
      .tuple(fc.nat(60), fc.integer({ min: 1, max: 9 }), fc.constantFrom(HAD_TABLES, 1, 2))
      .map(([start, n, kind]): [number, number, number] => [start, start + n, kind]);
    fc.assert(
      fc.property(fc.array(range, { maxLength: 40 }), range, (added, [from, to]) => {
        const gather = new RangeGather();
        const bytes = new Set<string>();
        for (const [start, end, kind] of added) {
          gather.add(start, end, kind);
          for (let at = start; at < end; at++) bytes.add(`${kind} ${at}`);
        }
        const list = records(gather);
        const held = new Set<string>();
        for (const [start = 0, end = 0, kind] of list)
          for (let at = start; at < end; at++) {
            // Disjoint within a kind.
            expect(held.has(`${kind} ${at}`)).toBe(false);
            held.add(`${kind} ${at}`);
          }
        expect(held).toEqual(bytes);
        // Nothing that touches is left apart.
        for (const [i, [, end, kind]] of list.entries())
          if (list[i + 1]?.[2] === kind) expect(list[i + 1]?.[0]).toBeGreaterThan(end as number);
        let meets = false;
        for (let at = from; at < to; at++)
          for (const kind of [HAD_TABLES, 1, 2]) meets ||= bytes.has(`${kind} ${at}`);
        expect(gather.meets(from, to)).toBe(meets);
      }),
    );
  });

  test('thousands of records in random order', () => {
    const gather = new RangeGather();
    const prng = createPrng(7);
    const order = Array.from({ length: 4096 }, (_, i) => i);
    for (let i = order.length - 1; i > 0; i--) {
      const j = prng.below(i + 1);
      [order[i], order[j]] = [order[j] as number, order[i] as number];
    }
    for (const i of order) if (i % 2 === 0) gather.add(i * P, (i + 1) * P, P);
    expect(gather.bytes).toBe(24 * 2048);
    for (const i of order) if (i % 2 === 1) gather.add(i * P, (i + 1) * P, P);
    expect(records(gather)).toEqual([[0, 4096 * P, P]]);
  });
});

test('detached tables go back once, in order, and the records with them', () => {
  const gather = new RangeGather();
  gather.add(0, P, HAD_TABLES);
  for (let i = 0; i < 20; i++) gather.detach(i * P);
  expect([gather.detached, gather.bytes, gather.isEmpty]).toEqual([20, 24 + 160, false]);
  const listed: number[] = [];
  gather.forEachDetached((table) => void listed.push(table));
  const released: number[] = [];
  const owner = { releaseTable: (table: number) => void released.push(table) };
  gather.releaseDetached(owner);
  gather.releaseDetached(owner);
  expect(released).toEqual(listed);
  expect(released).toHaveLength(20);
  expect([gather.bytes, gather.isEmpty, gather.meets(0, P)]).toEqual([0, true, false]);
});

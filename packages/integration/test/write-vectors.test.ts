import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { runVectorFile, VectorError, writableVectors, writeVectors } from '../src/index.ts';

test('what can be written', () => {
  expect(writableVectors()).toEqual(
    expect.arrayContaining(['iova', 'io-pgtable', 'arm-64-lpae-s1', 'arm-64-lpae-s2', 'smmu']),
  );
});

interface Written {
  readonly origin: string;
  readonly description: string;
  readonly ops: readonly { op: string; ret?: { errno: number } | null; pfn?: string }[];
}

// Architecture vectors are no sequence of operations: `smmu-architecture.test.ts`.
describe.each(writableVectors().filter((what) => what !== 'smmu'))('vectors of %s', (what) => {
  const text = writeVectors({ what, seed: 7, operations: 400 });
  const file = JSON.parse(text) as Written;

  test('are accepted, and are not counted as the kernel’s', () => {
    const report = runVectorFile(text, what);
    expect(report).toMatchObject({ origin: 'iommukit', ok: true, operations: 400, mismatches: 0 });
    expect(report.compared).toBeGreaterThan(400);
  });

  test('say whose they are', () => {
    expect(file.origin).toMatch(/^iommukit \d+\.\d+\.\d+/);
    expect(file.description).toMatch(/^written by iommukit, not recorded: /);
  });

  test('have one operation a line', () => {
    const lines = text.split('\n');
    expect(lines).toHaveLength(file.ops.length + 3);
    for (const [i, op] of file.ops.entries())
      expect(JSON.parse((lines[i + 1] ?? '').replace(/,$/, ''))).toEqual(op);
  });

  test('hold successes, failures and checkpoints', () => {
    const count = (holds: (op: Written['ops'][number]) => boolean): number =>
      file.ops.filter(holds).length;
    expect(count(({ op }) => op === 'checkpoint')).toBe(5);
    if (what === 'iova') {
      expect(count(({ pfn }) => pfn !== undefined && pfn !== '0x0')).toBeGreaterThan(50);
      return;
    }
    expect(count(({ op, ret }) => op === 'map' && ret?.errno === 0)).toBeGreaterThan(30);
    expect(count(({ op, ret }) => op === 'map' && ret?.errno !== 0)).toBeGreaterThan(0);
  });

  test('are the same for the same seed only', () => {
    expect(writeVectors({ what, seed: 7, operations: 400 })).toBe(text);
    expect(writeVectors({ what, seed: 8, operations: 400 })).not.toBe(text);
  });

  test('round trip for any seed and length', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 2 ** 32 - 1 }),
        fc.integer({ min: 1, max: 120 }),
        (seed, operations) => {
          const report = runVectorFile(writeVectors({ what, seed, operations }), 'ours');
          expect(report).toMatchObject({ ok: true, operations });
        },
      ),
      { numRuns: process.env['IOMMUKIT_SOAK'] === undefined ? 5 : 15 },
    );
  });
});

test('a changed result of ours is noticed too', () => {
  const text = writeVectors({ what: 'arm-64-lpae-s2', seed: 1, operations: 50 });
  const changed = text.replace(
    '"op":"iova_to_phys","iova":',
    '"op":"iova_to_phys","ret":"0x7","iova":',
  );
  const row = text.split('\n').findIndex((line) => line.includes('iova_to_phys')) - 1;
  const again = changed.replace(/("ret":"0x7".*?),"ret":"0x[0-9a-f]+"/, '$1');
  expect(runVectorFile(again, 'a').first).toMatchObject({ operation: row, expected: '0x7' });
});

describe('what cannot be written', () => {
  const rows = [
    { name: 'an unknown kind', options: { what: 'smmu-cmd', seed: 1, operations: 5 } },
    { name: 'a name that every object has', options: { what: 'toString', seed: 1, operations: 5 } },
    { name: 'a negative seed', options: { what: 'iova', seed: -1, operations: 5 } },
    { name: 'a seed of 33 bits', options: { what: 'iova', seed: 2 ** 32, operations: 5 } },
    { name: 'no operations', options: { what: 'iova', seed: 1, operations: 0 } },
    { name: 'too many', options: { what: 'iova', seed: 1, operations: 1_000_001 } },
    { name: 'half an operation', options: { what: 'iova', seed: 1, operations: 0.5 } },
  ];
  test.each(rows)('$name', ({ options }) => {
    expect(() => writeVectors(options)).toThrow(VectorError);
  });
});

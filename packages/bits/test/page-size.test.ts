import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  hasPageSize,
  minPageSize,
  pageSizes,
  SZ_1G,
  SZ_2M,
  SZ_4K,
  SZ_16K,
  SZ_32M,
  SZ_64K,
  SZ_512M,
} from '../src/index.ts';

test('sizes are their powers of two', () => {
  expect([SZ_4K, SZ_16K, SZ_64K, SZ_2M, SZ_32M, SZ_512M, SZ_1G].map(Math.log2)).toEqual([
    12, 14, 16, 21, 25, 29, 30,
  ]);
});

test.each([
  { bitmap: 0, sizes: [] },
  { bitmap: SZ_4K, sizes: [SZ_4K] },
  { bitmap: SZ_4K + SZ_2M + SZ_1G, sizes: [SZ_4K, SZ_2M, SZ_1G] },
  { bitmap: SZ_16K + SZ_32M, sizes: [SZ_16K, SZ_32M] },
  { bitmap: SZ_64K + SZ_512M + 2 ** 42, sizes: [SZ_64K, SZ_512M, 2 ** 42] },
  { bitmap: 2 ** 63, sizes: [2 ** 63] },
])('bitmap $bitmap', ({ bitmap, sizes }) => {
  expect(pageSizes(bitmap)).toEqual(sizes);
  expect(minPageSize(bitmap)).toBe(sizes[0] ?? 0);
});

test('membership and order, for any set of sizes', () => {
  const set = fc.uniqueArray(fc.integer({ min: 11, max: 63 }));
  fc.assert(
    fc.property(set, (exponents) => {
      const bitmap = exponents.reduce((sum, lg2) => sum + 2 ** lg2, 0);
      const sorted = exponents.toSorted((a, b) => a - b).map((lg2) => 2 ** lg2);
      expect(pageSizes(bitmap)).toEqual(sorted);
      for (let lg2 = 0; lg2 < 64; lg2++)
        expect(hasPageSize(bitmap, 2 ** lg2)).toBe(exponents.includes(lg2));
    }),
  );
});

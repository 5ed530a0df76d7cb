import fc from 'fast-check';
import { expect, test } from 'vitest';
import { createPrng } from '../src/index.ts';

/** xorshift128 of Marsaglia's paper, section 4, over bigint: shifts 11, 8, 19. */
function slowTwin(seed: bigint): () => number {
  const cut = (v: bigint) => BigInt.asUintN(32, v);
  let [x, y, z, w] = [cut(seed), 362436069n, 521288629n, 88675123n];
  return () => {
    const t = cut(x ^ (x << 11n));
    [x, y, z, w] = [y, z, w, w ^ (w >> 19n) ^ (t ^ (t >> 8n))];
    return Number(w);
  };
}

test('the twin gives the published sequence of the default seeds', () => {
  const next = slowTwin(123456789n);
  expect([next(), next(), next(), next(), next()]).toEqual([
    3701687786, 458299110, 2500872618, 3633119408, 516391518,
  ]);
});

test('any seed gives the sequence of the twin after its first 16 numbers', () => {
  fc.assert(
    fc.property(fc.integer({ min: -(2 ** 31), max: 2 ** 32 - 1 }), (seed) => {
      const prng = createPrng(seed);
      const next = slowTwin(BigInt(seed));
      for (let i = 0; i < 16; i++) next();
      for (let i = 0; i < 40; i++) expect(prng.u32()).toBe(next());
    }),
  );
});

test('one seed is one run, other seeds are others', () => {
  const run = (seed: number) => {
    const prng = createPrng(seed);
    return Array.from({ length: 8 }, () => prng.u32()).join();
  };
  expect(run(0)).toBe(run(0));
  expect(new Set(Array.from({ length: 64 }, (_, seed) => run(seed))).size).toBe(64);
});

test('below stays in range and reaches all of a small one', () => {
  fc.assert(
    fc.property(fc.nat(), fc.integer({ min: 1, max: 2 ** 32 }), (seed, limit) => {
      const prng = createPrng(seed);
      for (let i = 0; i < 20; i++) {
        const value = prng.below(limit);
        expect(Number.isInteger(value) && value >= 0 && value < limit).toBe(true);
      }
    }),
  );
  const prng = createPrng(1);
  expect(new Set(Array.from({ length: 200 }, () => prng.below(6))).size).toBe(6);
  expect(prng.below(1)).toBe(0);
});

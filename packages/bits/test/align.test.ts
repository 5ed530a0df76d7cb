import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  alignDown,
  alignUp,
  ctz,
  indexAt,
  isAligned,
  isPowerOfTwo,
  log2Ceil,
  log2Floor,
  roundUpPowerOfTwo,
} from '../src/index.ts';
import { aligned64, exact64 } from './words.ts';

const runs = { numRuns: 2000 };
const exponent = fc.integer({ min: 0, max: 62 });

describe('alignment', () => {
  test('agrees with bigint masks for every power of two', () => {
    fc.assert(
      fc.property(aligned64, exponent, (value, lg2) => {
        const size = 2n ** BigInt(lg2);
        const down = value & ~(size - 1n);
        expect(BigInt(alignDown(Number(value), Number(size)))).toBe(down);
        expect(isAligned(Number(value), Number(size))).toBe(down === value);
        const up = down === value ? value : down + size;
        expect(BigInt(alignUp(Number(value), Number(size)))).toBe(up);
      }),
      runs,
    );
  });

  test('is exact for unaligned values below 2^53', () => {
    fc.assert(
      fc.property(fc.maxSafeNat(), fc.integer({ min: 0, max: 52 }), (value, lg2) => {
        const size = 2n ** BigInt(lg2);
        const down = BigInt(value) & ~(size - 1n);
        expect(BigInt(alignDown(value, Number(size)))).toBe(down);
        expect(BigInt(alignUp(value, Number(size)))).toBe(
          down === BigInt(value) ? down : down + size,
        );
      }),
      runs,
    );
  });

  test('the last page of 64 bits rounds up to the exclusive end', () => {
    expect(alignUp(2 ** 64 - 2 ** 12, 2 ** 21)).toBe(2 ** 64);
  });
});

describe('powers of two', () => {
  test('every one of the 64 is one, its neighbours are not', () => {
    for (let lg2 = 0; lg2 < 64; lg2++) {
      const power = 2 ** lg2;
      expect(isPowerOfTwo(power)).toBe(true);
      expect(log2Floor(power)).toBe(lg2);
      expect(log2Ceil(power)).toBe(lg2);
      expect(ctz(power)).toBe(lg2);
      expect(roundUpPowerOfTwo(power)).toBe(power);
      if (lg2 > 1 && lg2 < 53) {
        expect(isPowerOfTwo(power - 1)).toBe(false);
        expect(isPowerOfTwo(power + 1)).toBe(false);
        expect(log2Floor(power - 1)).toBe(lg2 - 1);
        expect(log2Ceil(power - 1)).toBe(lg2);
        expect(log2Ceil(power + 1)).toBe(lg2 + 1);
      }
    }
  });

  test.each([0, -1, -4, 0.5, 1.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 63 + 2 ** 11])(
    'isPowerOfTwo(%d) is false',
    (value) => {
      expect(isPowerOfTwo(value)).toBe(false);
    },
  );

  test('log2Floor, log2Ceil and ctz agree with the bits of a bigint', () => {
    fc.assert(
      fc.property(
        exact64.filter((n) => n > 0n),
        (n) => {
          const bits = n.toString(2);
          const value = Number(n);
          expect(log2Floor(value)).toBe(bits.length - 1);
          expect(ctz(value)).toBe(bits.length - 1 - bits.lastIndexOf('1'));
          const ceil = /^10*$/.test(bits) ? bits.length - 1 : bits.length;
          expect(log2Ceil(value)).toBe(ceil);
          expect(isPowerOfTwo(value)).toBe(/^10*$/.test(bits));
          if (ceil <= 63) expect(BigInt(roundUpPowerOfTwo(value))).toBe(2n ** BigInt(ceil));
        },
      ),
      runs,
    );
  });
});

describe('indexAt', () => {
  test('is shift and mask, above bit 31 too', () => {
    fc.assert(
      fc.property(
        exact64,
        fc.integer({ min: 0, max: 48 }),
        fc.integer({ min: 0, max: 31 }),
        (value, shift, width) => {
          const mask = 2n ** BigInt(width) - 1n;
          expect(BigInt(indexAt(Number(value), 2 ** shift, Number(mask)))).toBe(
            (value >> BigInt(shift)) & mask,
          );
        },
      ),
      runs,
    );
  });

  test.each([
    { value: 0xffff_ffff_ffff_f000n, size: 2 ** 12, expected: 511 },
    { value: 0xffff_8000_0000_0000n, size: 2 ** 39, expected: 256 },
    { value: 0x40_1000n, size: 4096, expected: 1 },
    { value: 0x8_0000_0000n, size: 2 ** 30, expected: 32 },
  ])('entry $expected of $value at $size', ({ value, size, expected }) => {
    expect(indexAt(Number(value), size, 511)).toBe(expected);
  });
});

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  and64,
  equal64,
  fromBigInt,
  fromLanes,
  hex,
  hex64,
  hiOf,
  loOf,
  parseHex64,
  toBigInt,
  u64,
  u64Of,
  wrapSub32,
  wrapSub64,
} from '../src/index.ts';
import { aligned64, exact64, lane, word64 } from './words.ts';

const MASK32 = 0xffffffffn;
const runs = { numRuns: 2000 };

describe('lanes of a number', () => {
  test('loOf and hiOf agree with bigint on every exact value', () => {
    fc.assert(
      fc.property(exact64, (n) => {
        const value = Number(n);
        expect(BigInt(loOf(value))).toBe(n & MASK32);
        expect(BigInt(hiOf(value))).toBe(n >> 32n);
        expect(u64Of(value)).toEqual({ lo: Number(n & MASK32), hi: Number(n >> 32n) });
      }),
      runs,
    );
  });

  test('fromLanes inverts u64Of on every exact value', () => {
    fc.assert(
      fc.property(exact64, (n) => {
        expect(fromLanes(Number(n & MASK32), Number(n >> 32n))).toBe(Number(n));
      }),
      runs,
    );
  });

  test('fromLanes rounds what a double cannot hold, as Number(bigint) does', () => {
    fc.assert(
      fc.property(word64, (n) => {
        expect(fromLanes(Number(n & MASK32), Number(n >> 32n))).toBe(Number(n));
      }),
      runs,
    );
  });

  test.each([
    { lo: -1, hi: 0, expected: { lo: 0xffffffff, hi: 0 } },
    { lo: 2 ** 32, hi: -1, expected: { lo: 0, hi: 0xffffffff } },
    { lo: 2 ** 32 + 5, hi: 2 ** 31, expected: { lo: 5, hi: 2 ** 31 } },
  ])('u64($lo, $hi) takes both lanes modulo 2^32', ({ lo, hi, expected }) => {
    expect(u64(lo, hi)).toEqual(expected);
  });

  test('signed lanes mean the same bits', () => {
    fc.assert(
      fc.property(lane, lane, (lo, hi) => {
        expect(fromLanes(lo | 0, hi | 0)).toBe(fromLanes(lo, hi));
        expect(toBigInt({ lo: lo | 0, hi: hi | 0 })).toBe((BigInt(hi) << 32n) | BigInt(lo));
        expect(hex64({ lo: lo | 0, hi: hi | 0 })).toBe(hex64({ lo, hi }));
        expect(equal64({ lo: lo | 0, hi: hi | 0 }, { lo, hi })).toBe(true);
      }),
    );
  });
});

describe('bigint and text', () => {
  test('fromBigInt and toBigInt are inverse, modulo 2^64', () => {
    fc.assert(
      fc.property(word64, fc.bigInt({ min: -3n, max: 3n }), (n, wraps) => {
        expect(toBigInt(fromBigInt(n + wraps * 2n ** 64n))).toBe(n);
      }),
      runs,
    );
  });

  test('hex64 is the text that bigint gives, and parseHex64 reads it back', () => {
    fc.assert(
      fc.property(word64, (n) => {
        const text = `0x${n.toString(16)}`;
        expect(hex64(fromBigInt(n))).toBe(text);
        expect(parseHex64(text)).toEqual(fromBigInt(n));
        expect(parseHex64(text.slice(2).toUpperCase())).toEqual(fromBigInt(n));
        expect(parseHex64(text.slice(2).padStart(16, '0'))).toEqual(fromBigInt(n));
      }),
      runs,
    );
  });

  test('hex of an exact number is the text that bigint gives', () => {
    fc.assert(
      fc.property(exact64, (n) => {
        expect(hex(Number(n))).toBe(`0x${n.toString(16)}`);
      }),
      runs,
    );
    expect(hex(-4096)).toBe('-0x1000');
  });

  test.each(['', '0x', '0x1_0', 'g', ' 1', '1 ', '-1', '0x-1', '10000000000000000', '0x0x1', '1n'])(
    'parseHex64(%j) is undefined',
    (text) => {
      expect(parseHex64(text)).toBeUndefined();
    },
  );

  test('parseHex64 takes 0X and leading zeros up to 16 digits', () => {
    expect(parseHex64('0Xffffffffffff0000')).toEqual({ lo: 0xffff0000, hi: 0xffffffff });
    expect(parseHex64('0000000100000000')).toEqual({ lo: 0, hi: 1 });
    expect(parseHex64('00000000100000000')).toBeUndefined();
  });

  test('and64 agrees with bigint', () => {
    const word = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
    fc.assert(
      fc.property(word, word, (a, b) => {
        expect(toBigInt(and64(fromBigInt(a), fromBigInt(b)))).toBe(a & b);
      }),
    );
  });

  test('equal64 sees each of the 64 bits', () => {
    for (let bit = 0n; bit < 64n; bit++)
      expect(
        equal64(
          fromBigInt(0x5555_5555_5555_5555n),
          fromBigInt(0x5555_5555_5555_5555n ^ (1n << bit)),
        ),
      ).toBe(false);
  });
});

describe('unsigned subtraction', () => {
  test('wrapSub32 is subtraction modulo 2^32', () => {
    fc.assert(
      fc.property(lane, lane, (a, b) => {
        expect(BigInt(wrapSub32(a, b))).toBe(BigInt.asUintN(32, BigInt(a) - BigInt(b)));
      }),
      runs,
    );
  });

  test('wrapSub64 is subtraction modulo 2^64 on multiples of 2^11', () => {
    fc.assert(
      fc.property(aligned64, aligned64, (a, b) => {
        expect(BigInt(wrapSub64(Number(a), Number(b)))).toBe(BigInt.asUintN(64, a - b));
      }),
      runs,
    );
    expect(BigInt(wrapSub64(0, 0x1000))).toBe(0xffff_ffff_ffff_f000n);
  });
});

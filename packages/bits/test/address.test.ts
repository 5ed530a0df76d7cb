import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  AddressError,
  IommuError,
  toAsid,
  toIova,
  toPaddr,
  toPfn,
  toStreamId,
  truncIova,
  tryIova,
  tryPaddr,
} from '../src/index.ts';
import { aligned64 } from './words.ts';

const good = [
  0,
  1,
  0xfff,
  0xffff_ffff,
  2 ** 52,
  Number.MAX_SAFE_INTEGER,
  2 ** 63,
  2 ** 64 - 2 ** 11,
];
const bad = [
  -1,
  -4096,
  0.5,
  Number.NaN,
  Number.POSITIVE_INFINITY,
  2 ** 64,
  // Exact as doubles, but nobody can know whether that is what was written.
  2 ** 53 + 2,
  2 ** 54 + 2 ** 10,
];

describe.each([
  { name: 'Iova', to: toIova, attempt: tryIova },
  { name: 'Paddr', to: toPaddr, attempt: tryPaddr },
])('$name', ({ to, attempt }) => {
  test.each(good)('takes %d', (value) => {
    expect(to(value)).toBe(value);
    expect(attempt(value)).toBe(value);
  });

  test.each(bad)('refuses %d', (value) => {
    expect(attempt(value)).toBeUndefined();
    expect(() => to(value)).toThrow(AddressError);
  });

  test('takes every multiple of 2^11 below 2^64', () => {
    fc.assert(fc.property(aligned64, (n) => BigInt(to(Number(n))) === n));
  });
});

test.each([
  { name: 'toPfn', to: toPfn, last: 2 ** 52, over: 2 ** 52 + 1 },
  { name: 'toStreamId', to: toStreamId, last: 0xffff_ffff, over: 2 ** 32 },
  { name: 'toAsid', to: toAsid, last: 0xffff, over: 0x1_0000 },
])('$name accepts 0 to $last', ({ to, last, over }) => {
  expect(to(0)).toBe(0);
  expect(to(last)).toBe(last);
  for (const value of [over, -1, 1.5, Number.NaN]) expect(() => to(value)).toThrow(AddressError);
});

test('truncIova keeps the low bits', () => {
  fc.assert(
    fc.property(aligned64, fc.integer({ min: 0, max: 64 }), (n, bits) => {
      expect(BigInt(truncIova(Number(n), bits))).toBe(BigInt.asUintN(bits, n));
    }),
  );
  expect(truncIova(0x1_0000_1000, 32)).toBe(0x1000);
});

test('the error carries its code, operands and fix', () => {
  let caught: unknown;
  try {
    toIova(-1);
  } catch (error) {
    caught = error;
  }
  expect(caught).toBeInstanceOf(IommuError);
  expect(caught).toBeInstanceOf(Error);
  expect(caught).toMatchObject({
    name: 'AddressError',
    code: 'ADDRESS_RANGE',
    operands: { kind: 'IOVA', value: -1 },
    fix: 'Pass an integer in range; split off low bits above 2^53',
  });
  expect((caught as Error).message).toBe(
    'ADDRESS_RANGE: -0x1 is no IOVA. Pass an integer in range; split off low bits above 2^53.',
  );
  expect(() => toPaddr(0.5)).toThrow('0.5 is no physical address');
});

test('IommuError has a name, a code and a whole sentence', () => {
  const error = new IommuError('SOME_CODE', { value: 5 }, 'value 5 is odd', 'Pass an even value');
  expect(error.name).toBe('IommuError');
  expect(error.message).toBe('SOME_CODE: value 5 is odd. Pass an even value.');
  expect(error.operands).toEqual({ value: 5 });
});

import fc from 'fast-check';

const SIGNIFICAND = 53n;

/** 64-bit words: drawn ones, and those beside the bits where lanes, doubles and pages end. */
export const word64: fc.Arbitrary<bigint> = fc.oneof(
  fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  fc
    .tuple(fc.integer({ min: 0, max: 63 }), fc.bigInt({ min: -2n, max: 2n }))
    .map(([bit, near]) => BigInt.asUintN(64, 2n ** BigInt(bit) + near)),
  fc.constantFrom(0n, 1n, 2n ** 32n - 1n, 2n ** 32n, 2n ** 53n - 1n, 2n ** 53n, 2n ** 64n - 1n),
);

/** Words that a double holds exactly: at most 53 bits from the first set bit to the last. */
export const exact64: fc.Arbitrary<bigint> = word64.map((value) => {
  const excess = BigInt(value.toString(2).length) - SIGNIFICAND;
  return excess > 0n ? (value >> excess) << excess : value;
});

/** Multiples of 2^11, which are exact over all 64 bits. */
export const aligned64: fc.Arbitrary<bigint> = word64.map((value) => (value >> 11n) << 11n);

/** 32-bit lanes, edges included. */
export const lane: fc.Arbitrary<number> = fc.oneof(
  fc.nat({ max: 0xffffffff }),
  fc.constantFrom(0, 1, 0x7fffffff, 0x80000000, 0xfffff000, 0xffffffff),
);

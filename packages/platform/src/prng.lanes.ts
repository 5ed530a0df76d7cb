/**
 * A seeded generator of 32-bit numbers (xorshift128, Marsaglia 2003, "Xorshift RNGs" section 4): the same seed gives the same run.
 * @example const prng = createPrng(1); prng.below(6);
 */
export interface Prng {
  /** The next 32 bits, unsigned. */
  u32(): number;
  /** A number from 0 to limit - 1; 1 <= limit <= 2^32. */
  below(limit: number): number;
}

/**
 * Makes a {@link Prng}; any 32-bit seed, zero included.
 * @example const prng = createPrng(42);
 */
export function createPrng(seed: number): Prng {
  let [x, y, z, w] = [seed >>> 0, 362436069, 521288629, 88675123];
  const u32 = (): number => {
    const t = x ^ (x << 11);
    [x, y, z] = [y, z, w];
    w = w ^ (w >>> 19) ^ t ^ (t >>> 8);
    return w >>> 0;
  };
  // The first outputs of neighbouring seeds resemble each other.
  for (let i = 0; i < 16; i++) u32();
  return { u32, below: (limit) => Math.floor((u32() / 0x1_0000_0000) * limit) };
}

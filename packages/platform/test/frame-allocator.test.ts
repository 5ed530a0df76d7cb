import fc from 'fast-check';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { FrameAllocator, FrameError } from '../src/index.ts';

const K4 = 4096;
const BASE = 0x1_0000_0000;
const pool = (pages: number, base = BASE) => new FrameAllocator({ base, size: pages * K4 });

afterEach(() => {
  vi.restoreAllMocks();
});

describe('alloc and free', () => {
  test('single frames come lowest first, freed ones are reused', () => {
    const frames = pool(100);
    const got = Array.from({ length: 100 }, () => frames.alloc(K4));
    expect(got).toEqual(Array.from({ length: 100 }, (_, i) => BASE + i * K4));
    expect(frames.alloc(K4)).toBe(-1);
    frames.free(BASE + 70 * K4, K4);
    frames.free(BASE + 3 * K4, K4);
    expect([frames.alloc(K4), frames.alloc(K4), frames.alloc(K4)]).toEqual([
      BASE + 3 * K4,
      BASE + 70 * K4,
      -1,
    ]);
  });

  test.each([
    { bytes: 1, frames: 1 },
    { bytes: 4097, frames: 2 },
    { bytes: 3 * K4, frames: 4 },
    { bytes: 0x2_0000, frames: 32 },
    { bytes: 0x2_0001, frames: 64 },
    { bytes: 0x20_0000, frames: 512 },
  ])('$bytes bytes take $frames frames, aligned to their size', ({ bytes, frames: count }) => {
    const frames = pool(2048);
    frames.alloc(K4);
    const pa = frames.alloc(bytes);
    expect(pa % (count * K4)).toBe(0);
    expect(frames.used).toBe(count + 1);
    expect(frames.isAllocated(pa + count * K4 - 1)).toBe(true);
    frames.free(pa, bytes);
    expect(frames.used).toBe(1);
  });

  test.each([1, 3, 5, 31, 33, 47])('alignment counts from address 0, pool at frame %d', (first) => {
    const frames = pool(256, first * K4);
    for (let bytes = K4; bytes <= 128 * K4; bytes *= 2) {
      const pa = frames.alloc(bytes);
      if (pa === -1) continue;
      expect(pa % bytes).toBe(0);
      expect(pa).toBeGreaterThanOrEqual(first * K4);
      expect(pa + bytes).toBeLessThanOrEqual((first + 256) * K4);
      frames.free(pa, bytes);
    }
    expect(frames.alloc(64 * K4)).toBe(Math.ceil(first / 64) * 64 * K4);
    const left = 256 - 64;
    for (let i = 0; i < left; i++) expect(frames.alloc(K4)).toBeGreaterThan(0);
    expect([frames.alloc(K4), frames.used]).toEqual([-1, 256]);
  });

  test('a pool shorter than a word ends where it ends', () => {
    const frames = pool(5);
    expect([
      frames.alloc(4 * K4),
      frames.alloc(2 * K4),
      frames.alloc(K4),
      frames.alloc(K4),
    ]).toEqual([BASE, -1, BASE + 4 * K4, -1]);
    expect(frames.isAllocated(BASE + 5 * K4)).toBe(false);
    expect(frames.isAllocated(BASE - 1)).toBe(false);
  });

  test('a long run that fails on the way takes nothing', () => {
    const frames = pool(128);
    const last = Array.from({ length: 128 }, () => frames.alloc(K4)).at(-1) as number;
    for (let pa = BASE; pa < last; pa += K4) frames.free(pa, K4);
    expect(frames.alloc(128 * K4)).toBe(-1);
    expect(frames.leakReport()).toEqual({ frames: 1, first: [last] });
    expect(frames.alloc(64 * K4)).toBe(BASE);
  });
});

describe('misuse', () => {
  test.each([
    { name: 'twice', pa: BASE, bytes: K4 },
    { name: 'outside', pa: BASE + 64 * K4, bytes: K4 },
    { name: 'below', pa: BASE - K4, bytes: K4 },
    { name: 'inside a frame', pa: BASE + K4 + 8, bytes: K4 },
    { name: 'more than was allocated', pa: BASE + 4 * K4, bytes: 4 * K4 },
    { name: 'misaligned', pa: BASE + 5 * K4, bytes: 2 * K4 },
    { name: 'a misaligned long run', pa: BASE + 32 * K4, bytes: 64 * K4 },
  ])('free of a frame $name throws and changes nothing', ({ pa, bytes }) => {
    const frames = pool(64);
    frames.alloc(K4);
    for (let i = 1; i < 7; i++) frames.alloc(K4);
    frames.free(BASE, K4);
    const before = frames.leakReport();
    expect(() => frames.free(pa, bytes)).toThrow(
      expect.objectContaining({ name: 'FrameError', code: 'FRAME_FREE', operands: { pa, bytes } }),
    );
    expect(frames.leakReport()).toEqual(before);
    expect(frames.used).toBe(before.frames);
  });

  test.each([0, -1, Number.NaN, 2 ** 32 + 1])('size %d is refused', (bytes) => {
    expect(() => pool(4).alloc(bytes)).toThrow(expect.objectContaining({ code: 'FRAME_SIZE' }));
  });

  test.each([
    { base: 0x800, size: K4 },
    { base: -K4, size: K4 },
    { base: 0, size: 0 },
    { base: 0, size: 5000 },
    { base: 0, size: 0x100_0000, state: new SharedArrayBuffer(16) },
  ])('pool $base $size is refused', (options) => {
    expect(() => new FrameAllocator(options)).toThrow(FrameError);
  });
});

describe('what tests of failure paths need', () => {
  test('failIn fails the call that makes it zero', () => {
    const frames = pool(8);
    frames.failIn = 2;
    expect([frames.alloc(K4), frames.alloc(K4), frames.alloc(K4)]).toEqual([BASE, -1, BASE + K4]);
    expect([frames.failIn, frames.allocCalls, frames.used]).toEqual([0, 3, 2]);
  });

  test('leakReport counts all and lists the first 64', () => {
    const frames = pool(200);
    for (let i = 0; i < 100; i++) frames.alloc(K4);
    const { frames: count, first } = frames.leakReport();
    expect(count).toBe(100);
    expect(first).toEqual(Array.from({ length: 64 }, (_, i) => BASE + i * K4));
  });
});

describe('shared state', () => {
  test('two instances are one pool', () => {
    const size = 64 * K4;
    const state = new SharedArrayBuffer(FrameAllocator.stateBytes(size));
    const [a, b] = [
      new FrameAllocator({ base: BASE, size, state }),
      new FrameAllocator({ base: BASE, size, state }),
    ];
    const got = Array.from({ length: 64 }, (_, i) => (i % 2 === 0 ? a : b).alloc(K4));
    expect(new Set(got).size).toBe(64);
    expect([a.alloc(K4), b.alloc(K4), a.used, b.used]).toEqual([-1, -1, 64, 64]);
    b.free(got[0] as number, K4);
    expect(() => a.free(got[0] as number, K4)).toThrow(FrameError);
    expect(a.alloc(K4)).toBe(got[0]);
  });

  test('a frame freed by another worker during a claim is found later', () => {
    const size = 64 * K4;
    const state = new SharedArrayBuffer(FrameAllocator.stateBytes(size));
    const [a, b] = [
      new FrameAllocator({ base: BASE, size, state }),
      new FrameAllocator({ base: BASE, size, state }),
    ];
    for (let i = 0; i < 40; i++) a.alloc(K4);
    const real = Atomics.compareExchange;
    const spy = vi.spyOn(Atomics, 'compareExchange') as unknown as {
      mockImplementationOnce(f: typeof real): void;
    };
    // The other worker frees between this worker's claim and its update of the hint.
    spy.mockImplementationOnce(((...args: Parameters<typeof real>) => {
      b.free(BASE, K4);
      return real(...args);
    }) as typeof real);
    expect(a.alloc(K4)).toBe(BASE + 40 * K4);
    const rest = Array.from({ length: 24 }, () => a.alloc(K4));
    expect(rest).toContain(BASE);
    expect(rest).not.toContain(-1);
    expect(a.alloc(K4)).toBe(-1);
  });
});

test('agrees with a set of frames: no overlap, lowest fit, exhaustion only when nothing fits', () => {
  const step = fc.record({
    free: fc.boolean(),
    lg2: fc.integer({ min: 0, max: 7 }),
    pick: fc.nat({ max: 1000 }),
  });
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 70 }),
      fc.integer({ min: 1, max: 300 }),
      fc.array(step, { maxLength: 80 }),
      (first, pages, steps) => {
        const frames = pool(pages, first * K4);
        const taken = new Set<number>();
        const runs: { pa: number; count: number }[] = [];
        const fits = (start: number, count: number) =>
          start + count <= first + pages &&
          Array.from({ length: count }, (_, i) => start + i).every((frame) => !taken.has(frame));
        for (const { free, lg2, pick } of steps) {
          if (free && runs.length > 0) {
            const [run] = runs.splice(pick % runs.length, 1);
            if (run === undefined) continue;
            frames.free(run.pa, run.count * K4);
            for (let i = 0; i < run.count; i++) taken.delete(run.pa / K4 + i);
            continue;
          }
          const count = 2 ** lg2;
          // Runs above 32 frames take whole 32-frame words; size alignment implies that.
          let start = Math.ceil(first / count) * count;
          while (start + count <= first + pages && !fits(start, count)) start += count;
          const expected = fits(start, count) ? start * K4 : -1;
          const pa = frames.alloc(count * K4);
          expect(pa).toBe(expected);
          if (pa === -1) continue;
          runs.push({ pa, count });
          for (let i = 0; i < count; i++) taken.add(pa / K4 + i);
        }
        expect(frames.used).toBe(taken.size);
        expect(frames.leakReport()).toEqual({
          frames: taken.size,
          first: [...taken]
            .sort((a, b) => a - b)
            .slice(0, 64)
            .map((frame) => frame * K4),
        });
      },
    ),
    { numRuns: 300 },
  );
});

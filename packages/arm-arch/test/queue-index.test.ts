import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  queueAdvance,
  queueEmpty,
  queueFull,
  queueIndex,
  queueNext,
  queueSpace,
  queueUsed,
  queueWrap,
} from '../src/index.ts';

describe('queue index', () => {
  it.each([
    // prod, cons, lg2, index, wrap, empty, full, used
    [0x0, 0x0, 4, 0, 0, true, false, 0],
    [0x10, 0x0, 4, 0, 1, false, true, 16],
    [0x15, 0x5, 4, 5, 1, false, true, 16],
    [0x11, 0xf, 4, 1, 1, false, false, 2],
    [0x1, 0x1f, 4, 1, 0, false, false, 2],
    // one entry: the wrap flag is bit 0
    [1, 0, 0, 0, 1, false, true, 1],
    [1, 1, 0, 0, 1, true, false, 0],
    // the overflow flag takes no part
    [0x80000003, 0x3, 4, 3, 0, true, false, 0],
    [0x80000, 0x0, 19, 0, 1, false, true, 0x80000],
  ] as const)('prod %i cons %i lg2 %i', (...row) => {
    const [prod, cons, lg2, index, wrap, empty, full, used] = row;
    expect(queueIndex(prod, lg2)).toBe(index);
    expect(queueWrap(prod, lg2)).toBe(wrap);
    expect(queueEmpty(prod, cons, lg2)).toBe(empty);
    expect(queueFull(prod, cons, lg2)).toBe(full);
    expect(queueUsed(prod, cons, lg2)).toBe(used);
    expect(queueSpace(prod, cons, lg2)).toBe(2 ** lg2 - used);
  });

  it('wraps twice and keeps the overflow flag', () => {
    expect(queueNext(0xf, 4)).toBe(0x10);
    expect(queueNext(0x1f, 4)).toBe(0);
    expect(queueNext(0x8000001f, 4)).toBe(0x80000000);
    expect(queueNext(1, 0)).toBe(0);
    expect(queueAdvance(0x1e, 3, 4)).toBe(1);
    expect(queueAdvance(0x8001ffff, 0, 16)).toBe(0x8001ffff);
  });

  it('agrees with two counters that never wrap', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 19 }),
        fc.nat(1e6),
        fc.nat(2 ** 19),
        fc.boolean(),
        (lg2, consumed, ahead, flag) => {
          const size = 2 ** lg2;
          const used = Math.min(ahead, size);
          const produced = consumed + used;
          const high = flag ? 0x80000000 : 0;
          const prod = queueAdvance(high, 0, lg2) + (produced % (2 * size));
          const cons = consumed % (2 * size);
          expect(queueUsed(prod, cons, lg2)).toBe(used);
          expect(queueEmpty(prod, cons, lg2)).toBe(used === 0);
          expect(queueFull(prod, cons, lg2)).toBe(used === size);
          expect(queueIndex(prod, lg2)).toBe(produced % size);
          expect(queueNext(prod, lg2)).toBe(high + ((produced + 1) % (2 * size)));
        },
      ),
    );
  });
});

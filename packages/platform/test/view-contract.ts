import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { BusError, type MemoryView } from '../src/index.ts';

/** Where the memory of a view under test begins, and how long it is: bytes. */
export const BASE = 0x4000_0000;
export const SIZE = 0x1_0000;

/** The rules that `MemoryView` states, for any implementation; `make` returns a fresh view of zeroes. */
export function describeView(name: string, make: () => MemoryView): void {
  describe(`${name} keeps the contract of MemoryView`, () => {
    test('a doubleword is little-endian lanes, unsigned', () => {
      const view = make();
      view.store64(BASE + 8, -1, 0x8000_0000);
      expect([view.load64(BASE + 8), view.hi]).toEqual([0xffff_ffff, 0x8000_0000]);
      expect(view.load32(BASE + 8)).toBe(0xffff_ffff);
      expect(view.load32(BASE + 12)).toBe(0x8000_0000);
      view.store32(BASE + 12, -2);
      expect([view.load64(BASE + 8), view.hi]).toEqual([0xffff_ffff, 0xffff_fffe]);
      expect([view.load64(BASE), view.hi]).toEqual([0, 0]);
      expect([view.load64(BASE + 16), view.hi]).toEqual([0, 0]);
    });

    test('cas64 stores only when all 64 bits agree', () => {
      const view = make();
      view.store64(BASE, 1, 2);
      expect(view.cas64(BASE, 1, 3, 9, 9)).toBe(false);
      expect(view.cas64(BASE, 0, 2, 9, 9)).toBe(false);
      expect([view.load64(BASE), view.hi]).toEqual([1, 2]);
      expect(view.cas64(BASE, 1, 2, -1, -1)).toBe(true);
      expect(view.cas64(BASE, -1, -1, 7, 8)).toBe(true);
      expect([view.load64(BASE), view.hi]).toEqual([7, 8]);
    });

    test('only declared RAM is backed; elsewhere every access is a bus error', () => {
      const view = make();
      expect([BASE - 1, BASE, BASE + SIZE - 1, BASE + SIZE].map((pa) => view.isBacked(pa))).toEqual(
        [false, true, true, false],
      );
      for (const pa of [0, BASE - 8, BASE + SIZE]) {
        expect(() => view.load64(pa)).toThrow(BusError);
        expect(() => view.store64(pa, 0, 0)).toThrow(BusError);
        expect(() => view.cas64(pa, 0, 0, 0, 0)).toThrow(BusError);
        expect(() => view.load32(pa)).toThrow(BusError);
        expect(() => view.store32(pa, 0)).toThrow(BusError);
      }
    });

    test('behaves as a map of words', () => {
      const operation = fc.record({
        kind: fc.constantFrom('store64', 'store32', 'cas64', 'clean'),
        at: fc.nat({ max: SIZE / 8 - 1 }).map((i) => (i % 24) * 8 + (i % 3) * 4096),
        lo: fc.nat({ max: 0xffffffff }),
        hi: fc.nat({ max: 0xffffffff }),
      });
      fc.assert(
        fc.property(fc.array(operation, { maxLength: 60 }), (operations) => {
          const view = make();
          const twin = new Map<number, number>();
          const word = (at: number) => twin.get(at) ?? 0;
          for (const { kind, at, lo, hi } of operations) {
            const pa = BASE + at;
            if (kind === 'clean') view.clean(pa, 64);
            else if (kind === 'store32') {
              view.store32(pa + 4, hi);
              twin.set(at + 4, hi);
            } else {
              if (kind === 'store64') view.store64(pa, lo, hi);
              else expect(view.cas64(pa, word(at), word(at + 4), lo, hi)).toBe(true);
              twin.set(at, lo).set(at + 4, hi);
            }
          }
          for (const at of twin.keys()) {
            const even = at - (at % 8);
            expect([view.load64(BASE + even), view.hi]).toEqual([word(even), word(even + 4)]);
            expect(view.load32(BASE + at)).toBe(word(at));
          }
        }),
        { numRuns: 60 },
      );
    });
  });
}

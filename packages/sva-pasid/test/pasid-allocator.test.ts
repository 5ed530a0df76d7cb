import { IommuError } from '@iommukit/bits';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  IOMMU_FIRST_GLOBAL_PASID,
  IOMMU_NO_PASID,
  IOMMU_PASID_INVALID,
  PASID_MAX,
  PasidAllocator,
} from '../src/index.ts';

const ENOSPC = -28;
const EINVAL = -22;

describe('constants', () => {
  it('are those of Linux', () => {
    expect([IOMMU_NO_PASID, IOMMU_FIRST_GLOBAL_PASID, IOMMU_PASID_INVALID]).toEqual([
      0, 1, 0xffff_ffff,
    ]);
    expect(PASID_MAX).toBe(2 ** 20 - 1);
  });
});

describe('ids and their order', () => {
  for (const order of ['lowest', 'cyclic'] as const)
    it(`${order}: the range is inclusive, and full is -ENOSPC`, () => {
      const pasids = new PasidAllocator({ first: 5, last: 8, order });
      expect([1, 2, 3, 4].map(() => pasids.alloc())).toEqual([5, 6, 7, 8]);
      expect(pasids.alloc()).toBe(ENOSPC);
      pasids.free(6);
      expect(pasids.alloc()).toBe(6);
      expect(pasids.used).toBe(4);
    });

  it('lowest gives an id back at once', () => {
    const pasids = new PasidAllocator({ first: 5, last: 8, order: 'lowest' });
    pasids.free(pasids.alloc());
    expect(pasids.alloc()).toBe(5);
  });

  it('cyclic does not, and wraps to the lowest free one', () => {
    const pasids = new PasidAllocator({ first: 5, last: 8, order: 'cyclic' });
    pasids.free(pasids.alloc());
    expect(pasids.alloc()).toBe(6);
    expect([pasids.alloc(), pasids.alloc(), pasids.alloc()]).toEqual([7, 8, 5]);
  });

  it('a smaller range can be asked for', () => {
    const pasids = new PasidAllocator({ first: 1, last: 100, order: 'lowest' });
    expect([pasids.alloc(7), pasids.alloc(7, 8), pasids.alloc(7, 8)]).toEqual([7, 8, ENOSPC]);
    expect(pasids.alloc()).toBe(1);
  });

  const rows: [string, number, number][] = [
    ['min above max', 7, 6],
    ['max beyond the space', 5, 9],
    ['min below the space', 4, 8],
    ['0 is never given', 0, 0],
    ['no number', Number.NaN, 8],
  ];
  for (const [name, min, max] of rows)
    it(`-EINVAL: ${name}`, () => {
      const pasids = new PasidAllocator({ first: 5, last: 8, order: 'lowest' });
      expect(pasids.alloc(min, max)).toBe(EINVAL);
      expect(pasids.used).toBe(0);
    });
});

describe('devices', () => {
  it('use 1 to maxPasids - 1 of the global space', () => {
    const pasids = new PasidAllocator({ first: 1, last: PASID_MAX, order: 'lowest' });
    expect([pasids.allocForDevice(3), pasids.allocForDevice(3)]).toEqual([1, 2]);
    expect(pasids.allocForDevice(3)).toBe(IOMMU_PASID_INVALID);
    expect(pasids.allocForDevice(2 ** 20)).toBe(3);
  });

  it('without PASIDs get none', () => {
    const pasids = new PasidAllocator({ first: 1, last: 10, order: 'lowest' });
    expect([pasids.allocForDevice(0), pasids.allocForDevice(1)]).toEqual([
      IOMMU_PASID_INVALID,
      IOMMU_PASID_INVALID,
    ]);
    expect(pasids.used).toBe(0);
  });
});

describe('misuse throws', () => {
  it('a double free, and ids that were never given', () => {
    const pasids = new PasidAllocator({ first: 5, last: 8, order: 'lowest' });
    const pasid = pasids.alloc();
    pasids.free(pasid);
    for (const wrong of [pasid, 8, 9, 0, -1, 5.5, IOMMU_PASID_INVALID, Number.NaN]) {
      expect(() => pasids.free(wrong)).toThrow(IommuError);
      expect(() => pasids.free(wrong)).toThrow('PASID_NOT_ALLOCATED');
    }
    expect(pasids.used).toBe(0);
  });

  const spaces = [
    [0, 5],
    [5, 4],
    [1, PASID_MAX + 1],
    [1.5, 4],
  ] as const;
  for (const [first, last] of spaces)
    it(`a space from ${first} to ${last}`, () => {
      expect(() => new PasidAllocator({ first, last, order: 'lowest' })).toThrow('PASID_RANGE');
    });
});

describe('against a slow twin', () => {
  it('any order of calls', () => {
    const call = fc.record({
      free: fc.boolean(),
      a: fc.integer({ min: 1, max: 80 }),
      b: fc.integer({ min: 1, max: 80 }),
    });
    fc.assert(
      fc.property(
        fc.constantFrom('lowest' as const, 'cyclic' as const),
        fc.array(call, { maxLength: 200 }),
        (order, calls) => {
          const pasids = new PasidAllocator({ first: 1, last: 80, order });
          const taken = new Set<number>();
          let next = 1;
          for (const { free, a, b } of calls) {
            if (free) {
              if (taken.delete(a)) pasids.free(a);
              continue;
            }
            const [min, max] = [Math.min(a, b), Math.max(a, b)];
            const upwards = Array.from({ length: max - min + 1 }, (_, i) => min + i);
            const tried =
              order === 'cyclic' && next <= max
                ? [...upwards.filter((id) => id >= next), ...upwards]
                : upwards;
            const expected = tried.find((id) => !taken.has(id));
            expect(pasids.alloc(min, max)).toBe(expected ?? ENOSPC);
            if (expected === undefined) continue;
            taken.add(expected);
            next = expected + 1;
          }
          expect(pasids.used).toBe(taken.size);
          for (let id = 0; id <= 81; id++) expect(pasids.isAllocated(id)).toBe(taken.has(id));
        },
      ),
    );
  });
});

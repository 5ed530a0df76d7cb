import { SimClock } from '@iommukit/platform';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { compareSnapshots, IOVA_PROFILES, IovaDomain, type IovaSearch } from '../src/index.ts';
import { ANCHOR, blockRank, IovaTree } from '../src/iova-tree.ts';
import { domain, LIMIT32 } from './domain.ts';

const SOAK = process.env['IOMMUKIT_SOAK'] !== undefined;
const LIMIT64G = 0xffffff;

/** Single pages with single-page holes between them, from the limit downwards. */
function fragmented(search: IovaSearch, live: number, limit: number): IovaDomain {
  const iovad = domain({ search, cpus: 1 });
  for (let k = 0; k < 2 * live; k++) iovad.allocIova(1, limit, 'aligned');
  for (let k = 0; k < live; k++) iovad.freeIova(limit - 2 * k);
  return iovad;
}

/** Nodes visited by one call. */
function cost(iovad: IovaDomain, call: () => unknown): number {
  const before = iovad.counters.nodesVisited;
  call();
  return iovad.counters.nodesVisited - before;
}

describe('rank of a gap', () => {
  test.each([
    { start: 5, end: 5, rank: 0 },
    { start: 6, end: 5, rank: 0 },
    { start: 5, end: 6, rank: 1 },
    { start: 5, end: 7, rank: 1 },
    { start: 6, end: 8, rank: 2 },
    { start: 1, end: 8, rank: 3 },
    { start: 0, end: 8, rank: 4 },
    { start: 1, end: 2 ** 52, rank: 52 },
    { start: 0, end: 2 ** 52, rank: 53 },
    { start: 2 ** 40 + 1, end: 2 ** 41 + 1, rank: 40 },
    { start: 2 ** 40, end: 2 ** 41, rank: 41 },
  ])('[$start, $end) has $rank', ({ start, end, rank }) => {
    expect(blockRank(start, end)).toBe(rank);
  });

  test('equals trying every block', () => {
    for (let start = 0; start < 40; start++)
      for (let end = start; end < 140; end++) {
        let best = 0;
        for (let order = 0; order < 8; order++) {
          const size = 2 ** order;
          if (Math.ceil(start / size) * size + size <= end) best = order + 1;
        }
        expect(blockRank(start, end)).toBe(best);
      }
  });
});

describe('tree', () => {
  interface Shape {
    readonly height: number;
    readonly gap: number;
    readonly rank: number;
  }
  const NOTHING: Shape = { height: 0, gap: 0, rank: 0 };

  /** Recomputes heights and summaries from the ranges alone; `order` gets the slots in the tree's order. */
  function inspect(tree: IovaTree, slot: number, order: number[]): Shape {
    if (slot === ANCHOR) return NOTHING;
    const { left, right, parent, gap, rank } = tree;
    const l = inspect(tree, left[slot] as number, order);
    order.push(slot);
    const r = inspect(tree, right[slot] as number, order);
    const start = tree.gapStart(slot);
    const end = tree.lo[slot] as number;
    const shape = {
      height: Math.max(l.height, r.height) + 1,
      gap: Math.max(end - start, l.gap, r.gap),
      rank: Math.max(blockRank(start, end), l.rank, r.rank),
    };
    const children = [left[slot], right[slot]] as number[];
    if (
      Math.abs(l.height - r.height) > 1 ||
      gap[slot] !== shape.gap ||
      rank[slot] !== shape.rank ||
      children.some((child) => child !== ANCHOR && parent[child] !== slot)
    )
      throw new Error(`slot ${slot} at ${end}: ${gap[slot]}, ${rank[slot]}`);
    return shape;
  }

  test('stays balanced, threaded and summed up through insertions, growth downwards and removals', () => {
    const step = fc.record({ at: fc.nat({ max: 4000 }), what: fc.constantFrom(0, 0, 0, 1, 1, 2) });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200, size: 'max' }), (steps) => {
        const tree = new IovaTree('summaries');
        const model = new Set<number>();
        for (const { at, what } of steps) {
          const lo = at * 4 + 2;
          const above = tree.ceiling(at * 4);
          if (what === 0 && !model.has(at)) {
            model.add(at);
            tree.insertBelow(above, lo, lo + 1);
          } else if (above !== ANCHOR) {
            const index = Math.floor((tree.lo[above] as number) / 4);
            if (what === 1) {
              model.delete(index);
              tree.remove(above);
            } else tree.growDown(above, index * 4);
          }
          const slots: number[] = [];
          inspect(tree, tree.root, slots);
          const thread: number[] = [];
          for (let s = tree.next[ANCHOR] as number; s !== ANCHOR; s = tree.next[s] as number)
            thread.push(s);
          expect(slots).toEqual(thread);
          expect(thread.map((s) => Math.floor((tree.lo[s] as number) / 4))).toEqual(
            [...model].sort((a, b) => a - b),
          );
          expect(tree.size).toBe(model.size);
        }
      }),
      { numRuns: SOAK ? 30 : 10 },
    );
  });

  test.each([
    { kind: 'summaries', perSlot: 46 },
    { kind: 'plain', perSlot: 37 },
  ] as const)('$kind: $perSlot bytes a slot, all of them counted', ({ kind, perSlot }) => {
    const tree = new IovaTree(kind);
    let worst = 0;
    for (let n = 1; n <= 20_000; n++) {
      tree.insertBelow(ANCHOR, n, n);
      if (n >= 64) worst = Math.max(worst, tree.bytes / n);
    }
    // In any order: what was once there costs nothing.
    for (let n = 1; n <= 19_936; n++) {
      tree.remove(tree.ceiling((n * 7919) % 20_000));
      worst = Math.max(worst, tree.bytes / tree.size);
    }
    expect(tree.size).toBe(64);
    expect(tree.bytes).toBe(tree.lo.length * perSlot);
    expect(worst).toBeLessThanOrEqual(1.375 * perSlot);
    expect(worst).toBeLessThanOrEqual(64);
    // Public arrays, and the heights, one byte a slot.
    const { lo, hi, prev, next, left, right, parent, gap, rank } = tree;
    const arrays = [lo, hi, prev, next, left, right, parent, gap, rank];
    expect(arrays.reduce((sum, a) => sum + a.byteLength, lo.length)).toBe(tree.bytes);
  });
});

describe('both searches', () => {
  // Hundreds of ranges in a small space, so that hints, limits inside ranges and misaligned gaps all matter.
  const request = fc.record({
    what: fc.constantFrom('alloc', 'alloc', 'alloc', 'free', 'free', 'reserve'),
    size: fc.oneof(fc.constantFrom(1, 2, 4, 8, 16, 64), fc.integer({ min: 1, max: 70 })),
    limit: fc.oneof(
      fc.constantFrom(0xffff, 0x1_07ff, 2 ** 48 - 1),
      fc.integer({ min: 0, max: 0x1_0800 }),
    ),
    aligned: fc.boolean(),
    at: fc.nat(),
  });

  test.each([
    { name: 'a crowded space', reserved: [0x800, 0xf7ff] },
    { name: 'an open space', reserved: [0x8000, 0x8000] },
  ])(
    'agree on every answer and every hint in $name',
    ({ reserved }) => {
      fc.assert(
        fc.property(
          fc.array(request, { minLength: 100, maxLength: 900, size: 'max' }),
          fc.nat({ max: 0xfc00 }),
          (steps, startPfn) => {
            const [linear, augmented] = (['linear', 'augmented'] as const).map((search) => {
              const iovad = new IovaDomain({
                granule: 65_536,
                startPfn,
                clock: new SimClock(),
                cpus: 1,
                profile: IOVA_PROFILES['7.3'],
                search,
              });
              iovad.reserveIova(reserved[0] as number, reserved[1] as number);
              iovad.reserveIova(0x1_0800, 2 ** 48 - 0x200);
              return iovad;
            }) as [IovaDomain, IovaDomain];
            const live: number[] = [];
            for (const { what, size, limit, aligned, at } of steps) {
              const [a, b] = [linear, augmented].map((d) => {
                if (what === 'alloc')
                  return d.allocIova(size, limit, aligned ? 'aligned' : 'unaligned');
                if (what === 'free') return d.freeIova(live[at % live.length] ?? 0);
                return d.reserveIova(0xf800 + (at % 0x1000), 0xf800 + (at % 0x1000) + size - 1);
              });
              expect(b).toEqual(a);
              if (what === 'alloc' && a) live.push(a.pfnLo);
              if (what === 'free' && live.length > 0) live.splice(at % live.length, 1);
              const hints = [linear, augmented].map((d) => {
                const { cachedPfn, cached32Pfn, max32AllocSize } = d.state();
                return { cachedPfn, cached32Pfn, max32AllocSize };
              });
              expect(hints[1]).toEqual(hints[0]);
            }
            expect(compareSnapshots(linear.snapshot(), augmented.snapshot())).toEqual([]);
          },
        ),
        { numRuns: SOAK ? 25 : 8 },
      );
    },
    60_000,
  );

  test('agree after a reservation with its ends in the wrong order', () => {
    const found = (['linear', 'augmented'] as const).map((search) => {
      const iovad = domain({ search, cpus: 1 });
      iovad.reserveIova(0x100, 0x50);
      iovad.reserveIova(0x60, 0x120);
      return [0x200, 0x180, 0x110, 0x90].map((limit) => iovad.allocIova(0x30, limit, 'unaligned'));
    });
    expect(found[1]).toEqual(found[0]);
  });
});

describe('cost', () => {
  test.each([
    { live: 1000, limit: LIMIT32, atMost: 40 },
    { live: 10_000, limit: LIMIT32, atMost: 50 },
    { live: 100_000, limit: LIMIT32, atMost: 60 },
    ...(SOAK ? [{ live: 1_000_000, limit: LIMIT64G, atMost: 70 }] : []),
  ])(
    '$live live ranges: a power of two is found in at most $atMost nodes, wherever the hint is',
    ({ live, limit, atMost }) => {
      const iovad = fragmented('augmented', live, limit);
      let worst = 0;
      for (let k = 0; k < 64; k++) {
        // A page returned anywhere moves the hint there; the room for 8 pages is below all ranges.
        iovad.freeIova(limit - 1 - 2 * Math.floor((k * live) / 64));
        const found: number[] = [];
        const nodes = cost(iovad, () => {
          found.push(iovad.allocIova(8, limit, 'aligned')?.pfnLo ?? 0);
        });
        worst = Math.max(worst, nodes);
        expect(found[0]).toBe(Math.floor((limit + 1 - 2 * live) / 8) * 8 - 8 * (k + 1));
      }
      expect(worst).toBeLessThanOrEqual(atMost);
    },
    60_000,
  );

  test('100,000 live ranges: at most 60 nodes also when the room is above the hint', () => {
    const live = 100_000;
    const iovad = fragmented('augmented', live, LIMIT32);
    const low = LIMIT32 + 1 - 2 * live;
    // Nothing is free below the ranges, and the last allocation was made there.
    expect(iovad.allocIova(1, low - 1, 'aligned')?.pfnLo).toBe(low - 1);
    iovad.reserveIova(1, low - 2);
    let worst = 0;
    for (let k = 0; k < 64; k++) {
      const at = LIMIT32 - 7 - 8 * Math.floor((k * live) / 8 / 64);
      for (let pfn = at; pfn < at + 8; pfn++) iovad.freeIova(pfn);
      expect(
        iovad.allocIova(1, low + 1 + 2 * Math.floor((k * live) / 2 / 64), 'aligned'),
      ).not.toBeNull();
      const retries = iovad.counters.searchRetries;
      const nodes = cost(iovad, () => {
        expect(iovad.allocIova(8, LIMIT32, 'aligned')?.pfnLo).toBe(at);
      });
      expect(iovad.counters.searchRetries).toBe(retries + 1);
      worst = Math.max(worst, nodes);
    }
    expect(worst).toBeLessThanOrEqual(60);
  });

  test('a failing request of a power of two costs three nodes a pass', () => {
    const iovad = fragmented('augmented', 1000, LIMIT32);
    iovad.reserveIova(1, LIMIT32 - 2000);
    expect(cost(iovad, () => iovad.allocIova(2, LIMIT32, 'aligned'))).toBeLessThanOrEqual(6);
    expect(iovad.max32AllocSize).toBe(2);
  });

  test('the linear walk visits every range above the room', () => {
    const iovad = fragmented('linear', 1000, LIMIT32);
    // The page above the hint is the topmost one still held.
    iovad.freeIova(LIMIT32 - 1);
    expect(cost(iovad, () => iovad.allocIova(8, LIMIT32, 'aligned'))).toBe(1000);
  });

  // Ranges of 2 pages, gaps of 6, and one place for 5 pages at a multiple of 8 below them all.
  test.each([
    { name: 'whose half block fits are met, and counted', offset: 4, met: 99, atMost: 400 },
    {
      name: 'without a block of half the alignment are passed over',
      offset: 3,
      met: 6,
      atMost: 40,
    },
  ])('misaligned gaps $name', ({ offset, met, atMost }) => {
    const found = (['augmented', 'linear'] as const).map((search) => {
      const iovad = domain({ search, cpus: 1 });
      for (let k = 2; k <= 100; k++) iovad.reserveIova(k * 8 + offset, k * 8 + offset + 1);
      iovad.reserveIova(101 * 8 + offset, LIMIT32);
      const visited = cost(iovad, () => {
        expect(iovad.allocIova(5, LIMIT32, 'aligned')?.pfnLo).toBe(8);
      });
      return { visited, misaligned: iovad.counters.misalignedGaps };
    });
    expect(found[0]?.misaligned).toBe(met);
    expect(found[0]?.visited).toBeLessThanOrEqual(atMost);
    // The anchor, the reservation above and the 99 ranges.
    expect(found[1]).toEqual({ visited: 101, misaligned: 0 });
  });
});

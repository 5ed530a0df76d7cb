import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { BatchOptions } from '../src/index.ts';
import { MappedRanges } from '../src/mapped-ranges.ts';
import { BatchRig, PROT, X } from './rig.ts';
import { PAGE, SLOT } from './toy-domain.ts';

const PAGES = 3 * 512;
const MEMORY = 0x8_8000_0000;

/** Where every page is, kept one by one. */
class SlowTwin {
  readonly pages: (number | undefined)[] = Array.from({ length: PAGES });

  /** As `RangeBatch.mapSg`: bytes, or the index in the range of the first page that is mapped already, as a negative number less 1. */
  map(first: number, paddrs: readonly number[]): number {
    const taken = paddrs.findIndex((_, i) => this.pages[first + i] !== undefined);
    if (taken >= 0) return -1 - taken;
    paddrs.forEach((paddr, i) => {
      this.pages[first + i] = paddr;
    });
    return paddrs.length * PAGE;
  }

  unmap(first: number, count: number): number {
    let done = 0;
    while (done < count && this.pages[first + done] !== undefined)
      this.pages[first + done++] = undefined;
    return done * PAGE;
  }
}

type Step =
  | {
      readonly op: 'map' | 'core map';
      readonly first: number;
      readonly runs: readonly [number, number][];
    }
  | { readonly op: 'unmap' | 'core unmap'; readonly first: number; readonly count: number }
  | { readonly op: 'flush' }
  | { readonly op: 'fail'; readonly k: number };

const first = fc.oneof(fc.constantFrom(0, 500, 512, 1023, 1024), fc.nat(PAGES - 1));
const length = fc.oneof(fc.constantFrom(1, 8, 512, 513), fc.integer({ min: 1, max: 600 }));
const SOAK = process.env['IOMMUKIT_SOAK'] !== undefined;
const runs = fc.array(fc.tuple(fc.nat(5000), length), { minLength: 1, maxLength: 4 });
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ op: fc.constantFrom('map' as const, 'core map' as const), first, runs }),
  fc.record({ op: fc.constant('map' as const), first, runs }),
  fc.record({ op: fc.constantFrom('unmap' as const), first, count: length }),
  fc.record({
    op: fc.constant('core unmap' as const),
    first,
    count: fc.integer({ min: 1, max: 20 }),
  }),
  fc.record({ op: fc.constant('flush' as const) }),
  fc.record({ op: fc.constant('fail' as const), k: fc.integer({ min: 1, max: 3 }) }),
);

/** Physical pages of runs: odd pages, so that no block ever fits. */
function paddrsOf(steps: readonly [number, number][], room: number): number[] {
  return steps
    .flatMap(([at, count]) =>
      Array.from({ length: count }, (_, i) => MEMORY + PAGE + at * SLOT + i * PAGE),
    )
    .slice(0, room);
}

function pieces(paddrs: readonly number[]): { paddr: number; length: number }[] {
  return paddrs.map((paddr) => ({ paddr, length: PAGE }));
}

function check(steps: readonly Step[], options: BatchOptions): void {
  const rig = new BatchRig();
  const twin = new SlowTwin();
  const batch = rig.begin(options);
  const { core, domain, driver, device } = rig;
  const expected = () => twin.pages.map((paddr) => paddr ?? 0);
  for (const one of steps) {
    const { pages } = twin;
    const before = [...pages];
    const frames = driver.frames.used;
    if (one.op === 'flush') {
      expect(batch.flush()).toBe(0);
      expect(batch.bytes).toBe(0);
      // After a flush the device sees the page table and nothing else.
      const seen = pages.map((_, i) => driver.access(device, X + i * PAGE));
      expect(seen).toEqual(pages);
    } else if (one.op === 'fail') {
      driver.frames.failAt = one.k;
      continue;
    } else if ('runs' in one) {
      const paddrs = paddrsOf(one.runs, PAGES - one.first);
      const iova = X + one.first * PAGE;
      const way = one.op === 'map' ? batch : undefined;
      const got =
        way?.mapSg(iova, pieces(paddrs), PROT) ?? core.mapSg(domain, iova, pieces(paddrs), PROT);
      if (got === -12) {
        expect(pages).toEqual(before);
        if (one.op === 'map') {
          expect(driver.frames.used).toBe(frames);
          expect(batch.failure).toMatchObject({ operation: batch.operations - 1, errno: -12 });
        }
      } else {
        const want = twin.map(one.first, paddrs);
        expect(got).toBe(want < 0 ? -17 : want);
        if (want < 0 && one.op === 'map') expect(batch.failure?.page).toBe(-1 - want);
        // What was mapped now is what the device finds now, unless the caller promised that it would not look.
        if (want > 0 && options.quiesced !== true)
          for (let i = 0; i < paddrs.length; i += 37)
            expect(driver.access(device, iova + i * PAGE)).toBe(paddrs[i]);
      }
    } else {
      const count = Math.min(one.count, PAGES - one.first);
      const iova = X + one.first * PAGE;
      const got =
        one.op === 'unmap'
          ? batch.unmapRange(iova, count * PAGE)
          : core.unmap(domain, iova, count * PAGE);
      expect(got).toBe(twin.unmap(one.first, count));
    }
    driver.frames.failAt = 0;
    expect(rig.phys(X, PAGES)).toEqual(expected());
    expect(batch.bytes).toBe(24 * batch.records + 8 * batch.detached);
    // Before the flush the device may reach an old page, never one that was not there, nor rubbish in a freed table.
    if (options.quiesced !== true)
      before.forEach((old, i) => {
        if (i % 29 !== 0) return;
        const seen = driver.access(device, X + i * PAGE);
        const now = pages[i];
        if (now !== undefined && one.op !== 'flush') expect(seen).toBe(now);
        else if (seen !== undefined && old !== undefined)
          expect(seen).toBeGreaterThanOrEqual(MEMORY);
      });
  }
  expect(batch.flush()).toBe(0);
  expect(rig.touch(X, PAGES)).toEqual(twin.pages);
  expect(rig.end()).toBe(0);
}

describe('a batch against a list of pages', () => {
  const variants: [string, BatchOptions][] = [
    ['as it is', {}],
    ['with tables reused', { reuseTables: true }],
    ['quiesced', { quiesced: true }],
    ['quiesced, with tables reused', { quiesced: true, reuseTables: true }],
  ];
  it.each(variants)('%s', (_name, options) => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 14 }), (steps) => {
        check(steps, options);
      }),
      { numRuns: SOAK ? 60 : 20 },
    );
  });

  it('one at a time and in a batch make the same translations', () => {
    const slots = fc.uniqueArray(fc.nat(11), { minLength: 1, maxLength: 12 });
    fc.assert(
      fc.property(slots, fc.nat(511), fc.integer({ min: 1, max: 512 }), (order, at, pages) => {
        const [kernel, ranges] = [new BatchRig(), new BatchRig()];
        const count = Math.min(pages, 512 - at);
        const batch = ranges.begin();
        const list = (slot: number, turn: number) =>
          pieces(paddrsOf([[slot + 100 * turn, count]], count));
        const place = (slot: number): number => X + slot * SLOT + at * PAGE;
        for (const turn of [0, 1])
          for (const slot of order) {
            if (turn === 1) {
              expect(kernel.core.unmap(kernel.domain, place(slot), count * PAGE)).toBe(
                count * PAGE,
              );
              expect(batch.unmapRange(place(slot), count * PAGE)).toBe(count * PAGE);
            }
            const sg = list(slot, turn);
            const size = count * PAGE;
            expect(kernel.core.mapSg(kernel.domain, place(slot), sg, PROT)).toBe(size);
            expect(batch.mapSg(place(slot), sg, PROT)).toBe(size);
          }
        batch.flush();
        for (const slot of order)
          expect(ranges.phys(X + slot * SLOT, 512)).toEqual(kernel.phys(X + slot * SLOT, 512));
        expect(ranges.driver.count('sync')).toBeLessThanOrEqual(kernel.driver.count('sync'));
      }),
      { numRuns: SOAK ? 30 : 10 },
    );
  });
});

describe('ranges to publish, against a list of units', () => {
  it('joins and cuts', () => {
    const change = fc.record({
      add: fc.boolean(),
      start: fc.nat(40),
      size: fc.integer({ min: 1, max: 12 }),
    });
    fc.assert(
      fc.property(fc.array(change, { maxLength: 40 }), (changes) => {
        const ranges = new MappedRanges();
        const units = new Set<number>();
        for (const { add, start, size } of changes) {
          if (add) ranges.add(start, start + size);
          else ranges.remove(start, start + size);
          for (let i = start; i < start + size; i++) {
            if (add) units.add(i);
            else units.delete(i);
          }
        }
        const seen: [number, number][] = [];
        const { count, bytes } = ranges;
        ranges.drain((start, end) => seen.push([start, end]) < 0);
        expect(bytes).toBe(16 * count);
        expect(seen).toHaveLength(count);
        expect(
          seen.flatMap(([start, end]) => Array.from({ length: end - start }, (_, i) => start + i)),
        ).toEqual([...units].sort((a, b) => a - b));
        // Disjoint, and not even touching.
        seen.forEach(([start], i) => {
          if (i > 0) expect(start).toBeGreaterThan(seen[i - 1]?.[1] ?? 0);
        });
        expect(ranges.count).toBe(count);
        ranges.drain(() => true);
        expect(ranges.count).toBe(0);
      }),
    );
  });
});

import { observeView } from '@iommukit/platform';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { forEachLeaf, IOMMU_READ, IOMMU_WRITE, IotlbGather } from '../src/index.ts';
import { FORMAT_CASES, genericRig } from './generic-rig.lanes.ts';

const PROT = IOMMU_READ + IOMMU_WRITE;

// The slow twin: pages by IOVA, bigints throughout, no levels and no tables.
class Twin {
  readonly pages = new Map<bigint, { size: bigint; paddr: bigint }>();
  /** The page of every mapped granule, by its start. */
  readonly #owner = new Map<bigint, bigint>();
  readonly #sizes: readonly bigint[];
  readonly #granule: bigint;

  constructor(sizes: readonly bigint[], granule: number) {
    this.#sizes = sizes.toReversed();
    this.#granule = BigInt(granule);
  }

  map(iova: bigint, paddr: bigint, length: bigint): { errno: number; mapped: bigint } {
    let done = 0n;
    while (done < length) {
      const [at, to] = [iova + done, paddr + done];
      const size = this.#sizes.find(
        (s) => at % s === 0n && to % s === 0n && s <= length - done,
      ) as bigint;
      for (let unit = at; unit < at + size; unit += this.#granule)
        if (this.#owner.has(unit)) return { errno: -98, mapped: done };
      for (let unit = at; unit < at + size; unit += this.#granule) this.#owner.set(unit, at);
      this.pages.set(at, { size, paddr: to });
      done += size;
    }
    return { errno: 0, mapped: done };
  }

  unmap(iova: bigint, length: bigint): bigint {
    let done = 0n;
    while (done < length) {
      const at = iova + done;
      const page = this.pages.get(at);
      if (page === undefined) break;
      this.pages.delete(at);
      for (let unit = at; unit < at + page.size; unit += this.#granule) this.#owner.delete(unit);
      done += page.size;
    }
    return done;
  }

  phys(iova: bigint): bigint {
    const start = this.#owner.get(iova - (iova % this.#granule));
    const page = start === undefined ? undefined : this.pages.get(start);
    return page === undefined || start === undefined ? 0n : page.paddr + iova - start;
  }
}

// Around the seam of two leaf tables, around that of two tables above, and at the end of the space.
const op = fc.record({
  map: fc.boolean(),
  place: fc.constantFrom('seam', 'next', 'last'),
  slot: fc.integer({ min: 0, max: 1100 }),
  align: fc.constantFrom(1, 2, 16, 512),
  count: fc.integer({ min: 1, max: 1100 }),
  skew: fc.constantFrom(0, 0, 1, 16),
  none: fc.constantFrom(false, false, false, true),
});

for (const { format, sizes, granule, pages } of FORMAT_CASES)
  for (const [name, lanes] of [
    ['lanes', true],
    ['words', false],
  ] as const)
    test(`${format.name}: random maps and unmaps agree with the twin, by ${name}`, () => {
      const outcomes = new Set<number>();
      fc.assert(
        fc.property(fc.array(op, { minLength: 8, maxLength: 30 }), (ops) => {
          const { table, frames, memory } = genericRig(format, sizes, (m) =>
            lanes ? m : observeView(m, { onStore() {} }),
          );
          const twin = new Twin(pages, granule);
          const probes: number[] = [];
          const signed = sizes.features.includes('SIGN_EXTEND');
          const end = signed ? 2 ** 64 : 2 ** table.maxVaszLg2;
          const region = granule * 512;
          const starts = { seam: 0, next: region * 511, last: end - region * 5 };
          for (const { map, place, slot, align, count, skew, none } of ops) {
            const aligned = slot - (slot % align);
            const iova = starts[place] + aligned * granule;
            const length = none ? 512 * granule : count * granule;
            probes.push(iova, iova + length - granule);
            if (map) {
              const paddr = region * 64 + (aligned + skew) * granule;
              const errno = table.map(iova, paddr, length, PROT);
              const want = twin.map(BigInt(iova), BigInt(paddr), BigInt(length));
              outcomes.add(errno);
              expect([errno, BigInt(table.mapped)]).toEqual([want.errno, want.mapped]);
            } else {
              const gather = new IotlbGather();
              const done = table.unmap(iova, length, gather);
              expect(BigInt(done)).toBe(twin.unmap(BigInt(iova), BigInt(length)));
              table.syncGather(gather);
            }
          }
          const got: [bigint, bigint, bigint][] = [];
          forEachLeaf(memory, table.shape, ({ iova, size, paddr }) => {
            got.push([BigInt(iova), BigInt(size), BigInt(paddr)]);
          });
          const want = [...twin.pages].map(([iova, { size, paddr }]) => [iova, size, paddr]);
          expect(got).toEqual(want.sort((a, b) => ((a[0] ?? 0n) < (b[0] ?? 0n) ? -1 : 1)));
          for (const at of probes) expect(BigInt(table.iovaToPhys(at))).toBe(twin.phys(BigInt(at)));
          table.free();
          expect(frames.used).toBe(0);
        }),
        { numRuns: process.env['IOMMUKIT_SOAK'] === undefined ? 4 : 25, seed: 11 },
      );
      expect([...outcomes].sort()).toEqual([-98, 0]);
    });

for (const { format, sizes, granule } of FORMAT_CASES)
  test(`${format.name}: no frame is left at the end`, () => {
    const { table, frames } = genericRig(format, sizes);
    const held = frames.used;
    expect(table.map(granule, granule * 3, granule * 1500, PROT)).toBe(0);
    const gather = new IotlbGather();
    expect(table.unmap(granule, granule * 1500, gather)).toBe(granule * 1500);
    expect(gather.freelist.length).toBeGreaterThan(0);
    table.syncGather(gather);
    // Every table whose range went as a whole is free again; those that the range only touched stay.
    expect(frames.used).toBeLessThan(held + 6);
    table.free();
    expect(frames.used).toBe(0);
    expect(table.counters.tablesFreed).toBe(table.counters.tablesAllocated);
  });

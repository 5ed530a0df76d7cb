import { SZ_1G, SZ_2M, SZ_4K } from '@iommukit/bits';
import { observeView } from '@iommukit/platform';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { IOMMU_CACHE, IOMMU_READ, IOMMU_WRITE, IotlbGather } from '../src/index.ts';
import { rig } from './rig.lanes.ts';

// The slow twin: leaves by IOVA, and the set of 2 MiB regions that have a table of pages, since empty tables stay. No bits, no
// levels; bigints throughout. Kernel 7.3's rules for one call.
const PAGE = 4096n;
const REGION = 0x20_0000n;

class Twin {
  readonly leaves = new Map<bigint, [bigint, bigint]>();
  readonly tables = new Set<bigint>();

  #drop(region: bigint): void {
    this.tables.delete(region);
    for (let at = region; at < region + REGION; at += PAGE) this.leaves.delete(at);
  }

  #targets(iova: bigint, size: bigint, count: bigint): bigint[] {
    const left = 512n - ((iova / size) % 512n);
    const n = count < left ? count : left;
    return Array.from({ length: Number(n) }, (_, i) => iova + BigInt(i) * size);
  }

  map(iova: bigint, paddr: bigint, size: bigint, count: bigint): bigint {
    const targets = this.#targets(iova, size, count);
    const region = iova - (iova % REGION);
    if (size === PAGE) {
      if (this.leaves.get(region)?.[0] === REGION) return -17n;
      this.tables.add(region);
    }
    for (const at of targets) {
      if (size === REGION && this.tables.has(at)) this.#drop(at);
      if (this.leaves.has(at)) return -17n;
    }
    for (const at of targets) this.leaves.set(at, [size, paddr + at - iova]);
    return BigInt(targets.length) * size;
  }

  unmap(iova: bigint, size: bigint, count: bigint): bigint {
    let done = 0n;
    for (const at of this.#targets(iova, size, count)) {
      if (size === REGION && this.tables.has(at)) this.#drop(at);
      else if (this.leaves.get(at)?.[0] !== size) break;
      this.leaves.delete(at);
      done += size;
    }
    return done;
  }

  phys(iova: bigint): bigint {
    for (const [at, [size, paddr]] of this.leaves)
      if (iova >= at && iova < at + size) return paddr + iova - at;
    return 0n;
  }
}

const size = fc.constantFrom(SZ_4K, SZ_2M);
const op = fc.record({
  map: fc.boolean(),
  size,
  slot: fc.integer({ min: 0, max: 1100 }),
  count: fc.integer({ min: 1, max: 600 }),
  carry: fc.boolean(),
});

for (const [name, lanes] of [
  ['lanes', true],
  ['words', false],
] as const)
  test(`random maps and unmaps agree with the twin, by ${name}`, () => {
    let steps = 0;
    fc.assert(
      fc.property(fc.array(op, { minLength: 6, maxLength: 25 }), (ops) => {
        const { table, frames } = rig(({ memory }) =>
          lanes ? {} : { memory: observeView(memory, { onStore() {} }) },
        );
        const twin = new Twin();
        for (const { map, size: pgsize, slot, count, carry } of ops) {
          steps++;
          const iova = pgsize === SZ_2M ? (slot % 6) * SZ_2M : slot * SZ_4K;
          if (map) {
            const paddr =
              (carry ? 0x1_0000_0000 - 2 * SZ_2M : 0x20_0000_0000) +
              (pgsize === SZ_2M ? 0 : slot * SZ_4K);
            const errno = table.mapPages(
              iova,
              paddr,
              pgsize,
              count,
              IOMMU_READ + IOMMU_WRITE + IOMMU_CACHE,
            );
            const want = twin.map(BigInt(iova), BigInt(paddr), BigInt(pgsize), BigInt(count));
            expect(errno < 0 ? errno : table.mapped).toBe(Number(want));
          } else {
            const done = table.unmapPages(iova, pgsize, count, new IotlbGather());
            expect(done).toBe(Number(twin.unmap(BigInt(iova), BigInt(pgsize), BigInt(count))));
          }
        }
        const got: [bigint, bigint, bigint][] = [];
        table.forEachLeaf((iova, level, lo, hi) => {
          const address = (BigInt(hi & 0xffff) << 32n) | BigInt((lo & 0xffff_f000) >>> 0);
          got.push([BigInt(iova), BigInt([0, SZ_1G, SZ_2M, SZ_4K][level] ?? 0), address]);
        });
        const want = [...twin.leaves].map(([iova, [len, paddr]]) => [iova, len, paddr]);
        expect(got).toEqual(want.sort((a, b) => Number((a[0] ?? 0n) - (b[0] ?? 0n))));
        for (const slot of [0, 1, 511, 512, 1023, 1100])
          expect(table.iovaToPhys(slot * SZ_4K + 5)).toBe(
            Number(twin.phys(BigInt(slot * SZ_4K + 5))),
          );
        table.free();
        expect(frames.used).toBe(0);
      }),
      { numRuns: 80, seed: 7 },
    );
    expect(steps).toBeGreaterThan(300);
  });

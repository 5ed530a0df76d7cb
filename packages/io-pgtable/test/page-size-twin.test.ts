import { pageSizes } from '@iommukit/bits';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { PageRun } from '../src/index.ts';

// The slow twin of `iommu_pgsize`: one page at a time, each the largest that fits what is left and both alignments. Runs of equal
// pages must come out as single picks. Bigints throughout.
function twin(
  sizes: readonly number[],
  iova: bigint,
  paddr: bigint,
  size: bigint,
): [bigint, number][] {
  const runs: [bigint, number][] = [];
  for (let done = 0n; done < size; ) {
    let best = 0n;
    for (const candidate of sizes.map(BigInt))
      if (
        candidate <= size - done &&
        (iova + done) % candidate === 0n &&
        (paddr + done) % candidate === 0n
      )
        best = candidate;
    if (best === 0n) throw new Error('no page fits');
    const run = runs.at(-1);
    if (run !== undefined && run[0] === best) run[1]++;
    else runs.push([best, 1]);
    done += best;
  }
  return runs;
}

function picked(bitmap: number, iova: number, paddr: number, size: number): [bigint, number][] {
  const run = new PageRun();
  const runs: [bigint, number][] = [];
  for (let done = 0; done < size; done += run.pgsize * run.count) {
    run.pick(bitmap, iova + done, paddr + done, size - done);
    runs.push([BigInt(run.pgsize), run.count]);
  }
  return runs;
}

const bitmaps = [
  { name: '4K 2M 1G', shifts: [12, 21, 30] },
  { name: '16K 32M', shifts: [14, 25] },
  { name: '64K 512M 4T', shifts: [16, 29, 42] },
  { name: 'short descriptors', shifts: [12, 16, 20, 24] },
  {
    name: 'every power of two from 4K to 1T, as AMD',
    shifts: Array.from({ length: 29 }, (_, i) => 12 + i),
  },
  { name: 'one size', shifts: [14] },
];

for (const { name, shifts } of bitmaps)
  test(`runs are those of the twin: ${name}`, () => {
    const bitmap = shifts.reduce((sum, shift) => sum + 2 ** shift, 0);
    const sizes = pageSizes(bitmap);
    const smallest = sizes[0] as number;
    const ratio = (sizes[1] ?? smallest) / smallest;
    const shift = fc.constantFrom(...shifts);
    // Near multiples of every size, and as long as a few of the next larger pages: a page more or less decides.
    const near = fc.tuple(shift, fc.integer({ min: 1, max: 7 }), fc.integer({ min: -2, max: 2 }));
    // Of 64 KiB pages 8192 make the next larger one: fewer, longer runs.
    const [most, numRuns] = ratio > 4096 ? [20_000, 80] : [3000, 400];
    let cut = 0;
    fc.assert(
      fc.property(near, near, fc.boolean(), near, (at, from, congruent, length) => {
        const address = ([s, n, off]: [number, number, number]): number =>
          Math.max(0, 2 ** s * n + off * smallest);
        const iova = address(at);
        const paddr = congruent ? iova + 2 ** (shifts.at(-1) as number) * from[1] : address(from);
        // As many pages as the twin can count.
        const size = Math.max(smallest, Math.min(address(length), smallest * most));
        const want = twin(sizes, BigInt(iova), BigInt(paddr), BigInt(size));
        expect(picked(bitmap, iova, paddr, size)).toEqual(want);
        if (want.length > 1) cut++;
      }),
      { numRuns, seed: 11 },
    );
    if (shifts.length > 1) expect(cut).toBeGreaterThan(20);
  });

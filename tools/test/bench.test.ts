// Runs every case of every bench once, so that none rots; those that take a second or more with `npm run soak` only.
// What they add up to is printed, not asserted.
import { readdirSync } from 'node:fs';
import { afterAll, describe, expect, it } from 'vitest';
import type { Case } from '../bench.ts';
import { packageDirs } from '../layers.mjs';
import { root } from '../tree.mjs';

const files = packageDirs().flatMap((dir) =>
  readdirSync(`${root}/packages/${dir}/bench`)
    .filter((file) => file.endsWith('.bench.ts'))
    .map((file) => `packages/${dir}/bench/${file}`),
);
const LONG =
  /search-1m|search-100k|integration\/bench\/replay|flush-callbacks|cli\/bench\/render|diagnose\/bench\/verify|smmu-v3-model\/bench\/(translate|nested)/;
const here = files.filter((file) => process.env['IOMMUKIT_SOAK'] !== undefined || !LONG.test(file));
let checksum = 0;
let runs = 0;
afterAll(() => console.log(`benches: ${runs} cases in ${here.length} files, checksum ${checksum}`));

it('exist in every package', () => {
  const without = packageDirs().filter(
    (dir) => !files.some((f) => f.startsWith(`packages/${dir}/`)),
  );
  expect(without).toEqual([]);
});

describe.each(here)('%s', (file) => {
  it('runs', { timeout: 60_000 }, async () => {
    const { cases } = (await import(`${root}/${file}`)) as { cases: readonly Case[] };
    expect(cases.length).toBeGreaterThan(1);
    expect(cases.some((c) => c.reference)).toBe(true);
    expect(new Set(cases.map((c) => c.name)).size).toBe(cases.length);
    for (const c of cases) {
      expect(c.ops, `${c.name}: ops`).toBeGreaterThan(0);
      const result = c.run();
      expect(Number.isFinite(result), `${c.name}: ${result}`).toBe(true);
      checksum += result;
      runs++;
    }
  });
});

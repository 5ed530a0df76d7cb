import { expect, test } from 'vitest';
import { iovaPathology, PATHOLOGY_SIZES } from '../src/iova/pathology.ts';

const SOAK = process.env['IOMMUKIT_SOAK'] !== undefined;
const sizes = SOAK ? PATHOLOGY_SIZES : PATHOLOGY_SIZES.filter(({ live }) => live <= 10_000);

test('at every size: the same answers, the walk meets every range above the room, the tree at most 70', () => {
  const seen: [number, number][] = [];
  const report = iovaPathology(sizes, (done, total) => seen.push([done, total]));
  expect(report).toMatchObject({
    ok: true,
    summary: { rows: 2 * sizes.length, allocations: 32 * sizes.length, differences: 0 },
  });
  for (const row of report.rows) {
    expect(row.sameAnswers).toBe(true);
    expect(row.linear.mostNodes).toBeLessThanOrEqual(row.live + 2);
    // Sixteen pages were returned, four ranges apart, before the last request of a row.
    expect(row.linear.nodesPerAllocation).toBeGreaterThan(row.live - 2 * 16 * 4);
    expect(row.augmented.mostNodes).toBeLessThanOrEqual(row.live > 100_000 ? 70 : 60);
    expect(row.linear.bytesPerRange).toBeLessThanOrEqual(64);
    expect(row.augmented.bytesPerRange).toBeLessThanOrEqual(64);
  }
  expect(report.rows.map(({ live, room }) => `${live} ${room}`)).toEqual(
    sizes.flatMap(({ live }) => [`${live} below`, `${live} none`]),
  );
  expect(seen.at(-1)).toEqual([2 * sizes.length, 2 * sizes.length]);
}, 60_000);

test('no sizes: nothing was compared, so it is not ok', () => {
  expect(iovaPathology([])).toEqual({
    ok: false,
    summary: { rows: 0, allocations: 0, differences: 0 },
    rows: [],
  });
});

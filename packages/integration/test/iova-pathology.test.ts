import { expect, test } from 'vitest';
import { iovaPathology, PATHOLOGY_SIZES } from '../src/iova/pathology.ts';

test('at every size: the same answers, the walk meets every range above the room, the tree at most 70', () => {
  const seen: [number, number][] = [];
  const report = iovaPathology(PATHOLOGY_SIZES, (done, total) => seen.push([done, total]));
  expect(report).toMatchObject({
    ok: true,
    summary: { rows: 8, allocations: 128, differences: 0 },
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
    PATHOLOGY_SIZES.flatMap(({ live }) => [`${live} below`, `${live} none`]),
  );
  expect(seen.at(-1)).toEqual([8, 8]);
}, 60_000);

test('no sizes: nothing was compared, so it is not ok', () => {
  expect(iovaPathology([])).toEqual({
    ok: false,
    summary: { rows: 0, allocations: 0, differences: 0 },
    rows: [],
  });
});

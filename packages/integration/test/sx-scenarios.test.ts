// Every count of SX: scenarios.test.ts. Here: what breaks them, and the twins that they stand on.
import { SZ_2M, SZ_4K } from '@iommukit/bits';
import { CommandQueue } from '@iommukit/smmu-v3-driver';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { LimitedWalker } from '../src/scenarios/limited-walker.ts';
import { OutstandingUses } from '../src/scenarios/outstanding.ts';
import { PlainSmmu } from '../src/scenarios/plain-smmu.ts';
import { runScenario } from '../src/scenarios/scenario.ts';
import { ScenarioRig } from '../src/scenarios/scenario-rig.ts';
import { PA, scat, X } from '../src/scenarios/setup.ts';
import { sx6 } from '../src/scenarios/sx-machine.ts';
import { sx2 } from '../src/scenarios/sx-stale.ts';

afterEach(() => vi.restoreAllMocks());

const differences = (scenario: typeof sx6): string =>
  runScenario(scenario)
    .runs.flatMap((run) => [...run.differences, ...run.broken])
    .join('\n');

describe('a walker with few pointers to leaf tables', () => {
  const tables = (count: number, pointers: number) => {
    const rig = new ScenarioRig();
    for (let i = 0; i < count; i++) rig.by('K').map(X + i * SZ_2M, scat(4));
    return new LimitedWalker(rig.machine.memory, rig.table.base, pointers);
  };
  const invalidation = { start: X, granules: 1 };

  test('four loads for the first page, one for the next of the table, none for a page that it holds', () => {
    const walker = tables(1, 1);
    const loads = [X, X + SZ_4K, X].map((iova) => {
      const before = walker.loads;
      expect(walker.read(iova)).toBe(PA + (iova - X) * 2);
      return walker.loads - before;
    });
    expect(loads).toEqual([4, 1, 0]);
  });

  test('the pointer that was used least recently goes first', () => {
    const walker = tables(3, 2);
    const loads = (
      [
        [0, 0],
        [1, 0],
        [0, 1],
        [2, 0],
        [0, 2],
        [1, 1],
      ] as const
    ).map(([table, page]) => {
      const before = walker.loads;
      walker.read(X + table * SZ_2M + page * SZ_4K);
      return walker.loads - before;
    });
    // The third table puts the second one out: the first was used after it.
    expect(loads).toEqual([4, 2, 1, 2, 1, 2]);
  });

  test.each([
    ['LEAF=1 takes the leaf', true, 1],
    ['LEAF=0 takes all levels above it too', false, 4],
  ])('%s', (_name, leaf, loads) => {
    const walker = tables(1, 1);
    walker.read(X);
    const before = walker.loads;
    walker.invalidate({ ...invalidation, leaf });
    walker.read(X);
    expect(walker.loads - before).toBe(loads);
  });

  test('a page that is not mapped', () => {
    expect(tables(1, 1).read(X + 4 * SZ_4K)).toBe(-1);
    expect(tables(1, 1).read(X + 2 ** 40)).toBe(-1);
  });
});

test('stale without anything outstanding is missing; while it is held back, pending', () => {
  const counts = [() => false, () => true].map((deferred) => {
    const rig = new ScenarioRig();
    rig.domain.ops.iotlbSync = () => {};
    const by = rig.by('K', { quiet: true });
    by.map(X, scat(1));
    rig.access(X);
    by.unmap(X, SZ_4K);
    const uses = new OutstandingUses(rig, deferred);
    uses.reuse(PA, [X]);
    return { ...uses.counts, reused: uses.reused };
  });
  expect(counts).toEqual([
    { pending: 0, race: 0, missing: 1, reused: 1 },
    { pending: 1, race: 0, missing: 0, reused: 1 },
  ]);
});

test('SX-2: a SYNC that is not waited for leaves the old page within reach', () => {
  const { issueSync } = CommandQueue.prototype;
  let late = false;
  vi.spyOn(CommandQueue.prototype, 'issueSync').mockImplementation(function (
    this: CommandQueue,
    batch,
  ) {
    if (late) return 0;
    return issueSync.call(this, batch);
  });
  const [strict] = [...sx2.cases()].filter(({ way }) => way === 'K, strict');
  if (strict === undefined) throw new Error('no such case');
  const cases = () => [
    {
      ...strict,
      run: (rig: ScenarioRig) => {
        late = true;
        const counts = strict.run(rig);
        late = false;
        return counts;
      },
    },
  ];
  expect(differences({ ...sx2, cases })).toMatch(
    /missing: expected 0, got 32\n(?:.*\n)*.*32 stale/,
  );
});

test('SX-6: two SMMUs that disagree', () => {
  vi.spyOn(PlainSmmu.prototype, 'access').mockReturnValue('F_TRANSLATION');
  expect(differences(sx6)).toMatch(/^differ: expected 0, got \d+/);
});

import { describe, expect, test } from 'vitest';
import { runScenarios, scenariosOf, UnknownScenario } from '../src/index.ts';
import { SCENARIOS } from '../src/scenarios/run-scenarios.ts';
import { twins } from '../src/scenarios/s4-twins.ts';
import { runScenario, type Scenario } from '../src/scenarios/scenario.ts';
import { readWhileMapping } from '../src/scenarios/second-reader.ts';
import { PA, scat, X } from '../src/scenarios/setup.ts';

const SOAK = process.env['IOMMUKIT_SOAK'] !== undefined;

const ids = (prefix: string, n: number): string[] =>
  Array.from({ length: n }, (_, i) => `${prefix}-${i + 1}`);

const ALL = [
  ...ids('S0', 20),
  ...ids('S1', 12),
  ...ids('S2', 16),
  ...ids('S3', 12),
  ...ids('S4', 20),
  ...ids('SX', 9),
];

test('S0-1 to S0-20, S1-1 to S1-12, S2-1 to S2-16, S3-1 to S3-12, S4-1 to S4-20, SX-1 to SX-9, in order', () => {
  expect(SCENARIOS.map(({ id }) => id)).toEqual(ALL);
});

describe('every count is the one that was derived beforehand', () => {
  // These take seconds: all of them with `npm run soak`. The next test runs a part; the numbers of S4-2 and S4-4 are also in
  // io-pgtable/test/s4-unmap-counts.test.ts.
  const long = [
    'S0-5',
    'S0-7',
    'S0-19',
    'S0-20',
    'S4-2',
    'S4-3',
    'S4-4',
    'S4-5',
    'S4-10',
    'S4-15',
    'S4-20',
    'SX-1',
    'SX-5',
    'SX-7',
    'SX-8',
  ];
  // Of these one case each, or those of fewer pages.
  const partly: Readonly<Record<string, RegExp>> = {
    'S0-6': /^(G, 64 unmaps nc|R, one unmap nc)$/,
    'S0-17': /^(K, one gather|R, S0-5|R, S0-6)$/,
    'S1-7': /^(?!1000 requests, (an address each|map_sg))/,
    'S1-8': /^(single: a second fault|refused)/,
    'S1-9': /^map_sg, 7\.3$/,
    'S1-12': /256 pages/,
    'S2-12': /^the same IOVA/,
    'S3-1': /^H checking$/,
    'S3-2': /^Q$/,
    'S3-3': /^H$/,
    'S3-4': /^K$/,
    'S3-8': /^(Q mmio|H coherent)$/,
    'SX-6': /^buffers K$/,
    'SX-3': /^(1|6|12|16):/,
  };
  const here = SCENARIOS.filter(
    ({ id }) => SOAK || !(long.includes(id) || partly[id] !== undefined),
  );
  test.each(here.map(({ id, title }) => [id, title] as const))(
    '%s %s',
    (id) => {
      const { ok, scenarios, summary } = runScenarios([id]);
      const wrong = (scenarios[0]?.runs ?? []).filter((run) => !run.ok);
      expect(wrong.map(({ way, differences, broken }) => ({ way, differences, broken }))).toEqual(
        [],
      );
      expect(ok).toBe(true);
      expect(summary.compared).toBeGreaterThan(0);
    },
    120_000,
  );

  test.each(SOAK ? [] : Object.entries(partly))('%s, the cases %s', (id, ways) => {
    for (const scenario of SCENARIOS.filter((one) => one.id === id)) {
      const cases = [...scenario.cases()].filter(({ way }) => ways.test(way));
      expect(cases.length).toBeGreaterThan(0);
      const { ok, runs } = runScenario({ ...scenario, cases: () => cases });
      expect(runs.filter((run) => !run.ok)).toEqual([]);
      expect(ok).toBe(true);
    }
  });

  // S0-7, maps of 512 pages in one table: io-pgtable/test/s0-stores.test.ts.
  test('some of the long ones one way, and S4-20 with a few sequences', () => {
    for (const scenario of SCENARIOS.filter(({ id }) =>
      ['S0-5', 'S0-20', 'S4-5', 'SX-7'].includes(id),
    ))
      expect(runScenario({ ...scenario, cases: () => [...scenario.cases()].slice(-1) }).ok).toBe(
        true,
      );
    expect(readWhileMapping(512)).toEqual({ seen: 512, partial: 0 });
    const n = SOAK ? 5 : 2;
    const few = [twins('4K', 2 * n), twins('16K', n), twins('64K', n)];
    expect(runScenario({ id: 'S4-20', title: 'random twins', cases: () => few }).ok).toBe(true);
  });
});

describe('which scenarios', () => {
  const rows = [
    { asked: ['S0-1'], found: ['S0-1'] },
    { asked: ['S4-2'], found: ['S4-2'] },
    { asked: ['S0'], found: ids('S0', 20) },
    { asked: ['S4', 'S0-20'], found: ['S0-20', ...ids('S4', 20)] },
    { asked: ['S3'], found: ids('S3', 12) },
    { asked: ['SX-9', 'SX-1'], found: ['SX-1', 'SX-9'] },
    { asked: [], found: ALL },
  ];
  test.each(rows)('$asked', ({ asked, found }) => {
    expect(scenariosOf(asked).map(({ id }) => id)).toEqual(found);
  });

  test.each(['S9', 's0', '', 'S0-21'])('%j: unknown', (id) => {
    expect(() => runScenarios([id])).toThrow(UnknownScenario);
  });
});

describe('what must be noticed', () => {
  const scenario = (
    one: ReturnType<Scenario['cases']> extends Iterable<infer C> ? C : never,
  ): Scenario => ({
    id: 'T',
    title: 'a defect',
    cases: () => [one],
  });
  const brokenBy = (run: Parameters<typeof scenario>[0]['run']): readonly string[] =>
    runScenario(scenario({ way: 'defect', run, expected: {} })).runs[0]?.broken ?? [];

  test('another count', () => {
    const { ok, runs } = runScenario(
      scenario({ way: 'x', run: () => ({ fmt: 2 }), expected: { fmt: 3, lvl: 1 } }),
    );
    expect(ok).toBe(false);
    expect(runs[0]?.differences).toEqual([
      'fmt: expected 3, got 2',
      'lvl: expected 1, got nothing',
    ]);
  });

  test('an invalidation that is left out', () => {
    const broken = brokenBy((rig) => {
      rig.domain.ops.iotlbSync = () => {};
      const by = rig.by('K');
      by.map(X, scat(1));
      by.unmap(X, 4096);
      return {};
    });
    expect(broken).toContain(
      `the device reads ${X.toString(16)} at ${PA.toString(16)}, expected -1`,
    );
    expect(broken.join()).toContain('stale entries without an invalidation');
  });

  test('tables freed before the flush', () => {
    const broken = brokenBy((rig) => {
      const by = rig.by('R');
      by.map(X, scat(512));
      const { ops } = rig.domain;
      const unmapRange = ops.unmapRange?.bind(ops);
      ops.unmapRange = (iova, size, pending, options) => {
        const bytes = unmapRange?.(iova, size, pending, options) ?? 0;
        pending.forEachDetached((table) => rig.machine.frames.free(table, 4096));
        return bytes;
      };
      ops.releaseTable = () => {};
      by.unmap(X, 512 * 4096);
      // Warm walk caches: pages that the device has not read yet.
      for (let at = X; at < X + 512 * 4096; at += 4096) rig.access(at);
      by.flush();
      return {};
    });
    expect(broken.join()).toMatch(/the SMMU read \d+ words of free frames/);
  });

  test('a frame that leaks, and a map that is not there', () => {
    const broken = brokenBy((rig) => {
      rig.machine.frames.alloc(4096);
      rig.mirror.set(X, PA);
      return {};
    });
    expect(broken.join()).toContain('1 frames leak');
    expect(broken.join()).toContain('tables map 0 pages, reported were 1');
  });

  test('tables that differ', () => {
    const { ok, runs } = runScenario({
      id: 'T',
      title: 'two ways',
      cases: () =>
        [scat(4), scat(4, 4096, PA + 4096)].map((runs, i) => ({
          way: `${i}`,
          run: (rig) => ({ errno: rig.by('K').map(X, runs) }),
          expected: { errno: 0 },
          tables: 'same',
        })),
    });
    expect(ok).toBe(false);
    expect(runs[1]?.broken).toEqual(['tables are not bit-identical to those of 0']);
  });

  test('an operation that fails', () => {
    expect(
      brokenBy((rig) => {
        rig.by('K').map(X, scat(1));
        rig.by('K').map(X, scat(1));
        return {};
      }),
    ).toEqual(['map: -17']);
  });

  test('nothing compared is not ok', () => {
    expect(runScenario({ id: 'T', title: 'none', cases: () => [] }).ok).toBe(false);
  });
});

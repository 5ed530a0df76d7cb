/* S0-13, S0-17, S0-18: what a batch remembers, and what it keeps allocated. */
import { SZ_2M, SZ_4K } from '@iommukit/bits';
import { adjacent, gibibyte, LIST, lists, remembered } from './batch-work.ts';
import type { MapperOptions, Way } from './mapper.ts';
import type { Observed, Scenario, ScenarioCase } from './scenario.ts';
import type { ScenarioRig } from './scenario-rig.ts';
import { otherScat, scat, slots, X } from './setup.ts';

export const s013: Scenario = {
  id: 'S0-13',
  title: 'nothing to flush',
  *cases(): Iterable<ScenarioCase> {
    for (const hook of [false, true]) {
      const name = hook ? ', hook' : '';
      yield {
        way: `R, empty${name}`,
        rig: { hook },
        run: (rig) => {
          const by = rig.by('R');
          return rig.count(() => {
            by.flush();
            by.flush();
          });
        },
        expected: { cmd: 0, hook: 0, fmt: 0 },
      };
      yield {
        way: `R, maps only${name}`,
        rig: { hook },
        run: (rig) => {
          const by = rig.by('R');
          let held = 0;
          // Two that touch, one apart: two joined ranges.
          const counts = rig.count(() => {
            for (const at of [0, 16, 100]) by.map(X + at * SZ_4K, scat(16));
            held = remembered(rig).bytes;
            by.flush();
          });
          const second = rig.count(() => void by.flush());
          return { ...counts, bytes: held, secondFlush: second.cmd + second.hook };
        },
        expected: { cmd: 0, hook: hook ? 2 : 0, bytes: hook ? 32 : 0, secondFlush: 0 },
      };
    }
    yield {
      way: 'R, a hole',
      run: (rig) => {
        const by = rig.by('R');
        let unmapped = -1;
        let held = { bytes: 0, records: 0, detached: 0 };
        const counts = rig.count(() => {
          unmapped = by.unmap(X, SZ_4K);
          held = remembered(rig);
          by.flush();
        });
        return { ...counts, ...held, unmapped };
      },
      expected: { unmapped: 0, warn: 1, records: 0, bytes: 0, cmd: 0 },
    };
  },
};

/** `sizeof(struct iommu_iotlb_gather)`: start, end and page size, a list head of two pointers, a flag and its padding. */
const GATHER_BYTES = 3 * 8 + 2 * 8 + 8;

export const s017: Scenario = {
  id: 'S0-17',
  title: 'what the batch must remember',
  *cases(): Iterable<ScenarioCase> {
    yield {
      way: 'K, one gather',
      run: () => ({ bytes: GATHER_BYTES }),
      expected: { bytes: 48 },
      sweep: false,
    };
    yield {
      way: 'R, S0-5',
      run: (rig) => {
        const { bytes = 0, records = 0, detached = 0 } = lists(rig, 'R');
        // The same work in a log of 16 bytes for each page.
        return { bytes, records, detached, log: 16 * 2 * 32 * LIST };
      },
      expected: { bytes: 768, records: 32, detached: 0, log: 65_536 },
      sweep: false,
    };
    yield {
      way: 'R, S0-6',
      run: (rig) => adjacent(rig, 'R', 1),
      expected: { bytes: 88, records: 1, detached: 8 },
      sweep: false,
    };
    yield {
      way: 'R, S0-19',
      run: (rig) => gibibyte(rig, 'R', 1),
      expected: { bytes: 4128, records: 1, detached: 513 },
      sweep: false,
    };
    yield {
      way: 'R, maps only',
      run: (rig) => {
        const by = rig.by('R');
        for (const iova of slots(0, 64)) by.map(iova, scat(LIST));
        const held = remembered(rig);
        by.flush();
        return held;
      },
      expected: { bytes: 0 },
    };
  },
};

/** Sixteen full leaf tables, whose buffers are replaced at the same IOVAs. */
function replaceAll(
  rig: ScenarioRig,
  way: Way,
  order: 'all' | 'alternating',
  options: MapperOptions = {},
): Observed {
  const tables = slots(0, 16);
  const first = rig.by('K');
  for (const iova of tables) first.map(iova, scat(512));
  const by = rig.by(way, options);
  const counts = rig.count(() => {
    if (order === 'all') for (const iova of tables) by.unmap(iova, SZ_2M);
    for (const iova of tables) {
      if (order === 'alternating') by.unmap(iova, SZ_2M);
      by.map(iova, otherScat(512));
    }
    by.flush();
  });
  return { ...counts, peak: rig.table.counters.tablesPeak };
}

interface PeakRow {
  readonly name: string;
  readonly way: Way;
  readonly order: 'all' | 'alternating';
  readonly options: MapperOptions;
  readonly tables: number;
  readonly peak: number;
  readonly n: number;
}

export const s018: Scenario = {
  id: 'S0-18',
  title: 'peak memory',
  *cases(): Iterable<ScenarioCase> {
    const reuseTables = { reuseTables: true };
    const rows: PeakRow[] = [
      { name: 'K', way: 'K', order: 'alternating', options: {}, tables: 16, peak: 18, n: 32 },
      {
        name: 'R, all unmaps first',
        way: 'R',
        order: 'all',
        options: {},
        tables: 16,
        peak: 18,
        n: 1,
      },
      {
        name: 'R, alternating',
        way: 'R',
        order: 'alternating',
        options: {},
        tables: 16,
        peak: 18,
        n: 16,
      },
      {
        ...{ name: 'R quiesced', way: 'R', order: 'all', options: { quiesced: true } },
        ...{ tables: 16, peak: 34, n: 1 },
      },
      {
        name: 'R reuseTables',
        way: 'R',
        order: 'all',
        options: reuseTables,
        tables: 0,
        peak: 18,
        n: 1,
      },
      {
        ...{ name: 'R reuseTables, alternating', way: 'R', order: 'alternating' },
        ...{ options: reuseTables, tables: 0, peak: 18, n: 16 },
      },
    ];
    for (const { name, way, order, options, tables, peak, n } of rows)
      yield {
        way: name,
        run: (rig) => replaceAll(rig, way, order, options),
        expected: { alloc: tables, free: tables, peak, VA: n, SYNC: n, cmd: 2 * n },
        tables: 'all',
      };
  },
};

/* S4-12 to S4-14, S4-16 to S4-19: holes, parts, gathers, the end of the space. */
import { SZ_1G, SZ_2M, SZ_4K } from '@iommukit/bits';
import { IotlbGather } from '@iommukit/io-pgtable';
import type { Observed, Scenario, ScenarioCase } from './scenario.ts';
import type { ScenarioRig } from './scenario-rig.ts';
import { MIB, PA, scat, X } from './setup.ts';
import { unmapSingleSize } from './single-size-unmap.ts';

const WAYS = ['L', 'U'] as const;
type Way = (typeof WAYS)[number];

/** An unmap through the core, its bytes among the counts. */
function unmap(rig: ScenarioRig, way: Way, iova: number, size: number): Observed {
  const by = rig.by(way);
  let bytes = -1;
  const counts = rig.count(() => {
    bytes = by.unmap(iova, size);
    by.flush();
  });
  return { ...counts, bytes };
}

/** Both ways of a case, whose tables end the same. */
function* both(
  name: string,
  run: (rig: ScenarioRig, way: Way) => Observed,
  expected: Observed,
  differs: Partial<Record<Way, Observed>> = {},
): Iterable<ScenarioCase> {
  for (const way of WAYS)
    yield {
      way: `${way} ${name}`,
      run: (rig) => run(rig, way),
      expected: { ...expected, ...differs[way] },
      tables: name,
    };
}

const block = [{ paddr: PA, length: SZ_2M }];

export const s412: Scenario = {
  id: 'S4-12',
  title: 'holes',
  *cases(): Iterable<ScenarioCase> {
    yield* both(
      '(a) in a run',
      (rig, way) => {
        const first = rig.by('K');
        first.map(X + SZ_4K, scat(100));
        first.map(X + 102 * SZ_4K, scat(300));
        return unmap(rig, way, X + SZ_4K, 300 * SZ_4K);
      },
      {
        ...{ bytes: 100 * SZ_4K, st: 100, VA: 1, SYNC: 1 },
        fields: '1x NUM=24 SCALE=2 TG=1 TTL=3 LEAF=1',
      },
      { U: { fmt: 2, lvl: 8, warn: 2 }, L: { fmt: 101, warn: 1 } },
    );
    yield* both(
      '(b) in a full table',
      (rig, way) => {
        rig.by('K').map(X, scat(512));
        unmapSingleSize(rig, { way: 'U', iova: X + 100 * SZ_4K, pgsize: SZ_4K, count: 1 });
        return unmap(rig, way, X, SZ_2M);
      },
      { bytes: SZ_2M, fmt: 1, warn: 0, free: 1, VA: 2, SYNC: 2 },
    );
    for (const [iova, lvl] of [
      [X + SZ_2M, 3],
      [X + SZ_1G, 2],
      [2 ** 40, 1],
    ] as const)
      yield* both(
        `(c) at level ${lvl - 1}`,
        (rig, way) => {
          rig.by('K').map(X, scat(1));
          return unmap(rig, way, iova, SZ_4K);
        },
        { bytes: 0, fmt: 1, lvl, st: 0, warn: 1, cmd: 0 },
      );
  },
};

export const s413: Scenario = {
  id: 'S4-13',
  title: 'part of a block',
  *cases(): Iterable<ScenarioCase> {
    for (const [name, iova, size] of [
      ['4 KiB', X, SZ_4K],
      ['1 MiB at +1 MiB', X + MIB, MIB],
    ] as const)
      yield* both(
        name,
        (rig, way) => {
          rig.by('K').map(X, block);
          const counts = unmap(rig, way, iova, size);
          return { ...counts, translates: rig.access(iova) === PA + iova - X };
        },
        { bytes: 0, fmt: 1, lvl: 3, st: 0, warn: 1, cmd: 0, translates: true },
      );
  },
};

export const s414: Scenario = {
  id: 'S4-14',
  title: 'gather',
  *cases(): Iterable<ScenarioCase> {
    yield* both(
      'three page sizes',
      (rig, way) => {
        const first = rig.by('K');
        first.map(X, scat(3));
        first.map(X + SZ_2M, block);
        first.map(X + 2 * SZ_2M, scat(2));
        const gather = new IotlbGather();
        return rig.count(() => {
          unmapSingleSize(rig, { way, iova: X, pgsize: SZ_4K, count: 3, gather });
          unmapSingleSize(rig, { way, iova: X + SZ_2M, pgsize: SZ_2M, count: 1, gather });
          unmapSingleSize(rig, { way, iova: X + 2 * SZ_2M, pgsize: SZ_4K, count: 2, gather });
          rig.machine.core.iotlbSync(rig.domain, gather);
        });
      },
      {
        ...{ VA: 3, SYNC: 3 },
        fields: [
          '1x NUM=2 SCALE=0 TG=1 TTL=3 LEAF=1',
          '1x NUM=0 SCALE=9 TG=1 TTL=2 LEAF=1',
          '1x NUM=0 SCALE=1 TG=1 TTL=3 LEAF=1',
        ].join(', '),
      },
    );
    const orders = [
      { name: '64 pages descending', order: Array.from({ length: 64 }, (_, i) => 63 - i), n: 1 },
      { name: 'every second of 64', order: Array.from({ length: 32 }, (_, i) => 2 * i), n: 32 },
    ];
    for (const { name, order, n } of orders)
      yield* both(
        name,
        (rig, way) => {
          rig.by('K').map(X, scat(64));
          const gather = new IotlbGather();
          return rig.count(() => {
            for (const page of order)
              unmapSingleSize(rig, {
                way,
                iova: X + page * SZ_4K,
                pgsize: SZ_4K,
                count: 1,
                gather,
              });
            rig.machine.core.iotlbSync(rig.domain, gather);
          });
        },
        { VA: n, SYNC: n },
      );
  },
};

/** An unmap without range commands, with the number of lists that were submitted. */
function withoutRanges(
  name: string,
  before: (rig: ScenarioRig) => void,
  [iova, size]: readonly [number, number],
  expected: Observed,
): Iterable<ScenarioCase> {
  const run = (rig: ScenarioRig, way: Way): Observed => {
    before(rig);
    let submissions = 0;
    rig.machine.driver.trace.listen((event) => {
      if (event.name === 'cmdlist') submissions++;
    });
    return { ...unmap(rig, way, iova, size), submissions };
  };
  return [...both(name, run, expected)].map((one) => ({ ...one, rig: { ril: false } }));
}

export const s416: Scenario = {
  id: 'S4-16',
  title: 'without RIL',
  *cases(): Iterable<ScenarioCase> {
    for (const [n, expected] of [
      [511, { VA: 511, ASID: 0, SYNC: 1, submissions: 8 }],
      [512, { VA: 0, ASID: 1, SYNC: 1, submissions: 1 }],
    ] as const)
      yield* withoutRanges(
        `${n} pages`,
        (rig) => void rig.by('K').map(X + SZ_4K, scat(n)),
        [X + SZ_4K, n * SZ_4K],
        expected,
      );
    yield* withoutRanges(
      '510 blocks',
      (rig) => void rig.by('K').map(X + SZ_2M, [{ paddr: PA + SZ_2M, length: 510 * SZ_2M }]),
      [X + SZ_2M, 510 * SZ_2M],
      { VA: 510, ASID: 0, SYNC: 1 },
    );
    // The walk is an ASID, the block that the core unmaps one page.
    yield* withoutRanges(
      'a full table: its walk flush',
      (rig) => void rig.by('K').map(X, scat(512)),
      [X, SZ_2M],
      { ASID: 1, VA: 1, SYNC: 2 },
    );
  },
};

export const s417: Scenario = {
  id: 'S4-17',
  title: 'count overrun',
  *cases(): Iterable<ScenarioCase> {
    yield {
      way: 'past the end of a table',
      run(rig) {
        rig.by('K').map(X + 510 * SZ_4K, scat(4));
        const gather = new IotlbGather();
        const bytes = rig.domain.ops.unmapPages(X + 510 * SZ_4K, SZ_4K, 1000, gather);
        rig.machine.core.iotlbSync(rig.domain, gather);
        for (const page of [510, 511]) rig.mirror.delete(X + page * SZ_4K);
        rig.look(X + 510 * SZ_4K, 4 * SZ_4K);
        const stays = [512, 513].every((page) => rig.access(X + page * SZ_4K) >= 0);
        return { bytes, stays };
      },
      expected: { bytes: 2 * SZ_4K, stays: true },
    };
    yield {
      way: 'past the end of the space',
      run(rig) {
        const last = 2 ** 48 - SZ_4K;
        rig.by('K').map(last, scat(1));
        const { ops } = rig.domain;
        const gather = new IotlbGather();
        const { warnings } = rig.table;
        const bytes = ops.unmapPages(last, SZ_4K, 2, gather);
        const warn = rig.table.warnings - warnings;
        const next = ops.unmapPages(2 ** 48, SZ_4K, 1, gather);
        rig.machine.core.iotlbSync(rig.domain, gather);
        rig.mirror.delete(last);
        return { bytes, warn, next, nextWarn: rig.table.warnings - warnings - warn };
      },
      expected: { bytes: SZ_4K, warn: 0, next: 0, nextWarn: 1 },
    };
    for (const [name, pgsize, count] of [
      ['count 0', SZ_4K, 0],
      ['size not in the bitmap', 0x4000, 1],
    ] as const)
      yield {
        way: name,
        run(rig) {
          rig.by('K').map(X, scat(1));
          const { warnings } = rig.table;
          const bytes = rig.domain.ops.unmapPages(X, pgsize, count, new IotlbGather());
          return { bytes, warn: rig.table.warnings - warnings };
        },
        expected: { bytes: 0, warn: 1 },
      };
  },
};

export const s418: Scenario = {
  id: 'S4-18',
  title: 'queued gather',
  *cases(): Iterable<ScenarioCase> {
    for (const queued of [false, true])
      yield {
        way: queued ? 'queued' : 'not queued',
        run(rig) {
          rig.by('K').map(X + SZ_4K, scat(512));
          const { core } = rig.machine;
          const gather = core.newGather(rig.domain);
          gather.queued = queued;
          let bytes = 0;
          const before = rig.count(() => {
            bytes = core.unmapFast(rig.domain, X + SZ_4K, SZ_2M, gather);
          });
          for (let at = 0; at < bytes; at += SZ_4K) rig.mirror.delete(X + SZ_4K + at);
          const flush = rig.count(() => {
            // What the flush queue does for many gathers at once.
            if (queued) core.flushIotlbAll(rig.domain);
            else core.iotlbSync(rig.domain, gather);
          });
          return { bytes, add: before.add, cmd: before.cmd, flushed: flush.cmd };
        },
        expected: { bytes: SZ_2M, add: queued ? 0 : 512, cmd: 0, flushed: 2 },
      };
    yield {
      way: 'queued, a table is freed',
      run(rig) {
        rig.by('K').map(X, scat(512));
        const { core } = rig.machine;
        const gather = core.newGather(rig.domain);
        gather.queued = true;
        let bytes = 0;
        const counts = rig.count(() => {
          bytes = core.unmapFast(rig.domain, X, SZ_2M, gather);
        });
        for (let at = 0; at < bytes; at += SZ_4K) rig.mirror.delete(X + at);
        core.flushIotlbAll(rig.domain);
        return counts;
      },
      expected: {
        ...{ add: 0, free: 1, VA: 1, SYNC: 1, cmd: 2 },
        fields: '1x NUM=0 SCALE=9 TG=1 TTL=0 LEAF=0',
      },
    };
  },
};

export const s419: Scenario = {
  id: 'S4-19',
  title: 'tables',
  *cases(): Iterable<ScenarioCase> {
    for (const way of WAYS)
      yield {
        way: `${way} at the page size, then a block`,
        run(rig) {
          rig.by('K').map(X, scat(512));
          const pages = rig.count(
            () => void unmapSingleSize(rig, { way, iova: X, pgsize: SZ_4K, count: 512 }),
          );
          const over = rig.count(() => void rig.by('K').map(X, block));
          const { alloc, free } = pages;
          return { ...over, pagesAlloc: alloc, pagesFree: free };
        },
        expected: {
          ...{ pagesAlloc: 0, pagesFree: 0, alloc: 0, free: 1, st: 3, VA: 1, SYNC: 1 },
          fields: '1x NUM=0 SCALE=9 TG=1 TTL=0 LEAF=0',
        },
        tables: 'block',
      };
    yield* both(
      'through the core',
      (rig, way) => {
        rig.by('K').map(X, scat(512));
        return unmap(rig, way, X, SZ_2M);
      },
      { free: 1, alloc: 0 },
    );
  },
};

/* S0-12, S0-14: what a map that fails leaves behind. */
import { SZ_2M, SZ_4K } from '@iommukit/bits';
import type { SgRun } from '@iommukit/iommu-core';
import { ERRNO } from '@iommukit/platform';
import type { Way } from './mapper.ts';
import type { Observed, Scenario, ScenarioCase } from './scenario.ts';
import type { ScenarioRig } from './scenario-rig.ts';
import { cont, MIB, PA, scat, X } from './setup.ts';

/** Format calls and bytes of unmaps, told apart from those of maps. */
function countUnmaps(rig: ScenarioRig): { calls: number; bytes: number } {
  const seen = { calls: 0, bytes: 0 };
  const { ops } = rig.domain;
  const unmapPages = ops.unmapPages.bind(ops);
  ops.unmapPages = (iova, pgsize, pgcount, gather) => {
    const bytes = unmapPages(iova, pgsize, pgcount, gather);
    seen.calls++;
    seen.bytes += bytes;
    return bytes;
  };
  return seen;
}

/** The k-th table fails; then the same map again. */
function failAt(k: number, way: Way, runs: readonly SgRun[]): ScenarioCase['run'] {
  return (rig) => {
    const unmaps = countUnmaps(rig);
    const { counters } = rig.table;
    const live = (): number => counters.tablesAllocated - counters.tablesFreed;
    const by = rig.by(way);
    rig.machine.frames.failIn = k;
    let errno = 0;
    const before = rig.liveTotal;
    const first = rig.count(() => {
      errno = by.map(X, runs);
    });
    const left = live();
    const liveStores = rig.liveTotal - before;
    const retry = rig.count(() => {
      by.map(X, runs);
      by.flush();
    });
    return {
      errno,
      fmt: first.fmt - unmaps.calls,
      mappedBefore: unmaps.bytes,
      VA: first.VA,
      SYNC: first.SYNC,
      left,
      liveStores,
      retryAlloc: retry.alloc,
    };
  };
}

const ENOMEM = -ERRNO.ENOMEM;
/** What an earlier operation of the batch left pending stays pending; what failed is named. */
const inBatch: ScenarioCase = {
  way: 'R, second of three operations fails',
  run(rig) {
    rig.by('K').map(X - SZ_2M, scat(512));
    const by = rig.by('R');
    by.unmap(X - SZ_2M, SZ_2M);
    rig.machine.frames.failIn = 2;
    by.map(X, scat(1024));
    const { batch } = by;
    const failure = batch?.failure;
    const kept = { records: batch?.records ?? -1, detached: batch?.detached ?? -1 };
    by.map(X + 8 * SZ_2M, scat(4));
    const { VA, SYNC, free } = rig.count(() => void by.flush());
    const { operation = -1, errno = 0 } = failure ?? {};
    return { operation, errno, ...kept, failures: batch?.failures ?? 0, VA, SYNC, free };
  },
  expected: {
    ...{ operation: 1, errno: ENOMEM, records: 1, detached: 1, failures: 1 },
    ...{ VA: 1, SYNC: 1, free: 1 },
  },
  fails: true,
  sweep: false,
};

export const s012: Scenario = {
  id: 'S0-12',
  title: 'failure at the k-th table',
  *cases(): Iterable<ScenarioCase> {
    const lists = [
      { name: 'scattered', runs: scat(1024), fmt: [1, 1, 1, 513] },
      { name: 'contiguous', runs: cont(4 * MIB), fmt: [1, 1, 1, 2] },
    ];
    const rows = [
      { k: 1, left: 0, bytes: 0, n: 0 },
      { k: 2, left: 1, bytes: 0, n: 0 },
      { k: 3, left: 2, bytes: 0, n: 0 },
      { k: 4, left: 2, bytes: SZ_2M, n: 2 },
    ];
    for (const { name, runs, fmt } of lists)
      for (const { k, left, bytes, n } of rows) {
        const common = { tables: name, fails: true, sweep: false } as const;
        yield {
          way: `K ${name}, k = ${k}`,
          run: failAt(k, 'K', runs),
          expected: {
            ...{ errno: ENOMEM, fmt: fmt[k - 1] ?? -1, mappedBefore: bytes, VA: n, SYNC: n, left },
            retryAlloc: 4 - left,
          },
          ...common,
        };
        yield {
          way: `R ${name}, k = ${k}`,
          rig: { observer: {} },
          run: failAt(k, 'R', runs),
          expected: {
            ...{ errno: ENOMEM, liveStores: 0, VA: 0, SYNC: 0, left: 0, retryAlloc: 4 },
          },
          ...common,
        };
      }
    yield inBatch;
  },
};

const OLD = X + 0x5000;
const old = [{ paddr: 0x9_0000_0000, length: SZ_4K }];
const block = [{ paddr: PA, length: SZ_2M }];

/** A map of X where one page is live; the device reads that page after every store if it is to stay. */
function overlap(
  way: Way,
  runs: readonly SgRun[],
  fate: 'stays' | 'goes' = 'stays',
): Pick<ScenarioCase, 'rig' | 'run'> {
  let onStore: () => void = () => {};
  return {
    rig: { observer: { onStore: () => onStore() } },
    run(rig) {
      rig.by('K').map(OLD, old);
      const by = rig.by(way);
      let errno = 0;
      let lost = 0;
      const unmaps = countUnmaps(rig);
      onStore = () => {
        if (fate === 'stays' && rig.access(OLD) !== old[0]?.paddr) lost++;
      };
      const counts = rig.count(() => {
        errno = by.map(X, runs);
        onStore = () => {};
        by.flush();
      });
      const page = by.batch?.failure?.page ?? -1;
      return { ...counts, fmt: counts.fmt - unmaps.calls, errno, page, lost };
    },
  };
}

/** A block over a table that has become empty: what was sent when the block is stored? */
function overEmpty(way: Way): Pick<ScenarioCase, 'rig' | 'run'> {
  let onStore: (lo: number) => void = () => {};
  return {
    rig: { observer: { onStore: (_pa, lo) => onStore(lo) } },
    run(rig): Observed {
      const { cmdq } = rig.machine.driver;
      const first = rig.by('K');
      first.map(OLD, old);
      first.unmap(OLD, SZ_4K);
      const by = rig.by(way);
      const { issued } = cmdq;
      let before = -1;
      onStore = (lo) => {
        if (lo % 4 === 1) before = cmdq.issued - issued;
      };
      let errno = 0;
      const counts = rig.count(() => {
        errno = by.map(X, block);
        onStore = () => {};
        by.flush();
      });
      return { ...counts, errno, before };
    },
  };
}

export const s014: Scenario = {
  id: 'S0-14',
  title: 'overlap',
  *cases(): Iterable<ScenarioCase> {
    const EEXIST = -ERRNO.EEXIST;
    const silent = { st: 0, cmd: 0, lost: 0, errno: EEXIST };
    const refused = { ...silent, page: 5 };
    yield {
      ...overlap('K', cont(0x8000)),
      way: 'K (a) contiguous',
      expected: { ...silent, fmt: 1, warn: 1 },
      fails: true,
      tables: 'old page',
    };
    yield {
      ...overlap('K', scat(8)),
      way: 'K (b) scattered',
      expected: {
        ...{ fmt: 6, lvl: 28, st: 10, warn: 1, VA: 1, SYNC: 1, cmd: 2, lost: 0, errno: EEXIST },
        fields: '1x NUM=4 SCALE=0 TG=1 TTL=3 LEAF=1',
      },
      fails: true,
      tables: 'old page',
    };
    for (const [name, runs] of [
      ['(a) contiguous', cont(0x8000)],
      ['(b) scattered', scat(8)],
    ] as const)
      yield {
        ...overlap('R', runs),
        way: `R ${name}`,
        expected: refused,
        fails: true,
        tables: 'old page',
      };
    yield {
      ...overlap('K', block, 'goes'),
      way: 'K (c) a block over the live page',
      expected: { errno: 0, free: 1, st: 3, VA: 1, SYNC: 1, cmd: 2 },
      tables: 'block',
    };
    yield {
      ...overlap('R', block),
      way: 'R (c) a block over the live page',
      expected: refused,
      fails: true,
      tables: 'old page',
    };
    for (const way of ['K', 'R'] as const)
      yield {
        ...overEmpty(way),
        way: `${way} (c) a block over an empty table`,
        expected: {
          ...{ errno: 0, free: 1, VA: 1, SYNC: 1, cmd: 2, before: 2 },
          fields: '1x NUM=0 SCALE=9 TG=1 TTL=0 LEAF=0',
        },
        tables: 'block',
      };
  },
};

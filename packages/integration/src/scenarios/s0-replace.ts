/* S0-9 to S0-11: what is replaced, and when the old may go. */
import { SZ_2M, SZ_4K } from '@iommukit/bits';
import type { SgRun } from '@iommukit/iommu-core';
import type { MemoryView } from '@iommukit/platform';
import { CACHE_EVERYTHING } from '@iommukit/smmu-v3-model';
import type { MapperOptions, Way } from './mapper.ts';
import type { Observed, Scenario, ScenarioCase } from './scenario.ts';
import type { ScenarioRig } from './scenario-rig.ts';
import { MIB, otherScat, PA, scat, X } from './setup.ts';
import { reachableTables } from './table-image.ts';

const PAGES = 512;

function replaceOne(rig: ScenarioRig, way: Way, options: MapperOptions): Observed {
  rig.by('K').map(X, scat(PAGES));
  const by = rig.by(way, options);
  return rig.count(() => {
    by.unmap(X, SZ_2M);
    by.map(X, otherScat(PAGES));
    by.flush();
  });
}

interface ReuseRow {
  readonly name: string;
  readonly way: Way;
  readonly options: MapperOptions;
  readonly fmt: number;
  readonly lvl: number;
  readonly tables: number;
  readonly st: number;
  readonly nc: readonly [st: number, cmc: number, cml: number];
  readonly n: number;
  readonly fields: string;
}

export const s09: Scenario = {
  id: 'S0-9',
  title: 'table reuse',
  *cases(): Iterable<ScenarioCase> {
    const rows: ReuseRow[] = [
      {
        ...{
          name: 'K',
          way: 'K',
          options: {},
          fmt: 513,
          lvl: 2051,
          tables: 1,
          st: 515,
          nc: [516, 516, 579],
        },
        ...{
          n: 2,
          fields: '1x NUM=0 SCALE=9 TG=1 TTL=0 LEAF=0, 1x NUM=0 SCALE=9 TG=1 TTL=2 LEAF=1',
        },
      },
      {
        ...{ name: 'R', way: 'R', options: {}, fmt: 2, lvl: 7, tables: 1, st: 514 },
        ...{ nc: [515, 3, 66], n: 1, fields: '1x NUM=0 SCALE=9 TG=1 TTL=0 LEAF=0' },
      },
      {
        ...{
          name: 'R reuseTables',
          way: 'R',
          options: { reuseTables: true },
          fmt: 2,
          lvl: 8,
          tables: 0,
        },
        ...{ st: 1024, nc: [1024, 2, 128], n: 1, fields: '1x NUM=0 SCALE=9 TG=1 TTL=3 LEAF=1' },
      },
    ];
    // Page by page no table ever becomes free.
    yield {
      way: 'P coh',
      run: (rig) => replaceOne(rig, 'P', {}),
      expected: { fmt: 1024, lvl: 4096, alloc: 0, free: 0, st: 1024, VA: 512, SYNC: 512 },
      tables: 'coh',
      sweep: false,
    };
    for (const { name, way, options, fmt, lvl, tables, st, nc, n, fields } of rows)
      for (const mode of ['coh', 'nc'] as const) {
        const [stores, cmc, cml] = mode === 'nc' ? nc : [st, 0, 0];
        yield {
          way: `${name} ${mode}`,
          rig: { mode },
          run: (rig) => replaceOne(rig, way, options),
          expected: {
            ...{ fmt, lvl, alloc: tables, free: tables, st: stores, cmc, cml },
            ...{ VA: n, SYNC: n, cmd: 2 * n, fields },
          },
          tables: mode,
        };
      }
  },
};

const NEXT = otherScat(PAGES);
/** One page in 32, so that each 16th of the buffer has one. */
const WARM = Array.from({ length: 16 }, (_, i) => X + i * 32 * SZ_4K);

/** Reads every page and counts those that are not the new one. */
function staleReads(rig: ScenarioRig): number {
  let stale = 0;
  for (const [i, { paddr }] of NEXT.entries()) if (rig.access(X + i * SZ_4K) !== paddr) stale++;
  return stale;
}

/** Replaces what the device holds by 512 pages in one batch; the device reads all of them after the map, and after the flush. */
function survive(old: readonly SgRun[], options: MapperOptions): ScenarioCase['run'] {
  return (rig) => {
    rig.by('K', { quiet: true }).map(X, old);
    if (rig.failed.length === 0) rig.warmPages(WARM);
    const by = rig.by('R', { ...options, quiet: true });
    by.unmap(X, SZ_2M);
    const early = rig.count(() => void by.map(X, NEXT));
    if (rig.failed.length > 0) {
      by.flush();
      return {};
    }
    const afterMap = staleReads(rig);
    const uses = rig.machine.model.staleUseCount;
    const late = rig.count(() => void by.flush());
    return {
      earlyVA: early.VA,
      earlySYNC: early.SYNC,
      afterMap,
      /** Uses of stale entries that the detector reported. */
      reported: uses,
      flushVA: late.VA,
      flushSYNC: late.SYNC,
      afterFlush: staleReads(rig),
    };
  };
}

/** Commands that were complete when the first leaf of the new buffer was stored. */
function orderOfStores(old: readonly SgRun[]): ScenarioCase {
  let onStore: (pa: number, lo: number, hi: number) => void = () => {};
  return {
    way: 'R, commands before the first store of a new leaf',
    rig: { observer: { onStore: (pa, lo, hi) => onStore(pa, lo, hi) } },
    run(rig) {
      const { cmdq } = rig.machine.driver;
      rig.by('K').map(X, old);
      const by = rig.by('R', { quiet: true });
      by.unmap(X, SZ_2M);
      const { issued, syncs } = cmdq;
      let before = -1;
      onStore = (_pa, lo, hi) => {
        const address = (hi % 65_536) * 2 ** 32 + (lo - (lo % SZ_4K));
        // Only the first page of the new list counts: zeroing and links store something else.
        if (before < 0 && address === NEXT[0]?.paddr) before = cmdq.issued - issued;
      };
      by.map(X, NEXT);
      onStore = () => {};
      const complete = cmdq.syncs - syncs;
      by.flush();
      return { before, complete };
    },
    expected: { before: 2, complete: 1 },
  };
}

export const s010: Scenario = {
  id: 'S0-10',
  title: 'the old translation must not survive',
  *cases(): Iterable<ScenarioCase> {
    const safe = { afterMap: 0, reported: 0, afterFlush: 0 };
    const early = { earlyVA: 1, earlySYNC: 1, flushVA: 0, flushSYNC: 0 };
    const late = { earlyVA: 0, earlySYNC: 0, flushVA: 1, flushSYNC: 1, afterFlush: 0 };
    const pages = scat(PAGES);
    yield { way: 'R', run: survive(pages, {}), expected: { ...safe, ...early } };
    yield {
      way: 'R reuseTables',
      run: survive(pages, { reuseTables: true }),
      expected: { ...safe, ...early },
    };
    yield {
      way: 'R quiesced, promise broken',
      run: survive(pages, { quiesced: true }),
      expected: { ...late, afterMap: 512, reported: 512 },
      stale: 'race',
    };
    yield {
      way: 'R quiesced reuseTables, promise broken',
      run: survive(pages, { quiesced: true, reuseTables: true }),
      expected: { ...late, afterMap: 16, reported: 16 },
      stale: 'race',
    };
    const block = [{ paddr: PA, length: SZ_2M }];
    yield { way: 'R, a block before', run: survive(block, {}), expected: { ...safe, ...early } };
    yield {
      way: 'R quiesced, a block before, promise broken',
      run: survive(block, { quiesced: true }),
      expected: late,
      stale: 'race',
    };
    yield orderOfStores(pages);
    yield { ...orderOfStores(block), way: 'R, the same, a block before' };
  },
};

const SIZE = 16 * MIB;

/** A table as the CPU has it. */
function wordsOf(memory: MemoryView, table: number): string {
  let text = '';
  for (let at = table; at < table + SZ_4K; at += 8) text += `${memory.load64(at)} ${memory.hi} `;
  return text;
}

/** All tables that a walker can reach, with what is in them. */
function tablesOf({ cpu, table }: ScenarioRig): Map<number, string> {
  const tables = [...reachableTables(cpu, table)];
  return new Map(tables.map((one) => [one, wordsOf(cpu, one)]));
}

/** 16 MiB leave in a batch, and the device reads on: at each freed table, between unmap and flush, and after it. */
function readOn(rig: ScenarioRig): Observed {
  const list = scat(4096);
  rig.by('K', { quiet: true }).map(X, list);
  // A pointer to each leaf table is cached; its first entry is not.
  for (let at = X; at < X + SIZE; at += SZ_2M) rig.warmPages([at + SZ_4K]);
  const by = rig.by('R', { quiet: true });
  const { cmdq } = rig.machine.driver;
  const { syncs } = cmdq;
  const { counters } = rig.table;
  let early = 0;
  let wrong = 0;
  const read = (): void => {
    for (let page = 0; page < list.length; page += 8) {
      const paddr = rig.access(X + page * SZ_4K);
      if (paddr >= 0 && paddr !== list[page]?.paddr) wrong++;
    }
  };
  rig.watch.onFree = () => {
    if (cmdq.syncs === syncs) early++;
    read();
  };
  const before = tablesOf(rig);
  by.unmap(X, SIZE);
  const kept = tablesOf(rig);
  // Of the tables that nothing points to any more: what is in them stays until they are free.
  const written = [...before].filter(
    ([table, words]) => !kept.has(table) && wordsOf(rig.cpu, table) !== words,
  ).length;
  read();
  by.flush();
  read();
  rig.watch.onFree = () => {};
  return {
    freesBeforeSync: early,
    ...{ written, wrong },
    readsOfFree: rig.watch.readsOfFree,
    peak: counters.tablesPeak,
    live: counters.tablesAllocated - counters.tablesFreed,
  };
}

export const s011: Scenario = {
  id: 'S0-11',
  title: 'freed only after the flush',
  *cases(): Iterable<ScenarioCase> {
    const expected = {
      freesBeforeSync: 0,
      written: 0,
      wrong: 0,
      readsOfFree: 0,
      peak: 10,
      live: 2,
    };
    for (const mode of ['coh', 'nc'] as const)
      yield { way: `R ${mode}`, rig: { mode }, run: readOn, expected, stale: 'race' };
    // A SYNC takes effect when somebody waits for it, and not before.
    yield {
      way: 'R coh, one command a step',
      rig: { policy: { ...CACHE_EVERYTHING, consume: 'step' } },
      run: readOn,
      expected,
      stale: 'race',
      sweep: false,
    };
  },
};

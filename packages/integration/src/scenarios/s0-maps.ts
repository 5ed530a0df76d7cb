/* S0-1 to S0-4, S0-15, S0-16: what one map costs. */
import { SZ_4K } from '@iommukit/bits';
import type { SgRun } from '@iommukit/iommu-core';
import type { Mapper, Way } from './mapper.ts';
import type { Scenario, ScenarioCase } from './scenario.ts';
import { cont, GRANULES, type GranuleName, MIB, PA, scat, X } from './setup.ts';

/** One map: calls, levels, tables, stores; with a non-coherent walker stores, clean calls, lines; calls of the hook. */
interface MapRow {
  readonly name?: string;
  readonly way: Way;
  readonly iova?: number;
  readonly runs: readonly SgRun[];
  readonly granule?: GranuleName;
  readonly fmt: number;
  readonly lvl: number;
  readonly alloc: number;
  readonly st: number;
  readonly nc?: readonly [st: number, cmc: number, cml: number];
  readonly hook: number;
  /** Stores that a walker could see. */
  readonly live?: number;
  /** Rows of one label end with the same tables. */
  readonly tables?: string;
}

function mapThenFlush(by: Mapper, iova: number, runs: readonly SgRun[]): void {
  by.map(iova, runs);
  by.flush();
}

function* casesOf(rows: readonly MapRow[]): Iterable<ScenarioCase> {
  for (const row of rows)
    for (const mode of ['coh', 'nc'] as const) {
      const { way, iova = X, runs, granule = '4K', fmt, lvl, alloc, st, nc, hook, live } = row;
      if (mode === 'nc' && nc === undefined) continue;
      const [stores, cmc, cml] = mode === 'coh' ? [st, 0, 0] : (nc ?? [0, 0, 0]);
      const seen = mode === 'coh' && live !== undefined;
      yield {
        way: [way, row.name, granule === '4K' ? undefined : granule, mode]
          .filter(Boolean)
          .join(' '),
        rig: { mode, granule, hook: true, ...(seen ? { observer: {} } : {}) },
        run(rig) {
          const before = rig.liveTotal;
          const counts = rig.count(() => mapThenFlush(rig.by(way), iova, runs));
          return { ...counts, ...(seen ? { live: rig.liveTotal - before } : {}) };
        },
        expected: {
          ...{ fmt, lvl, alloc, free: 0, st: stores, cmc, cml, hook, warn: 0, cmd: 0 },
          ...(seen ? { live } : {}),
        },
        // Software marks are in the descriptors of non-coherent tables.
        ...(row.tables === undefined ? {} : { tables: `${row.tables} ${mode}` }),
      };
    }
}

const scattered = { runs: scat(256), alloc: 3, st: 259, tables: 'all' };
export const s01: Scenario = {
  id: 'S0-1',
  title: 'scattered 1 MiB',
  cases: () =>
    casesOf([
      { ...scattered, way: 'P', fmt: 256, lvl: 1024, nc: [262, 262, 451], hook: 256 },
      { ...scattered, way: 'K', fmt: 256, lvl: 1024, nc: [262, 262, 451], hook: 1 },
      { ...scattered, way: 'R', fmt: 1, lvl: 4, nc: [260, 4, 193], hook: 1, live: 1 },
    ]),
};

const contiguous = { runs: cont(MIB), alloc: 3, st: 259, tables: 'all' };
export const s02: Scenario = {
  id: 'S0-2',
  title: 'contiguous 1 MiB',
  cases: () =>
    casesOf([
      { ...contiguous, way: 'P', fmt: 256, lvl: 1024, nc: [262, 262, 451], hook: 256 },
      { ...contiguous, way: 'K', fmt: 1, lvl: 4, nc: [262, 7, 227], hook: 1 },
      { ...contiguous, way: 'R', fmt: 1, lvl: 4, nc: [260, 4, 193], hook: 1 },
    ]),
};

/** The same bytes as entries of one page. */
function cut({ paddr, length }: SgRun): SgRun[] {
  return Array.from({ length: length / SZ_4K }, (_, i) => ({
    paddr: paddr + i * SZ_4K,
    length: SZ_4K,
  }));
}

const whole = { paddr: PA, length: 4 * MIB + 3 * SZ_4K };
const a = { runs: [whole], tables: 'a' };
const aCut = { runs: cut(whole), name: '(a) cut', tables: 'a' };
const K = { way: 'K', fmt: 2, lvl: 7, alloc: 3, st: 8, nc: [11, 8, 197], hook: 1 } as const;
const R = { way: 'R', fmt: 1, lvl: 7, alloc: 3, st: 8, nc: [9, 4, 193], hook: 1 } as const;
const b = {
  name: '(b)',
  iova: X + 0x1f_f000,
  runs: [{ paddr: PA + 0x1f_f000, length: 4 * MIB + 2 * SZ_4K }],
  tables: 'b',
  alloc: 4,
  st: 8,
  hook: 1,
};
const c = {
  name: '(c)',
  iova: X + 0x1f_f000,
  runs: [{ paddr: PA, length: 4 * MIB + 2 * SZ_4K }],
  tables: 'c',
  alloc: 6,
  st: 1032,
  hook: 1,
};
export const s03: Scenario = {
  id: 'S0-3',
  title: 'merging to blocks',
  cases: () =>
    casesOf([
      {
        ...{ way: 'P', name: '(a)', runs: [whole], fmt: 1027, lvl: 4108, alloc: 5, st: 1032 },
        ...{ nc: [1037, 1037, 1352], hook: 1027 },
      },
      { ...a, name: '(a)', ...K },
      { ...a, name: '(a)', ...R },
      { ...aCut, ...K },
      { ...aCut, ...R },
      { ...b, way: 'K', fmt: 3, lvl: 11, nc: [12, 11, 263] },
      { ...b, way: 'R', fmt: 1, lvl: 11, nc: [9, 5, 257] },
      { ...c, way: 'K', fmt: 4, lvl: 16, nc: [1038, 16, 520] },
      { ...c, way: 'R', fmt: 1, lvl: 16, nc: [1033, 7, 385] },
    ]),
};

const crossing = { iova: X + MIB, runs: cont(3 * MIB), alloc: 4, st: 772, tables: 'all' };
export const s04: Scenario = {
  id: 'S0-4',
  title: 'crossing a table',
  cases: () =>
    casesOf([
      { ...crossing, way: 'P', fmt: 768, lvl: 3072, nc: [776, 776, 1028], hook: 768 },
      { ...crossing, way: 'K', fmt: 2, lvl: 8, nc: [776, 10, 356], hook: 1 },
      { ...crossing, way: 'R', fmt: 1, lvl: 8, nc: [773, 5, 257], hook: 1, live: 1 },
    ]),
};

/** 4 MiB scattered, and two blocks with one page. */
function granuleRows(granule: GranuleName, kernel: GranuleCounts, range: GranuleCounts): MapRow[] {
  const { granule: page, block } = GRANULES[granule];
  const n = (4 * MIB) / page;
  const lists = {
    runs: scat(n, page),
    granule,
    alloc: kernel.alloc,
    st: kernel.st,
    tables: 'lists',
  };
  const blocks = { runs: [{ paddr: PA, length: 2 * block + page }], granule, tables: 'blocks' };
  const [fmt, lvl, alloc, st] = kernel.blocks;
  return [
    { ...lists, way: 'P', ...kernel.list, nc: kernel.nc, hook: n },
    { ...lists, way: 'K', ...kernel.list, nc: kernel.nc, hook: 1 },
    { ...lists, way: 'R', ...range.list, nc: range.nc, hook: 1 },
    { ...blocks, name: 'blocks', way: 'K', fmt, lvl, alloc, st, hook: 1 },
  ];
}

interface GranuleCounts {
  readonly list: { readonly fmt: number; readonly lvl: number };
  readonly alloc: number;
  readonly st: number;
  readonly nc: readonly [number, number, number];
  /** fmt, lvl, alloc, st of two blocks and a page. */
  readonly blocks: readonly [number, number, number, number];
}

const counts4K = { alloc: 4, st: 1028, blocks: [2, 7, 3, 6] } as const;
const counts16K = { alloc: 3, st: 259, blocks: [2, 7, 3, 6] } as const;
const counts64K = { alloc: 2, st: 66, blocks: [2, 5, 2, 5] } as const;
export const s015: Scenario = {
  id: 'S0-15',
  title: 'granules of 4 and 16 KiB',
  *cases(): Iterable<ScenarioCase> {
    yield* casesOf(
      granuleRows(
        '4K',
        { ...counts4K, list: { fmt: 1024, lvl: 4096 }, nc: [1032, 1032, 1284] },
        { ...counts4K, list: { fmt: 1, lvl: 8 }, nc: [1029, 5, 257] },
      ),
    );
    for (const one of casesOf(
      granuleRows(
        '16K',
        { ...counts16K, list: { fmt: 256, lvl: 1024 }, nc: [262, 262, 1027] },
        { ...counts16K, list: { fmt: 1, lvl: 4 }, nc: [260, 4, 769] },
      ),
    ))
      yield one.tables === undefined ? one : { ...one, tables: `16K ${one.tables}` };
  },
};
export const s016: Scenario = {
  id: 'S0-16',
  title: 'granule of 64 KiB',
  cases: () =>
    casesOf(
      granuleRows(
        '64K',
        { ...counts64K, list: { fmt: 64, lvl: 192 }, nc: [68, 68, 2114] },
        { ...counts64K, list: { fmt: 1, lvl: 3 }, nc: [67, 3, 2049] },
      ),
    ),
};

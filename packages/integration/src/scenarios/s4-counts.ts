/* S4-1 to S4-11: what one unmap costs, one entry a call (L) and the whole count (U). */
import { SZ_1G, SZ_2M, SZ_4K, SZ_16K, SZ_64K } from '@iommukit/bits';
import type { SgRun } from '@iommukit/iommu-core';
import type { Observed, Scenario, ScenarioCase } from './scenario.ts';
import type { ScenarioRig } from './scenario-rig.ts';
import { type GranuleName, MIB, PA, scat, X } from './setup.ts';
import { unmapSingleSize } from './single-size-unmap.ts';

type Pair = readonly [number, number];

interface UnmapRow {
  readonly name?: string;
  readonly granule?: GranuleName;
  /** What is mapped before: IOVA and list. */
  readonly before: readonly (readonly [iova: number, runs: readonly SgRun[]])[];
  /** The unmap: through the core, or at the level of the format with one page size. */
  readonly iova: number;
  readonly size: number;
  readonly pgsize?: number;
  /** fmt, lvl. */
  readonly L: Pair;
  readonly U: Pair;
  readonly st: number;
  /** cmc, cml with a non-coherent walker; absent: the row does not say. */
  readonly cleanL?: Pair;
  readonly cleanU?: Pair;
  readonly free?: number;
  readonly VA: number;
  readonly SYNC: number;
  readonly fields?: string;
  /** Bytes from one page that the device reads whenever a table is freed to the next; absent: it does not. */
  readonly readStep?: number;
  /** VA, ASID, SYNC without range invalidation. */
  readonly noRil?: readonly [va: number, asid: number, sync: number];
}

function prepare(rig: ScenarioRig, { before }: UnmapRow): void {
  const first = rig.by('R');
  for (const [iova, runs] of before) first.map(iova, runs);
  first.flush();
}

function unmap(rig: ScenarioRig, way: 'L' | 'U', row: UnmapRow): Observed {
  prepare(rig, row);
  const { iova, size, pgsize } = row;
  let bytes = 0;
  const counts = rig.count(() => {
    if (pgsize !== undefined) {
      bytes = unmapSingleSize(rig, { way, iova, pgsize, count: size / pgsize });
      return;
    }
    const by = rig.by(way);
    const { readStep: step } = row;
    const work = (): number => by.unmap(iova, size);
    bytes = step === undefined ? work() : rig.readAtFrees({ iova, bytes: size, step }, work);
    by.flush();
  });
  return { ...counts, bytes };
}

function* casesOf(rows: readonly UnmapRow[]): Iterable<ScenarioCase> {
  for (const row of rows)
    for (const way of ['L', 'U'] as const) {
      const { granule = '4K', size, st, free = 0, VA, SYNC, fields, noRil } = row;
      const [fmt, lvl] = row[way];
      const label = [way, row.name].filter(Boolean).join(' ');
      const common = { fmt, lvl, alloc: 0, free, st, warn: 0, bytes: size };
      const commands = { VA, ASID: 0, SYNC, cmd: VA + SYNC };
      yield {
        way: `${label} coh`,
        rig: { granule },
        run: (rig) => unmap(rig, way, row),
        expected: { ...common, ...commands, ...(fields === undefined ? {} : { fields }) },
        tables: `${row.name ?? ''} coh`,
        // The maps before are the same, and an unmap allocates nothing.
        ...(way === 'L' ? { sweep: false } : {}),
      };
      const clean = way === 'L' ? row.cleanL : row.cleanU;
      if (clean !== undefined)
        yield {
          way: `${label} nc`,
          rig: { granule, mode: 'nc' },
          run: (rig) => unmap(rig, way, row),
          expected: { ...common, cmc: clean[0], cml: clean[1], ...commands },
          tables: `${row.name ?? ''} nc`,
          sweep: false,
        };
      if (noRil !== undefined)
        yield {
          way: `${label} no RIL`,
          rig: { granule, ril: false },
          run: (rig) => unmap(rig, way, row),
          expected: { ...common, VA: noRil[0], ASID: noRil[1], SYNC: noRil[2] },
          sweep: false,
        };
    }
}

function scenario(id: string, title: string, ...rows: UnmapRow[]): Scenario {
  return { id, title, cases: () => casesOf(rows) };
}

/** n pages from an IOVA on. */
function pages(iova: number, n: number, page: number = SZ_4K): UnmapRow['before'][number] {
  return [iova, scat(n, page)];
}

/** n blocks of 2 MiB from an IOVA on, none of which joins to 1 GiB. */
function blocks(iova: number, n: number): UnmapRow['before'][number] {
  return [iova, [{ paddr: PA + SZ_2M, length: n * SZ_2M }]];
}

const GIB_PAGES = pages(X, 262_144);
const gibibyte = { iova: X, size: SZ_1G };

export const S4_COUNTS: readonly Scenario[] = [
  scenario('S4-1', '512 pages, one leaf table', {
    ...{ before: [pages(X, 512)], iova: X, size: SZ_2M, pgsize: SZ_4K },
    ...{ L: [512, 2048], U: [1, 4], st: 512, cleanL: [512, 512], cleanU: [1, 64], VA: 1, SYNC: 1 },
    fields: '1x NUM=0 SCALE=9 TG=1 TTL=3 LEAF=1',
  }),
  scenario('S4-2', '1 GiB of pages, format level', {
    ...{ before: [GIB_PAGES], ...gibibyte, pgsize: SZ_4K, L: [262_144, 1_048_576], U: [512, 2048] },
    ...{ st: 262_144, cleanL: [262_144, 262_144], cleanU: [512, 32_768], VA: 1, SYNC: 1 },
    fields: '1x NUM=0 SCALE=18 TG=1 TTL=3 LEAF=1',
  }),
  scenario('S4-3', '1 GiB of 2M blocks, format level', {
    ...{ before: [blocks(X, 512)], ...gibibyte, pgsize: SZ_2M, L: [512, 1536], U: [1, 3] },
    ...{ st: 512, cleanL: [512, 512], cleanU: [1, 64], VA: 1, SYNC: 1 },
    fields: '1x NUM=0 SCALE=18 TG=1 TTL=2 LEAF=1',
  }),
  scenario(
    'S4-4',
    '1 GiB through the core',
    {
      ...{
        name: 'pages',
        before: [GIB_PAGES],
        ...gibibyte,
        L: [1, 2],
        U: [1, 2],
        st: 2,
        free: 513,
      },
      ...{ cleanL: [2, 2], cleanU: [2, 2], VA: 2, SYNC: 2 },
    },
    {
      ...{ name: '2M blocks', before: [blocks(X, 512)], ...gibibyte, L: [1, 2], U: [1, 2], st: 2 },
      ...{ cleanL: [2, 2], cleanU: [2, 2], VA: 2, SYNC: 2, free: 1 },
    },
  ),
  scenario('S4-5', '510 blocks through the core', {
    ...{ before: [blocks(X + SZ_2M, 510)], iova: X + SZ_2M, size: 510 * SZ_2M },
    ...{ L: [510, 1530], U: [1, 3], st: 510, cleanL: [510, 510], cleanU: [1, 64], VA: 2, SYNC: 1 },
    fields: '1x NUM=30 SCALE=10 TG=1 TTL=2 LEAF=1, 1x NUM=6 SCALE=15 TG=1 TTL=2 LEAF=1',
  }),
  scenario('S4-6', '512 pages across a table, core', {
    ...{ before: [pages(X + SZ_4K, 512)], iova: X + SZ_4K, size: SZ_2M, L: [512, 2048], U: [2, 8] },
    ...{ st: 512, cleanL: [512, 512], cleanU: [2, 65], VA: 1, SYNC: 1 },
  }),
  scenario('S4-7', '3 MiB: 256 pages, then one full table', {
    ...{ before: [pages(X + MIB, 768)], iova: X + MIB, size: 3 * MIB, L: [257, 1027], U: [2, 7] },
    ...{ st: 258, cleanL: [258, 258], cleanU: [3, 34], VA: 3, SYNC: 3, free: 1 },
  }),
  scenario('S4-8', 'block, table, block', {
    before: [blocks(X, 1), pages(X + SZ_2M, 512), blocks(X + 2 * SZ_2M, 1)],
    ...{ iova: X, size: 3 * SZ_2M, L: [3, 9], U: [1, 3], st: 4, cleanL: [4, 4], cleanU: [2, 2] },
    ...{ VA: 2, SYNC: 2, free: 1 },
    fields: '1x NUM=0 SCALE=9 TG=1 TTL=0 LEAF=0, 1x NUM=2 SCALE=9 TG=1 TTL=2 LEAF=1',
  }),
  scenario('S4-9', 'four full leaf tables', {
    ...{ before: [pages(X, 2048)], iova: X, size: 4 * SZ_2M, L: [4, 12], U: [1, 3], st: 8 },
    ...{ cleanL: [8, 8], cleanU: [5, 5], VA: 5, SYNC: 5, free: 4, noRil: [4, 4, 5] },
    readStep: SZ_2M,
  }),
  scenario(
    'S4-10',
    '1 GiB of 16K pages',
    {
      ...{ name: 'format', granule: '16K', before: [pages(X, 65_536, SZ_16K)], ...gibibyte },
      ...{ pgsize: SZ_16K, L: [65_536, 262_144], U: [32, 128], st: 65_536, VA: 1, SYNC: 1 },
      ...{ cleanL: [65_536, 65_536], cleanU: [32, 8192] },
    },
    {
      ...{ name: 'core', granule: '16K', before: [pages(X, 65_536, SZ_16K)], ...gibibyte },
      ...{ L: [32, 96], U: [1, 3], st: 64, free: 32, VA: 33, SYNC: 33 },
    },
  ),
  scenario(
    'S4-11',
    '1 GiB of 64K pages',
    {
      ...{ name: 'format', granule: '64K', before: [pages(X, 16_384, SZ_64K)], ...gibibyte },
      ...{ pgsize: SZ_64K, L: [16_384, 49_152], U: [2, 6], st: 16_384, VA: 1, SYNC: 1 },
      ...{ cleanL: [16_384, 16_384], cleanU: [2, 2048] },
    },
    {
      ...{ name: 'core', granule: '64K', before: [pages(X, 16_384, SZ_64K)], ...gibibyte },
      ...{ L: [2, 4], U: [1, 2], st: 4, free: 2, VA: 3, SYNC: 3 },
    },
  ),
];

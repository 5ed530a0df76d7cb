import { SZ_2M, SZ_4K } from '@iommukit/bits';
import { observeView } from '@iommukit/platform';
import { describe, expect, test } from 'vitest';
import type { PhysRun } from '../src/index.ts';
import { walkTable } from '../src/table-walk.ts';
import {
  cont,
  coreMap,
  MIB,
  maps,
  PA,
  rangeRig,
  reachable,
  scat,
  tally,
  unmapR,
  X,
} from './range-rig.lanes.ts';
import type { Rig } from './rig.lanes.ts';

/** Every store but those that zero a table which nothing points to yet, with what a walker could see before and after it. */
interface Watch {
  stores: number;
  live: number;
  partial: number;
  /** Stores into a table that this operation linked earlier. */
  lateStores: number;
}

/** Runs an operation on a rig whose every store is looked at; `first` prepares the tables. */
function watch(
  iova: number,
  runs: readonly PhysRun[],
  way: keyof typeof maps,
  first: (rig: Rig) => void = () => {},
): Watch {
  const seen: Watch = { stores: 0, live: 0, partial: 0, lateStores: 0 };
  const pages = runs.reduce((sum, { length }) => sum + length / SZ_4K, 0);
  let rig: Rig | undefined;
  let live = new Set<number>();
  let before = new Set<number>();
  const made = rangeRig('coh', '4K', (view) =>
    observeView(view, {
      onStore(pa, lo, hi) {
        if (rig === undefined) return;
        const { table, memory } = rig;
        const page = pa - (pa % SZ_4K);
        const isLive = live.has(page);
        if (!isLive && lo === 0 && hi === 0) return;
        seen.stores++;
        if (isLive) seen.live++;
        if (isLive && !before.has(page)) seen.lateStores++;
        let mapped = 0;
        for (let at = iova; at < iova + pages * SZ_4K; at += SZ_4K)
          if (walkTable(memory, table.shape, at, () => {}) === 'leaf') mapped++;
        if (mapped > 0 && mapped < pages) seen.partial++;
        live = reachable(rig);
      },
    }),
  );
  first(made);
  live = reachable(made);
  before = live;
  rig = made;
  expect(maps[way](made, iova, runs)).toBe(0);
  return seen;
}

describe('S0-7 tables before links', () => {
  test('scat(512): K', () => {
    expect(watch(X, scat(512), 'K')).toEqual({
      stores: 515,
      live: 515,
      partial: 511,
      lateStores: 514,
    });
  });

  test('scat(512): R', () => {
    expect(watch(X, scat(512), 'R')).toEqual({ stores: 515, live: 1, partial: 0, lateStores: 0 });
  });

  // A page of another gibibyte's worth of table leaves the upper tables of X + 1 GiB alone: the third 2 MiB of X holds it.
  const upper = (rig: Rig): void => void coreMap(rig, X + 3 * SZ_2M, { paddr: PA, length: SZ_4K });

  test('scat(768) with the upper tables present: K', () => {
    const { stores, partial } = watch(X + MIB, scat(768), 'K', upper);
    // Before the first leaf, and before it the link, nothing is mapped; the second link leaves it at 256 pages.
    expect({ stores, partial }).toEqual({ stores: 770, partial: 768 });
  });

  test('scat(768) with the upper tables present: R', () => {
    expect(watch(X + MIB, scat(768), 'R', upper)).toEqual({
      stores: 770,
      live: 2,
      partial: 1,
      lateStores: 0,
    });
  });

  test('a reused table gives this up', () => {
    const seen = watch(X, scat(512), 'R', (rig) => {
      coreMap(rig, X, cont(SZ_2M)[0] as PhysRun);
      unmapR(rig, X, SZ_2M, { reuseTables: true });
    });
    expect(seen).toEqual({ stores: 512, live: 512, partial: 511, lateStores: 0 });
  });
});

describe('S0-8 not coherent', () => {
  const rows = [
    { name: 'scat(512)', runs: scat(512), K: [518, 518, 707], R: [516, 4, 193] },
    { name: 'cont(2 MiB)', runs: cont(SZ_2M), K: [518, 7, 259], R: [516, 4, 193] },
  ];
  for (const { name, runs, ...expected } of rows)
    for (const way of ['K', 'R'] as const)
      test(`${name}: ${way}; at every link clean the linked tables are clean`, () => {
        let rig: Rig | undefined;
        let links = 0;
        let dirty = 0;
        const made = rangeRig('nc', '4K', (cpu, device) =>
          observeView(cpu, {
            onStore() {},
            onClean(pa, bytes) {
              if (rig === undefined || bytes !== 8) return;
              const { shape } = rig.table;
              const words = (address: number): void => {
                for (let i = 0; i < 512; i++) {
                  const at = address + i * 8;
                  const ours = [cpu.load64(at), cpu.hi];
                  if (ours[0] !== device.load64(at) || ours[1] !== device.hi) dirty++;
                }
              };
              const below = (address: number, level: number): void => {
                words(address);
                for (let i = 0; i < 512 && level < shape.leafLevel; i++) {
                  const lo = cpu.load64(address + i * 8);
                  const hi = cpu.hi;
                  if (shape.kind(level, lo, hi) === 'table')
                    below(shape.tableAddress(level, lo, hi), level + 1);
                }
              };
              // A clean of one entry is a link when a table hangs there: which level it is, the path of X says.
              walkTable(cpu, shape, X, ({ at, level, kind, lo, hi }) => {
                if (at !== pa || kind !== 'table') return;
                links++;
                below(shape.tableAddress(level, lo, hi), level + 1);
              });
            },
          }),
        );
        rig = made;
        const t = tally(made, () => expect(maps[way](made, X, runs)).toBe(0));
        expect([t.st, t.cmc, t.cml]).toEqual(expected[way]);
        expect({ links, dirty }).toEqual({ links: way === 'K' ? 3 : 1, dirty: 0 });
      });
});

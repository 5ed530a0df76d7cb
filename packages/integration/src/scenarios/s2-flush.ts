/* S2-16: handles of processes are refused; what a flush and an added range cost. */
import { SZ_2M, SZ_4K } from '@iommukit/bits';
import { ERRNO } from '@iommukit/platform';
import {
  type IoMm,
  svaFlushTlbAll,
  svaFreePasid,
  svaIovaToPhys,
  svaMap,
  svaMapSg,
  svaTlbRangeAdd,
  svaTlbSync,
  svaUnbindDevice,
  svaUnmap,
  svaUnmapFast,
} from '@iommukit/sva-pasid';
import { boundProcess } from './bound-process.ts';
import { pasidCase } from './pasid-case.ts';
import type { PasidRig } from './pasid-rig.ts';
import { PAGES, page, sixteen, tagsOf } from './s2-unmap.ts';
import type { Observed, Scenario, ScenarioCase } from './scenario.ts';
import { PA, PROT, scat, X } from './setup.ts';

/** Every private call with the handle of a process. */
function sharedCalls(rig: PasidRig, stores: () => number): Observed {
  const { mm, shared } = boundProcess(rig);
  const calls: Record<string, () => number> = {
    svaMap: () => svaMap(shared, X, PA, SZ_4K, PROT),
    svaMapSg: () => svaMapSg(shared, X, scat(1), PROT),
    svaUnmap: () => svaUnmap(shared, X, SZ_4K),
    svaUnmapFast: () => svaUnmapFast(shared, X, SZ_4K),
    svaIovaToPhys: () => svaIovaToPhys(shared, X),
    svaFlushTlbAll: () => svaFlushTlbAll(shared),
    svaTlbRangeAdd: () => svaTlbRangeAdd(shared, X, SZ_4K),
    svaTlbSync: () => svaTlbSync(shared),
    svaFreePasid: () => svaFreePasid(rig.domain, shared),
  };
  const reads = rig.access(shared.pasid, X);
  const before = stores();
  const results: Record<string, number> = {};
  const { cmd } = rig.count(() => {
    for (const [name, call] of Object.entries(calls)) results[name] = call();
  });
  const st = stores() - before;
  const same = typeof reads === 'number' && rig.access(shared.pasid, X) === reads;
  svaUnbindDevice(shared);
  mm.exit();
  return { ...results, cmd, st, same };
}

/** Invalidations of a handle's own, without an unmap. */
function flush(way: string, work: (ioMm: IoMm) => void, order: string): ScenarioCase {
  return pasidCase({
    way,
    run(rig) {
      const ioMm = rig.alloc();
      const counts = rig.count(() => work(ioMm));
      return { order: counts.order, tags: tagsOf(rig) === `${rig.asid(5)}` };
    },
    expected: { order, tags: order !== '' },
  });
}

/** What one call costs: everything, and ranges of a length. */
function* sizes(): Iterable<ScenarioCase> {
  // Size unknown: the unsized command of the tag, and its SYNC.
  yield flush('flush_tlb_all', (ioMm) => void svaFlushTlbAll(ioMm), 'ASID SYNC');
  yield flush(
    'flush_tlb_all after 4 pages of tlb_range_add, then sync',
    (ioMm) => {
      svaTlbRangeAdd(ioMm, X, 4 * SZ_4K);
      svaFlushTlbAll(ioMm);
      svaTlbSync(ioMm);
    },
    'ASID SYNC',
  );
  yield flush('tlb_range_add alone', (ioMm) => void svaTlbRangeAdd(ioMm, X, SZ_4K), '');
  // Rule 5: one VA for each 5-bit window of the pages; rule 6: one SYNC.
  for (const [pages, vas] of [
    [1, 1],
    [32, 1],
    [33, 2],
    [512, 1],
    [513, 2],
    [4095, 3],
  ] as const)
    yield flush(
      `tlb_range_add of ${pages} pages, then sync`,
      (ioMm) => {
        svaTlbRangeAdd(ioMm, X, pages * SZ_4K);
        svaTlbSync(ioMm);
      },
      `${'VA '.repeat(vas)}SYNC`,
    );
}

/** What several ranges cost. */
function* joins(): Iterable<ScenarioCase> {
  // Rule 4: touching pieces join; what does not touch, or has another page size, is synced before.
  yield flush(
    '16 touching tlb_range_add, then sync',
    (ioMm) => {
      for (let i = 0; i < PAGES; i++) svaTlbRangeAdd(ioMm, page(i), SZ_4K);
      svaTlbSync(ioMm);
    },
    'VA SYNC',
  );
  yield flush(
    '2 tlb_range_add apart, then sync',
    (ioMm) => {
      svaTlbRangeAdd(ioMm, X, SZ_4K);
      svaTlbRangeAdd(ioMm, page(2), SZ_4K);
      svaTlbSync(ioMm);
    },
    'VA SYNC VA SYNC',
  );
  yield flush(
    'tlb_range_add of a page and of a touching block, then sync',
    (ioMm) => {
      svaTlbRangeAdd(ioMm, X + SZ_2M - SZ_4K, SZ_4K);
      svaTlbRangeAdd(ioMm, X + SZ_2M, SZ_2M, SZ_2M);
      svaTlbSync(ioMm);
    },
    'VA SYNC VA SYNC',
  );
}

export const s216: Scenario = {
  id: 'S2-16',
  title: 'a shared handle is refused; flush_tlb_all and tlb_range_add',
  *cases(): Iterable<ScenarioCase> {
    const no = -ERRNO.ENODEV;
    let stores = 0;
    yield pasidCase({
      way: 'a shared handle in every private call',
      options: { onStore: () => stores++ },
      run: (rig) => sharedCalls(rig, () => stores),
      expected: {
        ...{ svaMap: no, svaMapSg: no, svaUnmap: no, svaUnmapFast: no, svaIovaToPhys: no },
        ...{ svaFlushTlbAll: no, svaTlbRangeAdd: no, svaTlbSync: no, svaFreePasid: no },
        ...{ cmd: 0, st: 0, same: true },
      },
    });
    yield* sizes();
    yield* joins();
    yield sixteen(
      '16 x unmap_fast and tlb_range_add of the same page, one sync',
      (ioMm) => {
        for (let i = 0; i < PAGES; i++) {
          svaUnmapFast(ioMm, page(i), SZ_4K);
          svaTlbRangeAdd(ioMm, page(i), SZ_4K);
        }
        svaTlbSync(ioMm);
      },
      1,
    );
  },
};

/* S2-7 and S2-12: what an unmap invalidates, when, and under which tag. */
import { SZ_2M, SZ_4K } from '@iommukit/bits';
import { ERRNO } from '@iommukit/platform';
import {
  type IoMm,
  svaMap,
  svaMapSg,
  svaTlbSync,
  svaUnmap,
  svaUnmapFast,
} from '@iommukit/sva-pasid';
import { pasidCase } from './pasid-case.ts';
import { type Outcome, type PasidRig, tableOf } from './pasid-rig.ts';
import type { Scenario, ScenarioCase } from './scenario.ts';
import { PA, PROT, scat, X } from './setup.ts';

/** Pages of rows that unmap one by one. */
export const PAGES = 16;
/** The i-th page of those rows. */
export const page = (i: number): number => X + i * SZ_4K;

/** Tags of the invalidations on the tape. */
export function tagsOf(rig: PasidRig): string {
  const tags = rig.tape.flatMap(({ kind, fields }) =>
    kind === 'VA' || kind === 'ASID' ? [fields['ASID']] : [],
  );
  return [...new Set(tags)].join(' ');
}

/** 16 pages that the device has read are unmapped one by one. */
export function sixteen(
  way: string,
  undo: (ioMm: IoMm, rig: PasidRig) => void,
  VA: number,
): ScenarioCase {
  return pasidCase({
    way,
    run(rig) {
      const ioMm = rig.alloc();
      svaMapSg(ioMm, X, scat(PAGES), PROT);
      for (let i = 0; i < PAGES; i++) rig.access(5, page(i));
      const counts = rig.count(() => undo(ioMm, rig));
      const own = tagsOf(rig) === `${rig.asid(5)}` && rig.asid(5) !== rig.asid(0);
      let reached = 0;
      for (let i = 0; i < PAGES; i++) if (rig.access(5, page(i)) !== 'F_TRANSLATION') reached++;
      return { VA: counts.VA, SYNC: counts.SYNC, cmd: counts.cmd, own, reached };
    },
    expected: { VA, SYNC: VA, cmd: 2 * VA, own: true, reached: 0 },
  });
}

export const s27: Scenario = {
  id: 'S2-7',
  title: 'unmap syncs, unmap_fast does not',
  *cases(): Iterable<ScenarioCase> {
    yield sixteen(
      'remark: sync must be true: 16 x unmap',
      (ioMm) => {
        for (let i = 0; i < PAGES; i++) svaUnmap(ioMm, page(i), SZ_4K);
      },
      16,
    );
    yield sixteen(
      'remark: and false in unmap_fast: 16 x unmap_fast, one sync',
      (ioMm) => {
        for (let i = 0; i < PAGES; i++) svaUnmapFast(ioMm, page(i), SZ_4K);
        svaTlbSync(ioMm);
      },
      1,
    );
    yield pasidCase({
      way: 'unmap_fast, and no sync yet',
      run(rig) {
        const ioMm = rig.alloc();
        svaMap(ioMm, X, PA, SZ_4K, PROT);
        const warm = rig.access(5, X);
        const { cmd } = rig.count(() => void svaUnmapFast(ioMm, X, SZ_4K));
        const still = rig.access(5, X);
        const stale = rig.machine.model.staleUses.map((use) => use.class).join(' ');
        const late = rig.count(() => void svaTlbSync(ioMm)).order;
        return { warm, cmd, still, stale, late, later: rig.access(5, X) };
      },
      expected: {
        ...{ warm: PA, cmd: 0, still: PA, stale: 'missing', late: 'VA SYNC' },
        later: 'F_TRANSLATION',
      },
      stale: 'race',
    });
    yield pasidCase({
      way: 'remark: sync should be true: unwinding of map',
      run(rig) {
        const ioMm = rig.alloc();
        svaMap(ioMm, page(5), PA + SZ_2M, SZ_4K, PROT);
        let result = 0;
        const counts = rig.count(() => {
          result = svaMapSg(ioMm, X, scat(8), PROT);
        });
        const own = tagsOf(rig) === `${rig.asid(5)}`;
        const left = [0, 4, 5].map((i) => rig.access(5, page(i))).join(' ');
        return { errno: result, VA: counts.VA, SYNC: counts.SYNC, cmd: counts.cmd, own, left };
      },
      expected: {
        ...{ errno: -ERRNO.EEXIST, VA: 1, SYNC: 1, cmd: 2, own: true },
        left: `F_TRANSLATION F_TRANSLATION ${PA + SZ_2M}`,
      },
    });
  },
};

const IOVA = 0x1_0000;
const [A, B] = [PA, PA + SZ_2M];
const READS = 10_000;

/** Two address spaces with one page each at the same IOVA. */
function twoSpaces(rig: PasidRig): readonly [IoMm, IoMm] {
  const [five, six] = [rig.alloc(), rig.alloc()];
  svaMap(five, IOVA, A, SZ_4K, PROT);
  svaMap(six, IOVA, B, SZ_4K, PROT);
  return [five, six];
}

export const s212: Scenario = {
  id: 'S2-12',
  title: 'two address spaces at once',
  *cases(): Iterable<ScenarioCase> {
    yield pasidCase({
      way: 'the same IOVA, two pages',
      run(rig) {
        const [five, six] = twoSpaces(rig);
        const tables = [five, six].map((ioMm) => tableOf(ioMm.domain).counters.tablesAllocated);
        const { model } = rig.machine;
        const entries = model.tlbSize;
        const [fifth, sixth, untagged] = [5, 6, null].map((pasid) => rig.access(pasid, IOVA));
        const asids = new Set([5, 6].map((pasid) => rig.asid(pasid))).size;
        const cached = model.tlbSize - entries;
        const { order } = rig.count(() => void svaUnmap(five, IOVA, SZ_4K));
        const { walks } = model.counters;
        const after = rig.access(6, IOVA);
        return {
          ...{ tables: tables.join(' '), asids, cached, order, after },
          ...{ fifth: fifth ?? '', sixth: sixth ?? '', untagged: untagged ?? '' },
          ...{ walks: model.counters.walks - walks, gone: rig.access(5, IOVA) },
        };
      },
      expected: {
        ...{ tables: '3 3', fifth: A, sixth: B, untagged: 'F_TRANSLATION', cached: 2, asids: 2 },
        ...{ order: 'VA SYNC', after: B, walks: 0, gone: 'F_TRANSLATION' },
      },
    });
    yield pasidCase({
      way: `${READS} interleaved reads`,
      run(rig) {
        const [five] = twoSpaces(rig);
        let [wrong, there] = [0, true];
        for (let i = 0; i < READS; i++) {
          if (i % 8 === 0) {
            if (there) svaUnmap(five, IOVA, SZ_4K);
            else svaMap(five, IOVA, A, SZ_4K, PROT);
            there = !there;
          }
          const pasid = 5 + (i % 2);
          const expected: Outcome = pasid === 6 ? B : there ? A : 'F_TRANSLATION';
          if (rig.access(pasid, IOVA) !== expected) wrong++;
        }
        return { wrong };
      },
      expected: { wrong: 0 },
    });
  },
};

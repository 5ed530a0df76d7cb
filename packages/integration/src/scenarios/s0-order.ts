/* S0-7, S0-8: what a walker can see between the stores of one map. */
import { SZ_2M } from '@iommukit/bits';
import { walkTable } from '@iommukit/io-pgtable';
import type { SgRun } from '@iommukit/iommu-core';
import { CACHE_NOTHING } from '@iommukit/smmu-v3-model';
import type { Way } from './mapper.ts';
import type { Scenario, ScenarioCase } from './scenario.ts';
import type { RigOptions, ScenarioRig } from './scenario-rig.ts';
import { readWhileMapping } from './second-reader.ts';
import { bytesOf, cont, MIB, otherScat, scat, X } from './setup.ts';
import { reachableTables } from './table-image.ts';

interface Seen {
  stores: number;
  live: number;
  partial: number;
  /** Stores into a table of this operation after it became reachable. */
  late: number;
}

/** A case whose map is looked at after each store, by the model's walker; `first` prepares tables. */
function watched(parts: {
  readonly name: string;
  readonly way: Way;
  readonly iova: number;
  readonly runs: readonly SgRun[];
  readonly first?: (rig: ScenarioRig) => void;
  readonly expected: Partial<Seen>;
}): ScenarioCase {
  const seen: Seen = { stores: 0, live: 0, partial: 0, late: 0 };
  let look: (pa: number, stored: 'zero' | 'other') => void = () => {};
  const options: RigOptions = {
    // The walker reads the tables each time; where they begin does not change.
    policy: { ...CACHE_NOTHING, config: 'keep', detectStale: false },
    observer: { onStore: (pa, lo, hi) => look(pa, lo === 0 && hi === 0 ? 'zero' : 'other') },
  };
  const { way, iova, runs, first, expected } = parts;
  return {
    way: parts.name,
    rig: options,
    run(rig) {
      Object.assign(seen, { stores: 0, live: 0, partial: 0, late: 0 });
      look = () => {};
      first?.(rig);
      const { memory } = rig.machine;
      const before = reachableTables(memory, rig.table);
      let live = before;
      const pages = bytesOf(runs) / rig.granule;
      look = (pa, stored) => {
        const table = pa - (pa % 4096);
        const isLive = live.has(table);
        // The zeroing of a fresh table.
        if (!isLive && stored === 'zero') return;
        seen.stores++;
        if (isLive) seen.live++;
        if (isLive && !before.has(table)) seen.late++;
        let mapped = 0;
        for (let i = 0; i < pages; i++) if (rig.access(iova + i * rig.granule) >= 0) mapped++;
        if (mapped > 0 && mapped < pages) seen.partial++;
        if (isLive) live = reachableTables(memory, rig.table);
      };
      const by = rig.by(way, { quiet: true });
      by.map(iova, runs);
      look = () => {};
      by.flush();
      return { ...seen };
    },
    expected: { ...expected },
  };
}

/** A page in the third 2 MiB beyond: the upper tables exist, none of the leaf tables. */
function upperTables(rig: ScenarioRig): void {
  rig.by('K').map(X + 3 * SZ_2M, scat(1));
}

export const s07: Scenario = {
  id: 'S0-7',
  title: 'tables before links (coherent)',
  *cases(): Iterable<ScenarioCase> {
    const small = { iova: X, runs: scat(512) };
    yield watched({
      ...{ name: 'K, 512 pages', way: 'K', ...small },
      expected: { stores: 515, live: 515, partial: 511 },
    });
    // A page at a time allocates as the kernel's way does.
    yield {
      ...watched({
        ...{ name: 'P, 512 pages', way: 'P', ...small },
        expected: { stores: 515, live: 515, partial: 511 },
      }),
      sweep: false,
    };
    yield watched({
      ...{ name: 'R, 512 pages', way: 'R', ...small },
      expected: { stores: 515, live: 1, partial: 0, late: 0 },
    });
    const large = { iova: X + MIB, runs: scat(768), first: upperTables };
    yield watched({
      ...{ name: 'K, 768 pages, upper tables present', way: 'K', ...large },
      expected: { stores: 770, partial: 768 },
    });
    yield watched({
      ...{ name: 'R, 768 pages, upper tables present', way: 'R', ...large },
      expected: { stores: 770, live: 2, partial: 1, late: 0 },
    });
    // S0-9 gives this up for a table that it keeps.
    yield watched({
      ...{ name: 'R, reused table', way: 'R', iova: X, runs: otherScat(512) },
      first(rig) {
        rig.by('K').map(X, scat(512));
        const by = rig.by('R', { reuseTables: true, quiet: true });
        by.unmap(X, SZ_2M);
        by.flush();
      },
      expected: { stores: 512, live: 512, partial: 511, late: 0 },
    });
    // In batches of 512 lists.
    yield {
      way: 'R, a second thread reads',
      run: () => ({ ...readWhileMapping(100_000) }),
      expected: { seen: 100_352, partial: 0 },
      sweep: false,
    };
  },
};

/** Bit 55 of a table descriptor, in its upper lane: its line is clean, so that another CPU need not clean it (`ARM_LPAE_PTE_SW_SYNC`). */
const SOFTWARE_MARK = 0x80_0000;

/** A case whose every clean of a link is looked at: is what hangs there clean already? And every mark: is the link itself? */
function cleaned(
  name: string,
  way: Way,
  runs: readonly SgRun[],
  [st, cmc, cml]: readonly [number, number, number],
): ScenarioCase {
  let onClean: (pa: number, bytes: number) => void = () => {};
  let onStore: (pa: number, lo: number, hi: number) => void = () => {};
  const observer: RigOptions['observer'] = {
    onClean: (pa, bytes) => onClean(pa, bytes),
    onStore: (pa, lo, hi) => onStore(pa, lo, hi),
  };
  return {
    way: `${way}, ${name}`,
    rig: { mode: 'nc', observer },
    run(rig) {
      const { memory } = rig.machine;
      const { shape } = rig.table;
      const { cpu } = rig;
      const seen = { links: 0, dirty: 0, earlyMarks: 0 };
      const subtree = (table: number, level: number): void => {
        for (let i = 0; i < shape.entryCount(level); i++) {
          const at = table + i * 8;
          const lo = cpu.load64(at);
          const hi = cpu.hi;
          if (memory.load64(at) !== lo || memory.hi !== hi) seen.dirty++;
          if (level !== shape.leafLevel && shape.kind(level, lo, hi) === 'table')
            subtree(shape.tableAddress(level, lo, hi), level + 1);
        }
      };
      onClean = (pa, bytes) => {
        if (bytes !== 8) return;
        // Which level it is, the path to X says.
        walkTable(cpu, shape, X, ({ at, level, kind, lo, hi }) => {
          if (at !== pa || kind !== 'table') return;
          seen.links++;
          subtree(shape.tableAddress(level, lo, hi), level + 1);
        });
      };
      onStore = (pa, lo, hi) => {
        if (Math.floor(hi / SOFTWARE_MARK) % 2 === 0) return;
        walkTable(cpu, shape, X, ({ at, kind }) => {
          if (at === pa && kind === 'table' && memory.load64(at) !== lo) seen.earlyMarks++;
        });
      };
      const by = rig.by(way, { quiet: true });
      const counts = rig.count(() => {
        by.map(X, runs);
        by.flush();
      });
      onClean = () => {};
      onStore = () => {};
      rig.warm(X, bytesOf(runs));
      return { ...counts, ...seen };
    },
    expected: { st, cmc, cml, dirty: 0, earlyMarks: 0, links: way === 'R' ? 1 : 3 },
    tables: name,
  };
}

export const s08: Scenario = {
  id: 'S0-8',
  title: 'tables before links (non-coherent)',
  *cases(): Iterable<ScenarioCase> {
    yield cleaned('scattered 2 MiB', 'K', scat(512), [518, 518, 707]);
    yield { ...cleaned('scattered 2 MiB', 'P', scat(512), [518, 518, 707]), sweep: false };
    yield cleaned('scattered 2 MiB', 'R', scat(512), [516, 4, 193]);
    yield cleaned('contiguous 2 MiB', 'K', cont(SZ_2M), [518, 7, 259]);
    yield cleaned('contiguous 2 MiB', 'R', cont(SZ_2M), [516, 4, 193]);
  },
};

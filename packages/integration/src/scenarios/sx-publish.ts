/* SX-7: what a walker that does not snoop can follow, at every store. */
import { VMSAV8_64_TABLE } from '@iommukit/arm-arch';
import { SZ_4K } from '@iommukit/bits';
import { CACHE_NOTHING } from '@iommukit/smmu-v3-model';
import { lists } from './batch-work.ts';
import { DmaRig } from './dma-rig.ts';
import type { Way } from './mapper.ts';
import { mapRequest, type RequestWay } from './request-ways.ts';
import type { Observed, Scenario, ScenarioCase } from './scenario.ts';
import type { RigOptions, ScenarioRig } from './scenario-rig.ts';
import { scat, slots, X } from './setup.ts';

const LINE = 64;
const FRAME = 4096;
/** Pages that the device reads at each store, in turn. */
const AT_ONCE = 8;

/**
 * The walker's view of the tables: which lines of a frame were cleaned since it was allocated, and what is read of them. A link is checked when it
 * becomes visible, which is when its line is cleaned; besides, the device reads at every store.
 */
class PublishedLines {
  /** Stores after which the device looked; zeroing of fresh tables is none. */
  boundaries = 0;
  /** Links that became visible. */
  links = 0;
  /** Lines that a visible link leads to, or that the walker read, and that were never cleaned. */
  unclean = 0;
  loads = 0;
  /** Where the device looks; none: nowhere yet. */
  pages: readonly number[] = [];
  readonly #clean = new Set<number>();
  /** Words of a fresh table that are still to be zeroed. */
  readonly #zeroing = new Map<number, number>();
  #rig: ScenarioRig | null = null;
  #turn = 0;

  /** What a rig needs so that this hears of stores and cleans. */
  get options(): RigOptions {
    return {
      mode: 'nc',
      // The walker reads the tables each time; where they begin does not change.
      policy: { ...CACHE_NOTHING, config: 'keep', detectStale: false },
      observer: {
        onStore: (pa) => this.#stored(pa),
        onClean: (pa, bytes) => this.#cleaned(pa, bytes),
      },
    };
  }

  /** From here on; what is published already is none of its business. */
  follow(rig: ScenarioRig): void {
    this.#rig = rig;
    const { frames } = rig.machine;
    for (let at = rig.table.base; at < rig.table.base + FRAME; at += LINE) this.#clean.add(at);
    const alloc = frames.alloc.bind(frames);
    frames.alloc = (bytes) => {
      const pa = alloc(bytes);
      for (let at = pa; at < pa + bytes; at += LINE) this.#clean.delete(at);
      this.#zeroing.set(pa, bytes / 8);
      return pa;
    };
    rig.watch.load = (pa) => {
      if (!rig.watch.holds(pa)) return;
      this.loads++;
      if (!this.#clean.has(pa - (pa % LINE))) this.unclean++;
    };
  }

  #cleaned(pa: number, bytes: number): void {
    const first = pa - (pa % LINE);
    for (let at = first; at < pa + bytes; at += LINE) this.#clean.add(at);
    if (this.#rig === null) return;
    const { machine, watch } = this.#rig;
    for (let at = first; at < pa + bytes; at += 8) {
      const lo = machine.memory.load64(at);
      // Type 3; outputs of leaves lie outside the pool of tables.
      if (lo % 4 !== 3) continue;
      const table = VMSAV8_64_TABLE.get.NextTable([lo, machine.memory.hi]);
      if (!watch.holds(table)) continue;
      this.links++;
      for (let line = table; line < table + FRAME; line += LINE)
        if (!this.#clean.has(line)) this.unclean++;
    }
  }

  #stored(pa: number): void {
    const { pages } = this;
    const table = pa - (pa % FRAME);
    const left = this.#zeroing.get(table) ?? 0;
    this.#zeroing.set(table, left - 1);
    if (left > 0 || this.#rig === null || pages.length === 0) return;
    this.boundaries++;
    for (let i = 0; i < AT_ONCE; i++) this.#rig.access(pages[this.#turn++ % pages.length] ?? 0);
  }
}

/** Pages that the device still finds. */
function survivors(rig: ScenarioRig, gone: readonly number[]): number {
  return gone.filter((at) => rig.access(at) >= 0).length;
}

/** First and last page of each slot of S0-5. */
const ENDS = slots(0, 64).flatMap((iova) => [iova, iova + 63 * SZ_4K]);

function batchOf64(rig: ScenarioRig, lines: PublishedLines, way: Way): Observed {
  lines.follow(rig);
  lines.pages = ENDS;
  const counts = lists(rig, way, { quiet: true });
  lines.pages = [];
  const gone = slots(0, 32).flatMap((iova) => scat(64).map((_, i) => iova + i * SZ_4K));
  return { st: counts['st'] ?? -1, survivors: survivors(rig, gone) };
}

function request(rig: ScenarioRig, lines: PublishedLines, way: RequestWay): Observed {
  const dma = new DmaRig(rig, { mode: 'nc' });
  lines.follow(rig);
  const vectors = scat(32);
  const pages = vectors.map((_, i) => 0xfffe_0000 + i * SZ_4K);
  lines.pages = pages;
  const { counts, result } = dma.measure(() => mapRequest(dma, way, vectors));
  const undo = dma.count(result.undo);
  lines.pages = [];
  return { st: counts.st, undone: undo.st, survivors: survivors(rig, pages) };
}

function fourTables(rig: ScenarioRig, lines: PublishedLines, way: Way): Observed {
  const pages = scat(2048).map((_, i) => X + i * SZ_4K);
  const by = rig.by(way, { quiet: true });
  lines.follow(rig);
  rig.by('K', { quiet: true }).map(X, scat(2048));
  lines.pages = pages;
  const { st } = rig.count(() => {
    by.unmap(X, 2048 * SZ_4K);
    by.flush();
  });
  lines.pages = [];
  return { st, survivors: survivors(rig, pages) };
}

/** A case with its own lines, whose work is looked at. */
function watched(
  way: string,
  run: (rig: ScenarioRig, lines: PublishedLines) => Observed,
  expected: Observed,
): ScenarioCase {
  const lines = new PublishedLines();
  return {
    way,
    rig: lines.options,
    run(rig) {
      const observed = run(rig, lines);
      const { boundaries, links, unclean, loads } = lines;
      return { ...observed, boundaries, links, unclean, walked: loads > 0 };
    },
    expected: { ...expected, unclean: 0, walked: true, survivors: 0 },
    sweep: false,
  };
}

export const sx7: Scenario = {
  id: 'SX-7',
  title: 'publish order, non-coherent',
  *cases(): Iterable<ScenarioCase> {
    // Before: 32 lists of 64 leaves, 34 links, and a mark for each.
    const before = 32 * 64 + 2 * 34;
    for (const way of ['P', 'K', 'G', 'R'] as const)
      yield watched(`S0-5 ${way}`, (rig, lines) => batchOf64(rig, lines, way), {
        ...{ st: 4160, boundaries: before + 4160 },
      });
    for (const way of ['map_sg', 'two-step', 'map_page'] as const)
      yield watched(`S1-1 and S1-2 ${way}`, (rig, lines) => request(rig, lines, way), {
        ...{ st: 38, undone: 32, boundaries: 38 + 32 },
      });
    for (const [way, st] of [
      ['L', 8],
      ['U', 8],
      ['R', 4],
    ] as const)
      yield watched(`S4-9 ${way}`, (rig, lines) => fourTables(rig, lines, way), {
        ...{ st, boundaries: st },
      });
  },
};

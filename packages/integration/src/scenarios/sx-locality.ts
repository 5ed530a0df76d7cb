/* SX-5: what IOVAs side by side, and what LEAF, save a walker. */
import { SZ_2M, SZ_4K } from '@iommukit/bits';
import { IotlbGather } from '@iommukit/io-pgtable';
import { CommandLog, noCommands } from './command-log.ts';
import { LimitedWalker } from './limited-walker.ts';
import type { Observed, Scenario, ScenarioCase } from './scenario.ts';
import type { ScenarioRig } from './scenario-rig.ts';
import { PA, PROT, X } from './setup.ts';

const DESCRIPTORS = 1000;
const PAGES = 64;

interface LocalityRow {
  readonly way: string;
  /** Bytes from page to page of a descriptor. */
  readonly distance: number;
  /** Pointers to leaf tables that the walker keeps. */
  readonly pointers: number;
  /** What one unmap covers, and when: each page when all are read, or as soon as it is read; or the whole descriptor. */
  readonly unmap: 'each page' | 'each page, at once' | 'descriptor';
  readonly leaf: 'leaf' | 'tables too';
  readonly reads: number;
  /** VA, and SYNC. */
  readonly n: number;
}

const pageOf = (i: number): number => PA + 2 * i * SZ_4K;

/** 1000 descriptors through one domain, read by a walker with a limit and by the model without one. */
class Descriptors {
  /** Pages that the walker still reached, or did not find where they are. */
  wrong = 0;
  readonly total = noCommands();
  readonly walker: LimitedWalker;
  readonly #rig: ScenarioRig;
  readonly #row: LocalityRow;
  readonly #log: CommandLog;
  readonly #gather = new IotlbGather();

  constructor(rig: ScenarioRig, row: LocalityRow) {
    this.#rig = rig;
    this.#row = row;
    this.walker = new LimitedWalker(rig.machine.memory, rig.table.base, row.pointers);
    this.#log = new CommandLog(rig.machine.memory, rig.machine.driver.cmdq);
    this.#log.keep = true;
  }

  run(): void {
    const { unmap } = this.#row;
    this.#map();
    for (let i = 0; i < PAGES; i++) {
      this.#read(i, pageOf(i));
      if (unmap === 'each page, at once') this.#unmap(i, 1);
    }
    if (unmap === 'each page') for (let i = 0; i < PAGES; i++) this.#unmap(i, 1);
    if (unmap === 'descriptor') this.#unmap(0, PAGES);
  }

  #map(): void {
    const { core } = this.#rig.machine;
    for (let i = 0; i < PAGES; i++)
      core.map(this.#rig.domain, this.#iova(i), pageOf(i), SZ_4K, PROT);
  }

  #iova(i: number): number {
    return X + i * this.#row.distance;
  }

  #read(i: number, paddr: number): void {
    const iova = this.#iova(i);
    if (this.walker.read(iova) !== paddr || this.#rig.access(iova) !== paddr) this.wrong++;
  }

  #unmap(first: number, pages: number): void {
    const { core } = this.#rig.machine;
    const { domain } = this.#rig;
    const iova = this.#iova(first);
    const size = pages * SZ_4K;
    if (this.#row.leaf === 'leaf') core.unmap(domain, iova, size);
    else {
      core.unmapFast(domain, iova, size, this.#gather);
      this.#gather.init();
      flushWalk(this.#rig, iova, size);
    }
    this.#log.read(this.total);
    this.#rig.settleCommands();
    for (const command of this.#log.vas.splice(0)) this.walker.invalidate(command);
    for (let i = first; i < first + pages; i++) {
      // Strict: nothing is reached once the unmap has returned. A failed read would fill the caches above the page.
      if (this.walker.holds(this.#iova(i))) this.wrong++;
    }
  }
}

/** As an unmap did that knew nothing of LEAF: the tables above are invalidated too. */
function flushWalk({ domain }: ScenarioRig, iova: number, size: number): void {
  const { ops } = domain;
  if (!('flushWalk' in ops) || typeof ops.flushWalk !== 'function') return;
  ops.flushWalk(iova, size, SZ_4K);
}

function locality(rig: ScenarioRig, row: LocalityRow): Observed {
  const work = new Descriptors(rig, row);
  const { descriptorLoads } = rig.machine.model.counters;
  for (let i = 0; i < DESCRIPTORS; i++) work.run();
  const { VA, SYNC } = work.total;
  const modelReads = rig.machine.model.counters.descriptorLoads - descriptorLoads;
  const pages = DESCRIPTORS * PAGES;
  return { reads: work.walker.loads, modelReads, pages, VA, SYNC, wrong: work.wrong };
}

const apart = { distance: SZ_2M, pointers: 16 };
const aside = { distance: SZ_4K, pointers: 16 };
const each = { unmap: 'each page', leaf: 'leaf', n: DESCRIPTORS * PAGES } as const;
const ROWS: readonly LocalityRow[] = [
  { way: '64 leaf tables', ...apart, ...each, reads: 128_002 },
  { way: '64 leaf tables, 64 pointers', ...apart, pointers: 64, ...each, reads: 64_066 },
  { way: 'contiguous', ...aside, ...each, reads: 64_003 },
  {
    ...{ way: 'contiguous, whole descriptor', ...aside, unmap: 'descriptor', leaf: 'leaf' },
    ...{ reads: 64_003, n: DESCRIPTORS },
  },
  {
    ...{ way: 'contiguous, whole descriptor, LEAF=0', ...aside, unmap: 'descriptor' },
    ...{ leaf: 'tables too', reads: 67_000, n: DESCRIPTORS },
  },
  {
    ...{ way: 'contiguous, each page at once, LEAF=0', ...aside, unmap: 'each page, at once' },
    ...{ leaf: 'tables too', reads: 256_000, n: DESCRIPTORS * PAGES },
  },
];

export const sx5: Scenario = {
  id: 'SX-5',
  title: 'locality: 1000 descriptors of 64 pages',
  *cases(): Iterable<ScenarioCase> {
    for (const row of ROWS)
      yield {
        way: row.way,
        run: (rig) => locality(rig, row),
        expected: {
          ...{ reads: row.reads, VA: row.n, SYNC: row.n, wrong: 0 },
          // The model keeps every pointer: it reads as much wherever 16 are enough.
          modelReads: row.reads === 128_002 ? 64_066 : row.reads,
        },
        sweep: false,
      };
  },
};

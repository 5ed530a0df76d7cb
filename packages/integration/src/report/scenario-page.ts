import {
  type ModelledTime,
  modelThroughput,
  modelTime,
  type UnitCosts,
} from '../scenarios/cost-model.ts';
import type { ScenarioReport } from '../scenarios/run-scenarios.ts';
import type { ScenarioResult } from '../scenarios/scenario.ts';
import type { SummaryTable } from '../scenarios/summary-tables.ts';
import { at, type CountRef, type EvidencePoint, type EvidenceTable } from './evidence.ts';
import { type ExposureSeries, exposureSeries } from './exposure-series.ts';
import { type LinkedCount, type LinkedRun, RunIndex } from './linked-count.ts';
import { THREADS } from './threads.ts';

/**
 * A table of measures with the number of each way; `plot` says that bars are worth drawing, and on which scale.
 * @example const { columns, lines }: PageTable = section.tables[0];
 */
export interface PageTable {
  readonly title: string;
  readonly columns: readonly string[];
  readonly lines: readonly {
    readonly what: string;
    readonly cells: readonly (LinkedCount | null)[];
  }[];
  readonly plot?: 'log' | 'linear';
}

/**
 * A sentence, and the counts that show it.
 * @example const { says, shown }: PagePoint = section.notGained[0];
 */
export interface PagePoint {
  readonly says: string;
  readonly shown: readonly LinkedCount[];
}

/**
 * Runs of a scenario whose tables were compared bit by bit at their end, addresses of tables renumbered by position.
 * @example const { scenario, runs, same }: SameTables = section.sameTables[0];
 */
export interface SameTables {
  readonly scenario: string;
  readonly runs: readonly LinkedRun[];
  /** None of them differs from the first. */
  readonly same: boolean;
}

/**
 * A thread: its claim, the evidence before and after, what is bit-identical and what is not gained.
 * @example page.sections.find(({ id }) => id === 's0')?.claim
 */
export interface PageSection {
  readonly id: string;
  readonly title: string;
  readonly year: string;
  readonly claim: string;
  readonly missing: string;
  readonly later: string;
  readonly tables: readonly PageTable[];
  readonly identical: readonly PagePoint[];
  readonly sameTables: readonly SameTables[];
  readonly notGained: readonly PagePoint[];
}

/**
 * A summary of a thread; the numbers of a cell, each with its run. `per` of a number: the count of the run is divided by so many operations.
 * @example const { id, rows }: PageSummary = page.summaries[0]; // 'T1'
 */
export interface PageSummary {
  readonly id: string;
  readonly title: string;
  readonly columns: readonly string[];
  readonly rows: readonly {
    readonly name: string;
    readonly cells: readonly (readonly (LinkedCount & { readonly per: number })[])[];
  }[];
}

/**
 * Table pages over the pages that were mapped.
 * @example const curve: TablePages = { name: '4 KiB leaves', points: [] };
 */
export interface TablePages {
  readonly name: string;
  readonly points: readonly { readonly pages: LinkedCount; readonly tables: LinkedCount }[];
}

/**
 * Modelled figures of one run: never measured, and of no machine but that of the declared costs.
 * @example const { scenario, way, time }: ModelledRun = page.modelled.runs[0];
 */
export interface ModelledRun {
  readonly scenario: string;
  readonly way: string;
  readonly anchor: string;
  readonly time: ModelledTime;
}

/**
 * Throughput of the walker's reads per page, modelled.
 * @example const { missesPerPage, gbps }: ModelledThroughput = page.modelled.throughput[0];
 */
export interface ModelledThroughput {
  readonly way: string;
  readonly reads: LinkedCount;
  readonly pages: LinkedCount;
  readonly missesPerPage: number;
  readonly gbps: number;
}

/**
 * What declared costs make of counts: times of runs that evidence is from, and throughput.
 * @example const { costs, runs, throughput }: ModelledFigures = page.modelled;
 */
export interface ModelledFigures {
  readonly costs: UnitCosts;
  readonly runs: readonly ModelledRun[];
  readonly throughput: readonly ModelledThroughput[];
}

/**
 * Everything that a report shows of some scenarios, every number with the run that made it.
 * @example const page = scenarioPage(runScenarios([]), defaultUnitCosts());
 */
export interface ScenarioPage {
  readonly ok: boolean;
  readonly summary: ScenarioReport['summary'];
  /** Those of which everything was run. */
  readonly summaries: readonly PageSummary[];
  readonly sections: readonly PageSection[];
  readonly tablePages: readonly TablePages[];
  /** Absent when the scenario of exposure was not run. */
  readonly exposure?: {
    readonly series: readonly ExposureSeries[];
    readonly peaks: readonly LinkedCount[];
  };
  readonly modelled: ModelledFigures;
  readonly rows: readonly {
    readonly id: string;
    readonly title: string;
    readonly ok: boolean;
    readonly runs: readonly LinkedRun[];
  }[];
}

/** How a run says that its tables are not those of the others. */
const DIFFERENT = 'tables are not bit-identical';

/** Where table pages stand beside mapped pages: with one call a page, the format calls are the pages. */
const TABLE_PAGES: readonly {
  readonly name: string;
  readonly points: readonly (readonly [pages: CountRef, tables: CountRef])[];
}[] = [
  {
    name: '4 KiB pages',
    points: [
      [at('S1-1', 'map_page coh', 'fmt'), at('S1-1', 'map_page coh', 'alloc')],
      [at('S0-1', 'P coh', 'fmt'), at('S0-1', 'P coh', 'alloc')],
      [at('S0-4', 'P coh', 'fmt'), at('S0-4', 'P coh', 'alloc')],
      [at('S0-15', 'P coh', 'fmt'), at('S0-15', 'P coh', 'alloc')],
      [
        at('S1-12', 'scatter list, 2048 pages', 'fmt'),
        at('S1-12', 'scatter list, 2048 pages', 'alloc'),
      ],
    ],
  },
  {
    name: '2 MiB blocks where they fit',
    points: [
      [at('S0-1', 'P coh', 'fmt'), at('S0-1', 'K coh', 'alloc')],
      [at('S0-3', 'P (a) coh', 'fmt'), at('S0-3', 'K (a) coh', 'alloc')],
    ],
  },
];

/**
 * Modelled figures of the runs that a report takes its evidence from.
 * @example modelledFigures(runScenarios(['SX-5']), defaultUnitCosts()).throughput[0]?.gbps
 */
export function modelledFigures(report: ScenarioReport, costs: UnitCosts): ModelledFigures {
  return modelledOf(new RunIndex(report.scenarios), costs);
}

/**
 * Makes the page of a report; watches the exposure once more, over time, when its scenario was run.
 * @example const { sections } = scenarioPage(runScenarios(['S0']), defaultUnitCosts());
 */
export function scenarioPage(report: ScenarioReport, costs: UnitCosts): ScenarioPage {
  const index = new RunIndex(report.scenarios);
  const exposure = exposureOf(index);
  return {
    ok: report.ok,
    summary: report.summary,
    summaries: report.tables.map((table) => pageSummary(table, index)),
    sections: sectionsOf(report.scenarios, index),
    tablePages: tablePagesOf(index),
    ...(exposure === undefined ? {} : { exposure }),
    modelled: modelledOf(index, costs),
    rows: report.scenarios.map(({ id, title, ok, runs }) => ({
      ...{ id, title, ok },
      runs: runs.flatMap(({ way }) => index.get(id, way) ?? []),
    })),
  };
}

function sectionsOf(results: readonly ScenarioResult[], index: RunIndex): PageSection[] {
  return THREADS.filter(({ prefix }) => results.some(({ id }) => id.startsWith(prefix))).map(
    ({ prefix, tables, identical, notGained, ...said }) => ({
      id: prefix.slice(0, -1).toLowerCase(),
      ...said,
      tables: tables.flatMap((table) => pageTable(table, index)),
      identical: pagePoints(identical, index),
      sameTables: results
        .filter((result) => result.id.startsWith(prefix))
        .flatMap((result) => sameTablesOf(result, index)),
      notGained: pagePoints(notGained, index),
    }),
  );
}

function sameTablesOf({ id, runs }: ScenarioResult, index: RunIndex): SameTables[] {
  const labels = new Set(runs.flatMap(({ tables }) => tables ?? []));
  return [...labels].flatMap((label) => {
    const group = runs
      .filter(({ tables }) => tables === label)
      .flatMap(({ way }) => index.get(id, way) ?? []);
    const same = group.every(({ run }) => !run.broken.some((text) => text.startsWith(DIFFERENT)));
    return group.length < 2 ? [] : [{ scenario: id, runs: group, same }];
  });
}

function pageSummary({ rows, ...table }: SummaryTable, index: RunIndex): PageSummary {
  return {
    ...table,
    rows: rows.map(({ name, cells }) => ({
      name,
      cells: cells.map((cell) =>
        (cell?.sources ?? []).flatMap(({ per = 1, ...ref }, k) => {
          const found = index.resolve(ref);
          const value = cell?.values[k];
          return found === null || typeof value !== 'number' ? [] : [{ ...found, value, per }];
        }),
      ),
    })),
  };
}

/** Without the lines of which nothing was run; none when nothing is left. */
function pageTable({ lines, ...table }: EvidenceTable, index: RunIndex): PageTable[] {
  const left = lines
    .map(({ what, cells }) => ({ what, cells: cells.map((ref) => index.resolve(ref)) }))
    .filter(({ cells }) => cells.some((cell) => cell !== null));
  return left.length === 0 ? [] : [{ ...table, lines: left }];
}

/** Those of which everything was run: half of the counts would say something else. */
function pagePoints(points: readonly EvidencePoint[], index: RunIndex): PagePoint[] {
  return points.flatMap(({ says, shown }) => {
    const counts = shown.flatMap((ref) => index.resolve(ref) ?? []);
    return counts.length < shown.length ? [] : [{ says, shown: counts }];
  });
}

function tablePagesOf(index: RunIndex): TablePages[] {
  return TABLE_PAGES.map(({ name, points }) => ({
    name,
    points: points.flatMap((point) => {
      const [pages, tables] = point.map((ref) => index.resolve(ref));
      return pages === null || tables === null || pages === undefined || tables === undefined
        ? []
        : [{ pages, tables }];
    }),
  })).filter(({ points }) => points.length > 0);
}

function exposureOf(index: RunIndex): ScenarioPage['exposure'] {
  const peaks = ['strict', 'lazy'].flatMap(
    (way) => index.resolve(at('SX-1', way, 'peakPages')) ?? [],
  );
  return peaks.length === 0 ? undefined : { series: exposureSeries(), peaks };
}

function modelledOf(index: RunIndex, costs: UnitCosts): ModelledFigures {
  return { costs, runs: modelledRuns(index, costs), throughput: throughputOf(index, costs) };
}

/** The runs that evidence is from, each once. */
function modelledRuns(index: RunIndex, costs: UnitCosts): ModelledRun[] {
  const refs = THREADS.flatMap(({ tables }) =>
    tables.flatMap(({ lines }) => lines.flatMap(({ cells }) => cells)),
  );
  const seen = new Set<string>();
  return refs.flatMap((ref) => {
    const found = ref === null ? undefined : index.get(ref.scenario, ref.way);
    if (ref === null || found === undefined || seen.has(found.anchor)) return [];
    seen.add(found.anchor);
    const time = modelTime(found.run.counts, costs);
    const { scenario, way } = ref;
    return time.terms.length === 0 ? [] : [{ scenario, way, anchor: found.anchor, time }];
  });
}

function throughputOf(index: RunIndex, costs: UnitCosts): ModelledThroughput[] {
  const lines = THREADS.flatMap(({ tables }) => tables.flatMap((table) => table.lines));
  const ways = lines
    .flatMap(({ cells }) => cells)
    .flatMap((ref) => (ref?.scenario === 'SX-5' && ref.count === 'reads' ? [ref.way] : []));
  return ways.flatMap((way) => {
    const reads = index.resolve(at('SX-5', way, 'reads'));
    const pages = index.resolve(at('SX-5', way, 'pages'));
    if (typeof reads?.value !== 'number' || typeof pages?.value !== 'number') return [];
    const missesPerPage = reads.value / pages.value;
    const gbps = modelThroughput(missesPerPage, costs);
    return gbps === undefined ? [] : [{ way, reads, pages, missesPerPage, gbps }];
  });
}

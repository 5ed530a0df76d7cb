import { fileURLToPath } from 'node:url';
import { InputError, readText } from '@iommukit/captures';
import type { Observed } from './scenario.ts';

/**
 * What one of something takes, as somebody declared it: nothing here is measured on a machine of ours.
 * @example const sync: UnitCost = { count: 'SYNC', cost: 600, unit: 'ns', source: 'my own trace of board X', ns: 600 };
 */
export interface UnitCost {
  /** The name of the count in a scenario's results; one of {@link COSTED_COUNTS}. */
  readonly count: string;
  /** As declared, in `unit`. */
  readonly cost: number;
  readonly unit: 'ns' | 'us';
  /** Where the figure comes from. */
  readonly source: string;
  /** The same in nanoseconds. */
  readonly ns: number;
}

/**
 * Unit costs of one file.
 * @example const { costs } = defaultUnitCosts();
 */
export interface UnitCosts {
  readonly file: string;
  readonly costs: readonly UnitCost[];
}

/** What the throughput model charges: a page that the device moves, and a memory read of the walker that no cache answers. */
const THROUGHPUT_COSTS = ['page', 'walkerRead'] as const;

/**
 * What may have a unit cost: counts of scenarios, and `page` and `walkerRead` of {@link modelThroughput}. Sums of others (`cmd`) and subsets of others are not among them, so that nothing is paid twice.
 * @example COSTED_COUNTS.includes('SYNC') // true
 */
export const COSTED_COUNTS: readonly string[] = [
  ...['VA', 'ASID', 'CD', 'STE', 'SYNC'],
  ...['fmt', 'lvl', 'alloc', 'free', 'st', 'cmc', 'cml', 'hook'],
  ...THROUGHPUT_COSTS,
  ...['walk', 'wl', 'iovas', 'iovasFreed', 'linesOut', 'linesIn', 'copiedIn', 'copiedOut'],
];

/**
 * A modelled time and what it is made of; counts without a declared cost add nothing and are named.
 * @example modelTime({ SYNC: 2 }, costs).ns // 1200 when one SYNC is declared as 600 ns
 */
export interface ModelledTime {
  /** Nanoseconds, modelled: the sum of count times declared unit cost. */
  readonly ns: number;
  readonly terms: readonly { readonly count: string; readonly n: number; readonly ns: number }[];
  /** Counts that are not zero and have no declared cost. */
  readonly undeclared: readonly string[];
}

const DEFAULTS = fileURLToPath(new URL('../../data/unit-costs.json', import.meta.url));
const NS = { ns: 1, us: 1000 } as const;

/**
 * The costs that come with this package, each with the publication that it is from. What no publication gives is left out: declare your own.
 * @example defaultUnitCosts().costs.find(({ count }) => count === 'walkerRead')?.ns // 197
 */
export function defaultUnitCosts(): UnitCosts {
  return { ...readUnitCosts(DEFAULTS), file: 'unit-costs.json of @iommukit/integration' };
}

/**
 * Reads a file of unit costs: JSON with `kind: "iommukit-unit-costs"`, `version: 1` and `costs`, each with `count`, `cost`, `unit` (`ns` or `us`) and
 * `source`. Throws {@link InputError} (one line: file, line where one is known, what was expected).
 * @example const { costs } = readUnitCosts('my-board.json');
 */
export function readUnitCosts(path: string): UnitCosts {
  return { file: path, costs: parseUnitCosts(readText(path), path) };
}

/** The costs in a text; `file` names it in messages. */
export function parseUnitCosts(text: string, file: string): UnitCost[] {
  const fail = (expected: string, line?: number): never => {
    throw new InputError({ file, expected, ...(line === undefined ? {} : { line }) });
  };
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    return fail('valid JSON', syntaxLine(text, error));
  }
  if (!isRecord(value)) return fail('a JSON object');
  if (value['kind'] !== 'iommukit-unit-costs') fail('kind to be "iommukit-unit-costs"');
  if (value['version'] !== 1) fail('version to be 1');
  const { costs } = value;
  if (!Array.isArray(costs) || costs.length === 0)
    return fail('costs to be an array of unit costs');
  const seen = new Set<string>();
  return costs.map((entry: unknown, i) => {
    const cost = unitCost(entry, (expected) =>
      fail(`costs[${i}]${expected}`, entryLine(text, entry)),
    );
    if (seen.has(cost.count)) fail(`one cost of "${cost.count}", not two`);
    seen.add(cost.count);
    return cost;
  });
}

function unitCost(entry: unknown, fail: (expected: string) => never): UnitCost {
  if (!isRecord(entry)) return fail(' to be an object');
  const { count, cost, unit, source } = entry;
  if (typeof count !== 'string' || !COSTED_COUNTS.includes(count))
    return fail(`.count to be one of ${COSTED_COUNTS.join(' ')}`);
  if (typeof cost !== 'number' || !Number.isFinite(cost) || cost < 0)
    return fail('.cost to be a number, not negative');
  if (unit !== 'ns' && unit !== 'us') return fail('.unit to be "ns" or "us"');
  if (typeof source !== 'string' || source.trim() === '')
    return fail('.source to say where the figure comes from');
  return { count, cost, unit, source, ns: cost * NS[unit] };
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The line of an entry, by its own `count`. */
function entryLine(text: string, entry: unknown): number | undefined {
  const count = isRecord(entry) ? entry['count'] : undefined;
  if (typeof count !== 'string') return undefined;
  const found = new RegExp(`"count"\\s*:\\s*${JSON.stringify(count).replace(/[^\w"]/g, '\\$&')}`);
  const at = found.exec(text)?.index;
  return at === undefined ? undefined : lineOf(text, at);
}

/** The engine's message names a line, or a position; a text that ends too early, neither. */
function syntaxLine(text: string, error: unknown): number {
  const message = error instanceof Error ? error.message : '';
  const line = /line (\d+)/.exec(message)?.[1];
  if (line !== undefined) return Number(line);
  const position = /position (\d+)/.exec(message)?.[1];
  return lineOf(text, position === undefined ? text.trimEnd().length : Number(position));
}

function lineOf(text: string, at: number): number {
  return text.slice(0, at).split('\n').length;
}

/**
 * Counts times declared unit costs. It says nothing about a machine that the costs are not from, and nothing of what overlaps: always show it as modelled.
 * @example modelTime({ VA: 32, SYNC: 1 }, defaultUnitCosts()).undeclared // ['VA', 'SYNC']
 */
export function modelTime(counts: Observed, { costs }: UnitCosts): ModelledTime {
  const terms: { count: string; n: number; ns: number }[] = [];
  const undeclared: string[] = [];
  for (const count of COSTED_COUNTS) {
    const n = counts[count];
    if (typeof n !== 'number' || n === 0) continue;
    const cost = costs.find((one) => one.count === count);
    if (cost === undefined) undeclared.push(count);
    else terms.push({ count, n, ns: n * cost.ns });
  }
  return { ns: terms.reduce((sum, { ns }) => sum + ns, 0), terms, undeclared };
}

const PAGE_BITS = 4096 * 8;

/**
 * Modelled throughput in Gb/s of a device that moves 4 KiB pages: bits of a page over `page` + misses x `walkerRead` nanoseconds, where `missesPerPage`
 * counts the walker's memory reads per page that miss. Undefined unless both costs are declared.
 * With the published 65 ns and 197 ns (Fast & Safe IO Memory Protection, SOSP 2024): 1.76 misses give 79.6, 4.36 give 35.5.
 * @example modelThroughput(1.76, defaultUnitCosts())?.toFixed(1) // '79.6'
 */
export function modelThroughput(missesPerPage: number, { costs }: UnitCosts): number | undefined {
  const page = costs.find(({ count }) => count === 'page');
  const read = costs.find(({ count }) => count === 'walkerRead');
  if (page === undefined || read === undefined) return undefined;
  const ns = page.ns + missesPerPage * read.ns;
  return ns === 0 ? undefined : PAGE_BITS / ns;
}

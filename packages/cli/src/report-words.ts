import type { LinkedCount, ModelledTime, ScenarioPage } from '@iommukit/integration';
import { grouped } from './table.ts';

/** What both forms of a report say in the same words. */
export const REPORT_WORDS = {
  title: 'iommukit: what the scenarios came to',
  intro:
    'Each number is an exact count of one run of the whole machine, and leads to the row of that run. Counts are compared with values that were derived beforehand; nothing here is a measured time, and no count foretells one: fewer commands need not be faster in proportion.',
  summary: 'In short',
  missing: 'What the discussion had no numbers for',
  identical: 'What is bit-identical',
  sameTables: 'Tables compared bit by bit at the end, their addresses renumbered by position:',
  notGained: 'What is not gained',
  modelled:
    'Modelled, not measured: counts times declared unit costs. The costs are those of the machine that their source names; no figure here predicts another one.',
  noCosts:
    'No run that is shown has a count with a declared cost besides those of the throughput model. Declare costs of your own machine with --costs FILE.',
  throughput:
    'Modelled throughput of a device that moves 4 KiB pages: 32,768 bits over page cost plus misses per page times the cost of a read. Every memory read of the walker is taken as a miss; no link or device limits it.',
  rows: 'All rows',
  rowsIntro:
    'One row for each run. Grey counts were not compared. Names of counts: fmt format calls, lvl table levels they visit, walk and wl lookups and their levels, alloc and free table pages, st stores to tables, cmc and cml clean calls and lines, VA ASID CD STE SYNC commands, cmd all of them, hook calls after a map.',
  exposure: 'Exposure over time',
  tablePages: 'Tables over pages',
} as const;

/** The line that says how it went. */
export function verdictText({ ok, summary }: ScenarioPage): string {
  const { scenarios, runs, compared, differences, broken } = summary;
  return `${ok ? 'ok' : 'NOT OK'}: ${grouped(scenarios)} scenarios, ${grouped(runs)} runs, ${grouped(compared)} counts compared, ${grouped(differences)} differ, ${grouped(broken)} invariants broken`;
}

/** A count as people read it. */
export function valueText(value: LinkedCount['value']): string {
  return typeof value === 'number' ? grouped(value) : String(value);
}

/** `32 VA + 1 SYNC = 3,800 ns modelled`; counts without a declared cost stand behind it. */
export function modelledText({ terms, ns, undeclared }: ModelledTime): string {
  const sum = terms.map(({ n, count, ns: part }) => `${grouped(n)} ${count} (${grouped(part)} ns)`);
  const rest = undeclared.length === 0 ? '' : `; without a cost: ${undeclared.join(' ')}`;
  return `${sum.join(' + ')} = ${grouped(ns)} ns modelled${rest}`;
}

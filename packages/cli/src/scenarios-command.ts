import { runScenarios, scenariosOf } from '@iommukit/integration';
import type { Command } from 'commander';
import { withProgress } from './progress.ts';
import { renderScenarioList, renderScenarios } from './render-scenarios.ts';
import { printReport, type Streams } from './streams.ts';

interface ScenarioFlags {
  readonly json?: boolean;
}

function list(flags: ScenarioFlags, streams: Streams): number {
  const scenarios = scenariosOf([]);
  const report = { ok: true, summary: { scenarios: scenarios.length }, scenarios };
  printReport(streams, flags, report, () => renderScenarioList(scenarios));
  return 0;
}

function run(ids: readonly string[], flags: ScenarioFlags, streams: Streams): number {
  const report = withProgress(streams, flags, 'scenarios', (update) => runScenarios(ids, update));
  printReport(streams, flags, report, renderScenarios);
  return report.ok ? 0 : 1;
}

/** Adds `scenarios list` and `scenarios run`; `done` gets the exit code. */
export function addScenariosCommand(
  program: Command,
  streams: Streams,
  done: (exitCode: number) => void,
): void {
  const scenarios = program
    .command('scenarios')
    .description('end-to-end runs with exact counts, one way against another');
  scenarios
    .command('list')
    .description('ids and titles')
    .option('--json', 'print one JSON object')
    .action((flags: ScenarioFlags) => done(list(flags, streams)));
  scenarios
    .command('run')
    .description('run scenarios through the whole machine and compare every count')
    .argument('[id...]', 'ids, or prefixes of ids such as S0; none: all')
    .option('--json', 'print one JSON object')
    .action((ids: string[], flags: ScenarioFlags) => done(run(ids, flags, streams)));
}

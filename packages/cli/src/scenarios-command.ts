import {
  defaultUnitCosts,
  modelledFigures,
  readUnitCosts,
  runScenarios,
  scenarioPage,
  scenariosOf,
} from '@iommukit/integration';
import type { Command } from 'commander';
import { addMutateCommand } from './mutate-command.ts';
import { withProgress } from './progress.ts';
import { renderModelled } from './render-modelled.ts';
import { renderScenarioList, renderScenarios } from './render-scenarios.ts';
import { openReportFolder, writeReport } from './report-folder.ts';
import { printReport, type Streams } from './streams.ts';

interface ScenarioFlags {
  readonly json?: boolean;
}

interface RunFlags extends ScenarioFlags {
  readonly report?: string;
  readonly costs?: string;
}

function list(flags: ScenarioFlags, streams: Streams): number {
  const scenarios = scenariosOf([]);
  const report = { ok: true, summary: { scenarios: scenarios.length }, scenarios };
  printReport(streams, flags, report, () => renderScenarioList(scenarios));
  return 0;
}

async function run(ids: readonly string[], flags: RunFlags, streams: Streams): Promise<number> {
  // Refused before the whole run.
  const { report: dir, costs: file } = flags;
  const costs = file === undefined ? undefined : readUnitCosts(file);
  if (dir !== undefined) openReportFolder(dir);
  const report = withProgress(streams, flags, 'scenarios', (update) => runScenarios(ids, update));
  if (dir !== undefined) {
    const page = scenarioPage(report, costs ?? defaultUnitCosts());
    // The library that draws is loaded for a report alone: it takes longer than a short run.
    const { renderReportHtml } = await import('./report-html.ts');
    const { renderReportMarkdown } = await import('./report-markdown.ts');
    writeReport(dir, {
      'scenarios.html': renderReportHtml(page),
      'scenarios.md': renderReportMarkdown(page),
    });
  }
  const modelled = costs === undefined ? undefined : modelledFigures(report, costs);
  printReport(streams, flags, { ...report, ...(modelled && { modelled }) }, () =>
    modelled === undefined
      ? renderScenarios(report)
      : `${renderModelled(modelled)}${renderScenarios(report)}`,
  );
  return report.ok ? 0 : 1;
}

/** Adds `scenarios list`, `scenarios run` and `scenarios mutate`; `done` gets the exit code. */
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
    .option('--report <dir>', 'write scenarios.html and scenarios.md into a folder')
    .option('--costs <file>', 'declared unit costs: adds modelled times')
    .action(async (ids: string[], flags: RunFlags) => done(await run(ids, flags, streams)));
  addMutateCommand(scenarios, streams, done);
}

import { closeSync, openSync, writeFileSync } from 'node:fs';
import { InputError } from '@iommukit/captures';
import { iovaPathology, type PathologyReport } from '@iommukit/integration';
import Table from 'cli-table3';
import type { Command } from 'commander';
import type { Streams } from './command-line.ts';
import { plotPathology } from './iova-pathology-plot.ts';
import { progressBar } from './progress.ts';

interface PathologyFlags {
  readonly json?: boolean;
  readonly plot?: string;
}

/** Adds `iova pathology`; `done` gets the exit code. */
export function addIovaPathology(
  program: Command,
  streams: Streams,
  done: (exitCode: number) => void,
): void {
  program
    .command('iova')
    .description('the allocator of I/O virtual addresses')
    .command('pathology')
    .description("the allocator's worst case: nodes visited per allocation, both searches")
    .option('--json', 'print one JSON object')
    .option('--plot <file>', 'write a plot as SVG')
    .action((flags: PathologyFlags) => done(pathology(flags, streams)));
}

function pathology(flags: PathologyFlags, streams: Streams): number {
  // Opened first: a path that cannot be written should not cost the whole run.
  const plot = flags.plot === undefined ? undefined : openPlot(flags.plot);
  const bar = progressBar(streams.isTerminal && flags.json !== true, 'operations');
  let report: PathologyReport;
  try {
    report = iovaPathology(undefined, bar.update);
    if (plot !== undefined) writeFileSync(plot, plotPathology(report));
  } finally {
    bar.stop();
    if (plot !== undefined) closeSync(plot);
  }
  streams.out(flags.json === true ? `${JSON.stringify(report)}\n` : renderPathology(report));
  return report.ok ? 0 : 1;
}

function openPlot(file: string): number {
  try {
    return openSync(file, 'w');
  } catch (error) {
    const reason = error instanceof Error && 'code' in error ? String(error.code) : String(error);
    throw new InputError({ file, expected: `a file to write to (${reason})` });
  }
}

/** The report as a table, one kind of request in one space a row. */
export function renderPathology(report: PathologyReport): string {
  const table = new Table({
    head: ['in use', 'below', 'room', 'linear', 'most', 'augmented', 'most', 'B/range', 'answers'],
    colAligns: ['right', 'left', 'left', 'right', 'right', 'right', 'right', 'right', 'left'],
    style: { head: [], border: [] },
  });
  for (const row of report.rows) {
    const { live, addressBits, room, linear, augmented, sameAnswers } = row;
    table.push([
      grouped(live),
      `2^${addressBits}`,
      room === 'below' ? 'below all' : 'none: fails',
      grouped(linear.nodesPerAllocation),
      grouped(linear.mostNodes),
      grouped(augmented.nodesPerAllocation),
      grouped(augmented.mostNodes),
      `${linear.bytesPerRange.toFixed(1)} / ${augmented.bytesPerRange.toFixed(1)}`,
      sameAnswers ? 'same' : 'DIFFER',
    ]);
  }
  const { rows, allocations, differences } = report.summary;
  const pages = report.rows[0]?.pages ?? 0;
  return [
    `nodes visited by an allocation of ${pages} pages; single pages in use, single pages free between them, a page near the top returned before each`,
    table.toString(),
    `work: rows ${rows}, allocations by each search ${allocations}, rows that differ ${differences}`,
    report.ok ? 'ok: both searches gave the same answers' : 'NOT OK',
    '',
  ].join('\n');
}

function grouped(n: number): string {
  return n.toLocaleString('en-US', { maximumFractionDigits: 1 });
}

import { closeSync, openSync, writeFileSync } from 'node:fs';
import { iovaPathology, type PathologyReport } from '@iommukit/integration';
import type { Command } from 'commander';
import { plotPathology } from './iova-pathology-plot.ts';
import { writing } from './output-file.ts';
import { withProgress } from './progress.ts';
import { printReport, type Streams } from './streams.ts';
import { grouped, plainTable } from './table.ts';

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
  const { plot: file } = flags;
  const plot = file === undefined ? undefined : writing(file, () => openSync(file, 'w'));
  let report: PathologyReport;
  try {
    report = withProgress(streams, flags, 'operations', (update) =>
      iovaPathology(undefined, update),
    );
    if (plot !== undefined) writeFileSync(plot, plotPathology(report));
  } finally {
    if (plot !== undefined) closeSync(plot);
  }
  printReport(streams, flags, report, renderPathology);
  return report.ok ? 0 : 1;
}

/** The report as a table, one kind of request in one space a row. */
export function renderPathology(report: PathologyReport): string {
  const table = plainTable(
    ['in use', 'below', 'room', 'linear', 'most', 'augmented', 'most', 'B/range', 'answers'],
    [0, 3, 4, 5, 6, 7],
  );
  for (const row of report.rows) {
    const { live, addressBits, room, linear, augmented, sameAnswers } = row;
    table.push([
      grouped(live),
      `2^${addressBits}`,
      room === 'below' ? 'below all' : 'none: fails',
      tenths(linear.nodesPerAllocation),
      tenths(linear.mostNodes),
      tenths(augmented.nodesPerAllocation),
      tenths(augmented.mostNodes),
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

function tenths(n: number): string {
  return n.toLocaleString('en-US', { maximumFractionDigits: 1 });
}

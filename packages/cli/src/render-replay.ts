import { inputText } from '@iommukit/captures';
import type { CheckName, ReplayReport } from '@iommukit/integration';
import { grouped, plainTable } from './table.ts';

const WHAT: Readonly<Record<CheckName, string>> = {
  iova: 'IOVAs that the allocator returned',
  commands: 'command lists given to the queue',
  cmdq: 'entries of the command queue in memory',
  leaves: 'leaf descriptors, all 64 bits',
  config: 'stream table, STEs, CDs, base registers',
  translations: 'device translations (QEMU log, or mapped runs)',
  truth: "our walk of the kernel's tables, last translations",
  pending: 'unmapped pages that a device still reaches at the busy dump',
  verdicts: "our walk of the kernel's tables, writes",
  frees: 'ranges that the flush queues freed',
  events: 'event records, field by field',
};

/** A replay's result as a table, one check a row. */
export function renderReplay(report: ReplayReport): string {
  const table = plainTable(
    ['check', 'what', 'compared', 'equal', 'explained', 'unexplained'],
    [2, 3, 4, 5],
  );
  const lines: string[] = [];
  for (const [name, check] of Object.entries(report.checks) as [
    CheckName,
    NonNullable<ReplayReport['checks'][CheckName]>,
  ][]) {
    const { compared, equal, explained, unexplained, reasons } = check;
    table.push([name, WHAT[name], ...[compared, equal, explained, unexplained].map(grouped)]);
    for (const [reason, count] of Object.entries(reasons))
      lines.push(`${name}: ${grouped(count)} explained by ${reason}`);
    for (const example of report.examples[name] ?? []) lines.push(`${name}: ${example}`);
  }
  for (const line of report.unread) lines.push(`not read: ${inputText(line)}`);
  const { capture, kernel, feed, until, counters, notApplicable, ok } = report;
  const work = Object.entries(counters).map(([name, value]) => `${name} ${grouped(value)}`);
  return [
    `${capture}: Linux ${kernel}, fed by ${feed}, until ${until}`,
    table.toString(),
    ...lines,
    `work: ${work.join(', ')}`,
    ...(notApplicable.length > 0 ? [`not applicable: ${notApplicable.join(', ')}`] : []),
    ok ? 'ok: every check compared something, and no difference is unexplained' : 'NOT OK',
    '',
  ].join('\n');
}

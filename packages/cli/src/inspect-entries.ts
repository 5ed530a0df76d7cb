import { hex, hex64, type StrayBits } from '@iommukit/bits';
import type {
  AccessWalk,
  CdReport,
  DumpImage,
  EntryView,
  FieldView,
  SteReport,
  WalkResult,
  WalkStep,
} from '@iommukit/diagnose';

/** Fields in one line, those that are zero left out. */
export function fieldsText(fields: readonly FieldView[]): string {
  return nonZero(fields)
    .map(({ name, value, meaning }) => {
      const shown = `${name}=${hex64(value)}`;
      return meaning === undefined ? shown : `${shown} (${meaning})`;
    })
    .join(' ');
}

/** The fields that are not zero. */
export function nonZero(fields: readonly FieldView[]): FieldView[] {
  return fields.filter(({ value }) => value.lo !== 0 || value.hi !== 0);
}

/** An entry whose fields of zero are left out, for lists. */
export function short<T extends { readonly entry: EntryView }>(report: T): T {
  return { ...report, entry: { ...report.entry, fields: nonZero(report.entry.fields) } };
}

/** A dump in words. */
export function dumpText(image: DumpImage): string {
  const off = image.programming.enabled ? '' : ' (CR0.SMMUEN=0)';
  return `${image.capture} ${image.tag}${off}`;
}

function strayText(stray: readonly StrayBits[]): string {
  return stray.map(({ field, value }) => `${field}=${hex(value)}`).join(' ');
}

function wordsText(entry: EntryView): string {
  return entry.words.map(hex64).join(' ');
}

/** The steps of a walk, and its result. */
export function renderWalk(image: DumpImage, walk: AccessWalk): string {
  const { streamId, substreamId, address, rw } = walk.access;
  const ssid = substreamId === undefined ? '' : ` substream ${hex(substreamId)}`;
  return [
    `${dumpText(image)}: stream ${hex(streamId)}${ssid} ${rw} ${hex64(address)}`,
    ...walk.steps.flatMap(stepText),
    `result: ${resultText(walk.result)}`,
    `decided by: ${walk.section}`,
    ...(walk.because === undefined
      ? []
      : [`because: ${walk.because.says} [${walk.because.section}]`]),
    ...(walk.unaccounted.length > 0
      ? [`NOT OK: the model also read ${walk.unaccounted.map(hex64).join(' ')}`]
      : []),
    '',
  ].join('\n');
}

function stepText(step: WalkStep, i: number): string[] {
  const level = step.level === undefined ? '' : ` stage ${step.stage ?? 1} level ${step.level}`;
  const purpose = step.for === undefined ? '' : `, for ${step.for}`;
  const head = `${i + 1}. ${step.what}${level} at ${hex64(step.address)}${purpose}: ${step.says} [${step.section}]`;
  const { entry } = step;
  if (entry === undefined) return [head];
  const stray = strayText(entry.stray);
  return [
    head,
    `     words  ${wordsText(entry)}`,
    `     fields ${fieldsText(entry.fields)}`,
    ...(stray === '' ? [] : [`     reserved bits that are not 0: ${stray}`]),
  ];
}

function resultText(result: WalkResult): string {
  switch (result.outcome) {
    case 'ok':
      return `ok, physical address ${hex64(result.paddr)}`;
    case 'bypass':
      return `bypass, physical address ${hex64(result.paddr)}`;
    case 'abort':
      return `abort without an event (${result.reason})`;
    case 'not-in-dump':
      return `unknown: the dump does not hold ${hex64(result.address)}`;
    default: {
      const { event } = result;
      const fields = Object.entries(event).flatMap(([name, value]) =>
        name === 'event' || value === undefined ? [] : [`${name}=${memberText(value)}`],
      );
      return `${result.outcome} ${event.event} ${fields.join(' ')}`;
    }
  }
}

function memberText(value: unknown): string {
  if (typeof value === 'number') return hex(value);
  if (typeof value === 'object' && value !== null && 'lo' in value && 'hi' in value)
    return hex64(value as { lo: number; hi: number });
  return String(value);
}

/** What is wrong with entries, in all. */
export interface EntryCounts {
  readonly entries: number;
  readonly illegal: number;
  readonly unknown: number;
  readonly strayFields: number;
}

/** Adds up entries. */
export function entryCounts(reports: readonly (SteReport | CdReport)[]): EntryCounts {
  const count = (verdict: string): number =>
    reports.filter((report) => report.verdict === verdict).length;
  return {
    entries: reports.length,
    illegal: count('illegal'),
    unknown: count('unknown'),
    strayFields: reports.reduce((sum, { entry }) => sum + entry.stray.length, 0),
  };
}

/** True when entries were read and every one is legal and without stray bits. */
export function entriesOk({ entries, illegal, strayFields }: EntryCounts): boolean {
  return entries > 0 && illegal === 0 && strayFields === 0;
}

/** Entries as a list, or one of them with every field. */
export function renderEntries(
  image: DumpImage,
  reports: readonly (SteReport | CdReport)[],
  options: { readonly full: boolean; readonly hidden?: number },
): string {
  const lines: string[] = [`${dumpText(image)}:`];
  for (const report of reports) {
    const { entry, verdict, because } = report;
    const who =
      'mode' in report
        ? `STE ${hex(report.streamId)} ${report.mode}`
        : `CD ${hex(report.streamId)}.${report.substreamId} ASID ${report.asid}`;
    const why = verdict === 'legal' ? '' : ` (${because})`;
    lines.push(`${who} at ${hex64(entry.address)}: ${verdict}${why} [${entry.section}]`);
    lines.push(`  words  ${wordsText(entry)}`);
    if (options.full)
      for (const { name, value, meaning } of entry.fields)
        lines.push(
          `  ${name.padEnd(13)} ${hex64(value)}${meaning === undefined ? '' : ` (${meaning})`}`,
        );
    else lines.push(`  fields ${fieldsText(entry.fields)}`);
    const stray = strayText(entry.stray);
    if (stray !== '') lines.push(`  reserved bits that are not 0: ${stray}`);
  }
  const { hidden = 0 } = options;
  if (hidden > 0) lines.push(`and ${hidden} STEs that abort, not shown`);
  return lines.join('\n');
}

import type { VectorReport } from '@iommukit/integration';
import { grouped, plainTable } from './table.ts';

/**
 * What `vectors check` found in all. `skipped` counts the entries of folders that are no files of vectors; `unreadable` are the files that could not be
 * run, each with its line.
 */
export interface VectorsResult {
  readonly ok: boolean;
  readonly summary: {
    readonly files: number;
    /** Files with results of the kernel; the others hold our own. */
    readonly kernel: number;
    readonly operations: number;
    readonly compared: number;
    readonly mismatches: number;
    readonly unreadable: number;
    readonly skipped: number;
  };
  readonly files: readonly VectorReport[];
  readonly skipped: number;
  readonly unreadable: readonly { readonly file: string; readonly message: string }[];
}

/** Adds up the reports of files; nothing compared is not ok. */
export function vectorsResult(
  files: readonly VectorReport[],
  skipped: number,
  unreadable: VectorsResult['unreadable'],
): VectorsResult {
  const sum = (key: 'operations' | 'compared' | 'mismatches'): number =>
    files.reduce((total, file) => total + file[key], 0);
  return {
    ok: files.length > 0 && unreadable.length === 0 && files.every(({ ok }) => ok),
    summary: {
      files: files.length,
      kernel: files.filter(({ origin }) => origin === 'kernel').length,
      operations: sum('operations'),
      compared: sum('compared'),
      mismatches: sum('mismatches'),
      unreadable: unreadable.length,
      skipped,
    },
    files,
    skipped,
    unreadable,
  };
}

const LONGEST = 300;

function valueText(value: unknown): string {
  const text = JSON.stringify(value) ?? 'nothing';
  return text.length > LONGEST ? `${text.slice(0, LONGEST)}... (--json prints all of it)` : text;
}

function firstText({ file, first }: VectorReport): string[] {
  if (first === undefined) return [];
  const where = first.operation < 0 ? 'before operation 0' : `operation ${String(first.operation)}`;
  return [
    `${file}: ${where}, ${first.what}: expected ${valueText(first.expected)}, got ${valueText(first.got)}`,
  ];
}

/** What running recorded programs found beside mismatches: where QEMU deviates, where it used kept copies, and what its file does not flag. */
function findingsText({ file, programs, qtest }: VectorReport): string[] {
  const lines: string[] = [];
  if (programs !== undefined) {
    const { stale, kept } = programs;
    lines.push(
      `${file}: ${grouped(programs.programs)} programs on ${programs.preset}, ${grouped(programs.accesses)} accesses, ${grouped(programs.commands)} commands, ${grouped(programs.reads.compared)} reads`,
      `  stale accesses of QEMU: ${grouped(stale.recorded)} (${grouped(stale.fromMemory)} from memory, ${grouped(stale.fromCopy)} from the copy, ${grouped(stale.refilled)} from a later copy, ${grouped(stale.deviating)} deviating too)`,
      `  with everything kept: ${grouped(kept.equal)} accesses equal, ${grouped(kept.reported)} reported as stale uses`,
      ...deviationsText(programs.deviations),
    );
    for (const [code, places] of Object.entries(programs.unflagged))
      lines.push(`  not flagged in the file, ${code}: ${listed(places.map(placeText))}`);
    if (programs.equalAllTheSame.length > 0)
      lines.push(
        `  flagged as deviating and equal all the same: ${listed(programs.equalAllTheSame.map((place) => `${placeText(place)} (${place.codes})`))}`,
      );
    for (const [code, count] of Object.entries(programs.unmodelled))
      lines.push(`  not modelled, ${code}: ${grouped(count)} programs`);
  }
  if (qtest !== undefined) {
    const { steps } = qtest;
    lines.push(
      `${file}: stage ${qtest.stage}, ${grouped(steps.registers)} register reads, ${grouped(steps.events)} events, ${grouped(steps.checks)} checks, ${grouped(steps.probes)} probes`,
      ...deviationsText(qtest.deviations),
    );
  }
  return lines;
}

type Deviations = NonNullable<VectorReport['programs']>['deviations'];

function deviationsText(deviations: Deviations): string[] {
  const codes = Object.entries(deviations).sort(([a], [b]) =>
    a.localeCompare(b, 'en', { numeric: true }),
  );
  if (codes.length === 0) return [];
  const text = codes.map(
    ([code, { count, equal }]) =>
      `${code} ${grouped(count)}${equal > 0 ? ` (${grouped(equal)} equal)` : ''}`,
  );
  return [`  steps that deviate, by code: ${text.join(', ')}`];
}

const PLACES = 5;

function placeText({ program, step }: { readonly program: string; readonly step: number }): string {
  return `${program} step ${String(step)}`;
}

function listed(items: readonly string[]): string {
  const rest = items.length - PLACES;
  const more = rest > 0 ? ` and ${grouped(rest)} more (--json prints all)` : '';
  return `${items.slice(0, PLACES).join(', ')}${more}`;
}

/** The result as a table, one file a row; below it what programs found, and the first mismatch of each file. */
export function renderVectors(result: VectorsResult): string {
  const table = plainTable(
    ['file', 'kind', 'origin', 'operations', 'compared', 'mismatches'],
    [3, 4, 5],
  );
  for (const { file, kind, origin, operations, compared, mismatches } of result.files)
    table.push([file, kind, origin, ...[operations, compared, mismatches].map(grouped)]);
  const { files, operations, compared, mismatches, unreadable, skipped } = result.summary;
  const counts = [
    `${grouped(files)} files`,
    `${grouped(operations)} operations`,
    `${grouped(compared)} values compared`,
    `${grouped(mismatches)} mismatches`,
    ...(unreadable > 0 ? [`${grouped(unreadable)} files not read`] : []),
    ...(skipped > 0 ? [`${grouped(skipped)} skipped`] : []),
  ];
  return [
    ...(files > 0 ? [table.toString()] : []),
    ...result.files.flatMap(findingsText),
    ...result.files.flatMap(firstText),
    `${result.ok ? 'ok' : 'NOT OK'}: ${counts.join(', ')}`,
    '',
  ].join('\n');
}

/** The result as one JSON object; an absent value is null. */
export function vectorsJson(result: VectorsResult): string {
  return `${JSON.stringify(result, (_, value: unknown) => (value === undefined ? null : value))}\n`;
}

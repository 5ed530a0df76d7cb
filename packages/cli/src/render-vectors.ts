import type { VectorReport } from '@iommukit/integration';
import Table from 'cli-table3';

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

/** The result as a table, one file a row, and the first mismatch of each file below it. */
export function renderVectors(result: VectorsResult): string {
  const table = new Table({
    head: ['file', 'kind', 'origin', 'operations', 'compared', 'mismatches'],
    colAligns: ['left', 'left', 'left', 'right', 'right', 'right'],
    style: { head: [], border: [] },
  });
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
    ...result.files.flatMap(firstText),
    `${result.ok ? 'ok' : 'NOT OK'}: ${counts.join(', ')}`,
    '',
  ].join('\n');
}

/** The result as one JSON object; an absent value is null. */
export function vectorsJson(result: VectorsResult): string {
  return `${JSON.stringify(result, (_, value: unknown) => (value === undefined ? null : value))}\n`;
}

function grouped(n: number): string {
  return n.toLocaleString('en-US');
}

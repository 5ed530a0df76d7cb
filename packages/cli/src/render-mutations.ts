import type { MutationReport, MutationVerdict } from '@iommukit/integration';
import { grouped, plainTable } from './table.ts';

const WIDTH = 60;

/** Lines of at most `WIDTH` characters, broken at spaces. */
function wrapped(text: string): string {
  const lines: string[] = [];
  for (const word of text.split(' ')) {
    const last = lines.at(-1);
    if (last === undefined || last.length + word.length >= WIDTH) lines.push(word);
    else lines[lines.length - 1] = `${last} ${word}`;
  }
  return lines.join('\n');
}

/** Each row that is named, and what it reported. */
function catches({ caughtBy }: MutationVerdict): string {
  return caughtBy
    .map(({ row, way, by, seen }) => wrapped(`${row} ${way}: ${seen ?? `NOT SEEN: ${by}`}`))
    .join('\n');
}

/** The report as a table, one mutation a row; what is wrong with a run stands below it. */
export function renderMutations(report: MutationReport): string {
  const table = plainTable(['no', 'defect', 'caught by', 'verdict']);
  const wrong: string[] = [];
  for (const verdict of report.mutations) {
    const { name, defect, ok, problems } = verdict;
    const good = name === 'unmutated' ? 'silent' : 'caught';
    table.push([name, wrapped(defect), catches(verdict), ok ? good : 'NOT OK']);
    for (const text of problems) wrong.push(`${name}: ${text}`);
  }
  const { defects, mutations, caught, notCaught, unmutatedCases, unmutatedNoticed } =
    report.summary;
  const counts = [
    `${grouped(defects)} defects`,
    `${grouped(mutations)} mutations`,
    `${grouped(caught)} caught`,
    `${grouped(notCaught)} not caught`,
    `${grouped(unmutatedNoticed)} of ${grouped(unmutatedCases)} unmutated cases report something`,
  ];
  return [
    table.toString(),
    ...wrong,
    `${report.ok ? 'ok' : 'NOT OK'}: ${counts.join(', ')}`,
    '',
  ].join('\n');
}

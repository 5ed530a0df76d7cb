import { hex, hex64, type U64 } from '@iommukit/bits';
import { inputText } from '@iommukit/captures';
import type {
  DomainReport,
  DumpImage,
  MapRange,
  QueueEntry,
  QueueReport,
  StreamMaps,
  VerifyReport,
} from '@iommukit/diagnose';
import { dumpText, fieldsText } from './inspect-entries.ts';
import { grouped, plainTable } from './table.ts';

/** The ranges of each stream. */
export function renderMaps(image: DumpImage, maps: readonly StreamMaps[]): string {
  const lines: string[] = [`${dumpText(image)}:`];
  for (const { streamId, substreamId, ranges, leaves, bytes, notes } of maps) {
    const who = substreamId === undefined ? hex(streamId) : `${hex(streamId)}.${substreamId}`;
    lines.push(
      `stream ${who}: ${grouped(ranges.length)} ranges, ${grouped(leaves)} leaves, ${grouped(bytes)} bytes, ${grouped(notes.tables)} tables`,
    );
    lines.push(...ranges.map(rangeText));
    if (notes.absent > 0)
      lines.push(`  NOT OK: ${grouped(notes.absent)} tables are not in the dump`);
    if (notes.reserved > 0) lines.push(`  NOT OK: ${grouped(notes.reserved)} reserved descriptors`);
    if (notes.cut) lines.push('  NOT OK: the tables lead in circles; the list is cut');
  }
  return lines.join('\n');
}

function rangeText(range: MapRange): string {
  const { start, last, output, leaves, leafSizes, contiguous, attributes: a } = range;
  const sizes = leafSizes.map(hex).join('+');
  const flags = [
    a.access,
    a.memory,
    a.shareability,
    ...(a.executeNever === 'none' ? [] : [`execute never: ${a.executeNever}`]),
    ...(a.accessFlag ? [] : ['AF=0']),
    ...(range.stage === 1 && !a.notGlobal ? ['global'] : []),
    ...(a.dirtyBitModifier ? ['DBM'] : []),
    ...(contiguous > 0 ? [`contiguous: ${grouped(contiguous)}`] : []),
    ...(a.limits === '' ? [] : [`tables above: ${a.limits}`]),
  ];
  return `  s${range.stage} ${hex64(start)}-${hex64(last)} -> ${hex64(output)} ${grouped(leaves)} x ${sizes} ${flags.join(', ')}`;
}

/** Streams by what they share. */
export function renderDomains(image: DumpImage, report: DomainReport): string {
  const table = plainTable(['mode', 'ASID', 'VMID', 'TTB0', 'TTB1', 'S2TTB', 'streams']);
  for (const group of report.groups) {
    const { mode, asid, vmid, ttb0, ttb1, s2ttb, streams } = group;
    table.push([
      mode,
      asid === undefined ? '-' : String(asid),
      vmid === undefined ? '-' : String(vmid),
      ...[ttb0, ttb1, s2ttb].map(addressText),
      streamsText(streams),
    ]);
  }
  const conflicts = report.conflicts.map(
    ({ tag, streams }) =>
      `NOT OK: ${tag} is used for different tables by ${streams.map(hex).join(', ')}`,
  );
  return [`${dumpText(image)}:`, table.toString(), ...conflicts].join('\n');
}

function addressText(address: U64 | undefined): string {
  return address === undefined ? '-' : hex64(address);
}

const MOST_STREAMS = 8;

function streamsText(
  streams: readonly { readonly streamId: number; readonly substreamId?: number }[],
): string {
  const names = streams
    .slice(0, MOST_STREAMS)
    .map(({ streamId, substreamId = 0 }) =>
      substreamId === 0 ? hex(streamId) : `${hex(streamId)}.${substreamId}`,
    );
  const more = streams.length - names.length;
  return more > 0 ? `${names.join(' ')} and ${grouped(more)} more` : names.join(' ');
}

/** What a queue holds, in counts. */
export function queueCounts(queue: QueueReport): {
  readonly pending: number;
  readonly history: number;
  readonly unknown: number;
  readonly strayFields: number;
  readonly lacking: number;
  readonly byName: Readonly<Record<string, number>>;
} {
  const byName: Record<string, number> = {};
  const all = [...queue.history, ...queue.pending];
  for (const { name } of all) byName[name ?? 'unknown'] = (byName[name ?? 'unknown'] ?? 0) + 1;
  return {
    pending: queue.pending.length,
    history: queue.history.length,
    unknown: all.filter(({ name }) => name === undefined).length,
    strayFields: all.reduce((sum, { entry }) => sum + (entry?.stray.length ?? 0), 0),
    lacking: queue.lacking,
    byName,
  };
}

/** A queue: positions, what is pending, and the last `last` consumed entries. */
export function renderQueue(
  image: DumpImage,
  name: 'command' | 'event',
  queue: QueueReport,
  last: number,
): string {
  const { base, log2Size, prod, cons, used, full, error, pending, history } = queue;
  const at = (p: { index: number; wrap: number }): string => `${p.index} (wrap ${p.wrap})`;
  const shown = last === 0 ? [] : history.slice(-last);
  const { byName, lacking } = queueCounts(queue);
  return [
    `${dumpText(image)}: ${name} queue at ${hex64(base)}, ${grouped(2 ** log2Size)} entries`,
    `PROD ${at(prod)}, CONS ${at(cons)}: ${grouped(used)} pending${full ? ', full' : ''}${error === undefined ? '' : `, NOT OK: ${error}`}`,
    ...(history.length > shown.length
      ? [`consumed and still in memory: ${grouped(history.length)}, the last ${shown.length}:`]
      : [`consumed and still in memory: ${grouped(history.length)}`]),
    ...shown.map(queueEntryText),
    `CONS -> ${cons.index}`,
    ...pending.map(queueEntryText),
    ...(lacking > 0 ? [`NOT OK: ${grouped(lacking)} pending entries are not in the dump`] : []),
    `in all: ${
      Object.entries(byName)
        .map(([one, count]) => `${one} ${grouped(count)}`)
        .join(', ') || 'nothing'
    }`,
  ].join('\n');
}

function queueEntryText({ index, name, number, words, entry }: QueueEntry): string {
  const what = name ?? `unknown ${hex(number)}`;
  const fields = entry === undefined ? '' : fieldsText(entry.fields);
  const stray = (entry?.stray ?? []).map(
    ({ field, value }) => ` ${field}=${hex(value)} (reserved)`,
  );
  return `  ${index} ${what}: ${words.map(hex64).join(' ')} ${fields}${stray.join('')}`;
}

/** The verification of a capture, one check of one dump a row. */
export function renderVerify(report: VerifyReport): string {
  const table = plainTable(
    ['dump', 'check', 'compared', 'equal', 'explained', 'unexplained'],
    [2, 3, 4, 5],
  );
  const lines: string[] = [];
  for (const { tag, checks, notApplicable, examples } of report.dumps) {
    for (const [name, check] of Object.entries(checks)) {
      const { compared, equal, explained, unexplained, reasons } = check;
      table.push([tag, name, ...[compared, equal, explained, unexplained].map(grouped)]);
      for (const [reason, count] of Object.entries(reasons))
        lines.push(`${tag} ${name}: ${grouped(count)} explained by ${reason}`);
    }
    lines.push(...examples.map((example) => `${tag} ${example}`));
    if (notApplicable.length > 0) lines.push(`${tag}: no data for ${notApplicable.join(', ')}`);
  }
  lines.push(...report.unread.map((line) => `not read: ${inputText(line)}`));
  const { dumps, compared, equal, explained, unexplained, unread } = report.summary;
  const counts = [
    `${grouped(dumps)} dumps`,
    `${grouped(compared)} compared`,
    `${grouped(equal)} equal`,
    `${grouped(explained)} explained`,
    `${grouped(unexplained)} unexplained`,
    `${grouped(unread)} lines not read`,
  ];
  return [
    `${report.capture}:`,
    table.toString(),
    ...lines,
    ...(report.notApplicable.length > 0
      ? [`not applicable: ${report.notApplicable.join(', ')}`]
      : []),
    `${report.ok ? 'ok' : 'NOT OK'}: ${counts.join(', ')}`,
    '',
  ].join('\n');
}

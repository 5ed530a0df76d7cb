import { hex } from '@iommukit/bits';
import { InputError } from '@iommukit/captures';
import {
  cdReports,
  type DumpImage,
  domainsOf,
  mapsOf,
  type QueueEntry,
  type QueueReport,
  type StreamMaps,
  steReports,
  walkAccess,
  whyNoSte,
} from '@iommukit/diagnose';
import { ssidOf, wide } from './inspect-arguments.ts';
import {
  entriesOk,
  entryCounts,
  nonZero,
  renderEntries,
  renderWalk,
  short,
} from './inspect-entries.ts';
import { queueCounts, renderDomains, renderMaps, renderQueue } from './inspect-tables.ts';

/** What a subcommand found: the members of its JSON object beside `ok` and `summary`, and its text. */
export interface Found {
  readonly ok: boolean;
  readonly summary: object;
  readonly members: object;
  readonly text: () => string;
}

/** What an access is besides a read. */
export interface AccessFlags {
  readonly write?: boolean;
  readonly privileged?: boolean;
  readonly instruction?: boolean;
}

/** Refuses a stream that the dump's stream table has no entry for. */
function needStream(image: DumpImage, streamId: number): void {
  const why = whyNoSte(image, streamId);
  if (why !== undefined)
    throw new InputError({
      file: image.file,
      expected: `a StreamID with an entry, not ${hex(streamId)}: ${why}`,
    });
}

function asked(image: DumpImage, streamId: number | undefined): number | undefined {
  if (streamId !== undefined) needStream(image, streamId);
  return streamId;
}

/** One access: `args` are the StreamID, and the address with a SubstreamID before it perhaps. */
export function walk(
  image: DumpImage,
  args: readonly [number, string, string?],
  flags: AccessFlags,
): Found {
  const [streamId, middle, end] = args;
  const substreamId = end === undefined ? undefined : ssidOf(middle);
  const found = walkAccess(image, {
    streamId,
    address: wide(end ?? middle),
    rw: flags.write === true ? 'write' : 'read',
    privileged: flags.privileged === true,
    instruction: flags.instruction === true,
    ...(substreamId === undefined ? {} : { substreamId }),
  });
  const { outcome } = found.result;
  const reached = outcome === 'ok' || outcome === 'bypass';
  return {
    ok: reached && found.unaccounted.length === 0,
    summary: { steps: found.steps.length, outcome, unaccounted: found.unaccounted.length },
    members: found,
    text: () => renderWalk(image, found),
  };
}

/** Every mapping of a stream, or of all. */
export function maps(image: DumpImage, streamId: number | undefined): Found {
  const found = mapsOf(image, asked(image, streamId));
  const sum = (of: (one: StreamMaps) => number): number =>
    found.reduce((total, one) => total + of(one), 0);
  const summary = {
    contexts: found.length,
    ranges: sum(({ ranges }) => ranges.length),
    leaves: sum(({ leaves }) => leaves),
    tables: sum(({ notes }) => notes.tables),
    absentTables: sum(({ notes }) => notes.absent),
    reservedDescriptors: sum(({ notes }) => notes.reserved),
  };
  const whole = found.every(({ notes }) => notes.absent + notes.reserved === 0 && !notes.cut);
  const none = streamId === undefined ? 'no stream translates' : 'the stream does not translate';
  return {
    ok: found.length > 0 && whole,
    summary,
    members: { maps: found },
    text: () => `${renderMaps(image, found)}\n${found.length === 0 ? `NOT OK: ${none}\n` : ''}`,
  };
}

/** Streams by what they share. */
export function domains(image: DumpImage): Found {
  const found = domainsOf(image);
  const streams = found.groups.reduce((sum, group) => sum + group.streams.length, 0);
  return {
    ok: streams > 0 && found.conflicts.length === 0,
    summary: { groups: found.groups.length, streams, conflicts: found.conflicts.length },
    members: found,
    text: () => `${renderDomains(image, found)}\n`,
  };
}

/** The STE of a stream, or all that are worth a look. */
export function stes(image: DumpImage, streamId: number | undefined): Found {
  const found = steReports(image, asked(image, streamId));
  const full = streamId !== undefined;
  const shown = full
    ? found
    : found.filter(({ mode, verdict }) => mode !== 'abort' || verdict === 'illegal');
  return entries('ste', found, {
    full,
    text: renderEntries(image, shown, { full, hidden: found.length - shown.length }),
  });
}

/** Context descriptors: all, those of a stream, or one. */
export function cds(image: DumpImage, streamId?: number, substreamId?: number): Found {
  const found = cdReports(image, asked(image, streamId), substreamId);
  if (streamId !== undefined && substreamId !== undefined && found.length === 0)
    throw new InputError({
      file: image.file,
      expected: `a SubstreamID with a context descriptor, not ${hex(substreamId)}`,
    });
  const full = streamId !== undefined;
  return entries('cd', found, { full, text: renderEntries(image, found, { full }) });
}

function entries(
  name: 'ste' | 'cd',
  found: ReturnType<typeof steReports> | ReturnType<typeof cdReports>,
  shown: { readonly full: boolean; readonly text: string },
): Found {
  const summary = entryCounts(found);
  const ok = entriesOk(summary);
  const { entries: count, illegal, unknown, strayFields } = summary;
  const counts = `${count} entries, ${illegal} illegal, ${unknown} unknown, ${strayFields} reserved fields not 0`;
  return {
    ok,
    summary,
    members: { [name]: shown.full ? found : found.map((report) => short(report)) },
    text: () => `${shown.text}\n${ok ? 'ok' : 'NOT OK'}: ${counts}\n`,
  };
}

const LAST_SHOWN = 20;

/** A queue, with `last` of its consumed entries. */
export function queue(
  image: DumpImage,
  name: 'command' | 'event',
  found: QueueReport,
  last: number | undefined,
): Found {
  const { byName, ...counts } = queueCounts(found);
  const ok =
    found.error === undefined && counts.unknown + counts.strayFields + counts.lacking === 0;
  const history = last === undefined ? found.history : last === 0 ? [] : found.history.slice(-last);
  const members = {
    ...found,
    pending: found.pending.map(flatEntry),
    history: history.map(flatEntry),
  };
  return {
    ok,
    summary: { ...counts, byName },
    members,
    text: () =>
      `${renderQueue(image, name, found, last ?? LAST_SHOWN)}\n${ok ? 'ok' : 'NOT OK'}: ${counts.history} consumed, ${counts.pending} pending, ${counts.unknown} unknown, ${counts.strayFields} reserved fields not 0\n`,
  };
}

/** A queue entry with its fields by name; those that are zero are left out, as are reserved ones. */
function flatEntry({ index, name, number, words, entry }: QueueEntry): object {
  const fields = nonZero(entry?.fields ?? []).map((field) => [field.name, field.value]);
  const stray = entry?.stray ?? [];
  return {
    index,
    name,
    number,
    words,
    fields: Object.fromEntries(fields),
    ...(stray.length > 0 ? { stray } : {}),
  };
}

import { fromBigInt, hex, parseHex64, type U64 } from '@iommukit/bits';
import { InputError } from '@iommukit/captures';
import {
  cdReports,
  commandQueueOf,
  type DumpImage,
  domainsOf,
  eventQueueOf,
  mapsOf,
  openDump,
  type QueueEntry,
  type QueueReport,
  type StreamMaps,
  steReports,
  verifyCapture,
  walkAccess,
  whyNoSte,
} from '@iommukit/diagnose';
import { type Command, InvalidArgumentError, Option } from 'commander';
import type { Streams } from './command-line.ts';
import {
  entriesOk,
  entryCounts,
  nonZero,
  renderEntries,
  renderWalk,
  short,
} from './inspect-entries.ts';
import { inspectJson } from './inspect-json.ts';
import {
  queueCounts,
  renderDomains,
  renderMaps,
  renderQueue,
  renderVerify,
} from './inspect-tables.ts';

interface DumpFlags {
  readonly json?: boolean;
  readonly dump?: string;
}

interface WalkFlags extends DumpFlags {
  readonly write?: boolean;
  readonly privileged?: boolean;
  readonly instruction?: boolean;
}

interface QueueFlags extends DumpFlags {
  readonly last?: number;
}

/** What a subcommand found: the members of its JSON object beside `ok` and `summary`, and its text. */
interface Found {
  readonly ok: boolean;
  readonly summary: object;
  readonly members: object;
  readonly text: () => string;
}

const NUMBER = /^(?:0x[0-9a-f]{1,16}|[0-9]{1,20})$/i;

/** A 64-bit value: decimal, or hexadecimal with 0x. */
function wide(text: string): U64 {
  const value = NUMBER.test(text) ? BigInt(text) : 2n ** 64n;
  if (value >= 2n ** 64n)
    throw new InvalidArgumentError('Expected a 64-bit number, decimal or with 0x.');
  return parseHex64(`0x${value.toString(16)}`) ?? fromBigInt(value);
}

function bounded(bits: number, what: string): (text: string) => number {
  return (text) => {
    const value = NUMBER.test(text) ? Number(text) : Number.POSITIVE_INFINITY;
    if (value >= 2 ** bits)
      throw new InvalidArgumentError(`Expected ${what} of ${bits} bits, decimal or with 0x.`);
    return value;
  };
}

const sidOf = bounded(32, 'a StreamID');
const ssidOf = bounded(20, 'a SubstreamID');
const countOf = bounded(32, 'a count');

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

function walk(image: DumpImage, args: readonly [number, string, string?], flags: WalkFlags): Found {
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

function maps(image: DumpImage, streamId: number | undefined): Found {
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

function domains(image: DumpImage): Found {
  const found = domainsOf(image);
  const streams = found.groups.reduce((sum, group) => sum + group.streams.length, 0);
  return {
    ok: streams > 0 && found.conflicts.length === 0,
    summary: { groups: found.groups.length, streams, conflicts: found.conflicts.length },
    members: found,
    text: () => `${renderDomains(image, found)}\n`,
  };
}

function stes(image: DumpImage, streamId: number | undefined): Found {
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

function cds(image: DumpImage, streamId?: number, substreamId?: number): Found {
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

function queue(
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

/** Adds `inspect` and its subcommands; `done` gets the exit code. */
export function addInspectCommand(
  program: Command,
  streams: Streams,
  done: (exitCode: number) => void,
): void {
  const inspect = program
    .command('inspect')
    .description('look at the memory of a dump as the SMMU sees it');
  const on = (name: string, description: string): Command =>
    inspect
      .command(name)
      .description(description)
      .argument(
        '<dump>',
        'a .snap.json file, the folder of a capture, or the name of a shipped one',
      )
      .option('--json', 'print one JSON object')
      .addOption(new Option('--dump <tag>', 'which dump of a capture, such as idle or busy'));
  const run = (path: string, flags: DumpFlags, look: (image: DumpImage) => Found): void => {
    const image = openDump(path, flags.dump);
    const { ok, summary, members, text } = look(image);
    const { capture, tag, file } = image;
    const object = { ok, summary, dump: { capture, tag, file }, ...members };
    streams.out(flags.json === true ? inspectJson(object) : text());
    done(ok ? 0 : 1);
  };
  on('walk', 'one access: every fetch with its words, fields and section, and the result')
    .argument('<sid>', 'StreamID', sidOf)
    .argument('<ssid-or-iova>', 'SubstreamID when an address follows, else the address')
    .argument('[iova]', 'input address')
    .option('--write', 'a write instead of a read')
    .option('--privileged', 'a privileged access')
    .option('--instruction', 'an instruction fetch')
    .action((path: string, sid: number, a: string, b: string | undefined, flags: WalkFlags) => {
      // Refused before the dump is read.
      wideArgument(b ?? a);
      if (b !== undefined) ssidArgument(a);
      run(path, flags, (image) => walk(image, b === undefined ? [sid, a] : [sid, a, b], flags));
    });
  on('maps', 'every mapping of a stream, or of all, as ranges')
    .argument('[sid]', 'StreamID', sidOf)
    .action((path: string, sid: number | undefined, flags: DumpFlags) =>
      run(path, flags, (image) => maps(image, sid)),
    );
  on('domains', 'streams by what they share: CD, ASID, VMID, tables').action(
    (path: string, flags: DumpFlags) => run(path, flags, domains),
  );
  on('ste', 'stream table entries: the valid ones, or that of a stream')
    .argument('[sid]', 'StreamID', sidOf)
    .action((path: string, sid: number | undefined, flags: DumpFlags) =>
      run(path, flags, (image) => stes(image, sid)),
    );
  on('cd', 'context descriptors: all, those of a stream, or one')
    .argument('[sid]', 'StreamID', sidOf)
    .argument('[ssid]', 'SubstreamID', ssidOf)
    .action((path: string, sid: number | undefined, ssid: number | undefined, flags: DumpFlags) =>
      run(path, flags, (image) => cds(image, sid, ssid)),
    );
  on('cmdq', 'the command queue: what is pending, and what is still in memory')
    .option('--last <n>', 'consumed entries to show (text: 20, JSON: all)', countOf)
    .action((path: string, flags: QueueFlags) =>
      run(path, flags, (image) => queue(image, 'command', commandQueueOf(image), flags.last)),
    );
  on('evtq', 'the event queue: what is pending, and what is still in memory')
    .option('--last <n>', 'consumed entries to show (text: 20, JSON: all)', countOf)
    .action((path: string, flags: QueueFlags) =>
      run(path, flags, (image) => queue(image, 'event', eventQueueOf(image), flags.last)),
    );
  inspect
    .command('verify')
    .description('load the dumps of a capture into the model and compare with what was recorded')
    .argument('<capture>', 'folder of a capture, one of its .snap.json files, or a shipped one')
    .option('--json', 'print one JSON object')
    .action((path: string, flags: DumpFlags) => {
      const report = verifyCapture(path);
      streams.out(flags.json === true ? inspectJson(report) : renderVerify(report));
      done(report.ok ? 0 : 1);
    });
}

/** An argument whose meaning depends on the others, in the words of a bad argument. */
function wideArgument(text: string): void {
  refused(text, 'iova', () => wide(text));
}

function ssidArgument(text: string): void {
  refused(text, 'ssid', () => ssidOf(text));
}

function refused(text: string, name: string, parse: () => unknown): void {
  try {
    parse();
  } catch (error) {
    if (error instanceof InvalidArgumentError)
      throw new InputError({
        file: `argument ${name} '${text}'`,
        expected: lowered(error.message),
      });
    throw error;
  }
}

function lowered(message: string): string {
  return message.replace(/^Expected /, '').replace(/\.$/, '');
}

import {
  commandQueueOf,
  type DumpImage,
  eventQueueOf,
  openDump,
  verifyCapture,
} from '@iommukit/diagnose';
import { type Command, Option } from 'commander';
import { countOf, sidOf, ssidArgument, ssidOf, wideArgument } from './inspect-arguments.ts';
import {
  type AccessFlags,
  cds,
  domains,
  type Found,
  maps,
  queue,
  stes,
  walk,
} from './inspect-findings.ts';
import { inspectJson } from './inspect-json.ts';
import { renderVerify } from './inspect-tables.ts';
import type { Streams } from './streams.ts';

interface DumpFlags {
  readonly json?: boolean;
  readonly dump?: string;
}

type WalkFlags = DumpFlags & AccessFlags;

interface QueueFlags extends DumpFlags {
  readonly last?: number;
}

/** What each subcommand is built with. */
interface Inspection {
  /** A subcommand on a dump. */
  on(name: string, description: string): Command;
  /** Looks at a dump and prints what is found. */
  run(path: string, flags: DumpFlags, look: (image: DumpImage) => Found): void;
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
  const inspection: Inspection = {
    on: (name, description) =>
      inspect
        .command(name)
        .description(description)
        .argument(
          '<dump>',
          'a .snap.json file, the folder of a capture, or the name of a shipped one',
        )
        .option('--json', 'print one JSON object')
        .addOption(new Option('--dump <tag>', 'which dump of a capture, such as idle or busy')),
    run: (path, flags, look) => {
      const image = openDump(path, flags.dump);
      const { ok, summary, members, text } = look(image);
      const { capture, tag, file } = image;
      const object = { ok, summary, dump: { capture, tag, file }, ...members };
      streams.out(flags.json === true ? inspectJson(object) : text());
      done(ok ? 0 : 1);
    },
  };
  addTranslations(inspection);
  addEntries(inspection);
  addQueues(inspection);
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

/** Where addresses lead. */
function addTranslations({ on, run }: Inspection): void {
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
}

/** Stream table entries and context descriptors. */
function addEntries({ on, run }: Inspection): void {
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
}

function addQueues({ on, run }: Inspection): void {
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
}

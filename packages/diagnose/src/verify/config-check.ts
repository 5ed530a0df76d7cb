import { CD, STE } from '@iommukit/arm-arch';
import { hex, hex64 } from '@iommukit/bits';
import type { RegisterDump, SnapshotQueue, SnapshotSte } from '@iommukit/captures';
import type { DumpImage } from '../dump-image.ts';
import { cdReports, type SteReport, steReports } from '../entry-reports.ts';
import { loadWords, wordsOf } from '../field-view.ts';
import type { QueuePlace } from '../programming.ts';
import { contextsOf, hasStage1, readStream } from '../stream-config.ts';
import type { VerifyTally } from './verify-tally.ts';

/** What the dump's author read from registers, stream table and CDs against what we read, and the model's view of each entry. */
export function compareConfig(
  image: DumpImage,
  registers: RegisterDump | undefined,
  tally: VerifyTally,
): void {
  const { programming, snapshot } = image;
  for (const [offset, value] of registers?.registers ?? []) {
    const ours = programming.registers.get(offset);
    tally.compare(
      ours === value
        ? undefined
        : `register ${hex(offset)}: ${hex(ours ?? 0)}, regs.json ${hex(value)}`,
    );
  }
  const { cmdq, evtq, strtab } = snapshot.meta;
  compareQueue('CMDQ', programming.commandQueue, cmdq, tally);
  compareQueue('EVENTQ', programming.eventQueue, evtq, tally);
  const table = programming.streamTable;
  const ours = [
    table.base,
    table.twoLevel ? 1 : 0,
    table.log2Size,
    table.twoLevel ? table.split : 0,
  ];
  const said = [strtab.base, strtab.fmt, strtab.log2size, strtab.fmt === 1 ? strtab.split : 0];
  tally.compare(
    ours.join() === said.join()
      ? undefined
      : `stream table: ${ours.map(hex).join()}, the dump says ${said.map(hex).join()}`,
  );
  compareStreams(image, tally);
}

function compareQueue(
  name: string,
  ours: QueuePlace,
  said: SnapshotQueue,
  tally: VerifyTally,
): void {
  const index = 2 ** (ours.log2Size + 1);
  const a = [ours.base, ours.log2Size, ours.prod % index, ours.cons % index];
  const b = [said.pa, said.log2, said.prod % index, said.cons % index];
  tally.compare(
    a.join() === b.join()
      ? undefined
      : `${name}: ${a.map(hex).join()}, the dump says ${b.map(hex).join()}`,
  );
}

function compareStreams(image: DumpImage, tally: VerifyTally): void {
  const { snapshot } = image;
  const reports = steReports(image);
  tally.compare(
    reports.length === snapshot.validStes
      ? undefined
      : `${reports.length} valid STEs, the dump says ${snapshot.validStes}`,
  );
  const listed = new Map(snapshot.stes.map((ste) => [ste.sid, ste]));
  for (const report of reports) {
    const said = listed.get(report.streamId);
    listed.delete(report.streamId);
    const name = `STE ${hex(report.streamId)}`;
    tally.compare(report.verdict !== 'illegal' ? undefined : `${name}: ${report.because}`);
    if (said === undefined)
      tally.compare(
        report.mode === 'abort' ? undefined : `${name}: ${report.mode}, the dump says abort`,
      );
    else compareStream(image, report, said, tally);
  }
  for (const sid of listed.keys()) tally.differ(`STE ${hex(sid)}: not valid in memory`);
  for (const cd of cdReports(image))
    tally.compare(
      cd.verdict !== 'illegal'
        ? undefined
        : `CD ${cd.substreamId} of ${hex(cd.streamId)}: ${cd.because}`,
    );
}

/** Each named field of a listed STE and of its CD, as text. */
function compareStream(
  image: DumpImage,
  report: SteReport,
  said: SnapshotSte,
  tally: VerifyTally,
): void {
  const at = report.entry.address;
  const stream = readStream(image, report.streamId, at.hi * 2 ** 32 + at.lo);
  const name = `STE ${hex(report.streamId)}`;
  const words = report.entry.words.slice(0, said.d.length).map(hex64).join(' ');
  const theirs = said.d.map(hex64).join(' ');
  tally.compare(words === theirs ? undefined : `${name}: ${words}, the dump says ${theirs}`);
  const config = STE.get.Config(stream.words);
  tally.compare(
    config === said.config ? undefined : `${name}: Config ${config}, the dump says ${said.config}`,
  );
  if (!hasStage1(stream.mode) || said.cd === undefined) return;
  const [context] = contextsOf(image, stream);
  if (context === undefined) {
    tally.differ(`${name}: no CD in memory`);
    return;
  }
  const { get } = CD;
  const cd = loadWords(image.memory, context.at, CD.lanes);
  const lanes = wordsOf(cd);
  const pairs: readonly [string, string, string | undefined][] = [
    ['address', hex(context.at), text(said.cd)],
    ['dword 0', hex64(lanes[0] ?? { lo: 0, hi: 0 }), said.cd0 && hex64(said.cd0)],
    ['ASID', hex(get.ASID(cd)), text(said.asid)],
    ['T0SZ', hex(get.T0SZ(cd)), text(said.t0sz)],
    ['TTB0', hex(get.TTB0(cd)), text(said.ttb0)],
    ['TG0', hex(get.TG0(cd)), text(said.tg0)],
    ['IPS', hex(get.IPS(cd)), text(said.ips)],
    ['MAIR', hex64(lanes[3] ?? { lo: 0, hi: 0 }), said.mair && hex64(said.mair)],
  ];
  for (const [field, mine, other] of pairs)
    if (other !== undefined)
      tally.compare(
        mine === other ? undefined : `${name}: CD ${field} ${mine}, the dump says ${other}`,
      );
}

function text(value: number | undefined): string | undefined {
  return value === undefined ? undefined : hex(value);
}

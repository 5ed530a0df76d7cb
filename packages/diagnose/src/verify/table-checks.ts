import { CD } from '@iommukit/arm-arch';
import { hex } from '@iommukit/bits';
import type { LeafRow, TruthRow, VerdictRow } from '@iommukit/captures';
import type { DmaResult, SmmuV3Model } from '@iommukit/smmu-v3-model';
import type { DumpImage } from '../dump-image.ts';
import { accessOf, modelOfDump, outcomeName } from '../dump-model.ts';
import { leavesOf } from '../leaves.ts';
import { newNotes } from '../map-ranges.ts';
import { contextsOf, readStream } from '../stream-config.ts';
import { streamEntries } from '../stream-entries.ts';
import { stage1Shape, type TableShape } from '../table-shape.ts';
import type { VerifyTally } from './verify-tally.ts';

/** The lines of truth.jsonl that match: the model finds QEMU's address in the dumped tables. */
export function compareTruth(
  image: DumpImage,
  rows: readonly TruthRow[],
  tally: VerifyTally,
): void {
  const model = modelOfDump(image);
  for (const row of rows) {
    const rw = row.perm >= 2 ? 'write' : 'read';
    const result = answer(image, model, row, rw);
    tally.compare(
      result.outcome === 'ok' && result.paddr === row.pa
        ? undefined
        : `truth line ${row.line}: ${where(row)}: ${said(result)}, QEMU ok ${hex(row.pa)}`,
    );
  }
}

/** The lines of qemu-verdicts.jsonl: what a write did on the reloaded dump. */
export function compareVerdicts(
  image: DumpImage,
  rows: readonly VerdictRow[],
  tally: VerifyTally,
): void {
  const model = modelOfDump(image);
  for (const row of rows) {
    const ours = said(answer(image, model, row, 'write'));
    const theirs = row.qemuWrite === 'ok' ? `ok ${hex(row.pa ?? 0)}` : row.qemuWrite;
    tally.compare(
      ours === theirs
        ? undefined
        : `verdicts line ${row.line}: ${where(row)}: ${ours}, QEMU ${theirs}`,
    );
  }
}

/** One access on an unchanged dump: what an earlier one stored is undone. */
function answer(
  image: DumpImage,
  model: SmmuV3Model,
  row: TruthRow | VerdictRow,
  rw: 'read' | 'write',
): DmaResult {
  const result = model.translate(accessOf(row.sid, row.iovaWord, { rw }));
  image.memory.restore();
  return result;
}

/** A result in the words of the verdict files. */
export function said(result: DmaResult): string {
  return result.outcome === 'ok' ? `ok ${hex(result.paddr)}` : outcomeName(result);
}

function where(row: { readonly sid: number; readonly iova: number }): string {
  return `stream ${hex(row.sid)} ${hex(row.iova)}`;
}

/** The leaves that the dump's author listed against those that our reader finds, both ways. */
export function compareLeaves(
  image: DumpImage,
  rows: readonly LeafRow[],
  tally: VerifyTally,
): void {
  const ours = new Set(leafKeys(image));
  for (const row of rows) {
    const { sid, iova, size, pa, pte } = row;
    const key = leafKey(sid, iova, { size, output: pa, word: pte });
    const found = ours.delete(key);
    tally.compare(
      found ? undefined : `leaves line ${row.line}: ${where(row)}: ${key} is not in our maps`,
    );
  }
  for (const key of ours) tally.differ(`leaf ${key} is in our maps only`);
}

function leafKey(
  streamId: number,
  input: number,
  leaf: {
    readonly size: number;
    readonly output: number;
    readonly word: { readonly lo: number; readonly hi: number };
  },
): string {
  const { size, output, word } = leaf;
  return `${hex(streamId)} ${hex(input)} ${hex(size)} ${hex(output)} ${hex(word.hi)}:${hex(word.lo)}`;
}

function* leafKeys(image: DumpImage): Generator<string> {
  for (const { streamId, at } of streamEntries(image)) {
    const stream = readStream(image, streamId, at);
    const through = stream.stage2;
    const shapes: { shape: TableShape; through: TableShape | undefined }[] = [];
    for (const { words } of contextsOf(image, stream))
      for (const half of ['lower', 'upper'] as const) {
        const shape = CD.get.V(words) === 1 ? stage1Shape(words, half) : undefined;
        if (shape !== undefined) shapes.push({ shape, through });
      }
    if (through !== undefined) shapes.push({ shape: through, through: undefined });
    for (const one of shapes)
      for (const leaf of leavesOf({ image, through: one.through }, one.shape, newNotes()))
        yield leafKey(streamId, leaf.input, leaf);
  }
}

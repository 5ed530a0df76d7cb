import { REGISTER_OFFSET as R } from '@iommukit/arm-arch';
import { hex } from '@iommukit/bits';
import type { QemuUntranslated } from '@iommukit/captures';
import type { DmaResult } from '@iommukit/smmu-v3-model';
import type { DumpImage } from '../dump-image.ts';
import { accessOf, modelOfDump, outcomeName } from '../dump-model.ts';
import { eventQueueOf } from '../queue-report.ts';
import type { CommandLog } from './command-log.ts';
import type { VerifyTally } from './verify-tally.ts';

/** GBPA.Update reads as zero once the update is done. */
const UPDATE = 2 ** 31;

/** Part of the log: positions in `ops`. */
export interface LogPart {
  readonly from: number;
  readonly to: number;
}

/**
 * Accesses that QEMU let pass (`By`, `Di`) or aborted (`Ab`): the model does the same with the dump's tables and the registers of that
 * moment. Where it does not, a CMD_CFGI_STE of the stream between the access and the dump explains it.
 */
export function compareUntranslated(
  image: DumpImage,
  log: CommandLog,
  part: LogPart,
  tally: VerifyTally,
): void {
  const { ops } = log.digest;
  const registers = new Map<number, number>([
    [R.CR0, 0],
    [R.CR0ACK, 0],
    [R.GBPA, image.programming.registers.get(R.GBPA) ?? 0],
  ]);
  const model = modelOfDump(image);
  let moved = true;
  let commands = 0;
  let changedSince = false;
  for (const [i, op] of ops.entries()) {
    if (i >= part.to) return;
    if (op.op === 'C') {
      commands++;
      if (i >= log.end && op.opcode.startsWith('CFGI_')) changedSince = true;
    } else if (op.op === 'W' && (op.offset === R.CR0 || op.offset === R.GBPA)) {
      registers.set(op.offset, op.offset === R.GBPA ? op.lo % UPDATE : op.lo);
      if (op.offset === R.CR0) registers.set(R.CR0ACK, op.lo);
      moved = true;
    } else if ((op.op === 'By' || op.op === 'Di' || op.op === 'Ab') && i >= part.from) {
      if (moved) model.restoreRegisters(new Map([...image.programming.registers, ...registers]));
      moved = false;
      const address = { lo: op.iovaLo, hi: op.iovaHi };
      const rw = op.isWrite ? 'write' : 'read';
      const result = model.translate(accessOf(op.sid, address, { rw }));
      image.memory.restore();
      const other = changedSince || (i < log.end && log.reconfigures(op.sid, commands));
      const difference = differenceOf(op, result);
      if (difference !== undefined && other) tally.explain('reconfigured');
      else tally.compare(difference);
    }
  }
}

/** What the model did otherwise than QEMU; undefined where it did the same. */
function differenceOf(op: QemuUntranslated, result: DmaResult): string | undefined {
  const expected = op.op === 'Ab' ? 'abort' : 'bypass';
  if (result.outcome === expected && (result.outcome !== 'bypass' || result.paddr === op.iova))
    return undefined;
  return `qemu-ops line ${op.line}: stream ${hex(op.sid)} ${hex(op.iova)}: ${outcomeName(result)}, QEMU ${expected}`;
}

/** The records of the dump's event queue against the events that QEMU logged, type and stream, the last ones. */
export function compareEvents(image: DumpImage, log: CommandLog, tally: VerifyTally): void {
  const queue = eventQueueOf(image);
  const records = [...queue.history, ...queue.pending];
  const theirs = log.digest.ops
    .slice(0, log.end)
    .flatMap((op) => (op.op === 'E' ? [`${op.type} ${hex(op.sid)}`] : []));
  const shared = theirs.slice(Math.max(0, theirs.length - records.length));
  // What an overflow lost is in no queue; without one, every event is there.
  const lost = theirs.length - shared.length;
  if (lost > 0 && queue.error === undefined && records.length < 2 ** queue.log2Size)
    tally.differ(`${lost} events of QEMU's log are not in the queue`);
  for (const [i, record] of records.entries()) {
    const ours = `${record.name ?? 'unknown'} ${hex(record.words[0]?.hi ?? 0)}`;
    tally.compare(
      ours === shared[i]
        ? undefined
        : `event ${record.index}: ${ours}, QEMU ${shared[i] ?? 'none'}`,
    );
  }
}

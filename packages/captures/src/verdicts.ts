import { fromLanes, type U64 } from '@iommukit/bits';
import { type Rows, readRows } from './json-record.ts';

/**
 * What a fresh QEMU said to a device write at `iova` after it had loaded the snapshot: `ok` or an event's name.
 * `pa` (bytes, exact) and `pte` are absent where the tables hold nothing.
 * @example const faulted = (row: VerdictRow) => row.qemuWrite !== 'ok';
 */
export interface VerdictRow {
  readonly line: number;
  readonly sid: number;
  readonly iova: number;
  readonly iovaWord: U64;
  readonly pa: number | undefined;
  readonly pte: U64 | undefined;
  readonly qemuWrite: string;
}

/**
 * Reads `DUMP-*.qemu-verdicts.jsonl`; malformed lines count as unread. Throws {@link InputError} for an unreadable file.
 * @example readVerdicts('DUMP-IDLE.qemu-verdicts.jsonl').rows.length
 */
export function readVerdicts(path: string): Rows<VerdictRow> {
  return readRows(path, (r, line) => {
    const iovaWord = r.word('iova');
    return {
      line,
      sid: r.count('sid'),
      iova: fromLanes(iovaWord.lo, iovaWord.hi),
      iovaWord,
      pa: r.has('pa') ? r.address('pa') : undefined,
      pte: r.has('pte') ? r.word('pte') : undefined,
      qemuWrite: r.text('qemuWrite'),
    };
  });
}

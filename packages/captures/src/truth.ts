import { fromLanes, type U64 } from '@iommukit/bits';
import { RecordError, type Rows, readRows } from './json-record.ts';

/**
 * QEMU's last translation of a (sid, page) that was not invalidated before the dump. Addresses keep their low bits: `iova` and
 * `pa` are exact below 2^53, the words always. `perm`: 1 read, 2 write, 3 both. `asid` is -1 for stage 2 alone, as QEMU prints it.
 * `not-in-tables`: the entry was already cleared, its invalidation not yet issued.
 * @example const stale = (row: TruthRow) => row.atSnapshot === 'not-in-tables';
 */
export interface TruthRow {
  readonly line: number;
  readonly sid: number;
  readonly asid: number;
  readonly vmid: number;
  readonly iova: number;
  readonly iovaWord: U64;
  readonly pa: number;
  readonly paWord: U64;
  readonly perm: number;
  readonly stage: number;
  readonly atSnapshot: 'match' | 'not-in-tables';
}

/**
 * Reads `DUMP-*.truth.jsonl`; malformed lines count as unread. Throws {@link InputError} for an unreadable file.
 * @example readTruth('DUMP-IDLE.truth.jsonl').rows[0]
 */
export function readTruth(path: string): Rows<TruthRow> {
  return readRows(path, (r, line) => {
    const iovaWord = r.word('iova');
    const paWord = r.word('pa');
    const atSnapshot = r.text('atSnapshot');
    if (atSnapshot !== 'match' && atSnapshot !== 'not-in-tables')
      throw new RecordError('atSnapshot to be "match" or "not-in-tables"');
    return {
      line,
      sid: r.count('sid'),
      asid: r.tag('asid'),
      vmid: r.tag('vmid'),
      iova: fromLanes(iovaWord.lo, iovaWord.hi),
      iovaWord,
      pa: fromLanes(paWord.lo, paWord.hi),
      paWord,
      perm: r.count('perm'),
      stage: r.count('stage'),
      atSnapshot,
    };
  });
}

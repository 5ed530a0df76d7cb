import { fromLanes, type U64 } from '@iommukit/bits';
import { type Rows, readRows } from './json-record.ts';

/**
 * One leaf descriptor of a dump: `size` bytes at `iova` map to `pa`; `pte` is the descriptor, `contig` its Contiguous bit.
 * @example const end = (row: LeafRow) => row.iova + row.size;
 */
export interface LeafRow {
  readonly line: number;
  readonly sid: number;
  readonly iova: number;
  readonly iovaWord: U64;
  readonly size: number;
  readonly pa: number;
  readonly pte: U64;
  readonly contig: boolean;
}

/**
 * Reads `DUMP-*.leaves.jsonl`; malformed lines count as unread. Throws {@link InputError} for an unreadable file.
 * @example readLeaves('DUMP-IDLE.leaves.jsonl').rows.length
 */
export function readLeaves(path: string): Rows<LeafRow> {
  return readRows(path, (r, line) => {
    const iovaWord = r.word('iova');
    return {
      line,
      sid: r.count('sid'),
      iova: fromLanes(iovaWord.lo, iovaWord.hi),
      iovaWord,
      size: r.count('size'),
      pa: r.address('pa'),
      pte: r.word('pte'),
      contig: r.flag('contig'),
    };
  });
}

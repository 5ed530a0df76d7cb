import type { UnreadLine } from './input-error.ts';
import { eachLine, LineScanner } from './line-scanner.ts';

/**
 * A row of `/proc/iomem`: [start, last] (both inclusive, as printed), nesting depth from 0.
 * @example const bytes = (w: IomemRange) => w.last - w.start + 1;
 */
export interface IomemRange {
  readonly start: number;
  readonly last: number;
  readonly name: string;
  readonly depth: number;
}

/**
 * All rows in order; `lines` counts the unread ones too.
 * @example const top = (m: Iomem) => m.ranges.filter((r) => r.depth === 0);
 */
export interface Iomem {
  readonly ranges: IomemRange[];
  readonly unread: UnreadLine[];
  readonly lines: number;
}

/**
 * Reads the text of `/proc/iomem`; malformed lines count as unread.
 * @example parseIomem('10000000-3efeffff : pcie@10000000\n', 'iomem.txt').ranges[0]
 */
export function parseIomem(text: string, file: string): Iomem {
  const ranges: IomemRange[] = [];
  const unread: UnreadLine[] = [];
  const s = new LineScanner();
  const lines = eachLine(text, (from, end, line) => {
    if (from === end) return;
    s.open(text, from, end);
    s.spaces();
    const depth = (s.pos - from) / 2;
    const start = s.hex();
    s.literal('-');
    const last = s.hex();
    s.literal(' : ');
    const name = s.rest();
    if (last < start) s.fail('an end that is not below the start');
    if (s.done()) ranges.push({ start, last, name, depth });
    else unread.push({ file, line, expected: s.expected });
  });
  return { ranges, unread, lines };
}

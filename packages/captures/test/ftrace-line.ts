import { expect } from 'vitest';
import { parseFtrace, type TraceEvent } from '../src/index.ts';

/** What stands before the payload of a line. */
export const HEAD = '          <idle>-0       [001] d.h2.    25.169687: ';

/** The event of a line that is read. */
export function one(line: string): TraceEvent | undefined {
  const { events, unread } = parseFtrace(line, 'f');
  expect(unread).toEqual([]);
  return events[0];
}

import type { EventHeader, TraceEvent } from './ftrace-event.ts';
import { type LineHeader, readTimestamp } from './ftrace-line.ts';
import { PAYLOADS, readMark } from './ftrace-payload.ts';
import type { UnreadLine } from './input-error.ts';
import { eachLine, LineScanner } from './line-scanner.ts';

/**
 * A whole guest digest; the fields of the same name in {@link FtraceTrace}.
 * @example const bad = (d: GuestDigest) => d.unread.length;
 */
export interface GuestDigest {
  readonly events: TraceEvent[];
  readonly unread: UnreadLine[];
  readonly lines: number;
  readonly other: ReadonlyMap<string, number>;
}

function readMap(s: LineScanner, h: EventHeader): TraceEvent {
  s.literal('0x');
  const iova = s.hex();
  s.literal(' 0x');
  const paddr = s.hex();
  s.literal(' ');
  const size = s.decimal();
  const { line, tsUs, cpu, pid, context } = h;
  return { event: 'map', line, tsUs, cpu, pid, context, iova, paddr, size };
}

function readUnmap(s: LineScanner, h: EventHeader): TraceEvent {
  s.literal('0x');
  const iova = s.hex();
  s.literal(' ');
  const size = s.decimal();
  s.literal(' ');
  const unmappedSize = s.decimal();
  const { line, tsUs, cpu, pid, context } = h;
  return { event: 'unmap', line, tsUs, cpu, pid, context, iova, size, unmappedSize };
}

const READERS: typeof PAYLOADS = new Map([
  ...PAYLOADS,
  ['map', readMap],
  ['unmap', readUnmap],
  ['mark', readMark],
]);

/**
 * Reads `guest-ops.txt`, the digest `SECONDS CPU PID EVENT ARGUMENTS` of a guest trace. It has no flags column, so
 * `context` is always the pid: use the full trace where nesting matters.
 * @example parseGuestOps('1.866696 000 27 map 0x00000000fffff000 0x0000000008090000 4096', 'g').events
 */
export function parseGuestOps(text: string, file: string): GuestDigest {
  const events: TraceEvent[] = [];
  const unread: UnreadLine[] = [];
  const other = new Map<string, number>();
  const s = new LineScanner();
  const h: LineHeader = { line: 0, tsUs: 0, cpu: 0, pid: 0, context: 0 };
  const lines = eachLine(text, (start, end, line) => {
    if (start === end) return;
    s.open(text, start, end);
    h.line = line;
    h.tsUs = readTimestamp(s);
    s.literal(' ');
    h.cpu = s.decimal();
    s.literal(' ');
    h.pid = s.decimal();
    h.context = h.pid;
    s.literal(' ');
    const name = s.name('an event name');
    if (s.expected === '') {
      s.spaces();
      const reader = READERS.get(name);
      if (reader === undefined) {
        other.set(name, (other.get(name) ?? 0) + 1);
        return;
      }
      const event = reader(s, h);
      if (s.done()) {
        events.push(event);
        return;
      }
    }
    unread.push({ file, line, expected: s.expected });
  });
  return { events, unread, lines, other };
}

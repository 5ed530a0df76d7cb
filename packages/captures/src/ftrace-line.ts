import type { EventHeader } from './ftrace-event.ts';
import type { LineScanner } from './line-scanner.ts';

const SPACE = 32;
const DASH = 45;
const COLON = 58;
const OPEN_BRACKET = 91;

// The kernel right-aligns TASK in this many columns (a task name has at most 15 characters).
const TASK_COLUMNS = 16;
const ENVELOPE = 'TASK-PID [CPU] FLAGS SECONDS.MICROSECONDS: EVENT:';

/** The envelope of the line read last; reused, because every event copies what it needs. */
export interface LineHeader extends EventHeader {
  line: number;
  tsUs: number;
  cpu: number;
  pid: number;
  context: number;
}

/** Seconds with a fraction, as whole microseconds. Six digits are the `local`, `mono` and similar clocks; nine come with `-t ns`. */
export function readTimestamp(s: LineScanner): number {
  const seconds = s.decimal();
  s.literal('.');
  const start = s.pos;
  const fraction = s.decimal();
  const digits = s.pos - start;
  if (digits === 6) return seconds * 1e6 + fraction;
  if (digits === 9) return seconds * 1e6 + Math.floor(fraction / 1e3);
  s.fail('a timestamp with 6 or 9 digits after the point');
  return 0;
}

function isDigit(code: number): boolean {
  return code >= 48 && code <= 57;
}

// From the "-" before the pid up to the blank after "]"; false leaves the scanner anywhere.
function readPidAndCpu(s: LineScanner, dash: number, h: LineHeader): boolean {
  s.pos = dash + 1;
  if (!isDigit(s.peek())) return false;
  h.pid = s.decimal();
  if (s.peek() !== SPACE) return false;
  s.spaces();
  // The record-tgid option puts the thread group here.
  if (s.skip('(')) {
    while (s.pos < s.end && !s.skip(')')) s.pos++;
    s.spaces();
  }
  if (!s.skip('[') || !isDigit(s.peek())) return false;
  const cpuStart = s.pos;
  h.cpu = s.decimal();
  return s.pos - cpuStart >= 3 && s.skip('] ');
}

// A task name may hold blanks, dashes and brackets, so the first place where all of "-PID [CPU] " stands is looked for.
function findPidAndCpu(s: LineScanner, h: LineHeader): boolean {
  const { text, end, pos: start } = s;
  for (let bracket = start; bracket < end; bracket++) {
    if (text.charCodeAt(bracket) !== OPEN_BRACKET) continue;
    for (let dash = bracket - 1; dash >= start; dash--) {
      if (text.charCodeAt(dash) !== DASH || !isDigit(text.charCodeAt(dash + 1))) continue;
      if (readPidAndCpu(s, dash, h)) return true;
      break;
    }
  }
  return false;
}

/**
 * Reads `TASK-PID [CPU] FLAGS TIME: EVENT: ` and leaves the scanner at the payload. Returns the event's name; what was
 * missed is in `s.expected`.
 */
export function readEnvelope(s: LineScanner, h: LineHeader): string {
  const start = s.pos;
  const column = start + TASK_COLUMNS;
  const usual = column < s.end && s.text.charCodeAt(column) === DASH && readPidAndCpu(s, column, h);
  if (!usual) {
    s.pos = start;
    if (!findPidAndCpu(s, h)) {
      s.fail(ENVELOPE);
      return '';
    }
  }
  s.spaces();
  h.context = h.pid;
  // The flags are absent with the noirq-info option.
  if (!isDigit(s.peek())) {
    const interrupt = s.text.charCodeAt(s.pos + 2);
    // h and H: hard interrupt, H over a soft one; z and Z: NMI; s: soft interrupt.
    if (interrupt === 104 || interrupt === 72 || interrupt === 122 || interrupt === 90)
      h.context = -1 - 2 * h.cpu;
    else if (interrupt === 115) h.context = -2 - 2 * h.cpu;
    while (s.pos < s.end && s.text.charCodeAt(s.pos) !== SPACE) s.pos++;
    s.spaces();
  }
  h.tsUs = readTimestamp(s);
  s.literal(': ');
  if (s.expected !== '') return '';
  s.spaces();
  const word = s.word();
  if (word.charCodeAt(word.length - 1) !== COLON) {
    s.fail('an event name and ":"');
    return '';
  }
  s.spaces();
  return word;
}

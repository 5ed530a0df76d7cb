import type { PayloadReader } from './dma-payload.ts';
import type { TraceEvent } from './ftrace-event.ts';
import { type LineHeader, readEnvelope } from './ftrace-line.ts';
import { PAYLOADS } from './ftrace-payload.ts';
import type { UnreadLine } from './input-error.ts';
import { eachLine, LineScanner } from './line-scanner.ts';

const HASH = 35;
const IOMMU_NAMES: ReadonlySet<string> = new Set(['map:', 'unmap:']);

// The envelope yields the name with its colon: a map with the colon in its keys saves cutting it off.
const READERS: ReadonlyMap<string, PayloadReader> = new Map(
  [...PAYLOADS].map(([name, read]) => [`${name}:`, read]),
);

/**
 * Events that the kernel's ring buffer dropped, from a `CPU:n [LOST m EVENTS]` line; `events` is -1 when the line has no count.
 * @example const gap: LostEvents = { line: 9, cpu: 2, events: 11745 };
 */
export interface LostEvents {
  readonly line: number;
  readonly cpu: number;
  readonly events: number;
}

/**
 * The `# entries-in-buffer/entries-written: a/b   #P:n` line. `entries < written`: the start of the trace is lost.
 * @example const lost = (h: FtraceHeader) => h.written - h.entries;
 */
export interface FtraceHeader {
  readonly entries: number;
  readonly written: number;
  readonly cpus: number;
}

/**
 * A whole trace. `lines` counts every line of the text, the unread ones too; `other` counts event names that have no reader.
 * @example const complete = (t: FtraceTrace) => t.unread.length === 0 && t.lost.length === 0;
 */
export interface FtraceTrace {
  readonly events: TraceEvent[];
  readonly unread: UnreadLine[];
  readonly lines: number;
  readonly other: ReadonlyMap<string, number>;
  readonly lost: LostEvents[];
  readonly header: FtraceHeader | undefined;
}

/**
 * Reads a trace line by line. A malformed line is put into `unread` and reading goes on.
 * Formats: the kernel's `trace` file and `trace-cmd report` (docs of `trace/ftrace`), events `iommu:*`, `dma:*` and the
 * captures' kprobes.
 * @example
 * const parser = new FtraceParser('trace.txt');
 * parser.push('    init-1  [000] .....  1.000001: tracing_mark_write: PHASE:net');
 */
export class FtraceParser {
  readonly file: string;
  readonly unread: UnreadLine[] = [];
  readonly other: Map<string, number> = new Map();
  readonly lost: LostEvents[] = [];
  header: FtraceHeader | undefined;
  /** Lines seen so far. */
  lines = 0;
  readonly #scanner = new LineScanner();
  readonly #envelope: LineHeader = { line: 0, tsUs: 0, cpu: 0, pid: 0, context: 0 };

  constructor(file: string) {
    this.file = file;
  }

  /**
   * The event of one line (without its `\n`), or `undefined` for a comment, an unknown event or an unread line.
   * @example parser.push('# tracer: nop') // undefined
   */
  push(line: string): TraceEvent | undefined {
    const end = line.length;
    return this.read(line, 0, end > 0 && line.charCodeAt(end - 1) === 13 ? end - 1 : end);
  }

  /**
   * As {@link push}, for the characters [start, end) of a larger text.
   * @example parser.read(text, 0, text.indexOf('\n'))
   */
  read(text: string, start: number, end: number): TraceEvent | undefined {
    const line = ++this.lines;
    if (start === end) return undefined;
    const s = this.#scanner;
    s.open(text, start, end);
    if (text.charCodeAt(start) === HASH) {
      this.#comment();
      return undefined;
    }
    const h = this.#envelope;
    h.line = line;
    const name = readEnvelope(s, h);
    if (name === '') {
      if (!this.#lostLine(text, start, end)) this.#miss();
      return undefined;
    }
    const reader = READERS.get(name);
    // A kprobe may be called map: its text starts with the probed address.
    if (reader === undefined || (s.peek() === 40 && IOMMU_NAMES.has(name))) {
      const bare = name.slice(0, -1);
      this.other.set(bare, (this.other.get(bare) ?? 0) + 1);
      return undefined;
    }
    const event = reader(s, h);
    if (s.done()) return event;
    this.#miss();
    return undefined;
  }

  #miss(): void {
    this.unread.push({ file: this.file, line: this.lines, expected: this.#scanner.expected });
  }

  #comment(): void {
    const s = this.#scanner;
    if (!s.skip('# entries-in-buffer/entries-written: ')) return;
    const entries = s.decimal();
    s.literal('/');
    const written = s.decimal();
    s.spaces();
    s.literal('#P:');
    const cpus = s.decimal();
    if (s.done()) this.header = { entries, written, cpus };
    else this.#miss();
  }

  // "CPU:2 [LOST 11745 EVENTS]", "CPU:2 [LOST EVENTS]"; trace-cmd: "CPU:7 [204600 EVENTS DROPPED]", "CPU:7 [EVENTS DROPPED]".
  #lostLine(text: string, start: number, end: number): boolean {
    const match = /^\s*CPU:(\d+) \[(?:LOST )?(\d+ )?EVENTS(?: DROPPED)?\]\s*$/.exec(
      text.slice(start, Math.min(end, start + 80)),
    );
    if (match === null) return false;
    const events = match[2] === undefined ? -1 : Number(match[2]);
    this.lost.push({ line: this.lines, cpu: Number(match[1]), events });
    return true;
  }
}

/**
 * Reads the text of a whole trace; `file` names it in `unread`. Nothing is thrown for a malformed line.
 * @example parseFtrace(readText('guest/trace.txt.gz'), 'guest/trace.txt.gz').events.length
 */
export function parseFtrace(text: string, file: string): FtraceTrace {
  const parser = new FtraceParser(file);
  const events: TraceEvent[] = [];
  eachLine(text, (start, end) => {
    const event = parser.read(text, start, end);
    if (event !== undefined) events.push(event);
  });
  const { unread, lines, other, lost, header } = parser;
  return { events, unread, lines, other, lost, header };
}

/**
 * Reads a trace of any size in chunks (strings or UTF-8 bytes, cut anywhere) and yields the events of each chunk; counts and
 * unread lines are in `parser`.
 * @example
 * const parser = new FtraceParser('trace.txt.gz');
 * for await (const events of parseFtraceStream(openText('trace.txt.gz'), parser)) events.length;
 */
export async function* parseFtraceStream(
  chunks: AsyncIterable<string | Uint8Array>,
  parser: FtraceParser,
): AsyncGenerator<TraceEvent[]> {
  const decoder = new TextDecoder();
  let rest = '';
  for await (const chunk of chunks) {
    const text =
      rest + (typeof chunk === 'string' ? chunk : decoder.decode(chunk, { stream: true }));
    const cut = text.lastIndexOf('\n') + 1;
    rest = text.slice(cut);
    if (cut > 0) yield eventsOf(text.slice(0, cut), parser);
  }
  rest += decoder.decode();
  if (rest !== '') yield eventsOf(rest, parser);
}

function eventsOf(text: string, parser: FtraceParser): TraceEvent[] {
  const events: TraceEvent[] = [];
  eachLine(text, (start, end) => {
    const event = parser.read(text, start, end);
    if (event !== undefined) events.push(event);
  });
  return events;
}

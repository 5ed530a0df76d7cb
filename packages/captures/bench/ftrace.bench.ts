import { readFileSync } from 'node:fs';
import { parseFtrace, parseQemuOps } from '../src/index.ts';

const trace = readFileSync(
  new URL('../test/fixtures/trace-6.12-lazy.txt', import.meta.url),
  'utf8',
).repeat(16);
const traceLines = trace.split('\n').length - 1;
const ops = readFileSync(
  new URL('../test/fixtures/capture/qemu-ops.txt', import.meta.url),
  'utf8',
).repeat(56);
const opLines = ops.split('\n').length - 1;

function splitLoop(): number {
  let sum = 0;
  for (const line of trace.split('\n')) sum += line.length;
  return sum;
}

// What a reader by regular expressions costs, envelope only.
const ENVELOPE = /^\s*(.+)-(\d+)\s+\[(\d+)\] (\S+)\s+(\d+)\.(\d+): (\S+): (.*)$/;
function regexLoop(): number {
  let sum = 0;
  for (const line of trace.split('\n')) {
    const match = ENVELOPE.exec(line);
    if (match !== null) sum += Number(match[6]);
  }
  return sum;
}

export const cases: { name: string; reference?: true; ops: number; run(): number }[] = [
  { name: "split('\\n') and add lengths", reference: true, ops: traceLines, run: splitLoop },
  { name: 'one regular expression a line', ops: traceLines, run: regexLoop },
  {
    name: 'parseFtrace',
    ops: traceLines,
    run: () => parseFtrace(trace, 'bench').events.length,
  },
  { name: 'parseQemuOps', ops: opLines, run: () => parseQemuOps(ops, 'bench').ops.length },
];

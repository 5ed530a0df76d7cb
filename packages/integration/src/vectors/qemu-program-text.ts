import { REGISTER_OFFSET } from '@iommukit/arm-arch';
import type { ResetWords } from './qemu-program-device.lanes.ts';
import { type ProgramStep, programShape, programStep } from './qemu-program-step.ts';
import { list, object, oneOf, record, text, tuple, word } from './vector-shape.ts';
import { type JsonRow, VectorError } from './vector-values.lanes.ts';

/** What all programs of a file share. */
export interface ProgramHeader {
  readonly preset: string;
  readonly reset: ResetWords;
  /** RAM, bytes: first and first behind. */
  readonly ram: readonly [number, number];
  readonly bases: ReadonlyMap<string, readonly ProgramStep[]>;
}

/** One program, its steps still as written. */
export interface Program {
  readonly id: string;
  readonly category: string;
  readonly base: readonly ProgramStep[];
  readonly steps: readonly ProgramStep[];
}

const headerShape = record({
  header: record({
    preset: text,
    reset: object,
    ram: tuple(2, word, word),
    bases: object,
  }),
});
const registerName = oneOf(...Object.keys(REGISTER_OFFSET));
const baseShape = list(object);

/** True for the text of a file of programs: its first line is a header that names one of the members that all of them have. */
export function holdsPrograms(input: string): boolean {
  const end = input.indexOf('\n');
  const line = end < 0 ? input : input.slice(0, end);
  return /^\s*\{\s*"header"\s*:/.test(line) && /"(?:preset|reset|bases)"\s*:/.test(line);
}

function jsonLine(line: string, at: string, what: string): JsonRow {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    throw new VectorError(at, `${what} as one JSON object on the line`, line);
  }
  object(value, at);
  return value as JsonRow;
}

/** Software of a program stores to RAM alone. */
function checkStores(
  step: ProgramStep,
  { ram: [first, end] }: Pick<ProgramHeader, 'ram'>,
  at: string,
): void {
  if (step.kind !== 'mem') return;
  for (let i = 0; i < step.words.length; i += 3) {
    const pa = step.words[i] as number;
    if (pa < first || pa >= end)
      throw new VectorError(`${at}.mem`, 'an address in RAM', `0x${pa.toString(16)}`);
  }
}

function steps(
  of: 'program' | 'base',
  rows: readonly unknown[],
  header: Pick<ProgramHeader, 'ram'>,
  at: string,
): ProgramStep[] {
  return rows.map((row, i) => {
    const where = `${at}[${String(i)}]`;
    const step = programStep(row, of, where);
    checkStores(step, header, where);
    return step;
  });
}

function readHeader(line: string, at: string): ProgramHeader {
  const row = jsonLine(line, at, 'a header');
  headerShape(row, at);
  const { preset, reset, ram, bases, format = 1 } = row['header'];
  if (format !== 1) throw new VectorError(`${at}: format`, '1', format);
  const words: Record<string, number> = {};
  for (const [name, value] of Object.entries(reset)) {
    registerName(name, `${at}: reset`);
    word(value, `${at}: reset.${name}`);
    words[name] = Number(value);
  }
  for (const name of ['IDR0', 'IDR1', 'IDR5'])
    if (words[name] === undefined) throw new VectorError(`${at}: reset`, name, undefined);
  const [first, end] = [Number(ram[0]), Number(ram[1])];
  if (first % 4096 !== 0 || end % 4096 !== 0 || end <= first || end > 2 ** 52)
    throw new VectorError(`${at}: ram`, 'whole pages, first and first behind', ram);
  const compiled = new Map<string, readonly ProgramStep[]>();
  for (const [name, of] of Object.entries(bases)) {
    const where = `${at}: bases.${name}`;
    baseShape(of, where);
    compiled.set(name, steps('base', of as unknown[], { ram: [first, end] }, where));
  }
  return { preset, reset: words, ram: [first, end], bases: compiled };
}

function readProgram(line: string, header: ProgramHeader, at: string): Program {
  const row = jsonLine(line, at, 'a program');
  programShape(row, at);
  const base = header.bases.get(row['base']);
  if (base === undefined)
    throw new VectorError(`${at}: base`, 'a base that the header names', row['base']);
  if (row['preset'] !== header.preset)
    throw new VectorError(`${at}: preset`, `the header's ${header.preset}`, row['preset']);
  return {
    id: row['id'],
    category: row['cat'],
    base,
    steps: steps('program', row['steps'], header, `${at}: steps`),
  };
}

/**
 * Reads a file of programs line by line: the header, then each program with `visit`, which gets the number of its line. Throws {@link VectorError}
 * that names file and line for what is none.
 */
export function readPrograms(
  input: string,
  name: string,
  start: (header: ProgramHeader) => (program: Program, line: number) => void,
): void {
  let visit: ((program: Program, line: number) => void) | undefined;
  let header: ProgramHeader | undefined;
  let from = 0;
  for (let number = 1; from < input.length; number++) {
    const found = input.indexOf('\n', from);
    const end = found < 0 ? input.length : found;
    const line = input.slice(from, end);
    from = end + 1;
    const at = `${name}:${String(number)}`;
    if (header === undefined || visit === undefined) {
      header = readHeader(line, at);
      visit = start(header);
    } else if (line.trim() !== '') visit(readProgram(line, header, at), number);
  }
  if (header === undefined) throw new VectorError(`${name}:1`, 'a header', input);
}

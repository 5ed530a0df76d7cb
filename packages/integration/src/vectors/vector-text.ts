import { type JsonRow, VectorError } from './vector-values.lanes.ts';

/** A file as read, with what says where in its text an operation stands. */
export interface VectorText {
  readonly file: JsonRow;
  /** `name:line` of a row of `ops` or `cases`; of what comes before the first with -1. */
  readonly lineOf: (row: number) => string;
}

/** The position that V8 names in the message of a syntax error, or the end of the text. */
function positionOf(error: unknown, text: string): number {
  const found = /at position (\d+)/.exec(String(error));
  return found === null ? text.length : Number(found[1]);
}

function lineAt(text: string, position: number): number {
  return text.slice(0, position).split('\n').length;
}

/** The first line as a JSON object, of a text that is none as a whole: a file with one object a line. */
function headerLine(text: string): JsonRow | undefined {
  const end = text.indexOf('\n');
  if (end < 0) return undefined;
  try {
    const value: unknown = JSON.parse(text.slice(0, end));
    return typeof value === 'object' && value !== null ? (value as JsonRow) : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Reads the text of a file of vectors, which is one JSON object with one operation a line. Throws {@link VectorError}, with the line,
 * for anything else.
 */
export function parseVectors(text: string, name: string): VectorText {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    const header = headerLine(text);
    if (header !== undefined)
      throw new VectorError(`${name}:1`, 'vectors of a known kind', header['kind'] ?? header);
    const line = lineAt(text.trimEnd(), Math.min(positionOf(error, text), text.trimEnd().length));
    const rest = text.split('\n')[line - 1] ?? '';
    throw new VectorError(`${name}:${String(line)}`, 'one complete JSON object', rest);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new VectorError(`${name}:1`, 'a JSON object', value);
  const lines = text.split('\n');
  // Only a text with one operation a line says where one stands.
  const isRow = (row: number): boolean => lines[row + 1]?.startsWith('{') === true;
  return {
    file: value as JsonRow,
    lineOf: (row) => (row < 0 ? `${name}:1` : isRow(row) ? `${name}:${String(row + 2)}` : name),
  };
}

import { fromLanes, parseHex64, type U64 } from '@iommukit/bits';
import { InputError, type UnreadLine } from './input-error.ts';
import { eachLine } from './line-scanner.ts';
import { readText } from './text-file.ts';

/** A wrong or absent member; the caller knows file and line. */
export class RecordError extends Error {}

/** Checked access to the members of a parsed JSON object; `path` names it in messages. */
export class JsonRecord {
  readonly #object: Readonly<Record<string, unknown>>;
  readonly #path: string;

  constructor(value: unknown, path: string) {
    if (typeof value !== 'object' || value === null || Array.isArray(value))
      throw new RecordError(path === '' ? 'a JSON object' : `${path} to be an object`);
    this.#object = value as Readonly<Record<string, unknown>>;
    this.#path = path;
  }

  #member(key: string): string {
    return this.#path === '' ? key : `${this.#path}.${key}`;
  }

  has(key: string): boolean {
    return this.#object[key] !== undefined && this.#object[key] !== null;
  }

  keys(): string[] {
    return Object.keys(this.#object);
  }

  text(key: string): string {
    const value = this.#object[key];
    if (typeof value !== 'string') throw new RecordError(`${this.#member(key)} to be a string`);
    return value;
  }

  count(key: string): number {
    const value = this.#object[key];
    if (typeof value !== 'number' || !Number.isInteger(value) || value < 0)
      throw new RecordError(`${this.#member(key)} to be a non-negative integer`);
    return value;
  }

  /** A count, or -1 where QEMU prints that the stage has none. */
  tag(key: string): number {
    return this.#object[key] === -1 ? -1 : this.count(key);
  }

  flag(key: string): boolean {
    const value = this.#object[key];
    if (typeof value !== 'boolean')
      throw new RecordError(`${this.#member(key)} to be true or false`);
    return value;
  }

  word(key: string): U64 {
    const value = this.#object[key];
    const word =
      typeof value === 'string' && value.startsWith('0x') ? parseHex64(value) : undefined;
    if (word === undefined)
      throw new RecordError(`${this.#member(key)} to be "0x" and at most 16 hexadecimal digits`);
    return word;
  }

  address(key: string): number {
    const { lo, hi } = this.word(key);
    return fromLanes(lo, hi);
  }

  list(key: string): readonly unknown[] {
    const value = this.#object[key];
    if (!Array.isArray(value)) throw new RecordError(`${this.#member(key)} to be an array`);
    return value;
  }

  words(key: string): U64[] {
    const record = new JsonRecord({ ...this.list(key) }, this.#member(key));
    return record.keys().map((index) => record.word(index));
  }

  record(key: string): JsonRecord {
    return new JsonRecord(this.#object[key], this.#member(key));
  }
}

/** A JSON file as a whole; every shortcoming is an {@link InputError}. */
export function readJson<T>(path: string, read: (record: JsonRecord) => T): T {
  const text = readText(path);
  try {
    return read(new JsonRecord(JSON.parse(text) as unknown, ''));
  } catch (error) {
    if (error instanceof RecordError) throw new InputError({ file: path, expected: error.message });
    if (error instanceof SyntaxError) throw new InputError({ file: path, expected: 'valid JSON' });
    throw error;
  }
}

/**
 * The rows of a file with one JSON object a line; `lines` counts the unread ones too.
 * @example const bad = (rows: Rows<TruthRow>) => rows.unread.length;
 */
export interface Rows<T> {
  readonly rows: T[];
  readonly unread: UnreadLine[];
  readonly lines: number;
}

/** One JSON object a line; a line that is none of these counts as unread. */
export function readRows<T>(path: string, read: (record: JsonRecord, line: number) => T): Rows<T> {
  const rows: T[] = [];
  const unread: UnreadLine[] = [];
  const text = readText(path);
  const lines = eachLine(text, (start, end, line) => {
    if (start === end) return;
    try {
      rows.push(read(new JsonRecord(JSON.parse(text.slice(start, end)) as unknown, ''), line));
    } catch (error) {
      if (!(error instanceof RecordError) && !(error instanceof SyntaxError)) throw error;
      const expected = error instanceof RecordError ? error.message : 'a JSON object';
      unread.push({ file: path, line, expected });
    }
  });
  return { rows, unread, lines };
}

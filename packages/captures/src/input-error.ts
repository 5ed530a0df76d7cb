import { IommuError } from '@iommukit/bits';

/**
 * A line that a reader could not read; the run goes on and the line counts as unread.
 * `line` is 1-based; `expected` says what should have stood there.
 * @example const u: UnreadLine = { file: 'trace.txt', line: 7, expected: '"iova=0x"' };
 */
export interface UnreadLine {
  readonly file: string;
  readonly line: number;
  readonly expected: string;
}

/**
 * What {@link InputError} carries; `line` is absent when the whole file is meant.
 * @example const o: InputOperands = { file: 'run.json', expected: 'valid JSON' };
 */
export interface InputOperands {
  readonly file: string;
  readonly line?: number;
  readonly expected: string;
}

/**
 * One line of text for an unread line or an input error: `file:line: expected ...`.
 * @example inputText({ file: 'a.txt', line: 2, expected: '"pfn="' }) // 'a.txt:2: expected "pfn="'
 */
export function inputText(operands: InputOperands): string {
  const where =
    operands.line === undefined ? operands.file : `${operands.file}:${String(operands.line)}`;
  return `${where}: expected ${operands.expected}`;
}

/**
 * An input cannot be used at all: missing, cut short, or its parts disagree; code `INPUT`.
 * Thrown before anything runs. The message is one line, `file:line: expected ...`.
 * @example try { readText('absent.gz'); } catch (e) { (e as InputError).operands.file; }
 */
export class InputError extends IommuError<InputOperands> {
  override readonly name = 'InputError';
  constructor(operands: InputOperands) {
    super('INPUT', operands, inputText(operands), 'Give a complete file of the named kind');
    // A command prints this message as it is, and one line is what its reader can act on.
    this.message = inputText(operands);
  }
}

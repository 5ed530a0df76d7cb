import type { U64 } from '@iommukit/bits';

/** Largest page frame number of a 64-bit address space with 4 KiB pages; larger values saturate to it. */
const LAST_PFN = 2 ** 52 - 1;
const MOST_NAMES = 4096;

const SPACE = 32;
const ZERO = 48;
const NINE = 57;

/**
 * Reads the fields of one line of a larger text, left to right, without cutting strings out of it. A mismatch leaves
 * what was expected in `expected` (empty: all is well so far), so a caller asks once, at the end of the line.
 */
export class LineScanner {
  text = '';
  pos = 0;
  end = 0;
  expected = '';
  readonly #names = new Map<number, string>();

  open(text: string, start: number, end: number): void {
    this.text = text;
    this.pos = start;
    this.end = end;
    this.expected = '';
  }

  fail(expected: string): void {
    if (this.expected === '') this.expected = expected;
  }

  /** Code of the next character, -1 at the end of the line. */
  peek(): number {
    return this.pos < this.end ? this.text.charCodeAt(this.pos) : -1;
  }

  spaces(): void {
    while (this.pos < this.end && this.text.charCodeAt(this.pos) === SPACE) this.pos++;
  }

  /** True, and passed over, when `literal` comes next. */
  skip(literal: string): boolean {
    const length = literal.length;
    if (this.pos + length > this.end) return false;
    for (let i = 0; i < length; i++)
      if (this.text.charCodeAt(this.pos + i) !== literal.charCodeAt(i)) return false;
    this.pos += length;
    return true;
  }

  literal(literal: string): void {
    if (!this.skip(literal)) this.fail(literal === ' ' ? 'a blank' : `"${literal.trim()}"`);
  }

  /** Decimal digits. */
  decimal(): number {
    let value = 0;
    let pos = this.pos;
    for (; pos < this.end; pos++) {
      const digit = this.text.charCodeAt(pos) - ZERO;
      if (digit < 0 || digit > 9) break;
      value = value * 10 + digit;
    }
    if (pos === this.pos) this.fail('a decimal number');
    this.pos = pos;
    return value;
  }

  /** Decimal digits with an optional minus sign. */
  signed(): number {
    return this.skip('-') ? -this.decimal() : this.decimal();
  }

  /** Decimal digits, or hexadecimal ones after `0x`. */
  integer(): number {
    return this.skip('0x') ? this.hex() : this.decimal();
  }

  /**
   * At most 16 hexadecimal digits. Exact below 2^53 and for every multiple of 2^11: each prefix then has at most 53
   * significant bits, so no step rounds.
   */
  hex(): number {
    let value = 0;
    let pos = this.pos;
    for (; pos < this.end; pos++) {
      const digit = hexDigit(this.text.charCodeAt(pos));
      if (digit < 0) break;
      value = value * 16 + digit;
    }
    if (pos === this.pos || pos - this.pos > 16) this.fail('a hexadecimal number');
    this.pos = pos;
    return value;
  }

  /** A page frame number in hexadecimal after `0x`, at most 2^52 - 1. */
  pfn(): number {
    this.literal('0x');
    return Math.min(this.hex(), LAST_PFN);
  }

  /** At most 16 hexadecimal digits as two lanes. */
  hex64(): U64 {
    const start = this.pos;
    let end = start;
    while (end < this.end && hexDigit(this.text.charCodeAt(end)) >= 0) end++;
    if (end === start || end - start > 16) {
      this.fail('a hexadecimal number');
      this.pos = end;
      return { lo: 0, hi: 0 };
    }
    const cut = Math.max(start, end - 8);
    let hi = 0;
    for (let i = start; i < cut; i++) hi = hi * 16 + hexDigit(this.text.charCodeAt(i));
    let lo = 0;
    for (let i = cut; i < end; i++) lo = lo * 16 + hexDigit(this.text.charCodeAt(i));
    this.pos = end;
    return { lo, hi };
  }

  /** `{0x..,0x..}`. */
  hexList(): number[] {
    const list: number[] = [];
    this.literal('{');
    if (this.skip('}')) return list;
    do {
      this.literal('0x');
      list.push(this.hex());
    } while (this.expected === '' && this.skip(','));
    this.literal('}');
    return list;
  }

  /** The characters up to the next blank, one string object for each distinct word; may be empty. */
  word(): string {
    const start = this.pos;
    let pos = start;
    let hash = 0;
    for (; pos < this.end; pos++) {
      const code = this.text.charCodeAt(pos);
      if (code === SPACE) break;
      hash = Math.imul(hash, 31) + code;
    }
    this.pos = pos;
    // One object for a name that comes 30,000 times: no cut string pins the whole text, and a map keyed by it hashes it once.
    const known = this.#names.get(hash);
    if (known !== undefined && this.#sameAs(known, start, pos)) return known;
    if (this.#names.size >= MOST_NAMES) this.#names.clear();
    const fresh = this.text.slice(start, pos);
    this.#names.set(hash, fresh);
    return fresh;
  }

  /** A word of at least one character. */
  name(expected: string): string {
    const word = this.word();
    if (word === '') this.fail(expected);
    return word;
  }

  /** `0x` and hexadecimal digits, kept as text because it only names something. */
  pointer(): string {
    const start = this.pos;
    const word = this.word();
    if (word.length < 3 || !word.startsWith('0x') || !this.#hexBetween(start + 2, this.pos))
      this.fail('a pointer (0x and hexadecimal digits)');
    return word;
  }

  /** Everything up to the end of the line. */
  rest(): string {
    const rest = this.text.slice(this.pos, this.end);
    this.pos = this.end;
    return rest;
  }

  /** True when every character was read and nothing was missed. */
  done(): boolean {
    if (this.expected !== '') return false;
    this.spaces();
    if (this.pos !== this.end) this.fail('the end of the line');
    return this.expected === '';
  }

  #sameAs(word: string, start: number, end: number): boolean {
    if (word.length !== end - start) return false;
    for (let i = 0; i < word.length; i++)
      if (word.charCodeAt(i) !== this.text.charCodeAt(start + i)) return false;
    return true;
  }

  #hexBetween(start: number, end: number): boolean {
    for (let i = start; i < end; i++) if (hexDigit(this.text.charCodeAt(i)) < 0) return false;
    return true;
  }
}

function hexDigit(code: number): number {
  if (code >= ZERO && code <= NINE) return code - ZERO;
  if (code >= 97 && code <= 102) return code - 87;
  if (code >= 65 && code <= 70) return code - 55;
  return -1;
}

/**
 * Calls `take(start, end, line)` for every line of `text`; `end` excludes `\n` and a `\r` before it, `line` is 1-based.
 * Returns the number of lines; what follows the last `\n` is a line when it is not empty.
 */
export function eachLine(
  text: string,
  take: (start: number, end: number, line: number) => void,
): number {
  let line = 0;
  let start = 0;
  while (start < text.length) {
    const newline = text.indexOf('\n', start);
    const next = newline < 0 ? text.length : newline;
    const end = next > start && text.charCodeAt(next - 1) === 13 ? next - 1 : next;
    line++;
    take(start, end, line);
    start = next + 1;
  }
  return line;
}

import { IommuError } from '@iommukit/bits';

/** A parsed JSON object, read field by field. */
// biome-ignore lint/suspicious/noExplicitAny: rows of foreign JSON, whose fields are compared one by one
export type JsonRow = Record<string, any>;

/** `0x...` of a number or bigint. */
export function hex(value: number | bigint): string {
  return `0x${value.toString(16)}`;
}

/** A 64-bit word of two lanes. */
export function wordOf(lo: number, hi: number): bigint {
  return (BigInt(hi >>> 0) << 32n) | BigInt(lo >>> 0);
}

/** The lanes of a recorded 64-bit word, whose form was checked. */
export function halves(text: string): [lo: number, hi: number] {
  const digits = text.slice(2);
  const split = Math.max(0, digits.length - 8);
  return [
    Number.parseInt(digits.slice(split), 16),
    split === 0 ? 0 : Number.parseInt(digits.slice(0, split), 16),
  ];
}

/** `0x...` of two lanes, without a bigint. */
export function hexOfLanes(lo: number, hi: number): string {
  const low = (lo >>> 0).toString(16);
  return hi === 0 ? `0x${low}` : `0x${(hi >>> 0).toString(16)}${low.padStart(8, '0')}`;
}

/** A recorded value that a number holds exactly. */
export function exactNumber(text: unknown, where: string): number {
  if (typeof text === 'number') return text;
  if (typeof text !== 'string' || !/^0x[0-9a-f]+$/.test(text))
    throw new VectorError(where, 'a string "0x..."', text);
  const value = Number(text);
  if (BigInt(value) !== BigInt(text))
    throw new VectorError(where, 'a value that a double holds exactly', text);
  return value;
}

/** Numbers in ascending order. */
export function ascending(numbers: Iterable<number>): number[] {
  return [...numbers].sort((a, b) => a - b);
}

/** JSON text of a value, cut to one readable line. */
export function shortJson(value: unknown): string {
  const text = JSON.stringify(value) ?? 'nothing';
  return text.length > 120 ? `${text.slice(0, 117)}...` : text;
}

/**
 * A file of vectors that does not hold what its kind says; code `BAD_VECTORS`.
 * @example try { runVectorFile(text, 'a.json'); } catch (e) { if (e instanceof VectorError) show(e.operands.where); }
 */
export class VectorError extends IommuError<{ where: string; expected: string; got: unknown }> {
  override readonly name = 'VectorError';
  constructor(where: string, expected: string, got: unknown) {
    super(
      'BAD_VECTORS',
      { where, expected, got },
      `${where}: expected ${expected}, got ${shortJson(got)}`,
      'Give a file as its kind is documented',
    );
    // A command prints this message as it is, and one line is what its reader can act on.
    this.message = `${where}: expected ${expected}, got ${shortJson(got)}`;
  }
}

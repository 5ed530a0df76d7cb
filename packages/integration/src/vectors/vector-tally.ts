import { hex, type JsonRow } from './vector-values.lanes.ts';

/**
 * The first difference that a run of vectors met.
 * @example const { operation, what, expected, got }: VectorMismatch = mismatch;
 */
export interface VectorMismatch {
  /** Index of the operation or case in the file; -1 for what comes before the first. */
  readonly operation: number;
  /** What was compared. */
  readonly what: string;
  readonly expected: unknown;
  readonly got: unknown;
}

/** Deep equality of JSON values; the order of keys does not count, and an absent value equals none other. */
export function sameJson(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  if (Array.isArray(a) !== Array.isArray(b)) return false;
  const keys = Object.keys(a);
  const left = a as Record<string, unknown>;
  const right = b as Record<string, unknown>;
  return (
    keys.length === Object.keys(b).length &&
    keys.every((key) => Object.hasOwn(right, key) && sameJson(left[key], right[key]))
  );
}

/**
 * What a run of recorded vectors compared and found.
 * @example const tally = new VectorTally(); tally.operations++; tally.check(0, 'ret', got, expected); tally.mismatches // 0
 */
export class VectorTally {
  operations = 0;
  compared = 0;
  mismatches = 0;
  first: VectorMismatch | undefined = undefined;

  /** Compares one value of operation `operation` (-1: before the first). */
  check(operation: number, what: string, got: unknown, expected: unknown): void {
    this.compared++;
    if (sameJson(got, expected)) return;
    this.mismatches++;
    this.first ??= { operation, what, expected, got };
  }

  /** Compares every member that either object has. */
  checkMembers(
    operation: number,
    got: JsonRow,
    expected: JsonRow,
    what: (key: string) => string = (key) => key,
  ): void {
    for (const key of new Set([...Object.keys(expected), ...Object.keys(got)]))
      this.check(operation, what(key), got[key], expected[key]);
  }

  /** Compares the entries of a table that are used. */
  checkEntries(
    operation: number,
    table: number,
    got: ReadonlyMap<number, bigint> | undefined,
    expected: Iterable<readonly [index: number, word: bigint]>,
  ): void {
    for (const [i, word] of expected)
      this.check(operation, `table ${table}[${i}]`, hex(got?.get(i) ?? 0n), hex(word));
  }
}

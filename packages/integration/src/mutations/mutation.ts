/**
 * One text of one module, and what stands in its place.
 * @example const edit: Edit = { module: 'bits/src/align.ts', find: 'size - 1', replace: 'size' };
 */
export interface Edit {
  /** Below `packages/`. */
  readonly module: string;
  /** Stands in the module exactly once. */
  readonly find: string;
  readonly replace: string;
}

/**
 * A row that must notice, and by what.
 * @example const one: Catch = { row: 'S0-14', way: 'K b', by: 'old: expected 1' };
 */
export interface Catch {
  /** Id of a scenario. */
  readonly row: string;
  /** The case of the row that is run. */
  readonly way: string;
  /** Part of a difference, or of a broken invariant, that the row then reports. */
  readonly by: string;
}

/**
 * One seeded defect: how it is put in, and every row that must catch it.
 * @example MUTATIONS.find(({ number }) => number === 37)?.defect
 */
export interface Mutation {
  /** As in the list of defects of the evaluation. */
  readonly number: number;
  /** Which, where the list names several in one line. */
  readonly variant?: 'a' | 'b' | 'c';
  readonly defect: string;
  readonly edits: readonly Edit[];
  readonly caughtBy: readonly Catch[];
}

/** Number and variant. */
export function nameOf({ number, variant }: Mutation): string {
  return `${number}${variant ?? ''}`;
}

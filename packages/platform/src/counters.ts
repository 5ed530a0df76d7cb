/**
 * Named counts; plain numeric properties, so that counting costs one add.
 * @example const counts: Counters<'syncs'> = createCounters('syncs'); counts.syncs++;
 */
export type Counters<N extends string> = Record<N, number>;

/**
 * Counters that start at zero.
 * @example const counts = createCounters('maps', 'unmaps');
 */
export function createCounters<N extends string>(...names: readonly N[]): Counters<N> {
  return Object.fromEntries(names.map((name) => [name, 0])) as Counters<N>;
}

/**
 * What was counted between two snapshots (`{ ...counts }` takes one).
 * @example counted({ maps: 1 }, { maps: 3 }) // { maps: 2 }
 */
export function counted<N extends string>(
  before: Readonly<Counters<N>>,
  after: Readonly<Counters<N>>,
): Counters<N> {
  const entries = (Object.keys(after) as N[]).map((name) => [name, after[name] - before[name]]);
  return Object.fromEntries(entries) as Counters<N>;
}

/* Which counts of which rows a report shows; no number stands here, only where each is found. */

/** One count of one run: where a number in a report comes from. */
export interface CountRef {
  readonly scenario: string;
  readonly way: string;
  readonly count: string;
}

/** One measure in several ways; null where a way has none. */
export interface EvidenceLine {
  readonly what: string;
  readonly cells: readonly (CountRef | null)[];
}

/** A table of measures, before and after; `plot` draws it as bars too. */
export interface EvidenceTable {
  readonly title: string;
  readonly columns: readonly string[];
  readonly lines: readonly EvidenceLine[];
  readonly plot?: 'log' | 'linear';
}

/** A sentence about a thread, and the counts that show it. */
export interface EvidencePoint {
  readonly says: string;
  readonly shown: readonly CountRef[];
}

/** One kernel-list thread: what it claimed, what was found. */
export interface Thread {
  /** Prefix of the ids of its scenarios. */
  readonly prefix: string;
  readonly title: string;
  readonly year: string;
  readonly claim: string;
  /** What the discussion had no numbers for. */
  readonly missing: string;
  readonly later: string;
  readonly tables: readonly EvidenceTable[];
  readonly identical: readonly EvidencePoint[];
  readonly notGained: readonly EvidencePoint[];
}

/** A count of a run. */
export function at(scenario: string, way: string, count: string): CountRef {
  return { scenario, way, count };
}

/** The same count of several runs of a scenario; null for a way that has none. */
export function line(
  what: string,
  scenario: string,
  count: string,
  ways: readonly (string | null)[],
): EvidenceLine {
  return { what, cells: ways.map((way) => (way === null ? null : at(scenario, way, count))) };
}

/** Counts of several runs, for a point. */
export function shown(
  scenario: string,
  ways: readonly string[],
  ...counts: readonly string[]
): CountRef[] {
  return ways.flatMap((way) => counts.map((count) => at(scenario, way, count)));
}

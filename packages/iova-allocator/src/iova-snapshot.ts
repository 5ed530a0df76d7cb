import { hex } from '@iommukit/bits';
import type { IovaSearch } from './gap-search.ts';
import type { IovaCounters } from './iova-counters.ts';
import { IovaError, MAX_PFN } from './iova-error.ts';
import type { IovaProfile } from './iova-profile.ts';
import { ANCHOR, type IovaTree } from './iova-tree.ts';
import { IOVA_MAG_SIZE } from './magazine-pool.ts';
import {
  IOVA_RANGE_CACHE_MAX_SIZE,
  type PendingDepotWork,
  type RangeCacheState,
} from './range-caches.ts';

/**
 * A whole domain as plain JSON values: everything that decides a later result, and the counters. Pfns are numbers (below 2^52, so exact).
 * @example const text = JSON.stringify(iovad.snapshot());
 */
export interface IovaSnapshot {
  readonly format: 'iommukit-iova';
  readonly version: 1;
  readonly granule: number;
  readonly startPfn: number;
  readonly profile: IovaProfile;
  readonly search: IovaSearch;
  readonly checked: boolean;
  /** First and last pfn of every range, in the tree's order; those in caches are among them. */
  readonly ranges: readonly (readonly [number, number])[];
  /** By place in `ranges`, how deep a range lies in the balanced tree: decides how many nodes a search visits, never what it finds. */
  readonly depths: readonly number[];
  /** Low pfn of the remembered ranges, `null` for the anchor above all ranges. */
  readonly cachedPfn: number | null;
  readonly cached32Pfn: number | null;
  readonly max32AllocSize: number;
  /** By CPU number. */
  readonly online: readonly boolean[];
  /** By order: full magazines of the depot, the oldest first, and each CPU's two magazines, entries bottom first. */
  readonly caches: readonly Pick<RangeCacheState, 'depot' | 'cpus'>[];
  /** In the order in which they will run. */
  readonly depotWorks: readonly PendingDepotWork[];
  readonly counters: IovaCounters;
}

/**
 * One place where two snapshots differ; a value that one of them lacks is `undefined` there.
 * @example const text = (d: IovaDifference) => `${d.path}: ${d.left} / ${d.right}`;
 */
export interface IovaDifference {
  readonly path: string;
  readonly left: unknown;
  readonly right: unknown;
}

const NOT_STATE: ReadonlySet<string> = new Set(['search', 'checked', 'counters', 'depths']);

/**
 * Where two snapshots differ; empty when both domains will answer alike. Ranges are matched by their first pfn, all else by place.
 * `'all'` also compares the kind of search, `checked`, the tree's shape and the counters, which decide no answer.
 * @example compareSnapshots(before, after).map((d) => d.path) // ['ranges[0xfffff]', 'cached32Pfn']
 */
export function compareSnapshots(
  left: IovaSnapshot,
  right: IovaSnapshot,
  scope: 'state' | 'all' = 'state',
): IovaDifference[] {
  const out: IovaDifference[] = [];
  compareRanges(left.ranges, right.ranges, out);
  for (const key of Object.keys({ ...left, ...right }) as (keyof IovaSnapshot)[])
    if (key !== 'ranges' && (scope === 'all' || !NOT_STATE.has(key)))
      compareValues(key, left[key], right[key], out);
  return out;
}

function compareRanges(
  left: IovaSnapshot['ranges'],
  right: IovaSnapshot['ranges'],
  out: IovaDifference[],
): void {
  const ends = new Map(right);
  for (const [lo, hi] of left) {
    const other = ends.get(lo);
    if (other !== hi) out.push({ path: `ranges[${hex(lo)}]`, left: hi, right: other });
    ends.delete(lo);
  }
  for (const [lo, hi] of ends) out.push({ path: `ranges[${hex(lo)}]`, left: undefined, right: hi });
}

function compareValues(path: string, left: unknown, right: unknown, out: IovaDifference[]): void {
  if (Object.is(left, right)) return;
  if (!isRecord(left) || !isRecord(right) || Array.isArray(left) !== Array.isArray(right)) {
    out.push({ path, left, right });
    return;
  }
  const list = Array.isArray(left);
  for (const key of Object.keys({ ...left, ...right }))
    compareValues(list ? `${path}[${key}]` : `${path}.${key}`, left[key], right[key], out);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}

function refuse(name: string, value: unknown, expected: string): never {
  const shown = JSON.stringify(value) ?? String(value);
  throw new IovaError(
    'IOVA_SNAPSHOT',
    { name, value: shown },
    `${name} of a snapshot is ${shown}, not ${expected}`,
    'Pass a value of IovaDomain.snapshot(), through JSON if need be',
  );
}

function checkInteger(name: string, value: unknown, max: number): void {
  if (!(Number.isInteger(value) && (value as number) >= 0 && (value as number) <= max))
    refuse(name, value, `an integer from 0 to ${hex(max)}`);
}

function checkList(name: string, value: unknown): asserts value is readonly unknown[] {
  if (!Array.isArray(value)) refuse(name, value, 'a list');
}

function checkMagazine(name: string, value: unknown, fill: 'full' | 'any'): void {
  if (value === null && fill === 'any') return;
  checkList(name, value);
  if (value.length > IOVA_MAG_SIZE || (fill === 'full' && value.length < IOVA_MAG_SIZE))
    refuse(`${name}.length`, value.length, `${fill === 'full' ? '' : 'at most '}${IOVA_MAG_SIZE}`);
  value.forEach((pfn, k) => {
    checkInteger(`${name}[${k}]`, pfn, MAX_PFN);
  });
}

/** Throws {@link IovaError} for what no snapshot holds; the granule, start and number of CPUs are the constructor's to check. */
export function checkSnapshot(snapshot: IovaSnapshot): void {
  if (!isRecord(snapshot) || snapshot.format !== 'iommukit-iova')
    refuse('format', (snapshot as IovaSnapshot | null)?.format, '"iommukit-iova"');
  if (snapshot.version !== 1) refuse('version', snapshot.version, '1');
  if (!isRecord(snapshot.profile)) refuse('profile', snapshot.profile, 'a profile');
  if (!isRecord(snapshot.counters)) refuse('counters', snapshot.counters, 'counters');
  checkList('online', snapshot.online);
  if (!snapshot.online.includes(true))
    refuse('online', snapshot.online, 'a list with a CPU online');
  checkInteger('max32AllocSize', snapshot.max32AllocSize, MAX_PFN + 1);
  checkList('ranges', snapshot.ranges);
  const starts = new Set<unknown>([null]);
  snapshot.ranges.forEach((range, k) => {
    checkList(`ranges[${k}]`, range);
    checkInteger(`ranges[${k}][0]`, range[0], MAX_PFN);
    checkInteger(`ranges[${k}][1]`, range[1], MAX_PFN);
    starts.add(range[0]);
  });
  checkList('depths', snapshot.depths);
  if (snapshot.depths.length !== snapshot.ranges.length)
    refuse('depths.length', snapshot.depths.length, String(snapshot.ranges.length));
  snapshot.depths.forEach((depth, k) => {
    checkInteger(`depths[${k}]`, depth, MAX_PFN);
  });
  for (const name of ['cachedPfn', 'cached32Pfn'] as const)
    if (!starts.has(snapshot[name])) refuse(name, snapshot[name], 'the first pfn of a range');
  checkList('caches', snapshot.caches);
  if (snapshot.caches.length !== IOVA_RANGE_CACHE_MAX_SIZE)
    refuse('caches.length', snapshot.caches.length, String(IOVA_RANGE_CACHE_MAX_SIZE));
  snapshot.caches.forEach((cache, order) => {
    checkList(`caches[${order}].depot`, cache.depot);
    cache.depot.forEach((full, k) => {
      checkMagazine(`caches[${order}].depot[${k}]`, full, 'full');
    });
    checkList(`caches[${order}].cpus`, cache.cpus);
    if (cache.cpus.length !== snapshot.online.length)
      refuse(`caches[${order}].cpus.length`, cache.cpus.length, String(snapshot.online.length));
    cache.cpus.forEach((pair, cpu) => {
      checkMagazine(`caches[${order}].cpus[${cpu}].loaded`, pair.loaded, 'any');
      checkMagazine(`caches[${order}].cpus[${cpu}].prev`, pair.prev, 'any');
    });
  });
  checkList('depotWorks', snapshot.depotWorks);
  snapshot.depotWorks.forEach((work, k) => {
    checkInteger(`depotWorks[${k}].order`, work.order, IOVA_RANGE_CACHE_MAX_SIZE - 1);
    if (!(work.inUs >= 0)) refuse(`depotWorks[${k}].inUs`, work.inUs, 'a delay');
  });
}

/** Puts the saved ranges into an empty tree of the saved shape; returns the slots of the two remembered ranges. */
export function restoreRanges(
  tree: IovaTree,
  snapshot: IovaSnapshot,
): { cached: number; cached32: number } {
  const { ranges, depths, cachedPfn, cached32Pfn } = snapshot;
  const found = { cached: ANCHOR, cached32: ANCHOR };
  let last = -1;
  // Damage by reservations with reversed ends may outlive them.
  tree.irregular = ranges.some(([lo, hi]) => {
    const damaged = lo > hi || lo <= last;
    last = hi;
    return damaged;
  });
  const order = Array.from(ranges.keys());
  // Every part of a balanced tree from the top down is balanced too: added level by level, nothing is ever turned.
  if (!tree.irregular) order.sort((a, b) => (depths[a] as number) - (depths[b] as number) || a - b);
  for (const k of order) {
    const [lo, hi] = ranges[k] as readonly [number, number];
    const slot = tree.insertBelow(tree.irregular ? ANCHOR : tree.ceiling(lo), lo, hi);
    if (lo === cachedPfn) found.cached = slot;
    if (lo === cached32Pfn) found.cached32 = slot;
  }
  return found;
}

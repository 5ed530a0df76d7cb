import type { Clock } from '@iommukit/platform';
import type { IovaSearch } from './gap-search.ts';
import type { IovaProfile } from './iova-profile.ts';
import type { RangeCacheState } from './range-caches.ts';

/**
 * A range of page frames, both ends inclusive (`struct iova`).
 * @example const pages = range.pfnHi - range.pfnLo + 1;
 */
export interface IovaRange {
  readonly pfnLo: number;
  readonly pfnHi: number;
}

/**
 * What memory the kernel would allocate: the object of a range, or a magazine of a cache.
 * @example const fails = (what: IovaMemory) => what === 'magazine';
 */
export type IovaMemory = 'range' | 'magazine';

/**
 * How an {@link IovaDomain} is set up.
 * @example const options: IovaDomainOptions = { granule: 4096, startPfn: 1, clock, cpus: 2, profile: IOVA_PROFILES['7.3'] };
 */
export interface IovaDomainOptions {
  /** Bytes of a page of this space, a power of two. */
  readonly granule: number;
  /** Lowest pfn a search may return; reservations may lie below. */
  readonly startPfn: number;
  /** Drives the depot work. */
  readonly clock: Clock;
  /** Possible CPUs, numbered from 0; all start online. */
  readonly cpus: number;
  readonly profile: IovaProfile;
  /** How free space is found, never what is found; default `linear`, the kernel's walk. */
  readonly search?: IovaSearch;
  /** Refuses fast frees of what is not live, which the kernel does not notice; costs a set of all cached pfns. Default false. */
  readonly checked?: boolean;
  /** Asked before each memory allocation of the kernel after set-up; true lets it fail. Absent: none fails. */
  readonly memoryFails?: (what: IovaMemory) => boolean;
}

/**
 * What a restored domain needs that no snapshot can hold; `search` replaces the saved one.
 * @example const options: IovaRestoreOptions = { clock: new SimClock(), search: 'augmented' };
 */
export interface IovaRestoreOptions {
  readonly clock: Clock;
  readonly search?: IovaSearch;
  readonly memoryFails?: (what: IovaMemory) => boolean;
}

/**
 * A copy of everything that decides the next result.
 * @example iovad.state().ranges.length
 */
export interface IovaDomainState {
  /** All ranges, ascending; those in caches are among them. */
  readonly ranges: readonly IovaRange[];
  /** Low pfn of the remembered ranges, `null` for the anchor above all ranges. */
  readonly cachedPfn: number | null;
  readonly cached32Pfn: number | null;
  readonly max32AllocSize: number;
  /** By order. */
  readonly caches: readonly RangeCacheState[];
}

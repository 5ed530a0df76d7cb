export type { IovaFragmentation, IovaGapClass } from './fragmentation.ts';
export type { IovaSearch } from './gap-search.ts';
export type { IovaCounters } from './iova-counters.ts';
export { IovaDomain } from './iova-domain.ts';
export type {
  IovaDomainOptions,
  IovaDomainState,
  IovaMemory,
  IovaRange,
  IovaRestoreOptions,
} from './iova-domain-options.ts';
export { IovaError, type IovaErrorCode, type IovaErrorOperands, MAX_PFN } from './iova-error.ts';
export { IOVA_PROFILES, type IovaProfile, type IovaProfileName } from './iova-profile.ts';
export { compareSnapshots, type IovaDifference, type IovaSnapshot } from './iova-snapshot.ts';
export { IOVA_MAG_SIZE } from './magazine-pool.ts';
export {
  type DepotWorkRun,
  IOVA_RANGE_CACHE_MAX_SIZE,
  iovaRcacheRange,
  type PendingDepotWork,
  type RangeCacheState,
} from './range-caches.ts';

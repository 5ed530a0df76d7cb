export type { IovaCounters } from './iova-counters.ts';
export {
  IovaDomain,
  type IovaDomainOptions,
  type IovaDomainState,
  type IovaMemory,
  type IovaRange,
} from './iova-domain.ts';
export { IovaError, type IovaErrorCode, type IovaErrorOperands, MAX_PFN } from './iova-error.ts';
export { IOVA_PROFILES, type IovaProfile, type IovaProfileName } from './iova-profile.ts';
export { IOVA_MAG_SIZE } from './magazine-pool.ts';
export {
  type DepotWorkRun,
  IOVA_RANGE_CACHE_MAX_SIZE,
  iovaRcacheRange,
  type RangeCacheState,
} from './range-caches.ts';

import { expect, test } from 'vitest';
import {
  IOVA_MAG_SIZE,
  IOVA_PROFILES,
  IOVA_RANGE_CACHE_MAX_SIZE,
  iovaRcacheRange,
} from '../src/index.ts';

test('exported names', async () => {
  expect(Object.keys(await import('../src/index.ts')).sort()).toEqual([
    'IOVA_MAG_SIZE',
    'IOVA_PROFILES',
    'IOVA_RANGE_CACHE_MAX_SIZE',
    'IovaDomain',
    'IovaError',
    'MAX_PFN',
    'compareSnapshots',
    'iovaRcacheRange',
  ]);
});

test('numbers of the caches', () => {
  expect(IOVA_MAG_SIZE).toBe(127);
  expect(IOVA_RANGE_CACHE_MAX_SIZE).toBe(6);
  expect(iovaRcacheRange(4096)).toBe(128 * 1024);
  expect(iovaRcacheRange(65_536)).toBe(2 * 1024 * 1024);
});

test.each([
  { version: '6.1', limit: 32, reclaim: null, memory: 'at-init' },
  { version: '6.12', limit: null, reclaim: 100_000, memory: 'at-init' },
  { version: '7.2', limit: null, reclaim: 100_000, memory: 'at-init' },
  { version: '7.3', limit: null, reclaim: 100_000, memory: 'on-demand' },
] as const)('profile $version', ({ version, limit, reclaim, memory }) => {
  expect(IOVA_PROFILES[version]).toMatchObject({
    version,
    depotLimit: limit,
    depotReclaimDelayUs: reclaim,
    magazineMemory: memory,
  });
});

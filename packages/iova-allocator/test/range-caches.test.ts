import { SimClock } from '@iommukit/platform';
import { describe, expect, test } from 'vitest';
import { IOVA_PROFILES, type IovaDomain, type IovaProfileName } from '../src/index.ts';
import { domain, LIMIT32, MAG } from './domain.ts';

/** Allocates `count` single pages, 0xfffff downwards, and frees them in that order on CPU 0. */
function churn(iovad: IovaDomain, count: number): number[] {
  const held = Array.from({ length: count }, () => iovad.allocIovaFast(0, 1, LIMIT32, 'no-flush'));
  for (const pfn of held) iovad.freeIovaFast(0, pfn, 1);
  return held;
}

function depot(iovad: IovaDomain, order = 0): number {
  return iovad.state().caches[order]?.depot.length ?? Number.NaN;
}

describe('magazines', () => {
  test('last in, first out', () => {
    const iovad = domain({ cpus: 1 });
    churn(iovad, 3);
    const again = Array.from({ length: 3 }, () => iovad.allocIovaFast(0, 1, LIMIT32, 'flush'));
    expect(again).toEqual([0xffffd, 0xffffe, 0xfffff]);
    expect(iovad.counters.cacheAllocs).toBe(3);
  });

  test.each([
    { size: 1, rounded: 1, order: 0 },
    { size: 3, rounded: 4, order: 2 },
    { size: 9, rounded: 16, order: 4 },
    { size: 31, rounded: 32, order: 5 },
    { size: 32, rounded: 32, order: 5 },
  ])('$size pages occupy $rounded and are cached in order $order', ({ size, rounded, order }) => {
    const iovad = domain({ cpus: 1 });
    const pfn = iovad.allocIovaFast(0, size, LIMIT32, 'flush');
    expect(pfn).toBe(0x100000 - rounded);
    expect(iovad.findIova(pfn)).toEqual({ pfnLo: pfn, pfnHi: 0xfffff });
    iovad.freeIovaFast(0, pfn, size);
    expect(iovad.rangeCount).toBe(1);
    expect(iovad.state().caches[order]?.cpus[0]?.loaded).toEqual([pfn]);
    expect(iovad.allocIovaFast(0, rounded, LIMIT32, 'flush')).toBe(pfn);
  });

  test('33 pages are neither rounded nor cached', () => {
    const iovad = domain({ cpus: 1 });
    const pfn = iovad.allocIovaFast(0, 33, LIMIT32, 'flush');
    expect(iovad.findIova(pfn)).toEqual({ pfnLo: 0xfffc0, pfnHi: 0xfffe0 });
    iovad.freeIovaFast(0, pfn, 33);
    expect(iovad.rangeCount).toBe(0);
  });

  test('a limit takes the topmost fitting entry and fills its place with the top', () => {
    const iovad = domain({ cpus: 1 });
    for (let k = 0; k < 3; k++) iovad.allocIovaFast(0, 1, LIMIT32, 'flush');
    for (const pfn of [0xffffd, 0xffffe, 0xfffff]) iovad.freeIovaFast(0, pfn, 1);
    expect(iovad.allocIovaFast(0, 1, 0xffffe, 'flush')).toBe(0xffffe);
    expect(iovad.state().caches[0]?.cpus[0]?.loaded).toEqual([0xffffd, 0xfffff]);
  });

  test('a limit below every cached pfn goes to the tree', () => {
    const iovad = domain({ cpus: 1 });
    churn(iovad, 1);
    expect(iovad.allocIovaFast(0, 1, 0xffff0, 'flush')).toBe(0xffff0);
    expect(iovad.state().caches[0]?.cpus[0]?.loaded).toEqual([0xfffff]);
  });

  test('the limit is for the end of the range', () => {
    const iovad = domain({ cpus: 1 });
    const pfn = iovad.allocIovaFast(0, 4, LIMIT32, 'flush');
    iovad.freeIovaFast(0, pfn, 4);
    expect(iovad.allocIovaFast(0, 4, 0xffffe, 'flush')).toBe(0xffff8);
    expect(iovad.allocIovaFast(0, 4, 0xfffff, 'flush')).toBe(0xffffc);
  });

  test('only one magazine is looked at, even if the other one has a fitting pfn', () => {
    const iovad = domain({ cpus: 1 });
    const low = Array.from({ length: MAG }, () => iovad.allocIovaFast(0, 1, 0x7ffff, 'flush'));
    const high = iovad.allocIovaFast(0, 1, LIMIT32, 'flush');
    // From the remembered range downwards: the limit alone does not raise it.
    expect(high).toBe(0x80000 - MAG - 1);
    iovad.reserveIova(0x90000, 0x90000);
    for (const pfn of low) iovad.freeIovaFast(0, pfn, 1);
    iovad.freeIovaFast(0, 0x90000, 1);
    const state = iovad.state().caches[0]?.cpus[0];
    expect(state?.loaded).toEqual([0x90000]);
    expect(state?.prev?.length).toBe(MAG);
    const before = iovad.counters.cacheAllocs;
    expect(iovad.allocIovaFast(0, 1, 0x7ffff, 'flush')).toBe(0x80000 - MAG - 2);
    expect(iovad.counters.cacheAllocs).toBe(before);
  });

  test('a size above limit + 1 wraps: a range above the limit comes back', () => {
    const iovad = domain({ cpus: 1 });
    expect(iovad.allocIovaFast(0, 32, 0xeff, 'flush')).toBe(0xee0);
    iovad.freeIovaFast(0, 0xee0, 32);
    expect(iovad.allocIovaFast(0, 32, 0xa, 'no-flush')).toBe(0xee0);
  });

  test('a size of exactly limit + 1 does not wrap', () => {
    const iovad = domain({ cpus: 1 });
    expect(iovad.allocIovaFast(0, 32, 0xeff, 'flush')).toBe(0xee0);
    iovad.freeIovaFast(0, 0xee0, 32);
    expect(iovad.allocIovaFast(0, 32, 31, 'no-flush')).toBe(0);
  });

  test('no memory for a magazine: the range goes back to the tree', () => {
    const iovad = domain({ cpus: 1, memoryFails: (what) => what === 'magazine' });
    churn(iovad, 1);
    expect(iovad.rangeCount).toBe(0);
    expect(iovad.counters.treeFrees).toBe(1);
  });

  test('magazines made at set-up need no memory until the depot does', () => {
    const iovad = domain({
      profile: IOVA_PROFILES['6.12'],
      memoryFails: (what) => what === 'magazine',
    });
    churn(iovad, 2 * MAG + 1);
    expect(iovad.counters.cacheFrees).toBe(2 * MAG);
    expect(iovad.rangeCount).toBe(2 * MAG);
  });
});

describe('depot', () => {
  test('order: loaded, previous, then the youngest magazine of the depot', () => {
    const iovad = domain({ cpus: 1 });
    const held = churn(iovad, 5 * MAG);
    // The first magazine stays as the previous one; the second to fourth go to the depot.
    const magazine = (m: number): number[] => held.slice(m * MAG, (m + 1) * MAG);
    expect(iovad.state().caches[0]?.depot).toEqual([magazine(1), magazine(2), magazine(3)]);
    const again = held.map(() => iovad.allocIovaFast(0, 1, LIMIT32, 'no-flush'));
    expect(again).toEqual([4, 0, 3, 2, 1].flatMap((m) => magazine(m).reverse()));
    expect(iovad.counters).toMatchObject({ depotPushes: 3, depotPops: 3 });
  });

  test('another CPU takes from the depot', () => {
    const iovad = domain({ cpus: 2 });
    const held = churn(iovad, 3 * MAG);
    expect(depot(iovad)).toBe(1);
    expect(iovad.allocIovaFast(1, 1, LIMIT32, 'no-flush')).toBe(held[2 * MAG - 1]);
    expect(depot(iovad)).toBe(0);
  });

  test('reclaim: one magazine every 100 ms while there are more than online CPUs', () => {
    const clock = new SimClock();
    const iovad = domain({ clock, cpus: 2 });
    churn(iovad, 7 * MAG);
    const seen = [99_999, 1, 99_999, 1, 100_000].map((us) => {
      clock.advance(us);
      return depot(iovad);
    });
    expect(seen).toEqual([5, 4, 4, 3, 2]);
    expect(iovad.state().caches[0]?.workPending).toBe(true);
    clock.advance(100_000);
    expect(depot(iovad)).toBe(2);
    expect(iovad.state().caches[0]?.workPending).toBe(false);
    expect(iovad.counters).toMatchObject({ depotReclaims: 3, treeFrees: 3 * MAG });
    clock.advance(10_000_000);
    expect(depot(iovad)).toBe(2);
  });

  test('the work gives back the youngest magazine', () => {
    const clock = new SimClock();
    const iovad = domain({ cpus: 1, clock });
    const held = churn(iovad, 4 * MAG);
    clock.advance(100_000);
    expect(iovad.findIova(held[2 * MAG] as number)).toBeNull();
    expect(iovad.state().caches[0]?.depot).toEqual([held.slice(MAG, 2 * MAG)]);
  });

  test('a second push does not move a pending work', () => {
    const clock = new SimClock();
    const iovad = domain({ cpus: 1, clock });
    const held = Array.from({ length: 5 * MAG }, () => iovad.allocIovaFast(0, 1, LIMIT32, 'flush'));
    for (const pfn of held.slice(0, 2 * MAG + 1)) iovad.freeIovaFast(0, pfn, 1);
    clock.advance(60_000);
    for (const pfn of held.slice(2 * MAG + 1)) iovad.freeIovaFast(0, pfn, 1);
    expect(depot(iovad)).toBe(3);
    clock.advance(40_000);
    expect(depot(iovad)).toBe(2);
  });

  test('a CPU less lowers the threshold', () => {
    const clock = new SimClock();
    const iovad = domain({ clock, cpus: 2 });
    churn(iovad, 4 * MAG);
    expect(depot(iovad)).toBe(2);
    iovad.cpuDead(1);
    clock.advance(100_000);
    expect(depot(iovad)).toBe(1);
  });

  test.each([
    { version: '6.1', depotAfter: 32, lost: MAG, overflows: 1 },
    { version: '6.12', depotAfter: 33, lost: 0, overflows: 0 },
  ] as const)('$version with a 33rd full magazine', (row) => {
    const iovad = domain({
      cpus: 1,
      profile: IOVA_PROFILES[row.version satisfies IovaProfileName],
    });
    const held = churn(iovad, 34 * MAG + 1);
    expect(depot(iovad)).toBe(row.depotAfter);
    expect(iovad.rangeCount).toBe(held.length - row.lost);
    expect(iovad.counters.depotOverflows).toBe(row.overflows);
    // The magazine that found no place is the one just filled.
    expect(iovad.findIova(held[33 * MAG] as number) === null).toBe(row.lost > 0);
    expect(iovad.findIova(held[34 * MAG] as number)).not.toBeNull();
  });

  test('6.1 never reclaims', () => {
    const clock = new SimClock();
    const iovad = domain({ cpus: 1, clock, profile: IOVA_PROFILES['6.1'] });
    churn(iovad, 6 * MAG);
    clock.advance(10_000_000);
    expect(depot(iovad)).toBe(4);
    expect(iovad.flushDepotWork(0)).toBeUndefined();
  });
});

describe('flush and CPUs', () => {
  test('a failure empties all caches and depots once and tries again', () => {
    const iovad = domain({ cpus: 2 });
    iovad.reserveIova(1, 0x100000 - 4 * MAG - 1);
    churn(iovad, 4 * MAG);
    expect(iovad.allocIovaFast(1, 2, LIMIT32, 'no-flush')).toBe(0);
    expect(iovad.rangeCount).toBe(4 * MAG + 1);
    expect(iovad.max32AllocSize).toBe(2);
    expect(iovad.allocIovaFast(1, 2, LIMIT32, 'flush')).toBe(0xffffe);
    expect(iovad.rangeCount).toBe(2);
    expect(iovad.counters.cacheFlushes).toBe(1);
    expect(depot(iovad)).toBe(0);
  });

  test('a flush that frees nothing fails after one more try', () => {
    const iovad = domain({ cpus: 1 });
    iovad.reserveIova(1, LIMIT32);
    expect(iovad.allocIovaFast(0, 1, LIMIT32, 'flush')).toBe(0);
    // The second try is refused unseen: nothing was freed, so the failed size still stands.
    expect(iovad.counters).toMatchObject({ cacheFlushes: 1, failedAllocs: 2, refusedAllocs: 1 });
  });

  test('a dead CPU gives its pfns back and keeps empty magazines', () => {
    const iovad = domain({ cpus: 2 });
    const pfn = iovad.allocIovaFast(1, 1, LIMIT32, 'flush');
    iovad.freeIovaFast(1, pfn, 1);
    iovad.cpuDead(1);
    expect(iovad.rangeCount).toBe(0);
    expect(iovad.state().caches[0]?.cpus[1]?.loaded).toEqual([]);
    expect(() => iovad.allocIovaFast(1, 1, LIMIT32, 'flush')).toThrow(
      expect.objectContaining({ code: 'IOVA_CPU', operands: { name: 'cpu', value: 1 } }),
    );
    iovad.cpuDead(1);
    iovad.setCpuOnline(1);
    iovad.setCpuOnline(1);
    expect(iovad.allocIovaFast(1, 1, LIMIT32, 'flush')).toBe(0xfffff);
  });

  test('the last CPU stays', () => {
    expect(() => domain({ cpus: 1 }).cpuDead(0)).toThrow(
      expect.objectContaining({ code: 'IOVA_CPU' }),
    );
  });

  test('a cached pfn whose range was freed behind its back is a warning', () => {
    const iovad = domain({ cpus: 2 });
    const [pfn = 0] = churn(iovad, 1);
    iovad.freeIova(pfn);
    iovad.cpuDead(0);
    expect(iovad.counters.warnings).toBe(1);
  });
});

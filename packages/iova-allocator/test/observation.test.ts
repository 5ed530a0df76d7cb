import { SimClock } from '@iommukit/platform';
import { describe, expect, test } from 'vitest';
import {
  compareSnapshots,
  IovaDomain,
  IovaError,
  type IovaSnapshot,
  MAX_PFN,
} from '../src/index.ts';
import { domain, LIMIT32, MAG } from './domain.ts';

const throughJson = (snapshot: IovaSnapshot): IovaSnapshot => JSON.parse(JSON.stringify(snapshot));

describe.each(['linear', 'augmented'] as const)('%s', (search) => {
  test('the use of the space, and its gaps by length', () => {
    const iovad = domain({ search });
    iovad.reserveIova(0x10, 0x1f);
    const held = [1, 1, 2].map((size) => iovad.allocIovaFast(0, size, LIMIT32, 'flush'));
    expect(held).toEqual([0xfffff, 0xffffe, 0xffffc]);
    iovad.freeIovaFast(0, 0xffffe, 1);
    iovad.freeIova(0xffffc);
    expect(iovad.fragmentation(LIMIT32)).toEqual({
      spacePages: LIMIT32,
      livePages: 17,
      cachedPages: 1,
      freePages: LIMIT32 - 18,
      largestGap: 0xffffe - 0x20,
      histogram: [
        { order: 3, gaps: 1, pages: 15 },
        { order: 19, gaps: 1, pages: 0xffffe - 0x20 },
      ],
    });
    expect(iovad.fragmentation(0x17)).toEqual({
      spacePages: 0x17,
      livePages: 8,
      cachedPages: 0,
      freePages: 15,
      largestGap: 15,
      histogram: [{ order: 3, gaps: 1, pages: 15 }],
    });
    expect(iovad.fragmentation().spacePages).toBe(MAX_PFN);
  });

  test('a limit below the start: no space at all', () => {
    const iovad = domain({ search, startPfn: 0x100 });
    expect(iovad.fragmentation(5)).toMatchObject({ spacePages: 0, freePages: 0, histogram: [] });
    expect(iovad.largestFreeBlock(5)).toBeNull();
  });

  test.each([
    { limit: LIMIT32, lo: 0x40000, hi: 0x7ffff },
    { limit: 0x7ffff, lo: 0x40000, hi: 0x7ffff },
    { limit: 0x7fffe, lo: 0x40000, hi: 0x5ffff },
    { limit: 0xf, lo: 8, hi: 0xf },
    { limit: 3, lo: 2, hi: 3 },
    { limit: 1, lo: 1, hi: 1 },
  ])('largest free block below $limit', ({ limit, lo, hi }) => {
    const iovad = domain({ search });
    iovad.reserveIova(0x90000, LIMIT32);
    const before = { ...iovad.counters };
    expect(iovad.largestFreeBlock(limit)).toEqual({ pfnLo: lo, pfnHi: hi });
    expect(iovad.counters).toEqual(before);
  });

  test('no free block: nothing, and below pfn 0 nothing at all', () => {
    const iovad = domain({ search });
    iovad.reserveIova(1, LIMIT32);
    expect(iovad.largestFreeBlock(LIMIT32)).toBeNull();
    expect(iovad.largestFreeBlock(0)).toBeNull();
    expect(iovad.largestFreeBlock(MAX_PFN)).toEqual({ pfnLo: 2 ** 51, pfnHi: MAX_PFN });
  });

  test('live ranges: what is held, not what waits in a magazine or the depot', () => {
    const iovad = domain({ search });
    const held = Array.from({ length: 3 * MAG + 1 }, () =>
      iovad.allocIovaFast(0, 1, LIMIT32, 'flush'),
    );
    const kept = held.pop() as number;
    for (const pfn of held) iovad.freeIovaFast(0, pfn, 1);
    iovad.reserveIova(7, 9);
    expect(iovad.state().caches[0]?.depot).toHaveLength(1);
    expect([...iovad.liveRanges()]).toEqual([
      { pfnLo: 7, pfnHi: 9 },
      { pfnLo: kept, pfnHi: kept },
    ]);
    expect(iovad.rangeCount).toBe(held.length + 2);
  });

  test('live ranges may be freed while they are gone through', () => {
    const iovad = domain({ search });
    for (let k = 0; k < 500; k++) iovad.allocIova(1, LIMIT32, 'aligned');
    let seen = 0;
    for (const { pfnLo } of iovad.liveRanges()) {
      iovad.freeIova(pfnLo);
      seen++;
    }
    expect([seen, iovad.rangeCount]).toEqual([500, 0]);
  });

  test('counters: hits, misses, moves to the depot and back', () => {
    const iovad = domain({ search });
    const held = Array.from({ length: 3 * MAG }, () => iovad.allocIovaFast(0, 1, LIMIT32, 'flush'));
    for (const pfn of held) iovad.freeIovaFast(0, pfn, 1);
    for (const _ of held) iovad.allocIovaFast(0, 1, LIMIT32, 'flush');
    iovad.allocIovaFast(0, 64, LIMIT32, 'flush');
    expect(iovad.counters).toMatchObject({
      cacheAllocs: 3 * MAG,
      cacheMisses: 3 * MAG,
      cacheFrees: 3 * MAG,
      depotPushes: 1,
      depotPops: 1,
      treeAllocs: 3 * MAG + 1,
    });
  });
});

/** Full magazines, three in the depot with its work due in 40 ms, CPU 1 gone, a failed size, both hints set. */
function busy(clock: SimClock, search: 'linear' | 'augmented'): IovaDomain {
  const iovad = domain({ clock, search });
  iovad.reserveIova(0x100, 0xeffff);
  iovad.allocIova(3, MAX_PFN, 'aligned');
  const held = Array.from({ length: 5 * MAG + 9 }, () =>
    iovad.allocIovaFast(0, 1, LIMIT32, 'flush'),
  );
  for (const pfn of held) iovad.freeIovaFast(0, pfn, 1);
  iovad.freeIovaFast(1, iovad.allocIovaFast(1, 5, LIMIT32, 'flush'), 5);
  iovad.cpuDead(1);
  iovad.allocIova(0xffff, LIMIT32, 'unaligned');
  clock.advance(60_000);
  return iovad;
}

describe('snapshot', () => {
  test.each(['linear', 'augmented'] as const)('%s goes on as if nothing had happened', (search) => {
    const clock = new SimClock();
    const iovad = busy(clock, search);
    const saved = JSON.stringify(iovad.snapshot());
    const later = new SimClock();
    later.advance(12_345);
    const twin = IovaDomain.restore(JSON.parse(saved), { clock: later });
    expect(JSON.stringify(twin.snapshot())).toBe(saved);
    expect(compareSnapshots(twin.snapshot(), iovad.snapshot(), 'all')).toEqual([]);
    expect(iovad.snapshot()).toMatchObject({
      depotWorks: [{ order: 0, inUs: 40_000 }],
      online: [true, false],
      max32AllocSize: 0xffff,
    });
    for (const us of [39_999, 1, 99_999, 1, 100_000]) {
      clock.advance(us);
      later.advance(us);
      expect(compareSnapshots(twin.snapshot(), iovad.snapshot(), 'all')).toEqual([]);
    }
    expect(iovad.counters.depotReclaims).toBeGreaterThan(0);
    iovad.setCpuOnline(1);
    twin.setCpuOnline(1);
    for (let k = 0; k < 400; k++)
      expect(twin.allocIovaFast(k % 2, 1 + (k % 7), LIMIT32, 'flush')).toBe(
        iovad.allocIovaFast(k % 2, 1 + (k % 7), LIMIT32, 'flush'),
      );
    expect(compareSnapshots(twin.snapshot(), iovad.snapshot(), 'all')).toEqual([]);
  });

  test('two works due at one moment run in the order in which they were armed', () => {
    const clock = new SimClock();
    const iovad = domain({ clock, cpus: 1 });
    const held = [2, 1].map((size) => ({
      size,
      pfns: Array.from({ length: 4 * MAG }, () => iovad.allocIovaFast(0, size, LIMIT32, 'flush')),
    }));
    for (const { size, pfns } of held) for (const pfn of pfns) iovad.freeIovaFast(0, pfn, size);
    expect(iovad.snapshot().depotWorks.map(({ order }) => order)).toEqual([1, 0]);
    const later = new SimClock();
    const twin = IovaDomain.restore(throughJson(iovad.snapshot()), { clock: later });
    clock.advance(100_000);
    later.advance(100_000);
    expect(twin.counters.depotReclaims).toBe(2);
    expect(compareSnapshots(twin.snapshot(), iovad.snapshot(), 'all')).toEqual([]);
  });

  test('the other search may take over', () => {
    const clock = new SimClock();
    const iovad = busy(clock, 'linear');
    const twin = IovaDomain.restore(iovad.snapshot(), {
      clock: new SimClock(),
      search: 'augmented',
    });
    expect(twin.search).toBe('augmented');
    expect(compareSnapshots(iovad.snapshot(), twin.snapshot())).toEqual([]);
    expect(compareSnapshots(iovad.snapshot(), twin.snapshot(), 'all')).toEqual([
      { path: 'search', left: 'linear', right: 'augmented' },
    ]);
  });

  test('is a copy: the domain moves on, the snapshot does not', () => {
    const iovad = domain();
    const before = iovad.snapshot();
    const text = JSON.stringify(before);
    iovad.freeIovaFast(0, iovad.allocIovaFast(0, 1, LIMIT32, 'flush'), 1);
    expect(JSON.stringify(before)).toBe(text);
  });

  test('ranges lying over each other come back as they were', () => {
    const found = (['linear', 'augmented'] as const).map((search) => {
      const iovad = domain({ search });
      iovad.reserveIova(0x100, 0x50);
      iovad.reserveIova(0x200, 0x210);
      const twin = IovaDomain.restore(throughJson(iovad.snapshot()), { clock: new SimClock() });
      expect(twin.allocIova(0x30, 0x90, 'unaligned')).toEqual(
        iovad.allocIova(0x30, 0x90, 'unaligned'),
      );
      return twin.state();
    });
    expect(found[1]).toEqual(found[0]);
  });

  test('differences by range and by place', () => {
    const iovad = domain();
    iovad.reserveIova(5, 9);
    iovad.reserveIova(0x20, 0x2f);
    const left = iovad.snapshot();
    iovad.reserveIova(0x1c, 0x20);
    iovad.freeIova(5);
    iovad.freeIovaFast(1, iovad.allocIovaFast(1, 1, 7, 'flush'), 1);
    expect(compareSnapshots(left, iovad.snapshot())).toEqual([
      { path: 'ranges[0x5]', left: 9, right: undefined },
      { path: 'ranges[0x20]', left: 0x2f, right: undefined },
      { path: 'ranges[0x7]', left: undefined, right: 7 },
      { path: 'ranges[0x1c]', left: undefined, right: 0x2f },
      { path: 'cached32Pfn', left: null, right: 7 },
      { path: 'caches[0].cpus[1].loaded', left: null, right: [7] },
    ]);
    expect(compareSnapshots(left, iovad.snapshot(), 'all').map(({ path }) => path)).toContain(
      'counters.treeAllocs',
    );
  });

  test('depths that no balanced tree has make another shape of the same ranges', () => {
    const iovad = domain({ search: 'augmented' });
    for (let k = 0; k < 100; k++) iovad.allocIova(1, LIMIT32, 'aligned');
    const saved = iovad.snapshot();
    const twin = IovaDomain.restore(
      { ...saved, depths: saved.depths.map((_, k) => k) },
      { clock: new SimClock() },
    );
    expect(compareSnapshots(saved, twin.snapshot())).toEqual([]);
    expect(twin.snapshot().depths).not.toEqual(saved.depths);
  });

  const good = domain().snapshot();
  test.each<{ name: string; change: object }>([
    { name: 'format', change: { format: 'other' } },
    { name: 'version', change: { version: 2 } },
    { name: 'profile', change: { profile: null } },
    { name: 'counters', change: { counters: 1 } },
    { name: 'online', change: { online: [false, false] } },
    { name: 'max32AllocSize', change: { max32AllocSize: -1 } },
    { name: 'ranges', change: { ranges: {} } },
    { name: 'ranges[0]', change: { ranges: [7], depths: [0] } },
    { name: 'ranges[0][1]', change: { ranges: [[1, 2 ** 53]], depths: [0] } },
    { name: 'depths.length', change: { depths: [0] } },
    { name: 'depths[0]', change: { ranges: [[1, 2]], depths: [-1] } },
    { name: 'cached32Pfn', change: { cached32Pfn: 4 } },
    { name: 'caches.length', change: { caches: [] } },
    {
      name: 'caches[0].depot[0].length',
      change: { caches: good.caches.map((c, k) => (k === 0 ? { ...c, depot: [[1]] } : c)) },
    },
    {
      name: 'caches[5].cpus.length',
      change: { caches: good.caches.map((c, k) => (k === 5 ? { ...c, cpus: [] } : c)) },
    },
    {
      name: 'caches[0].cpus[1].prev[0]',
      change: {
        caches: good.caches.map((c) => ({
          ...c,
          cpus: [c.cpus[0], { loaded: null, prev: ['1'] }],
        })),
      },
    },
    { name: 'depotWorks[0].order', change: { depotWorks: [{ order: 6, inUs: 1 }] } },
    { name: 'depotWorks[0].inUs', change: { depotWorks: [{ order: 1, inUs: -1 }] } },
  ])('refused with the place: $name', ({ name, change }) => {
    const call = (): IovaDomain =>
      IovaDomain.restore({ ...good, ...change } as IovaSnapshot, { clock: new SimClock() });
    expect(call).toThrow(IovaError);
    expect(call).toThrow(
      expect.objectContaining({
        code: 'IOVA_SNAPSHOT',
        operands: expect.objectContaining({ name }),
      }),
    );
  });

  test('no snapshot at all', () => {
    expect(() =>
      IovaDomain.restore(null as unknown as IovaSnapshot, { clock: new SimClock() }),
    ).toThrow(IovaError);
  });
});

import { SimClock } from '@iommukit/platform';
import { describe, expect, test } from 'vitest';
import { compareSnapshots, IOVA_PROFILES, IovaDomain, type IovaSearch } from '../src/index.ts';
import { domain, LIMIT32, MAG } from './domain.ts';

/** Runs a call that must throw and checks that nothing but the throw happened. */
function refused(iovad: IovaDomain, call: () => unknown, error: object): void {
  const before = iovad.snapshot();
  expect(call).toThrow(expect.objectContaining(error));
  expect(compareSnapshots(before, iovad.snapshot(), 'all')).toEqual([]);
}

describe.each(['linear', 'augmented'] as const)('%s', (search) => {
  test.each([
    { name: 'size 0', code: 'IOVA_SIZE', call: (d: IovaDomain) => d.allocIova(0, 9, 'aligned') },
    {
      name: 'size 0, fast',
      code: 'IOVA_SIZE',
      call: (d: IovaDomain) => d.allocIovaFast(0, 0, 9, 'flush'),
    },
    {
      name: 'freed size 0',
      code: 'IOVA_SIZE',
      call: (d: IovaDomain) => d.freeIovaFast(0, 0xfffff, 0),
    },
    {
      name: 'size above 2^52',
      code: 'IOVA_SIZE',
      call: (d: IovaDomain) => d.allocIova(2 ** 52 + 1, 9, 'aligned'),
    },
    {
      name: 'limit above 2^52',
      code: 'IOVA_PFN',
      call: (d: IovaDomain) => d.largestFreeBlock(2 ** 52),
    },
    { name: 'no CPU', code: 'IOVA_CPU', call: (d: IovaDomain) => d.freeIovaFast(9, 1, 1) },
  ])('$name is refused and changes nothing', ({ code, call }) => {
    const iovad = domain({ search, startPfn: 0x10 });
    iovad.allocIovaFast(0, 1, LIMIT32, 'flush');
    refused(iovad, () => call(iovad), { code });
  });

  test.each([
    { name: 'a size beyond the space', size: 2 ** 52, limit: 2 ** 52 - 1, failed: 2 ** 52 },
    { name: 'a limit below the start', size: 1, limit: 0xf, failed: 1 },
    { name: 'a size that only fits below the start', size: 9, limit: 0x17, failed: 9 },
  ])('$name: the kernel fails and remembers the size', ({ size, limit, failed }) => {
    const iovad = domain({ search, startPfn: 0x10 });
    expect(iovad.allocIova(size, limit, 'unaligned')).toBeNull();
    expect(iovad.max32AllocSize).toBe(failed);
    expect(iovad.rangeCount).toBe(0);
  });

  test('a free of an unknown range does nothing in the tree', () => {
    const iovad = domain({ search, startPfn: 0x10 });
    iovad.reserveIova(0x20, 0x2f);
    const before = iovad.snapshot();
    iovad.freeIova(0x30);
    iovad.freeIovaFast(0, 0x30, 33);
    expect(compareSnapshots(before, iovad.snapshot(), 'all')).toEqual([]);
  });

  test('an overlapping reservation joins what is there', () => {
    const iovad = domain({ search, startPfn: 0x10 });
    iovad.reserveIova(0x20, 0x2f);
    expect(iovad.reserveIova(0x18, 0x37)).toEqual({ pfnLo: 0x30, pfnHi: 0x37 });
    expect(iovad.allocIova(0x18, 0x37, 'unaligned')).toBeNull();
    expect(iovad.allocIova(8, 0x37, 'aligned')).toEqual({ pfnLo: 0x10, pfnHi: 0x17 });
  });
});

test('an unknown search is refused', () => {
  expect(() => domain({ search: 'fast' as IovaSearch })).toThrow(
    expect.objectContaining({
      code: 'IOVA_SEARCH',
      operands: { name: 'search', value: 'fast' },
    }),
  );
});

describe('free twice', () => {
  test('the fast path of the kernel does not look: one range is handed out twice', () => {
    const iovad = domain({ startPfn: 0x10 });
    const pfn = iovad.allocIovaFast(0, 1, LIMIT32, 'flush');
    iovad.freeIovaFast(0, pfn, 1);
    iovad.freeIovaFast(0, pfn, 1);
    const again = [0, 0].map((cpu) => iovad.allocIovaFast(cpu, 1, LIMIT32, 'flush'));
    expect(again).toEqual([pfn, pfn]);
  });

  test.each([
    { name: 'on the same CPU', cpu: 0, size: 1 },
    { name: 'on another CPU', cpu: 1, size: 1 },
    { name: 'with another size', cpu: 0, size: 4 },
    { name: 'with a size that is not cached', cpu: 0, size: 40 },
  ])('checked: refused $name', ({ cpu, size }) => {
    const iovad = domain({ checked: true });
    const pfn = iovad.allocIovaFast(0, 1, LIMIT32, 'flush');
    iovad.freeIovaFast(0, pfn, 1);
    refused(iovad, () => iovad.freeIovaFast(cpu, pfn, size), {
      code: 'IOVA_DOUBLE_FREE',
      operands: { name: 'pfn', value: pfn },
    });
    expect(iovad.allocIovaFast(0, 1, LIMIT32, 'flush')).toBe(pfn);
    iovad.freeIovaFast(cpu, pfn, 1);
  });

  test('checked: in the depot, and after a restore', () => {
    const iovad = domain({ checked: true });
    const held = Array.from({ length: 3 * MAG }, () => iovad.allocIovaFast(0, 2, LIMIT32, 'flush'));
    for (const pfn of held) iovad.freeIovaFast(0, pfn, 2);
    const twin = IovaDomain.restore(iovad.snapshot(), { clock: new SimClock() });
    for (const d of [iovad, twin])
      for (const pfn of held)
        expect(() => d.freeIovaFast(1, pfn, 2)).toThrow(
          expect.objectContaining({ code: 'IOVA_DOUBLE_FREE' }),
        );
  });

  test.each([
    { name: 'never allocated', pfn: 0x77, size: 1 },
    { name: 'the second page of a range', pfn: 0xffffd, size: 1 },
    { name: 'freed to the tree', pfn: 0xfff80, size: 64 },
  ])('checked: refused, $name', ({ pfn, size }) => {
    const iovad = domain({ checked: true });
    expect(iovad.allocIovaFast(0, 4, LIMIT32, 'flush')).toBe(0xffffc);
    const large = iovad.allocIovaFast(0, 64, LIMIT32, 'flush');
    expect(large).toBe(0xfff80);
    iovad.freeIovaFast(0, large, 64);
    refused(iovad, () => iovad.freeIovaFast(0, pfn, size), {
      code: 'IOVA_NOT_LIVE',
      operands: { name: 'pfn', value: pfn },
    });
  });

  test('checked: a range that left the caches by a flush, a dead CPU or the depot work is live no more', () => {
    const clock = new SimClock();
    const iovad = domain({ clock, checked: true });
    const held = Array.from({ length: 5 * MAG }, () => iovad.allocIovaFast(0, 1, LIMIT32, 'flush'));
    for (const pfn of held) iovad.freeIovaFast(0, pfn, 1);
    clock.advance(100_000);
    iovad.cpuDead(0);
    const gone = held.filter((pfn) => iovad.findIova(pfn) === null);
    expect(gone).toHaveLength(3 * MAG);
    for (const pfn of gone)
      expect(() => iovad.freeIovaFast(1, pfn, 1)).toThrow(
        expect.objectContaining({ code: 'IOVA_NOT_LIVE' }),
      );
  });

  test('checked: 6.1 with a full depot, and no memory for a magazine', () => {
    for (const options of [
      { profile: IOVA_PROFILES['6.1'] },
      { memoryFails: (what: string) => what === 'magazine' },
    ]) {
      const [plain, checked] = [false, true].map((on) => {
        const iovad = domain({ ...options, checked: on });
        const held = Array.from({ length: 35 * MAG }, () =>
          iovad.allocIovaFast(0, 1, LIMIT32, 'flush'),
        );
        for (const pfn of held) iovad.freeIovaFast(0, pfn, 1);
        for (const _ of held) iovad.allocIovaFast(0, 1, LIMIT32, 'flush');
        return iovad.snapshot();
      }) as [ReturnType<IovaDomain['snapshot']>, ReturnType<IovaDomain['snapshot']>];
      expect(compareSnapshots(plain, checked, 'all')).toEqual([
        { path: 'checked', left: false, right: true },
      ]);
    }
  });
});

import { IommuError } from '@iommukit/bits';
import { SimClock } from '@iommukit/platform';
import { describe, expect, test } from 'vitest';
import { type IovaDomain, IovaError, MAX_PFN } from '../src/index.ts';
import { domain, LIMIT32 } from './domain.ts';

function pfns(iovad: IovaDomain): [number, number][] {
  return iovad.state().ranges.map((r) => [r.pfnLo, r.pfnHi]);
}

describe('search', () => {
  test.each([
    { name: 'one page', size: 1, limit: 0xfffff, aligned: true, lo: 0xfffff, hi: 0xfffff },
    {
      name: '3 pages aligned to 4',
      size: 3,
      limit: 0xfffff,
      aligned: true,
      lo: 0xffffc,
      hi: 0xffffe,
    },
    {
      name: '3 pages unaligned',
      size: 3,
      limit: 0xfffff,
      aligned: false,
      lo: 0xffffd,
      hi: 0xfffff,
    },
    {
      name: '33 pages take 33 at 64',
      size: 33,
      limit: 0xfffff,
      aligned: true,
      lo: 0xfffc0,
      hi: 0xfffe0,
    },
    {
      name: '36-bit limit',
      size: 4,
      limit: 0xfffffffff,
      aligned: true,
      lo: 0xffffffffc,
      hi: 0xfffffffff,
    },
    { name: 'limit 2^52 - 1', size: 1, limit: MAX_PFN, aligned: true, lo: MAX_PFN, hi: MAX_PFN },
    {
      name: 'half of the space',
      size: 2 ** 51,
      limit: MAX_PFN,
      aligned: true,
      lo: 2 ** 51,
      hi: MAX_PFN,
    },
    { name: 'exactly from the start', size: 5, limit: 5, aligned: false, lo: 1, hi: 5 },
  ])('$name', ({ size, limit, aligned, lo, hi }) => {
    const range = domain().allocIova(size, limit, aligned ? 'aligned' : 'unaligned');
    expect(range).toEqual({ pfnLo: lo, pfnHi: hi });
  });

  test.each([
    { name: 'size above the limit', size: 12, limit: 10 },
    { name: 'below the start', size: 6, limit: 5 },
    { name: 'all of 4 GiB is never given to a 32-bit limit', size: 0x100000, limit: LIMIT32 },
    { name: 'the whole space', size: 2 ** 52, limit: MAX_PFN },
  ])('nothing: $name', ({ size, limit }) => {
    expect(domain().allocIova(size, limit, 'unaligned')).toBeNull();
  });

  test('a size below 4 GiB fits exactly from pfn 0', () => {
    expect(domain({ startPfn: 0 }).allocIova(0xfffff, 0xffffe, 'unaligned')?.pfnLo).toBe(0);
  });

  test('the retry from the limit finds room above the remembered range', () => {
    const iovad = domain();
    expect(iovad.allocIova(1, 0x7ffff, 'aligned')?.pfnLo).toBe(0x7ffff);
    iovad.reserveIova(1, 0x7fffe);
    expect(iovad.allocIova(1, LIMIT32, 'aligned')?.pfnLo).toBe(0xfffff);
    expect(iovad.counters.searchRetries).toBe(1);
    // anchor in the first search; remembered range and reservation, then the anchor again in the second
    expect(iovad.counters.nodesVisited).toBe(1 + 2 + 1);
  });

  test('the retry looks only above the remembered range', () => {
    const iovad = domain();
    iovad.allocIova(1, 0x20, 'aligned');
    iovad.reserveIova(8, 0x1f);
    iovad.reserveIova(0x21, 0xfffff);
    expect(iovad.allocIova(0x10, LIMIT32, 'unaligned')).toBeNull();
    expect(iovad.counters.searchRetries).toBe(1);
    // anchor; remembered range and the reservation below it; anchor and the reservation above
    expect(iovad.counters.nodesVisited).toBe(1 + 2 + 2);
    expect(iovad.max32AllocSize).toBe(0x10);
  });

  test('the 32-bit hint may have moved above 4 GiB and follows when that range goes', () => {
    const iovad = domain();
    iovad.reserveIova(0x100000, 0x100000);
    iovad.allocIova(1, LIMIT32, 'aligned');
    iovad.freeIova(0xfffff);
    expect(iovad.state().cached32Pfn).toBe(0x100000);
    iovad.freeIova(0x100000);
    expect(iovad.state().cached32Pfn).toBeNull();
  });

  test('freeing a range across 4 GiB resets the failed size', () => {
    const iovad = domain();
    iovad.allocIova(4, 0x100001, 'unaligned');
    iovad.reserveIova(1, 0xffffd);
    expect(iovad.allocIova(1, LIMIT32, 'aligned')).toBeNull();
    expect(iovad.max32AllocSize).toBe(1);
    iovad.freeIova(0xffffe);
    expect(iovad.max32AllocSize).toBe(0x100000);
  });

  test('where a range landed decides which hint moves', () => {
    const iovad = domain();
    iovad.reserveIova(0x100000, MAX_PFN);
    expect(iovad.state()).toMatchObject({ cachedPfn: null, cached32Pfn: null });
    expect(iovad.allocIova(1, MAX_PFN, 'aligned')?.pfnLo).toBe(0xfffff);
    expect(iovad.state()).toMatchObject({ cachedPfn: null, cached32Pfn: 0xfffff });
  });

  test('a range across 4 GiB counts as high', () => {
    const iovad = domain();
    expect(iovad.allocIova(4, 0x100001, 'unaligned')?.pfnLo).toBe(0xffffe);
    expect(iovad.state()).toMatchObject({ cachedPfn: 0xffffe, cached32Pfn: null });
  });

  test('a failed size is refused unseen until something below 4 GiB is freed', () => {
    const iovad = domain();
    iovad.reserveIova(0x100000, MAX_PFN - 1);
    iovad.reserveIova(9, 0xfffff);
    expect(iovad.allocIova(1, MAX_PFN, 'aligned')?.pfnLo).toBe(MAX_PFN);
    expect(iovad.allocIova(9, MAX_PFN, 'unaligned')).toBeNull();
    expect(iovad.max32AllocSize).toBe(9);
    expect(iovad.allocIova(9, LIMIT32, 'unaligned')).toBeNull();
    expect(iovad.counters.refusedAllocs).toBe(1);
    iovad.freeIova(MAX_PFN);
    expect(iovad.max32AllocSize).toBe(9);
    expect(iovad.allocIova(8, LIMIT32, 'unaligned')?.pfnLo).toBe(1);
    iovad.freeIova(4);
    expect(iovad.max32AllocSize).toBe(0x100000);
  });

  test('a failing memory allocation leaves everything as it was', () => {
    const iovad = domain({ memoryFails: (what) => what === 'range' });
    expect(iovad.allocIova(1, LIMIT32, 'aligned')).toBeNull();
    expect(iovad.reserveIova(1, 2)).toBeNull();
    expect(iovad.allocIovaFast(0, 1, LIMIT32, 'flush')).toBe(0);
    expect(iovad.max32AllocSize).toBe(0x100000);
    expect(iovad.rangeCount).toBe(0);
  });
});

describe('find, free, reserve', () => {
  test('any pfn of a range finds and frees all of it', () => {
    const iovad = domain();
    iovad.reserveIova(10, 19);
    expect(iovad.findIova(9)).toBeNull();
    expect(iovad.findIova(15)).toEqual({ pfnLo: 10, pfnHi: 19 });
    iovad.freeIova(20);
    expect(iovad.rangeCount).toBe(1);
    iovad.freeIova(19);
    expect(iovad.rangeCount).toBe(0);
  });

  test.each([
    { name: 'inside', lo: 12, hi: 15, ret: [10, 19], tree: [[10, 19]] },
    { name: 'grows downwards in place', lo: 5, hi: 12, ret: [5, 19], tree: [[5, 19]] },
    {
      name: 'never upwards',
      lo: 15,
      hi: 25,
      ret: [20, 25],
      tree: [
        [10, 19],
        [20, 25],
      ],
    },
    {
      name: 'superset: old range and a tail',
      lo: 5,
      hi: 25,
      ret: [20, 25],
      tree: [
        [5, 19],
        [20, 25],
      ],
    },
    {
      name: 'adjacent ranges are not joined',
      lo: 20,
      hi: 21,
      ret: [20, 21],
      tree: [
        [10, 19],
        [20, 21],
      ],
    },
    {
      name: 'below the start',
      lo: 0,
      hi: 0,
      ret: [0, 0],
      tree: [
        [0, 0],
        [10, 19],
      ],
    },
  ])('reserve $name', ({ lo, hi, ret, tree }) => {
    const iovad = domain();
    iovad.reserveIova(10, 19);
    expect(iovad.reserveIova(lo, hi)).toEqual({ pfnLo: ret[0], pfnHi: ret[1] });
    expect(pfns(iovad)).toEqual(tree);
  });

  test('over two ranges: the gap joins the upper one, the rest is a tail', () => {
    const iovad = domain();
    iovad.reserveIova(10, 19);
    iovad.reserveIova(30, 39);
    expect(iovad.reserveIova(15, 45)).toEqual({ pfnLo: 40, pfnHi: 45 });
    expect(pfns(iovad)).toEqual([
      [10, 19],
      [20, 39],
      [40, 45],
    ]);
  });

  test('beyond the address space: a warning and nothing', () => {
    const iovad = domain({ granule: 65_536 });
    expect(iovad.reserveIova(2 ** 48, 2 ** 48)).toBeNull();
    expect(iovad.reserveIova(1, 2 ** 64)).toBeNull();
    expect(iovad.counters.warnings).toBe(2);
    expect(iovad.reserveIova(2 ** 48 - 1, 2 ** 48 - 1)).not.toBeNull();
  });

  test('ends in the wrong order: kept, and equal starts are refused with a warning', () => {
    const iovad = domain();
    expect(iovad.reserveIova(10, 5)).toEqual({ pfnLo: 10, pfnHi: 5 });
    expect(iovad.findIova(7)).toBeNull();
    expect(iovad.reserveIova(10, 4)).toEqual({ pfnLo: 10, pfnHi: 4 });
    expect(iovad.counters.warnings).toBe(1);
    expect(iovad.rangeCount).toBe(1);
  });

  test('at most 64 bytes of typed arrays a range', () => {
    const iovad = domain();
    for (let n = 1; n <= 5000; n++) {
      iovad.allocIova(1, LIMIT32, 'aligned');
      if (n >= 64) expect(iovad.treeBytes / n).toBeLessThanOrEqual(64);
    }
  });
});

describe('destruction and bad input', () => {
  test('put: no work runs afterwards and every call is refused', () => {
    const clock = new SimClock();
    const iovad = domain({ clock, cpus: 1 });
    const held = Array.from({ length: 127 * 4 }, () => iovad.allocIovaFast(0, 1, LIMIT32, 'flush'));
    for (const pfn of held) iovad.freeIovaFast(0, pfn, 1);
    expect(iovad.state().caches[0]?.workPending).toBe(true);
    iovad.putIovaDomain();
    clock.advance(1_000_000);
    expect(iovad.counters.depotReclaims).toBe(0);
    expect(iovad.counters.treeFrees).toBe(0);
    expect(() => iovad.findIova(1)).toThrow(expect.objectContaining({ code: 'IOVA_DOMAIN_GONE' }));
    expect(() => iovad.putIovaDomain()).toThrow(IovaError);
  });

  test.each([
    { name: 'size 0', code: 'IOVA_SIZE', call: (d: IovaDomain) => d.allocIova(0, 1, 'aligned') },
    {
      name: 'size 1.5',
      code: 'IOVA_SIZE',
      call: (d: IovaDomain) => d.allocIovaFast(0, 1.5, 9, 'flush'),
    },
    {
      name: 'size NaN',
      code: 'IOVA_SIZE',
      call: (d: IovaDomain) => d.freeIovaFast(0, 1, Number.NaN),
    },
    {
      name: 'size 2^53',
      code: 'IOVA_SIZE',
      call: (d: IovaDomain) => d.allocIova(2 ** 53, 1, 'aligned'),
    },
    {
      name: 'limit 2^52',
      code: 'IOVA_PFN',
      call: (d: IovaDomain) => d.allocIova(1, 2 ** 52, 'aligned'),
    },
    {
      name: 'limit -1',
      code: 'IOVA_PFN',
      call: (d: IovaDomain) => d.allocIovaFast(0, 1, -1, 'flush'),
    },
    { name: 'pfn 0.5', code: 'IOVA_PFN', call: (d: IovaDomain) => d.freeIova(0.5) },
    {
      name: 'pfn infinite',
      code: 'IOVA_PFN',
      call: (d: IovaDomain) => d.findIova(Number.POSITIVE_INFINITY),
    },
    {
      name: 'reservation of NaN',
      code: 'IOVA_PFN',
      call: (d: IovaDomain) => d.reserveIova(Number.NaN, 1),
    },
    {
      name: 'CPU 2 of 2',
      code: 'IOVA_CPU',
      call: (d: IovaDomain) => d.allocIovaFast(2, 1, 9, 'flush'),
    },
    { name: 'death of CPU -1', code: 'IOVA_CPU', call: (d: IovaDomain) => d.cpuDead(-1) },
    { name: 'granule 3000', code: 'IOVA_GRANULE', call: () => domain({ granule: 3000 }) },
    { name: 'granule 2 MiB', code: 'IOVA_GRANULE', call: () => domain({ granule: 0x20_0000 }) },
    { name: 'start -1', code: 'IOVA_PFN', call: () => domain({ startPfn: -1 }) },
    { name: 'no CPUs', code: 'IOVA_CPU', call: () => domain({ cpus: 0 }) },
  ])('refused: $name', ({ code, call }) => {
    const iovad = domain();
    expect(() => call(iovad)).toThrow(expect.objectContaining({ code, name: 'IovaError' }));
    expect(() => call(iovad)).toThrow(IommuError);
  });

  test('with granules below 4 KiB the pfns from 2^52 on are beyond the model', () => {
    expect(() => domain({ granule: 1024 }).reserveIova(2 ** 52, 2 ** 52)).toThrow(IovaError);
  });
});

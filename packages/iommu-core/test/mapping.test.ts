import { fromBigInt, u64 } from '@iommukit/bits';
import { IotlbGather, PageRun } from '@iommukit/io-pgtable';
import { TraceChannel } from '@iommukit/platform';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  CORE_PROFILES,
  type CoreEvent,
  IommuCore,
  IommuDomain,
  insertResvRegion,
  type KernelVersion,
  type ReservedRegion,
  resvRegionLine,
} from '../src/index.ts';
import { FakeDomain, lastOf, type Mock } from './fake-driver.ts';

const BITMAP = 0x4020_1000;

function space(version: KernelVersion, mock: Mock = {}, listen = true) {
  const trace = new TraceChannel<CoreEvent>();
  const events: CoreEvent[] = [];
  if (listen) trace.listen((event) => events.push(event));
  const core = new IommuCore({
    trace,
    profile: CORE_PROFILES[version],
    defaultDomainType: 'dma',
  });
  const ops = new FakeDomain(() => core, mock);
  const domain = new IommuDomain({
    type: 'unmanaged',
    ops,
    pgsizeBitmap: BITMAP,
    apertureStart: 0,
    apertureEnd: 2 ** 48,
  });
  ops.domain = domain;
  return { core, ops, domain, events };
}

describe('pick against a slow twin', () => {
  /** `iommu_pgsize` with 64-bit integers, from linux-iommu 3.2. */
  function slow(bitmap: bigint, iova: bigint, paddr: bigint, size: bigint): [bigint, bigint] {
    const mixed = iova | paddr;
    let pgsize = 0n;
    let next = 0n;
    for (let bit = 1n; bit < 1n << 64n; bit <<= 1n) {
      if ((bitmap & bit) === 0n) continue;
      if (bit <= size && (mixed & (bit - 1n)) === 0n) pgsize = bit;
    }
    for (let bit = pgsize << 1n; bit < 1n << 64n && next === 0n; bit <<= 1n)
      if ((bitmap & bit) !== 0n) next = bit;
    let bytes = size;
    if (next !== 0n && ((iova ^ paddr) & (next - 1n)) === 0n) {
      const offset = next - (mixed & (next - 1n));
      if (offset + next < 1n << 64n && offset + next <= size) bytes = offset;
    }
    return [pgsize, bytes / pgsize];
  }

  it('agrees', () => {
    const pages = (max: number) => fc.bigInt(0n, BigInt(max)).map((page) => page << 12n);
    const run = new PageRun();
    fc.assert(
      fc.property(
        fc.constantFrom(0x4020_1000n, 0x1000n, 0x20_1000n, 0x111_1000n, 0xffff_ffff_ffff_f000n),
        pages(2 ** 40),
        pages(2 ** 40),
        pages(2 ** 22).filter((size) => size > 0n),
        fc.constantFrom(0n, 9n, 18n),
        (bitmap, iova, paddr, size, zeros) => {
          const a = (iova >> (12n + zeros)) << (12n + zeros);
          const b = (paddr >> (12n + zeros)) << (12n + zeros);
          run.pick(Number(bitmap), Number(a), Number(b), Number(size));
          expect([BigInt(run.pgsize), BigInt(run.count)]).toEqual(slow(bitmap, a, b, size));
        },
      ),
    );
  });

  it('throws when no page fits', () => {
    expect(() => new PageRun().pick(BITMAP, 0x800, 0, 4096)).toThrow('PAGE_SIZE');
    expect(() => new PageRun().pick(0, 0, 0, 4096)).toThrow('PAGE_SIZE');
  });
});

describe('events', () => {
  it('of a map and its unmap', () => {
    const { core, domain, events } = space('6.12');
    core.map(domain, 0x1000, 0x5000, 0x3000, 3);
    expect(core.unmap(domain, 0x1000, 0x4000)).toBe(0x3000);
    expect(events).toEqual([
      { name: 'map', iova: 0x1000, paddr: 0x5000, size: 0x3000 },
      { name: 'unmap', iova: 0x1000, size: 0x4000, unmappedSize: 0x3000 },
    ]);
  });

  const failing = { fail_call: 2, fail_errno: 12, fail_pages: 1 };
  it('6.12: a failed map shows only its unwinding', () => {
    const { core, domain, events } = space('6.12', failing);
    expect(core.map(domain, 0x1f_f000, 0x5f_f000, 0x20_2000, 3)).toBe(-12);
    expect(events.map((e) => e.name)).toEqual(['unmap']);
  });

  it('7.2: a failed map shows what was really mapped, then its unmap', () => {
    const { core, domain, events } = space('7.2', failing);
    expect(core.map(domain, 0x1f_f000, 0x5f_f000, 0x20_2000, 3)).toBe(-12);
    expect(events).toEqual([
      { name: 'map', iova: 0x1f_f000, paddr: 0x5f_f000, size: 0x20_1000 },
      { name: 'unmap', iova: 0x1f_f000, size: 0x20_1000, unmappedSize: 0x20_1000 },
    ]);
  });

  it('unaligned values are refused with a message', () => {
    const { core, domain, events, ops } = space('6.12');
    expect(core.map(domain, 0x1001, 0x1000, 0x1000, 3)).toBe(-22);
    expect(core.unmap(domain, 0x1000, 0x800)).toBe(0);
    expect(events).toEqual([
      {
        name: 'warn',
        text: 'unaligned: iova 0x1001 pa 0x0000000000001000 size 0x1000 min_pagesz 0x1000',
      },
      { name: 'warn', text: 'unaligned: iova 0x1000 size 0x800 min_pagesz 0x1000' },
    ]);
    expect(ops.calls).toEqual([]);
  });

  it('nothing is built while nobody listens', () => {
    const { core, domain, events, ops } = space('6.12', {}, false);
    core.map(domain, 0x1000, 0x5000, 0x1000, 3);
    expect(events).toEqual([]);
    expect(ops.calls.length).toBe(2);
  });
});

describe('map and unmap', () => {
  it('a driver that does nothing without an error would loop for ever', () => {
    const { core, domain } = space('6.12', { fail_call: 1, fail_errno: 0 });
    expect(() => core.map(domain, 0, 0, 4096, 3)).toThrow('DRIVER_NO_PROGRESS');
  });

  it('a failed sync of the map unmaps everything', () => {
    const { core, domain, ops } = space('6.12', { sync_fail: 1, sync_errno: 5 });
    expect(core.map(domain, 0x1000, 0x5000, 0x2000, 3)).toBe(-5);
    expect(core.iovaToPhys(domain, 0x1000)).toBe(0);
    expect(ops.calls.map(([name]) => name)).toEqual(['map', 'sync_map', 'unmap', 'sync']);
  });

  it('unmap_fast leaves the invalidation to the caller', () => {
    const { core, domain, ops } = space('6.12', { gather: 'page' });
    core.map(domain, 0x1000, 0x5000, 0x4000, 3);
    const gather = new IotlbGather();
    expect(core.unmapFast(domain, 0x1000, 0x2000, gather)).toBe(0x2000);
    expect(core.unmapFast(domain, 0x3000, 0x2000, gather)).toBe(0x2000);
    expect(ops.calls.filter(([name]) => name === 'sync')).toEqual([]);
    core.iotlbSync(domain, gather);
    core.iotlbSync(domain, gather);
    expect(ops.calls.filter(([name]) => name === 'sync')).toEqual([
      ['sync', '0x1000', '0x4fff', '0x1000'],
    ]);
    expect(gather.isEmpty).toBe(true);
  });

  it('a gather is synced when the next pages are far away or of another size', () => {
    const { core, domain, ops } = space('6.12');
    const gather = new IotlbGather();
    core.gatherAddPages(domain, gather, 0x1000, 0x1000, 3);
    core.gatherAddPages(domain, gather, 0x4000, 0x1000, 1);
    core.gatherAddPages(domain, gather, 0x9000, 0x1000, 0);
    core.gatherAddPages(domain, gather, 0x9000, 0x1000, 1);
    core.gatherAddPages(domain, gather, 0x20_0000, 0x20_0000, 1);
    core.iotlbSync(domain, gather);
    expect(ops.calls).toEqual([
      ['sync', '0x1000', '0x4fff', '0x1000'],
      ['sync', '0x9000', '0x9fff', '0x1000'],
      ['sync', '0x200000', '0x3fffff', '0x200000'],
    ]);
  });

  it('adding many pages at once equals adding them one by one', () => {
    const step = fc.tuple(
      fc.integer({ min: 0, max: 30 }),
      fc.constantFrom(0x1000, 0x2000),
      fc.integer({ min: 1, max: 5 }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 8 }), (steps) => {
        const [once, each] = [space('6.12'), space('6.12')];
        const [a, b] = [new IotlbGather(), new IotlbGather()];
        for (const [slot, size, count] of steps) {
          once.core.gatherAddPages(once.domain, a, slot * size, size, count);
          for (let i = 0; i < count; i++)
            each.core.gatherAddPages(each.domain, b, (slot + i) * size, size, 1);
        }
        expect(once.ops.calls).toEqual(each.ops.calls);
        expect([a.start, lastOf(a.end), a.pgsize]).toEqual([b.start, lastOf(b.end), b.pgsize]);
      }),
    );
  });

  it('identity and blocked domains do not map', () => {
    for (const type of ['identity', 'blocked'] as const) {
      const { core, ops } = space('6.12');
      const domain = new IommuDomain({
        type,
        ops,
        pgsizeBitmap: 0,
        apertureStart: 0,
        apertureEnd: 2 ** 48,
      });
      expect(core.map(domain, 0, 0, 4096, 3)).toBe(-22);
      expect(core.unmap(domain, 0, 4096)).toBe(0);
      expect(core.iovaToPhys(domain, 0x1234)).toBe(type === 'identity' ? 0x1234 : 0);
      expect(core.iovaToPhys64(domain, u64(5, 6))).toEqual(
        type === 'identity' ? u64(5, 6) : u64(0, 0),
      );
    }
  });
});

describe('iovaToPhys', () => {
  it('keeps the offset, also in the upper half', () => {
    const { core, domain } = space('6.12');
    core.map(domain, 0x1000, 0x5000, 0x1000, 3);
    expect(core.iovaToPhys(domain, 0x1234)).toBe(0x5234);
    expect(core.iovaToPhys64(domain, u64(0x1234, 0))).toEqual(u64(0x5234, 0));
    expect(core.iovaToPhys64(domain, u64(0x2234, 0))).toEqual(u64(0, 0));
    core.map(domain, 2 ** 64 - 0x2000, 0x7000, 0x1000, 3);
    expect(core.iovaToPhys64(domain, fromBigInt(2n ** 64n - 0x1fffn))).toEqual(u64(0x7001, 0));
    expect(core.iovaToPhys64(domain, fromBigInt(2n ** 64n - 0xfffn))).toEqual(u64(0, 0));
  });
});

describe('reserved regions', () => {
  const region = (type: ReservedRegion['type'], start: number, end: number): ReservedRegion => ({
    type,
    start,
    end,
    prot: 0,
  });
  const merge = (...list: ReservedRegion[]) =>
    list.reduce<ReservedRegion[]>((all, next) => insertResvRegion(all, next), []);

  it('are sorted; those of one type that touch become one', () => {
    expect(
      merge(
        region('reserved', 0x5000, 0x6000),
        region('direct', 0x5000, 0x6000),
        region('reserved', 0x1000, 0x2000),
        region('reserved', 0x2000, 0x5000),
      ),
    ).toEqual([region('reserved', 0x1000, 0x6000), region('direct', 0x5000, 0x6000)]);
  });

  it('have a sysfs line with an inclusive end', () => {
    expect(resvRegionLine(region('msi', 0, 2 ** 64))).toBe(
      '0x0000000000000000 0xffffffffffffffff msi',
    );
    expect(resvRegionLine(region('direct-relaxable', 0x1000, 0x2000))).toBe(
      '0x0000000000001000 0x0000000000001fff direct-relaxable',
    );
  });
});

import { SimPlatform } from '@iommukit/platform';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  ExposureMeter,
  FLUSH_QUEUE_PER_CPU,
  FLUSH_QUEUE_SINGLE,
  FlushQueue,
  type FlushQueueInit,
} from '../src/index.ts';

function rig(init: Partial<FlushQueueInit> = {}) {
  const platform = new SimPlatform();
  const freed: { pfn: number; pages: number; cpu: number }[] = [];
  const put: number[] = [];
  const nested: (() => void)[] = [];
  let flushes = 0;
  const queue = new FlushQueue({
    ...FLUSH_QUEUE_PER_CPU,
    cpus: 2,
    platform,
    target: {
      flushAll() {
        flushes++;
        nested.shift()?.();
      },
      freeIova: (pfn, pages) => freed.push({ pfn, pages, cpu: platform.cpu }),
      putPages: (list) => put.push(...list),
    },
    ...init,
  });
  return { platform, queue, freed, put, nested, flushes: () => flushes };
}

describe('rings', () => {
  it('256 entries and 10 ms for each CPU, or 32,768 and one second for all', () => {
    expect(FLUSH_QUEUE_PER_CPU).toEqual({ mode: 'per-cpu', size: 256, timeoutUs: 10_000 });
    expect(FLUSH_QUEUE_SINGLE).toEqual({ mode: 'single', size: 32_768, timeoutUs: 1_000_000 });
  });

  it('a ring of 256 holds 255: 1024 requests without timer flush at 256, 511, 766, 1021 and hold 4 (S1-9)', () => {
    const { queue, freed, flushes } = rig({ timer: 'external' });
    const at: number[] = [];
    for (let request = 1; request <= 1024; request++) {
      const before = flushes();
      queue.queue(request, 32, []);
      if (flushes() !== before) {
        at.push(request);
        // Only what was queued before the flush is free; the entry that forced it stays.
        expect(queue.pending).toBe(1);
      }
    }
    expect(at).toEqual([256, 511, 766, 1021]);
    expect([queue.pending, freed.length]).toEqual([4, 1020]);
    expect(freed.map(({ pfn }) => pfn)).toEqual(freed.map((_, i) => i + 1));
  });

  it('an entry that comes from another CPU during a flush is not freed by that flush', () => {
    const { queue, platform, nested, freed } = rig({ size: 4, timer: 'external' });
    for (const pfn of [1, 2, 3]) queue.queue(pfn, 1, []);
    nested.push(() => {
      platform.cpu = 1;
      queue.queue(100, 1, []);
      platform.cpu = 0;
    });
    queue.queue(4, 1, []);
    expect(freed.map(({ pfn }) => pfn)).toEqual([1, 2, 3]);
    platform.cpu = 1;
    queue.queue(101, 1, []);
    expect([queue.pending, freed.length]).toEqual([3, 3]);
    queue.expire();
    expect(freed.map(({ pfn }) => pfn)).toEqual([1, 2, 3, 4, 100, 101]);
  });

  it.each([0, 1, 3, 255])('a ring of %i entries is refused', (size) => {
    expect(() => rig({ size })).toThrow('power of two');
  });

  it('table pages go first, then the range, entry by entry', () => {
    const order: string[] = [];
    const { queue } = rig({
      timer: 'external',
      target: {
        flushAll: () => order.push('flush'),
        freeIova: (pfn) => order.push(`iova ${pfn}`),
        putPages: (list) => order.push(`pages ${list.join(' ')}`),
      },
    });
    queue.queue(1, 1, [0x1000, 0x2000]);
    queue.queue(2, 1, []);
    queue.queue(3, 1, [0x3000]);
    queue.expire();
    expect(order).toEqual([
      'flush',
      'pages 4096 8192',
      'iova 1',
      'iova 2',
      'pages 12288',
      'iova 3',
    ]);
  });
});

describe('the timer', () => {
  it('starts with the first entry after rest, is not extended, and starts anew', () => {
    const { queue, platform, flushes } = rig();
    queue.queue(1, 1, []);
    platform.clock.advance(9_999);
    queue.queue(2, 1, []);
    expect(flushes()).toBe(0);
    platform.clock.advance(1);
    expect([flushes(), queue.pending, queue.state().timerOn]).toEqual([1, 0, false]);
    platform.clock.advance(100_000);
    expect(flushes()).toBe(1);
    queue.queue(3, 1, []);
    platform.clock.advance(10_000);
    expect(flushes()).toBe(2);
  });

  it('runs on the CPU that started it, for the rings of all', () => {
    const { queue, platform, freed } = rig();
    platform.cpu = 1;
    queue.queue(1, 1, []);
    platform.cpu = 0;
    queue.queue(2, 1, []);
    platform.clock.advance(10_000);
    expect(freed).toEqual([
      { pfn: 2, pages: 1, cpu: 1 },
      { pfn: 1, pages: 1, cpu: 1 },
    ]);
    expect(platform.cpu).toBe(0);
  });

  it('fires for nobody after the queue is gone; its ranges are not freed, its tables are', () => {
    const { queue, platform, freed, put, flushes } = rig();
    queue.queue(1, 1, [0x9000]);
    queue.free();
    platform.clock.advance(20_000);
    expect([freed, put, flushes()]).toEqual([[], [0x9000], 0]);
  });

  it('is left to the caller when a record drives it', () => {
    const { queue, platform, flushes } = rig({ timer: 'external' });
    queue.queue(1, 1, []);
    platform.clock.advance(1_000_000);
    expect([queue.state().timerOn, flushes()]).toEqual([true, 0]);
    queue.expire();
    expect([queue.state().timerOn, flushes(), queue.pending]).toEqual([false, 1, 0]);
  });
});

describe('exposure', () => {
  it('counts pages, bytes and time from the unmap to the end of the flush', () => {
    const meter = new ExposureMeter();
    const { queue, platform } = rig({ exposure: { meter, granule: 4096 } });
    queue.queue(1, 2, []);
    platform.clock.advance(4_000);
    queue.queue(3, 3, []);
    expect(meter.report()).toMatchObject({ unmaps: 2, openPages: 5, openBytes: 5 * 4096 });
    platform.clock.advance(10_000);
    expect(meter.report()).toEqual({
      unmaps: 2,
      pages: 5,
      bytes: 5 * 4096,
      openPages: 0,
      openBytes: 0,
      peakPages: 5,
      peakBytes: 5 * 4096,
      pageMicroseconds: 2 * 10_000 + 3 * 6_000,
      longestUs: 10_000,
    });
  });

  it('what comes during a flush stays open; several domains share a meter', () => {
    const meter = new ExposureMeter();
    const one = rig({ exposure: { meter, granule: 4096 }, timer: 'external' });
    const two = rig({ exposure: { meter, granule: 65_536 }, timer: 'external' });
    one.queue.queue(1, 1, []);
    two.queue.queue(1, 1, []);
    one.nested.push(() => {
      one.platform.cpu = 1;
      one.queue.queue(9, 4, []);
    });
    one.queue.expire();
    expect(meter.report()).toMatchObject({
      openPages: 5,
      openBytes: 4 * 4096 + 65_536,
      peakPages: 6,
      peakBytes: 5 * 4096 + 65_536,
    });
    two.queue.free();
    expect(meter.report()).toMatchObject({ openPages: 4, openBytes: 4 * 4096 });
  });

  it('equals a sum over single pages, whatever happens', () => {
    fc.assert(
      fc.property(
        fc.array(fc.record({ pages: fc.integer({ min: 1, max: 9 }), wait: fc.nat(4_000) })),
        (steps) => {
          const meter = new ExposureMeter();
          const { queue, platform } = rig({ size: 8, exposure: { meter, granule: 4096 } });
          let open: { pages: number; sinceUs: number }[] = [];
          let sum = 0;
          let peak = 0;
          let count = 0;
          const close = () => {
            for (const { pages, sinceUs } of open) sum += pages * (platform.clock.nowUs - sinceUs);
            open = [];
          };
          for (const { pages, wait } of steps) {
            const { flushFinish } = queue.state();
            queue.queue(1, pages, []);
            if (queue.state().flushFinish !== flushFinish) close();
            open.push({ pages, sinceUs: platform.clock.nowUs });
            count += pages;
            peak = Math.max(
              peak,
              open.reduce((total, entry) => total + entry.pages, 0),
            );
            const end = platform.clock.nowUs + wait;
            while (platform.clock.nowUs < end) {
              const finish = queue.state().flushFinish;
              platform.clock.advance(1);
              if (queue.state().flushFinish !== finish) close();
            }
          }
          const report = meter.report();
          expect(report).toMatchObject({ pages: count, peakPages: peak, pageMicroseconds: sum });
        },
      ),
      { numRuns: 20 },
    );
  });
});

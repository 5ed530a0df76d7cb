import { SimClock } from '@iommukit/platform';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { IOVA_PROFILES, IovaDomain, type IovaProfileName } from '../src/index.ts';
import { SlowTwin } from './slow-twin.ts';

// 64 KiB granules: 4 GiB is pfn 0x10000. Two reservations leave little room, so that searches fail, retry and flush.
const limit = fc.constantFrom(0x40, 0x1ff, 0x800, 0xffff, 0x1_00ff, 0xff_ffff, 2 ** 48 - 1);
const size = fc.oneof(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 33, max: 700 }));
const smallSize = fc.constantFrom(1, 1, 1, 2, 3, 5, 8, 16, 31, 32, 33, 64);
const cpu = fc.integer({ min: 0, max: 2 });
const pick = fc.nat();

const op = fc.oneof(
  fc.record({ op: fc.constant('alloc' as const), size, limit, aligned: fc.boolean() }),
  fc.record({
    op: fc.constant('allocFast' as const),
    cpu,
    size: smallSize,
    limit,
    flush: fc.boolean(),
    count: fc.constantFrom(1, 1, 3, 20, 300),
  }),
  fc.record({
    op: fc.constant('freeFast' as const),
    cpu,
    pick,
    count: fc.constantFrom(1, 1, 3, 20, 300),
  }),
  fc.record({ op: fc.constant('free' as const), pick }),
  fc.record({
    op: fc.constant('reserve' as const),
    lo: fc.oneof(fc.integer({ min: 0, max: 0x1000 }), fc.integer({ min: 0xff00, max: 0x1_0100 })),
    count: fc.integer({ min: 1, max: 64 }),
  }),
  fc.record({ op: fc.constant('cpu' as const), cpu }),
  fc.record({ op: fc.constant('advance' as const), us: fc.constantFrom(30_000, 100_000, 250_000) }),
);

test.each(Object.keys(IOVA_PROFILES) as IovaProfileName[])('%s equals the slow twin', (version) => {
  fc.assert(
    fc.property(fc.array(op, { maxLength: 60 }), fc.boolean(), (ops, tight) => {
      const profile = IOVA_PROFILES[version];
      const clock = new SimClock();
      const granule = 65_536;
      const fast = new IovaDomain({ granule, startPfn: 3, clock, cpus: 3, profile });
      const slow = new SlowTwin(granule, 3, 3, profile);
      const live: { pfn: number; size: number }[] = [];
      const both = <T>(a: T, b: T): T => {
        expect(a).toEqual(b);
        return a;
      };
      const pair = (r: { pfnLo: number; pfnHi: number } | null): [number, number] | null =>
        r && [r.pfnLo, r.pfnHi];
      if (tight)
        for (const [lo, hi] of [
          [0x400, 0xfdff],
          [0x1_0400, 2 ** 48 - 1],
        ] as const)
          both(pair(fast.reserveIova(lo, hi)), slow.reserve(lo, hi));
      for (const step of ops) {
        // The DMA layer never runs on a CPU that is gone.
        const on = 'cpu' in step && step.op !== 'cpu' && !slow.online[step.cpu] ? 0 : -1;
        switch (step.op) {
          case 'alloc': {
            const got = both(
              pair(fast.allocIova(step.size, step.limit, step.aligned ? 'aligned' : 'unaligned')),
              slow.alloc(step.size, step.limit, step.aligned),
            );
            if (got) live.push({ pfn: got[0], size: step.size });
            break;
          }
          case 'allocFast':
            for (let k = 0; k < step.count; k++) {
              const c = on < 0 ? step.cpu : on;
              const pfn = both(
                fast.allocIovaFast(c, step.size, step.limit, step.flush ? 'flush' : 'no-flush'),
                slow.allocFast(c, step.size, step.limit, step.flush),
              );
              if (pfn !== 0) live.push({ pfn, size: step.size });
            }
            break;
          case 'freeFast':
            for (let k = 0; k < step.count && live.length > 0; k++) {
              const [range] = live.splice((step.pick + k * 7) % live.length, 1);
              if (range === undefined) break;
              const c = on < 0 ? step.cpu : on;
              fast.freeIovaFast(c, range.pfn, range.size);
              slow.freeFast(c, range.pfn, range.size);
            }
            break;
          case 'free': {
            const [range] = live.splice(step.pick % (live.length || 1), 1);
            if (range === undefined) break;
            fast.freeIova(range.pfn + range.size - 1);
            slow.free(range.pfn + range.size - 1);
            break;
          }
          case 'reserve': {
            const hi = step.lo + step.count - 1;
            both(pair(fast.reserveIova(step.lo, hi)), slow.reserve(step.lo, hi));
            break;
          }
          case 'cpu':
            if (step.cpu === 0) break;
            if (slow.online[step.cpu]) {
              fast.cpuDead(step.cpu);
              slow.dead(step.cpu);
            } else {
              fast.setCpuOnline(step.cpu);
              slow.online[step.cpu] = true;
            }
            break;
          case 'advance':
            clock.advance(step.us);
            slow.advance(step.us);
            break;
        }
        both(fast.max32AllocSize, Number(slow.max32));
        both(fast.rangeCount, slow.nodes.length - 1);
      }
      const state = fast.state();
      expect(state.ranges.map(pair)).toEqual(
        slow.nodes.slice(0, -1).map((n) => [Number(n.lo), Number(n.hi)]),
      );
      const low = (n: { lo: bigint }): number | null => (n === slow.anchor ? null : Number(n.lo));
      expect([state.cachedPfn, state.cached32Pfn]).toEqual([low(slow.cached), low(slow.cached32)]);
      state.caches.forEach((cache, k) => {
        expect(cache.depot).toEqual(slow.depots[k]);
        expect(cache.workPending).toBe(slow.works[k] !== undefined);
        expect(cache.cpus.map((m) => m.loaded ?? [])).toEqual(slow.loaded[k]);
        expect(cache.cpus.map((m) => m.prev ?? [])).toEqual(slow.prev[k]);
      });
      for (const range of state.ranges) {
        if (range.pfnLo > range.pfnHi) continue;
        expect(fast.findIova(range.pfnHi)).toEqual(range);
      }
      expect(fast.counters.treeAllocs - fast.counters.treeFrees).toBeLessThanOrEqual(
        fast.rangeCount,
      );
    }),
    { numRuns: 60 },
  );
});

import { SimClock } from '@iommukit/platform';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  compareSnapshots,
  IOVA_PROFILES,
  IovaDomain,
  type IovaProfileName,
  type IovaRange,
  type IovaSnapshot,
} from '../src/index.ts';
import { SlowTwin } from './slow-twin.ts';

// 64 KiB granules: 4 GiB is pfn 0x10000. Two reservations leave little room, so that searches fail, retry and flush.
const limit = fc.constantFrom(0x40, 0x1ff, 0x800, 0xffff, 0x1_00ff, 0xff_ffff, 2 ** 48 - 1);
const size = fc.oneof(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 33, max: 700 }));
const smallSize = fc.constantFrom(1, 1, 1, 2, 3, 5, 8, 16, 31, 32, 33, 64);
const cpu = fc.integer({ min: 0, max: 2 });
const pick = fc.nat();

const op = fc.oneof(
  fc.record({
    op: fc.constant('alloc' as const),
    size,
    limit,
    aligned: fc.constantFrom('aligned', 'unaligned'),
  }),
  fc.record({
    op: fc.constant('allocFast' as const),
    cpu,
    size: smallSize,
    limit,
    flush: fc.constantFrom('flush', 'no-flush'),
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
  fc.record({ op: fc.constant('restore' as const) }),
  fc.record({ op: fc.constant('work' as const), order: fc.integer({ min: 0, max: 5 }) }),
  fc.record({ op: fc.constant('advance' as const), us: fc.constantFrom(30_000, 100_000, 250_000) }),
);

const CPUS = 3;
const START = 3;
const GRANULE = 65_536;
const SPACE = 2 ** 48 - START;

const pair = (r: IovaRange | null): [number, number] | null => r && [r.pfnLo, r.pfnHi];
const throughJson = (snapshot: IovaSnapshot): IovaSnapshot => JSON.parse(JSON.stringify(snapshot));

/** One domain of each search and the slow twin, given the same calls; every answer and, on `compare`, all state must agree. */
class Trio {
  readonly linearClock = new SimClock();
  readonly augmentedClock = new SimClock();
  readonly slow: SlowTwin;
  linear: IovaDomain;
  augmented: IovaDomain;

  constructor(version: IovaProfileName) {
    const profile = IOVA_PROFILES[version];
    const options = { granule: GRANULE, startPfn: START, cpus: CPUS, profile };
    this.linear = new IovaDomain({ ...options, clock: this.linearClock, search: 'linear' });
    this.augmented = new IovaDomain({
      ...options,
      clock: this.augmentedClock,
      search: 'augmented',
      checked: true,
    });
    this.slow = new SlowTwin(GRANULE, START, CPUS, profile);
  }

  ask<T>(domain: (d: IovaDomain) => T, slow: (s: SlowTwin) => T): T {
    const expected = slow(this.slow);
    expect(domain(this.linear)).toEqual(expected);
    expect(domain(this.augmented)).toEqual(expected);
    return expected;
  }

  advance(us: number): void {
    this.linearClock.advance(us);
    this.augmentedClock.advance(us);
    this.slow.advance(us);
  }

  /** Each domain goes on from the other one's snapshot. */
  restore(): void {
    const linear = throughJson(this.linear.snapshot());
    const augmented = throughJson(this.augmented.snapshot());
    this.linear.putIovaDomain();
    this.augmented.putIovaDomain();
    this.linear = IovaDomain.restore(
      { ...augmented, checked: false },
      { clock: this.linearClock, search: 'linear' },
    );
    this.augmented = IovaDomain.restore(
      { ...linear, checked: true },
      { clock: this.augmentedClock, search: 'augmented' },
    );
    expect(compareSnapshots(this.linear.snapshot(), linear)).toEqual([]);
    expect(compareSnapshots(this.augmented.snapshot(), augmented)).toEqual([]);
  }

  compare(): void {
    const { linear, augmented, slow } = this;
    expect(compareSnapshots(linear.snapshot(), augmented.snapshot())).toEqual([]);
    expect({ ...augmented.counters, nodesVisited: 0, misalignedGaps: 0 }).toEqual({
      ...linear.counters,
      nodesVisited: 0,
      misalignedGaps: 0,
    });
    expect([linear.max32AllocSize, linear.rangeCount]).toEqual([
      Number(slow.max32),
      slow.nodes.length - 1,
    ]);
    const use = augmented.fragmentation();
    expect(use.livePages + use.cachedPages + use.freePages).toBe(SPACE);
    expect(use.spacePages).toBe(SPACE);
    expect(use).toEqual(linear.fragmentation());
    for (const top of [0x40, 0xffff, 2 ** 48 - 1])
      expect(augmented.largestFreeBlock(top)).toEqual(linear.largestFreeBlock(top));
  }

  compareTwin(): void {
    const { slow } = this;
    const state = this.linear.state();
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
    const cached = new Set([...slow.depots, ...slow.loaded, ...slow.prev].flat(2));
    expect([...this.augmented.liveRanges()].map(pair)).toEqual(
      state.ranges.map(pair).filter((r) => r && !cached.has(r[0])),
    );
    for (const range of state.ranges) {
      if (range.pfnLo > range.pfnHi) continue;
      expect(this.augmented.findIova(range.pfnHi)).toEqual(range);
    }
  }
}

test.each(Object.keys(IOVA_PROFILES) as IovaProfileName[])(
  '%s: both searches equal the slow twin after every step',
  (version) => {
    fc.assert(
      fc.property(fc.array(op, { maxLength: 60 }), fc.boolean(), (ops, tight) => {
        const trio = new Trio(version);
        const { slow } = trio;
        const live: { pfn: number; size: number }[] = [];
        if (tight)
          for (const [lo, hi] of [
            [0x400, 0xfdff],
            [0x1_0400, 2 ** 48 - 1],
          ] as const)
            trio.ask(
              (d) => pair(d.reserveIova(lo, hi)),
              (s) => s.reserve(lo, hi),
            );
        for (const step of ops) {
          // The DMA layer never runs on a CPU that is gone.
          const on = 'cpu' in step && slow.online[step.cpu] ? step.cpu : 0;
          switch (step.op) {
            case 'alloc': {
              const got = trio.ask(
                (d) => pair(d.allocIova(step.size, step.limit, step.aligned)),
                (s) => s.alloc(step.size, step.limit, step.aligned),
              );
              if (got) live.push({ pfn: got[0], size: step.size });
              break;
            }
            case 'allocFast':
              for (let k = 0; k < step.count; k++) {
                const pfn = trio.ask(
                  (d) => d.allocIovaFast(on, step.size, step.limit, step.flush),
                  (s) => s.allocFast(on, step.size, step.limit, step.flush),
                );
                if (pfn !== 0) live.push({ pfn, size: step.size });
              }
              break;
            case 'freeFast':
              for (let k = 0; k < step.count && live.length > 0; k++) {
                const [range] = live.splice((step.pick + k * 7) % live.length, 1);
                if (range === undefined) break;
                trio.ask(
                  (d) => d.freeIovaFast(on, range.pfn, range.size),
                  (s) => s.freeFast(on, range.pfn, range.size),
                );
              }
              break;
            case 'free': {
              const [range] = live.splice(step.pick % (live.length || 1), 1);
              if (range === undefined) break;
              const last = range.pfn + range.size - 1;
              trio.ask(
                (d) => d.freeIova(last),
                (s) => s.free(last),
              );
              break;
            }
            case 'reserve': {
              const hi = step.lo + step.count - 1;
              trio.ask(
                (d) => pair(d.reserveIova(step.lo, hi)),
                (s) => s.reserve(step.lo, hi),
              );
              // The range that grew downwards no longer begins where it was allocated.
              for (let k = live.length - 1; k >= 0; k--) {
                const { pfn } = live[k] ?? { pfn: 0 };
                if (slow.find(pfn)?.lo !== BigInt(pfn)) live.splice(k, 1);
              }
              break;
            }
            case 'cpu':
              if (step.cpu === 0) break;
              if (slow.online[step.cpu])
                trio.ask(
                  (d) => d.cpuDead(step.cpu),
                  (s) => s.dead(step.cpu),
                );
              else {
                trio.linear.setCpuOnline(step.cpu);
                trio.augmented.setCpuOnline(step.cpu);
                slow.online[step.cpu] = true;
              }
              break;
            case 'work':
              expect(trio.augmented.flushDepotWork(step.order)).toEqual(
                trio.linear.flushDepotWork(step.order),
              );
              slow.runWork(step.order);
              break;
            case 'restore':
              trio.restore();
              break;
            case 'advance':
              trio.advance(step.us);
              break;
          }
          trio.compare();
        }
        trio.compareTwin();
      }),
      { numRuns: process.env['IOMMUKIT_SOAK'] === undefined ? 20 : 60 },
    );
  },
  60_000,
);

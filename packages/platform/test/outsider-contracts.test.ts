import { describe, expect, test } from 'vitest';
import {
  BusError,
  type Clock,
  FrameAllocator,
  type MemoryView,
  NonCoherentView,
  observeView,
  SimPlatform,
  TraceChannel,
} from '../src/index.ts';
import { BASE, describeView, SIZE } from './view-contract.ts';

const LOW = 0xffff_ffffn;

/** Memory as a map from address to doubleword, written from the text of `MemoryView` alone. */
function wordMap(): MemoryView {
  const words = new Map<number, bigint>();
  let hi = 0;
  const isBacked = (pa: number): boolean => pa >= BASE && pa < BASE + SIZE;
  const at = (pa: number): number => {
    if (!isBacked(pa)) throw new BusError({ pa });
    return pa - (pa % 8);
  };
  const word = (lo: number, high: number): bigint =>
    (BigInt.asUintN(32, BigInt(high)) << 32n) | BigInt.asUintN(32, BigInt(lo));
  const half = (pa: number): bigint => (pa % 8 === 4 ? 32n : 0n);
  return {
    get hi() {
      return hi;
    },
    load64(pa) {
      const value = words.get(at(pa)) ?? 0n;
      hi = Number(value >> 32n);
      return Number(value & LOW);
    },
    store64(pa, lo, high) {
      words.set(at(pa), word(lo, high));
    },
    cas64(pa, oldLo, oldHi, lo, high) {
      if ((words.get(at(pa)) ?? 0n) !== word(oldLo, oldHi)) return false;
      words.set(pa, word(lo, high));
      return true;
    },
    load32: (pa) => Number(((words.get(at(pa)) ?? 0n) >> half(pa)) & LOW),
    store32(pa, value) {
      const kept = (words.get(at(pa)) ?? 0n) & ~(LOW << half(pa));
      words.set(at(pa), kept | (BigInt.asUintN(32, BigInt(value)) << half(pa)));
    },
    clean() {},
    isBacked,
    lanes: () => undefined,
    blockBytes: 4096,
    block: () => undefined,
  };
}

describeView('a map of words', wordMap);
describeView('a data cache over it', () => new NonCoherentView(wordMap()));
describeView('an observer of it', () => observeView(wordMap(), { onStore: () => {} }));

test('a view that lends no lanes is memory enough for a table', () => {
  const frames = new FrameAllocator({ base: BASE, size: SIZE });
  const view = wordMap();
  const table = frames.alloc(4096);
  view.store64(table, 3, 0);
  expect([view.lanes(table), view.block(table, 0), view.load64(table)]).toEqual([
    undefined,
    undefined,
    3,
  ]);
});

/** A clock of whole ticks, written from the text of `Clock` alone: moments between two ticks come with the later one. */
class TickClock implements Clock {
  nowUs = 0;
  #ids = 0;
  #waiting: { id: number; dueUs: number; callback: () => void }[] = [];
  readonly #tickUs: number;

  constructor(tickUs: number) {
    this.#tickUs = tickUs;
  }

  schedule(delayUs: number, callback: () => void): number {
    const id = ++this.#ids;
    this.#waiting.push({ id, dueUs: this.nowUs + delayUs, callback });
    return id;
  }

  cancel(id: number): void {
    this.#waiting = this.#waiting.filter((one) => one.id !== id);
  }

  tick(): void {
    this.nowUs += this.#tickUs;
    for (;;) {
      const due = this.#waiting.filter(({ dueUs }) => dueUs <= this.nowUs);
      const [first] = due.sort((a, b) => a.dueUs - b.dueUs || a.id - b.id);
      if (first === undefined) return;
      this.cancel(first.id);
      first.callback();
    }
  }
}

describe('a clock of 4 ms ticks keeps the contract of Clock', () => {
  test('a timer of 10 ms runs with the third tick, after those before it', () => {
    const clock = new TickClock(4000);
    const ran: [string, number][] = [];
    clock.schedule(10_000, () => ran.push(['second', clock.nowUs]));
    clock.schedule(9000, () => ran.push(['first', clock.nowUs]));
    const id = clock.schedule(1, () => ran.push(['cancelled', clock.nowUs]));
    clock.cancel(id);
    expect(ran).toEqual([]);
    for (let k = 0; k < 3; k++) clock.tick();
    expect(ran).toEqual([
      ['first', 12_000],
      ['second', 12_000],
    ]);
  });

  test('what a callback schedules for the same tick runs in it', () => {
    const clock = new TickClock(4000);
    const ran: string[] = [];
    clock.schedule(0, () => {
      ran.push('outer');
      clock.schedule(0, () => ran.push('inner'));
    });
    clock.tick();
    expect(ran).toEqual(['outer', 'inner']);
  });

  test('the platform reads the moment and schedules through it', () => {
    const platform = new SimPlatform();
    const clock: Clock = platform.clock;
    let rang = 0;
    clock.schedule(25, () => rang++);
    expect(platform.pollUntil(() => rang === 1, 100)).toBe(true);
    expect(clock.nowUs).toBeGreaterThanOrEqual(25);
  });
});

test('a listener written from the text gets each event once, in order, and may keep it', () => {
  const channel = new TraceChannel<{ readonly name: 'map'; readonly iova: number }>();
  const kept: { readonly iova: number }[] = [];
  channel.listen((event) => kept.push(event));
  for (const iova of [1, 2, 3]) if (channel.on) channel.emit({ name: 'map', iova });
  expect(kept.map(({ iova }) => iova)).toEqual([1, 2, 3]);
});

import { describe, expect, test } from 'vitest';
import { SimClock, SimPlatform } from '../src/index.ts';

describe('SimClock', () => {
  test('runs what falls due by time, then by order of scheduling', () => {
    const clock = new SimClock();
    const log: [string, number][] = [];
    const note = (name: string) => () => log.push([name, clock.nowUs]);
    clock.schedule(20, note('c'));
    clock.schedule(10, note('a'));
    clock.schedule(10, note('b'));
    clock.schedule(21, note('d'));
    clock.advance(20);
    expect(log).toEqual([
      ['a', 10],
      ['b', 10],
      ['c', 20],
    ]);
    expect(clock.nowUs).toBe(20);
    clock.advanceTo(5);
    expect(clock.nowUs).toBe(20);
    clock.advanceTo(21);
    expect(log.at(-1)).toEqual(['d', 21]);
  });

  test('a callback may schedule; what falls due in the same step runs in it', () => {
    const clock = new SimClock();
    const log: number[] = [];
    const again = () => {
      log.push(clock.nowUs);
      clock.schedule(10, again);
    };
    clock.schedule(10, again);
    clock.advance(35);
    expect(log).toEqual([10, 20, 30]);
  });

  test('cancel forgets one call, unknown ids do nothing', () => {
    const clock = new SimClock();
    const log: string[] = [];
    const id = clock.schedule(1, () => log.push('cancelled'));
    clock.schedule(1, () => log.push('kept'));
    clock.cancel(id);
    clock.cancel(id);
    clock.cancel(12345);
    clock.advance(1);
    expect(log).toEqual(['kept']);
  });

  test('a callback may advance the clock; time never goes back', () => {
    const clock = new SimClock();
    const log: number[] = [];
    clock.schedule(1, () => clock.advance(100));
    clock.schedule(50, () => log.push(clock.nowUs));
    clock.advance(10);
    expect(log).toEqual([50]);
    expect(clock.nowUs).toBe(101);
  });
});

describe('SimPlatform.pollUntil', () => {
  test('takes no time when the condition holds', () => {
    const platform = new SimPlatform();
    let turns = 0;
    platform.register({ run: () => ++turns > 0 });
    expect(platform.pollUntil(() => true, 1000)).toBe(true);
    expect([platform.clock.nowUs, turns]).toEqual([0, 0]);
  });

  test('lets devices work without time passing', () => {
    const platform = new SimPlatform();
    let left = 1000;
    platform.register({ run: () => left > 0 && left-- > 0 });
    expect(platform.pollUntil(() => left === 0, 5)).toBe(true);
    expect(platform.clock.nowUs).toBe(0);
  });

  test.each([0, 1, 5, 1000, 1_000_000])('gives up after exactly %d us', (timeoutUs) => {
    const clock = new SimClock();
    clock.advance(7);
    const platform = new SimPlatform(clock);
    platform.register({ run: () => false });
    expect(platform.pollUntil(() => false, timeoutUs)).toBe(false);
    expect(clock.nowUs).toBe(7 + timeoutUs);
  });

  test('sees what the clock brings, at the last moment too', () => {
    for (const delay of [1, 6, 99, 100]) {
      const platform = new SimPlatform();
      let done = false;
      platform.clock.schedule(delay, () => {
        done = true;
      });
      expect(platform.pollUntil(() => done, 100)).toBe(true);
      expect(platform.clock.nowUs).toBeGreaterThanOrEqual(delay);
      expect(platform.clock.nowUs).toBeLessThanOrEqual(100);
    }
    const platform = new SimPlatform();
    let late = false;
    platform.clock.schedule(101, () => {
      late = true;
    });
    expect(platform.pollUntil(() => late, 100)).toBe(false);
  });

  test('a device that wakes by the clock makes progress', () => {
    const platform = new SimPlatform();
    let pending = 0;
    let consumed = 0;
    const tick = () => {
      pending++;
      platform.clock.schedule(10, tick);
    };
    platform.clock.schedule(10, tick);
    platform.register({
      run: () => {
        if (pending === 0) return false;
        consumed += pending;
        pending = 0;
        return true;
      },
    });
    expect(platform.pollUntil(() => consumed >= 5, 1000)).toBe(true);
  });

  test('a device that never rests does not hold up the timeout', () => {
    const platform = new SimPlatform();
    platform.register({ run: () => true });
    expect(platform.pollUntil(() => false, 100)).toBe(false);
    expect(platform.clock.nowUs).toBe(100);
  });

  test('every device gets its turn, busy or not', () => {
    const platform = new SimPlatform();
    const turns: string[] = [];
    platform.register({ run: () => turns.push('busy') > 0 });
    platform.register({ run: () => turns.push('idle') === 0 });
    expect([platform.runDevices(), platform.cpu]).toEqual([true, 0]);
    expect(turns).toEqual(['busy', 'idle']);
  });
});

import type { Clock } from './clock.ts';

interface Timer {
  readonly id: number;
  readonly dueUs: number;
  readonly callback: () => void;
}

/**
 * The injected clock: `advance` moves time and runs what falls due, in order of time, then of scheduling.
 * @example const clock = new SimClock(); clock.schedule(10, () => fired++); clock.advance(10); // fired is 1
 */
export class SimClock implements Clock {
  #now = 0;
  #nextId = 1;
  readonly #timers: Timer[] = [];

  get nowUs(): number {
    return this.#now;
  }

  schedule(delayUs: number, callback: () => void): number {
    const timer = { id: this.#nextId++, dueUs: this.#now + delayUs, callback };
    const at = this.#timers.findIndex((other) => other.dueUs > timer.dueUs);
    this.#timers.splice(at < 0 ? this.#timers.length : at, 0, timer);
    return timer.id;
  }

  cancel(id: number): void {
    const at = this.#timers.findIndex((timer) => timer.id === id);
    if (at >= 0) this.#timers.splice(at, 1);
  }

  /** Moves time forward by `us` microseconds. */
  advance(us: number): void {
    this.advanceTo(this.#now + us);
  }

  /** Moves time to `targetUs`; a moment in the past changes nothing. */
  advanceTo(targetUs: number): void {
    for (;;) {
      const next = this.#timers[0];
      if (next === undefined || next.dueUs > targetUs) break;
      this.#timers.shift();
      this.#now = Math.max(this.#now, next.dueUs);
      next.callback();
    }
    this.#now = Math.max(this.#now, targetUs);
  }
}

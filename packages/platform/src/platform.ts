import type { Clock } from './clock.ts';
import { SimClock } from './sim-clock.ts';

/**
 * Something that works when it is given time: a device model. `run` does what is pending and tells whether it did anything.
 * @example const device: Runnable = { run: () => smmu.consume() > 0 };
 */
export interface Runnable {
  /** One turn; true when it did any work. */
  run(): boolean;
}

/**
 * Waiting, in one place: nothing in the layers spins by itself.
 * @example platform.pollUntil(() => queue.empty, 1_000_000);
 */
export interface Platform {
  readonly clock: Clock;
  /** The CPU that executes now; layers key per-CPU state on it. */
  cpu: number;
  /**
   * Runs registered devices and advances the clock until the condition holds; false after `timeoutUs` microseconds. Time passes
   * while all devices are idle, in doubling steps, and while they work without rest.
   */
  pollUntil(condition: () => boolean, timeoutUs: number): boolean;
}

// Turns in a row that devices may work without time passing; a full queue of 2^10 commands drains in no time.
const FREE_TURNS = 1024;

/**
 * The platform of a simulation: a {@link SimClock}, the current CPU, and the devices that run while somebody polls.
 * @example const platform = new SimPlatform(); platform.register(device); platform.pollUntil(() => done, 1000);
 */
export class SimPlatform implements Platform {
  readonly clock: SimClock;
  cpu = 0;
  readonly #devices: Runnable[] = [];

  constructor(clock: SimClock = new SimClock()) {
    this.clock = clock;
  }

  /** Lets a device run whenever somebody polls. */
  register(device: Runnable): void {
    this.#devices.push(device);
  }

  /** Gives every device one turn; true when any did something. */
  runDevices(): boolean {
    let busy = false;
    for (const device of this.#devices) if (device.run()) busy = true;
    return busy;
  }

  pollUntil(condition: () => boolean, timeoutUs: number): boolean {
    const end = this.clock.nowUs + timeoutUs;
    let stepUs = 1;
    let busyTurns = 0;
    for (;;) {
      if (condition()) return true;
      if (this.runDevices()) {
        stepUs = 1;
        if (++busyTurns <= FREE_TURNS) continue;
        // A device that never comes to rest must not stop time, or the timeout would never come.
        if (this.clock.nowUs >= end) return condition();
        this.clock.advance(1);
        continue;
      }
      busyTurns = 0;
      if (this.clock.nowUs >= end) return condition();
      this.clock.advance(Math.min(stepUs, end - this.clock.nowUs));
      stepUs *= 2;
    }
  }
}

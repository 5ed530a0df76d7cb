/**
 * Time as the layers see it: one moment, in microseconds, that nothing moves unless the owner of the clock advances it.
 *
 * For who implements it:
 * - `nowUs` never goes back. The layers subtract two readings, so where time begins does not matter; integers up to 2^53 keep it exact.
 * - A callback runs when the clock reaches its moment, never within `schedule` (also with a delay of 0), and sees `nowUs` at or after that moment.
 *   Callbacks of one moment run in the order of their `schedule` calls: Linux runs the timers of one jiffy in that order.
 * - A callback may call `schedule` and `cancel`; what it schedules for a moment that the present advance covers runs within that advance.
 * - The clock owns the callbacks until they ran or were cancelled. A callback that throws ends the advance with its error.
 * Linux: `ktime_get`, `timer_setup` and `mod_timer`.
 * @example const due = clock.nowUs + 100_000;
 */
export interface Clock {
  /** Microseconds since a moment of the clock's choice. */
  readonly nowUs: number;
  /** Calls back once, `delayUs` (0 or more, microseconds) from now, when the clock passes that moment; returns an id for `cancel`, never used twice. */
  schedule(delayUs: number, callback: () => void): number;
  /** Forgets a scheduled call; ids that are unknown, ran, or were cancelled are ignored. */
  cancel(id: number): void;
}

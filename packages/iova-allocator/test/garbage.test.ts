import { getHeapStatistics, setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, test } from 'vitest';
import { domain } from './domain.ts';

setFlagsFromString('--expose-gc');
const gc = runInNewContext('gc') as (what: { readonly type: 'minor' }) => void;

/** Empties the young generation only: what other tests keep in the same process costs nothing then. */
function collect(): void {
  gc({ type: 'minor' });
}

/** Few enough that even an object a call fits into the young generation, so that no collection hides it. */
const CALLS = 20_000;
/** Half of the bytes of the smallest thing that the engine puts on the heap, a number in a box. */
const LEAST_OBJECT = 6;

/** Bytes that `CALLS` calls leave on the heap: the least of some tries, since the engine allocates for itself too. */
function garbage(call: () => void): number {
  for (let k = 0; k < 8 * CALLS; k++) call();
  let least = Number.POSITIVE_INFINITY;
  for (let round = 0; round < 10; round++) {
    collect();
    const before = getHeapStatistics().used_heap_size;
    for (let k = 0; k < CALLS; k++) call();
    least = Math.min(least, getHeapStatistics().used_heap_size - before);
  }
  return least;
}

test.each(['linear', 'augmented'] as const)(
  '%s: the fast calls leave no garbage',
  (search) => {
    const iovad = domain({ cpus: 1, search });
    for (let k = 0; k < 1000; k++) iovad.allocIovaFast(0, 1, 0xfffff, 'flush');
    const cached = (): void => {
      iovad.freeIovaFast(0, iovad.allocIovaFast(0, 1, 0xfffff, 'flush'), 1);
    };
    const searched = (): void => {
      iovad.freeIovaFast(0, iovad.allocIovaFast(0, 64, 0xfffff, 'flush'), 64);
    };
    expect(garbage(cached)).toBeLessThan(LEAST_OBJECT * CALLS);
    expect(garbage(searched)).toBeLessThan(LEAST_OBJECT * CALLS);
  },
  30_000,
);

test('the measure notices an object a call', () => {
  const sink: object[] = [];
  expect(
    garbage(() => {
      sink[0] = { pfn: sink.length };
    }),
  ).toBeGreaterThan(LEAST_OBJECT * CALLS);
});

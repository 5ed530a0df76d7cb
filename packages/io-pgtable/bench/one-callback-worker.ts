import { workerData } from 'node:worker_threads';
import { unmapRounds } from './one-callback.ts';

// An engine of its own, which only ever sees one implementation of the callbacks. Lanes: 0 request, 1 answer, 2 rounds.
const { lanes } = workerData as { readonly lanes: Int32Array };
const run = unmapRounds();
for (let done = 0; ; done++) {
  Atomics.wait(lanes, 0, done);
  run(Atomics.load(lanes, 2));
  Atomics.add(lanes, 1, 1);
  Atomics.notify(lanes, 1);
}

// Four producers and a consumer, each a worker, on one command queue. The soak of 10^6 commands on every queue:
//   IOMMUKIT_SOAK=1000000 node tools/pn.mjs exec vitest run --config tools/vitest.config.ts --project smmu-v3-driver queue-workers
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { queueWordsBytes, type SyncSignal } from '../src/index.ts';
import { idsWith } from './fake-smmu.lanes.ts';
import type { ConsumerTask, ProducerAnswer, ProducerTask, QueueWorld } from './queue-worker.ts';
import { sharedDriver } from './queue-worker.ts';
import { type Consumed, REGISTER_BYTES, SharedRegisters } from './shared-queue.lanes.ts';

const BOOT = new URL('../../../tools/worker-boot.mjs', import.meta.url);
const ENTRY = new URL('./queue-worker.ts', import.meta.url).href;
const BASE = 0x8000_0000;
const PRODUCERS = 4;
const SOAK = Number(process.env['IOMMUKIT_SOAK'] ?? 0);
const COMMANDS = Math.max(SOAK, 2_000);

const workers: Worker[] = [];

beforeAll(() => {
  for (let i = 0; i <= PRODUCERS; i++)
    workers.push(
      new Worker(BOOT, {
        workerData: { entry: ENTRY },
        execArgv: ['--conditions=@iommukit/source'],
      }),
    );
});
afterAll(() => Promise.all(workers.map((worker) => worker.terminate())));

/** Gives a worker a task; what it answers. */
async function start<A>(index: number, task: ProducerTask | ConsumerTask): Promise<A> {
  const worker = workers[index];
  if (worker === undefined) throw new Error(`no worker ${index}`);
  const answered = once(worker, 'message');
  worker.postMessage(task);
  const [answer] = await answered;
  return answer as A;
}

interface Case {
  readonly lg2: number;
  readonly through: QueueWorld['through'];
  readonly signal: SyncSignal;
  readonly mostAtOnce: number;
}

/** The driver's queue after its reset, or an empty one: where the ring is and where CONS stands. */
function prepare(world: QueueWorld): { queue: number; cons: number } {
  if (world.through === 'queue') return { queue: BASE, cons: 0 };
  const ids = idsWith({
    idr0: { ST_LEVEL: 0 },
    idr1: { CMDQS: world.lg2, EVENTQS: 4, SIDSIZE: 6 },
  });
  const registers = new SharedRegisters(world.registers);
  registers.write32(0, ids.idr0);
  registers.write32(4, ids.idr1);
  registers.write32(12, ids.idr3);
  registers.write32(20, ids.idr5);
  const driver = sharedDriver(world);
  expect(driver.cmdq.lg2).toBe(world.lg2);
  return { queue: driver.cmdq.base, cons: 0 };
}

async function run(one: Case): Promise<{ consumed: Consumed; producers: ProducerAnswer[] }> {
  const world: QueueWorld = {
    base: BASE,
    ram: new SharedArrayBuffer(0x2_0000),
    registers: new SharedArrayBuffer(REGISTER_BYTES),
    words: new SharedArrayBuffer(queueWordsBytes(one.lg2)),
    seen: new SharedArrayBuffer(PRODUCERS * 4),
    gate: new SharedArrayBuffer(4),
    ...one,
  };
  const { queue, cons } = prepare(world);
  const consumer = start<Consumed>(PRODUCERS, {
    ...world,
    role: 'consumer',
    queue,
    producers: PRODUCERS,
    cons,
  });
  const producers = Array.from({ length: PRODUCERS }, (_, who) =>
    start<ProducerAnswer>(who, {
      ...world,
      role: 'producer',
      who,
      commands: COMMANDS / PRODUCERS,
      mostAtOnce: one.mostAtOnce,
    }),
  );
  return { consumed: await consumer, producers: await Promise.all(producers) };
}

describe('four workers on one queue', () => {
  const rows: Case[] = [
    { lg2: 7, through: 'driver', signal: 'sev', mostAtOnce: 64 },
    { lg2: 8, through: 'driver', signal: 'sev', mostAtOnce: 64 },
    { lg2: 4, through: 'queue', signal: 'sev', mostAtOnce: 6 },
    { lg2: 4, through: 'queue', signal: 'msi', mostAtOnce: 15 },
    { lg2: 5, through: 'queue', signal: 'none', mostAtOnce: 20 },
    { lg2: 6, through: 'queue', signal: 'msi', mostAtOnce: 63 },
  ];
  // Starting five threads takes longest: with `npm run soak` every row.
  test.each(rows.filter((_, i) => SOAK > 0 || i % 2 === 0))(
    '2^$lg2 entries, $through, $signal: nothing lost, doubled, torn or reordered; every SYNC after its commands',
    async (one) => {
      const { consumed, producers } = await run(one);
      const sum = (key: keyof ProducerAnswer): number =>
        producers.reduce((total, answer) => total + answer[key], 0);
      if (SOAK > 0)
        process.stdout.write(
          `soak 2^${one.lg2} ${one.through} ${one.signal}: ${consumed.commands} commands, ${consumed.syncs} SYNCs, ${sum('fullWaits')} full waits\n`,
        );
      expect(consumed).toEqual({
        commands: COMMANDS,
        syncs: sum('syncs'),
        torn: 0,
        outOfOrder: 0,
        overrun: 0,
      });
      expect(sum('early')).toBe(0);
      expect(sum('syncs')).toBeGreaterThan(PRODUCERS);
    },
    SOAK > 0 ? 600_000 : 60_000,
  );
});

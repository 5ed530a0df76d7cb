// Two workers map disjoint and overlapping pages into one table over a SharedArrayBuffer, from empty again and again, so that they
// race for every link. The soak of 10^6 calls of mapPages and unmapPages:
//   IOMMUKIT_SOAK=1000000 node tools/pn.mjs exec vitest run --config tools/vitest.config.ts --project io-pgtable workers
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { FrameAllocator, SharedMemory } from '@iommukit/platform';
import { expect, test } from 'vitest';
import { arm64LpaeS1, createPageTable } from '../src/index.ts';
import type { WorkerAnswer, WorkerTask } from './table-worker.ts';
import { sharedConfig } from './table-worker.ts';

const BOOT = new URL('../../../tools/worker-boot.mjs', import.meta.url);
const ENTRY = new URL('./table-worker.ts', import.meta.url).href;
const BASE = 0x8000_0000;
const POOL = 0x20_0000;
/** Calls of one round of both workers, at least: see GIGAS, MEGAS, PAGES of the worker. */
const OF_A_ROUND = 8 * 32 * 3;
const SOAK = Number(process.env['IOMMUKIT_SOAK'] ?? 0);

function start(task: WorkerTask): Promise<WorkerAnswer> {
  const worker = new Worker(BOOT, {
    workerData: { entry: ENTRY, ...task },
    execArgv: ['--conditions=@iommukit/source'],
  });
  return once(worker, 'message').then(([answer]) => answer as WorkerAnswer);
}

test(
  'two workers in one table: no table is lost, none leaks, every page translates',
  async () => {
    const buffer = new SharedArrayBuffer(POOL);
    const state = new SharedArrayBuffer(FrameAllocator.stateBytes(POOL));
    const gate = new SharedArrayBuffer(8);
    const memory = new SharedMemory({ base: BASE, buffer });
    const frames = new FrameAllocator({ base: BASE, size: POOL, state });
    const table = createPageTable(arm64LpaeS1, sharedConfig(memory, frames));
    if (typeof table === 'number') throw new Error(`refused: ${table}`);
    const rounds = Math.ceil(Math.max(SOAK, 20_000) / OF_A_ROUND);
    const task = { base: BASE, buffer, state, gate, top: table.base, rounds };
    const answers = await Promise.all([start({ ...task, who: 0 }), start({ ...task, who: 1 })]);
    const sum = (key: keyof WorkerAnswer): number =>
      answers.reduce((total, answer) => total + answer[key], 0);
    if (SOAK > 0)
      process.stdout.write(
        `soak: ${sum('operations')} calls, ${sum('lookups')} lookups, ${sum('lostRaces')} lost races, ${sum('wrong')} wrong\n`,
      );
    expect(sum('operations')).toBeGreaterThanOrEqual(Math.max(SOAK, 20_000));
    expect(sum('lookups')).toBeGreaterThan(20_000);
    expect(sum('wrong')).toBe(0);
    // Only the table at level 1 of the lower 512 GiB outlives a round, beside the top.
    expect(frames.used).toBe(2);
    table.free();
    expect(frames.used).toBe(0);
  },
  SOAK > 0 ? 600_000 : 30_000,
);

import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import type { CpuAnswer, CpuTask } from './worker-cpu.ts';
import type { SmmuAnswer, SmmuTask } from './worker-smmu.ts';
import { type QueuePlace, sharedBuffers } from './worker-world.ts';

/** From a clone the entry is TypeScript, which a thread of Node 20 loads only with a loader of its own. */
const SOURCE_BOOT =
  "const { workerData } = require('node:worker_threads'); import('tsx/esm/api').then(({ register }) => { register(); return import(workerData.entry); });";

/**
 * What to run on threads.
 * @example const options: WorkerSoakOptions = { workers: 4, seed: 1, steps: 100_000 };
 */
export interface WorkerSoakOptions {
  /** Threads that map and unmap; one more is SMMU and device. */
  readonly workers: number;
  readonly seed: number;
  /** Maps and unmaps of all workers together. */
  readonly steps: number;
}

/**
 * What a soak on threads came to; no two runs are alike, so there is no digest.
 * @example report.summary.settled // accesses whose outcome was certain, all of them compared
 */
export interface WorkerSoakReport {
  readonly ok: boolean;
  readonly summary: {
    readonly workers: number;
    readonly steps: number;
    readonly accesses: number;
    readonly settled: number;
    readonly commands: number;
    readonly syncs: number;
    readonly races: number;
    readonly violations: number;
  };
  /** Broken invariants, the first few of each thread. */
  readonly broken: readonly string[];
}

/**
 * CPUs on threads that change the same page tables and share one command queue, against an SMMU on another thread. While a page is at rest
 * the device finds it where it is mapped, and not at all once its unmap has returned; every CMD_SYNC ends; no table is lost, no stale entry is left.
 * @example (await runWorkerSoak({ workers: 2, seed: 1, steps: 1000 })).ok // true
 */
export async function runWorkerSoak(options: WorkerSoakOptions): Promise<WorkerSoakReport> {
  const { workers, seed, steps } = options;
  const buffers = sharedBuffers(workers);
  const threads = Array.from({ length: workers + 1 }, () => startThread());
  try {
    const [smmu, ...cpus] = threads as [Worker, ...Worker[]];
    const placed = once(smmu, 'message');
    smmu.postMessage({ role: 'smmu', buffers, seed } satisfies SmmuTask);
    const [place] = (await placed) as [QueuePlace];
    const seen = once(smmu, 'message') as Promise<[SmmuAnswer]>;
    const answers = cpus.map((cpu, who) => {
      const answered = once(cpu, 'message') as Promise<[CpuAnswer]>;
      const mine = Math.ceil(steps / workers);
      cpu.postMessage({ role: 'cpu', buffers, who, seed, steps: mine, ...place } satisfies CpuTask);
      return answered;
    });
    // All at once: who fails keeps the others waiting for ever.
    const [[found], ...done] = await Promise.all([seen, ...answers]);
    return reportOf(
      workers,
      done.map(([answer]) => answer),
      found,
    );
  } finally {
    await Promise.all(threads.map((thread) => thread.terminate()));
  }
}

function startThread(): Worker {
  const { url } = import.meta;
  if (!url.endsWith('.ts')) return new Worker(new URL('./soak-thread.js', url));
  return new Worker(SOURCE_BOOT, {
    eval: true,
    workerData: { entry: new URL('./soak-thread.ts', url).href },
    execArgv: ['--conditions=@iommukit/source'],
  });
}

function reportOf(workers: number, cpus: readonly CpuAnswer[], smmu: SmmuAnswer): WorkerSoakReport {
  const broken = [...cpus.flatMap((cpu) => cpu.broken), ...smmu.broken];
  const { accesses, settled, commands, races } = smmu;
  return {
    ok: broken.length === 0,
    summary: {
      workers,
      steps: cpus.reduce((sum, cpu) => sum + cpu.steps, 0),
      accesses,
      settled,
      commands,
      syncs: cpus.reduce((sum, cpu) => sum + cpu.syncs, 0),
      races,
      violations: broken.length,
    },
    broken,
  };
}

/* The entry of a thread of a worker soak: one SMMU, or one CPU. */
import { parentPort } from 'node:worker_threads';
import { type CpuTask, runCpu } from './worker-cpu.ts';
import { type SmmuTask, WorkerSmmu } from './worker-smmu.ts';

const port = parentPort;
port?.on('message', (task: CpuTask | SmmuTask) => {
  if (task.role === 'cpu') {
    port.postMessage(runCpu(task));
    return;
  }
  const smmu = new WorkerSmmu(task);
  port.postMessage(smmu.place);
  port.postMessage(smmu.run());
});

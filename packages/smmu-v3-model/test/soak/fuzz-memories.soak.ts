/*
 * Random memories in numbers: every outcome has to be one that the architecture has, and nothing may be thrown.
 * Run: IOMMUKIT_SOAK=100000 node --conditions=@iommukit/source --import=tsx packages/smmu-v3-model/test/soak/fuzz-memories.soak.ts
 * IOMMUKIT_SOAK is the number of memories, IOMMUKIT_SEED the first seed (1).
 */
import { fuzzMemory, newFuzzReport } from '../fuzz-memories.lanes.ts';

const memories = Number(process.env['IOMMUKIT_SOAK'] ?? 10_000);
const first = Number(process.env['IOMMUKIT_SEED'] ?? 1);
const report = newFuzzReport();
for (let seed = first; seed < first + memories; seed++) fuzzMemory(seed, report);
for (const [outcome, times] of [...report.outcomes].sort())
  process.stdout.write(`${String(times).padStart(9)} ${outcome}\n`);
for (const [code, times] of report.unmodelled)
  process.stdout.write(`${String(times).padStart(9)} ${code}\n`);
for (const wrong of report.wrong.slice(0, 20)) process.stdout.write(`${wrong}\n`);
process.stdout.write(
  `${report.memories} memories, ${report.accesses} accesses, ${report.wrong.length} wrong\n`,
);
process.exitCode = report.wrong.length === 0 ? 0 : 1;
